"""Episodes in PyMARL's layout, padded to one length: `.h5` or `.npz`, one file or a folder of `part_*.h5`.

Written so by ICQ, OffPyMARL, CFCQL's discrete code and EPyMARL's `EpisodeBatch`. Arrays are (E, T, ...); `filled` marks
an episode's steps and, where it was recorded, the row after them. OffPyMARL's parts that came from OG-MARL lack that
row; their `corrected_terminated` ends an episode one step earlier, so that the last filled row is the row after it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from datasets.importers.ends import check_finite, check_flags, copied_note, kept_rows, terminal_flags
from datasets.importers.leftovers import left_out_note
from datasets.importers.options import refuse_option, stated_bounds, whole_number
from datasets.importers.padded_files import PaddedFile, blocks, exported_card, open_padded, open_parts
from datasets.importers.padded_rows import check_no_onehot, check_onehot, filled_rows, whole_actions
from datasets.importers.source import Episode, Source
from utils.errors import DatasetError

_REQUIRED = ("obs", "actions", "reward", "filled")
_ENDS = ("corrected_terminated", "terminated")
_USED = (*_REQUIRED, *_ENDS, "state", "avail_actions", "actions_onehot")
_KNOWN = (*_USED, "probs")  # in the releases' files; what else there is may be one of them misspelt
# Axes after episodes and rows; N agents, a number is that many entries.
_AXES = {"obs": ("N", "O"), "actions": ("N", "A"), "avail_actions": ("N", "n"), "actions_onehot": ("N", "n"),
         "state": ("S",), "filled": (1,), "terminated": (1,), "corrected_terminated": (1,)}  # fmt: skip


@dataclass
class _Tally:
    """What the import changed, over all episodes."""

    copied: int = 0
    lost: int = 0
    lost_sum: float = 0.0


@dataclass(frozen=True)
class _Layout:
    """What all files have in common."""

    keys: tuple[str, ...]
    shapes: dict[str, tuple[int, ...]]  # of one row
    discrete: bool
    end: str  # the array whose flags end episodes
    tally: _Tally = field(default_factory=_Tally)

    @property
    def n_agents(self) -> int:
        return self.shapes["obs"][0]

    @property
    def own_rewards(self) -> bool:
        return self.n_agents > 1 and self.shapes["reward"] == (self.n_agents,)


class PyMARL:
    """The importer."""

    def recognise(self, path: Path) -> str | None:
        parts = open_parts(path)
        if not parts:
            return None
        with open_padded(parts[0]) as file:
            if file is None or not set(_REQUIRED) <= set(file.arrays) or not set(_ENDS) & set(file.arrays):
                return None
            shape = file.arrays["obs"].shape
        if len(shape) != 4:
            return None
        of = "" if len(parts) == 1 else f" in the first of {len(parts)} parts"
        return f"padded episodes in PyMARL's layout: {shape[0]} of at most {shape[1]} rows, {shape[2]} agents{of}"

    def open(self, path: Path, options: Mapping[str, Any]) -> Source:
        """Read the headers of all parts, and what ends and rewards are.

        options: `n_actions` of discrete actions where no array tells it, which makes whole numbers stored as floats
        discrete; `bounds` of continuous ones. Raises DatasetError for a file that lacks an array or whose arrays do not
        fit together, and for an option that contradicts them.
        """
        parts = open_parts(path)
        if not parts:
            raise DatasetError(f"{path} is neither an .h5 or .npz file nor a folder of .h5 files; give one of these")
        layouts, names = [], set[str]()
        for part in parts:
            with open_padded(part) as file:
                layouts.append(_layout(part, file))
                names |= {*file.arrays, *file.others} if file is not None else set()
                stated = exported_card(file) if file is not None else {}
        layout = layouts[0]
        for part, other in zip(parts, layouts, strict=True):
            if (other.keys, other.shapes, other.discrete) != (layout.keys, layout.shapes, layout.discrete):
                raise DatasetError(f"{part} has other arrays, sizes or types than {parts[0]}; import them apart")
        layout, actions = _actions(layout, options, path, stated)
        card = {"environment": None, "behaviour": "unknown", "reference": None} | actions
        if not layout.own_rewards and layout.n_agents > 1:
            card["reward"] = "the team's, the same number for each agent"
        notes = [*_notes(layout), *left_out_note(names, _USED, _KNOWN)]
        return Source(card | stated, _episodes(parts, layout, notes), notes, exact=bool(stated))


IMPORTER = PyMARL()


def _layout(path: Path, file: PaddedFile | None) -> _Layout:
    if file is None:
        raise DatasetError(f"{path} is a dataset of this project already, which needs no import; use it as it is")
    arrays = file.arrays
    for key in (*_REQUIRED, "terminated"):
        if key not in arrays and not (key == "terminated" and _ENDS[0] in arrays):
            raise DatasetError(f"{path} lacks '{key}'; PyMARL's episodes have {', '.join((*_REQUIRED, 'terminated'))}")
    if len(arrays["obs"].shape) != 4 or 0 in arrays["obs"].shape:
        raise DatasetError(
            f"'obs' in {path} has shape {arrays['obs'].shape}; it must be (episodes, rows, agents, size)"
        )
    episodes, rows, n_agents = arrays["obs"].shape[:3]
    shapes: dict[str, tuple[int, ...]] = {}
    for key in (key for key in _USED if key in arrays):
        shape = tuple(arrays[key].shape)
        if len(shape) == 2 and key in ("filled", "reward", *_ENDS):  # a number a row, without an axis of its own
            shape = (*shape, 1)
        axes: tuple[Any, ...] = _AXES.get(key, (n_agents,) if shape[2:] == (n_agents,) else (1,))
        wanted = (episodes, rows, *(n_agents if axis == "N" else axis for axis in axes))
        fits = len(shape) == len(wanted) and 0 not in shape
        if not fits or any(isinstance(want, int) and have != want for have, want in zip(shape, wanted, strict=True)):
            said = ", ".join(str(want) for want in wanted)
            raise DatasetError(
                f"'{key}' in {path} has shape {tuple(arrays[key].shape)}; beside obs of shape {arrays['obs'].shape} it "
                f"must be ({said})"
            )
        shapes[key] = shape[2:]
    offered = {shapes[key][1] for key in ("avail_actions", "actions_onehot") if key in shapes}
    if len(offered) > 1:
        raise DatasetError(
            f"'avail_actions' and 'actions_onehot' in {path} have other numbers of actions; fetch it anew"
        )
    if shapes["actions"][1] in offered:
        check_no_onehot(np.asarray(arrays["actions"][:1]), path)
    whole = arrays["actions"].dtype.kind in "biu"
    discrete = whole or (bool(offered) and shapes["actions"][1] == 1 and offered != {1})
    if discrete and shapes["actions"][1] != 1:
        raise DatasetError(f"'actions' in {path} are whole numbers, {shapes['actions'][1]} an agent; they must be one")
    return _Layout(tuple(shapes), shapes, discrete, next(key for key in _ENDS if key in shapes))


def _actions(
    layout: _Layout, options: Mapping[str, Any], path: Path, stated: Mapping[str, Any]
) -> tuple[_Layout, dict[str, Any]]:
    """The layout, discrete where an option makes it so, and the card's entries on actions.

    stated: what our exporter noted. Raises DatasetError where an option must state them, or contradicts the file.
    """
    given, size = whole_number(options, "n_actions"), layout.shapes["actions"][1]
    told = [layout.shapes[key][1] for key in ("avail_actions", "actions_onehot") if key in layout.keys]
    if "n_actions" in stated:
        told = [stated["n_actions"]]
    if given is not None:
        if size != 1 or stated.get("action_space") == "continuous":
            refuse_option(options, "n_actions", f"'actions' in {path} are continuous")
        if told and told[0] != given:
            refuse_option(options, "n_actions", f"{path} tells of {told[0]} actions")
        layout = replace(layout, discrete=True)
    if layout.discrete:
        refuse_option(options, "bounds", f"'actions' in {path} are discrete")
        if not told and given is None:
            raise DatasetError(f"{path} has no 'avail_actions' that tells how many actions there are; add --n-actions")
        return layout, {"action_space": "discrete", "n_actions": told[0] if told else given}
    if "action_low" in stated:
        refuse_option(options, "bounds", f"{path} states its own")
    low, high = stated_bounds(options, size)
    return layout, {"action_space": "continuous", "action_low": low, "action_high": high}


def _notes(layout: _Layout) -> list[str]:
    notes = []
    if layout.end == "corrected_terminated":
        notes.append(
            "episodes end where corrected_terminated says, as in OffPyMARL; its conversion flagged time limits as "
            "terminals too, which cannot be told apart any more"
        )
    if not layout.own_rewards and layout.n_agents > 1:
        notes.append("the team's reward is written once for each agent")
    return notes


def _episodes(parts: list[Path], layout: _Layout, notes: list[str]) -> Iterator[Episode]:
    for part in parts:
        with open_padded(part) as file:
            if file is None or _layout(part, file).shapes != layout.shapes:
                raise DatasetError(f"{part} changed while it was imported; import it again")
            n_episodes = int(file.arrays["obs"].shape[0])
            for start, stop in blocks(file, layout.keys):
                block = {key: np.asarray(file.arrays[key][start:stop]) for key in layout.keys}
                for index in range(stop - start):
                    rows = {key: array[index].reshape(len(array[index]), *layout.shapes[key])
                            for key, array in block.items()}  # fmt: skip
                    known = file.last_action_known(start + index, n_episodes)
                    yield _episode(rows, layout, f"episode {start + index} of {part}", known)
    tally = layout.tally
    if tally.copied:
        notes.append(copied_note(tally.copied))
    if tally.lost:
        notes.append(
            f"{tally.lost} episodes have a reward on their last row, whose next observation was not recorded: that "
            f"step is left out, and with it rewards of {tally.lost_sum:g} in all"
        )


def _episode(rows: dict[str, np.ndarray], layout: _Layout, origin: str, known: bool | None) -> Episode:
    """One episode from its padded rows (T, ...)."""
    n_filled = filled_rows(rows["filled"][:, 0], origin)
    ends = rows[layout.end][:n_filled, 0]
    check_flags(ends, layout.end, origin)
    if "avail_actions" in rows:
        check_flags(rows["avail_actions"][:n_filled], "avail_actions", origin)
    check_finite(rows["reward"][:n_filled], "reward", origin)
    flagged = np.flatnonzero(ends)
    first = int(flagged[0]) if len(flagged) else None
    if first is not None and first < n_filled - 2:
        raise DatasetError(
            f"{origin}: '{layout.end}' is 1 on row {first}, and 'filled' has {n_filled} rows; a terminal is on the "
            "last or the last but one of them"
        )
    copied = first == n_filled - 1
    index = kept_rows(n_filled, copied)
    if len(index) < 2:
        raise DatasetError(f"{origin}: 'filled' has one row; an episode has a step and the row after it")
    taken = [key for key in ("obs", "state", "avail_actions") if key in rows]
    arrays: dict[str, np.ndarray] = {key: rows[key][index] for key in taken}
    reward = rows["reward"][index].astype(np.float64)  # (L + 1, 1) or (L + 1, N)
    layout.tally.copied += copied
    if not copied and np.any(reward[-1]):
        if first is not None and layout.end == "terminated":
            raise DatasetError(
                f"{origin}: 'reward' is not 0 on row {n_filled - 1}, behind the step into the terminal, so rewards "
                "stand one row late; move them up by a row"
            )
        layout.tally.lost += 1
        layout.tally.lost_sum += float(reward[-1].mean())
    reward[-1] = 0
    actions = np.array(rows["actions"][:n_filled])
    actions = (whole_actions(actions, origin) if layout.discrete else actions)[index]
    if "actions_onehot" in rows and layout.discrete:
        check_onehot(rows["actions_onehot"][index[:-1]], actions[:-1], origin)
    if known is None:
        known = not copied and _last_action_known(rows, n_filled - 1, layout)
        if not known:
            actions[-1] = 0
    arrays |= {
        "actions": actions,
        "reward": np.broadcast_to(reward, (len(index), layout.n_agents)),
        "terminated": terminal_flags(len(index), first is not None),
    }
    return Episode(arrays, known, origin)


def _last_action_known(rows: Mapping[str, np.ndarray], last: int, layout: _Layout) -> bool:
    """Whether the final row's action was chosen there: a runner that chooses none leaves zeros in the batch."""
    actions = rows["actions"][last]  # (N, A)
    if not layout.discrete:
        return bool(np.any(actions))
    chosen = np.clip(actions.astype(np.int64), 0, None)  # (N, 1)
    if "actions_onehot" in rows:
        onehot = rows["actions_onehot"][last]  # (N, n)
        if not (onehot.any(1).all() and np.array_equal(onehot.argmax(1), chosen[:, 0])):
            return False
    elif not chosen.any():
        return False
    available = rows.get("avail_actions")
    if available is None:
        return True
    within = chosen.max() < available.shape[2]
    return bool(within and np.take_along_axis(available[last], chosen, axis=1).all())
