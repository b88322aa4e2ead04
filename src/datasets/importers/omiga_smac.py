"""OMIGA's SMAC data: a folder with one file of `torch.save` an episode.

An episode is a list over agents of lists over steps of [state, observation, [action], [reward], done, availability].
States are each agent's own; they become one, side by side. What the last step led to is not recorded. Nothing is
unpickled: files of lists, numbers and tensors are read, others are refused.
"""

import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch as th

from datasets.faults import input_error
from datasets.importers.ends import check_finite, check_flags, copied_note, gone_note, kept_rows, terminal_flags
from datasets.importers.padded_files import natural
from datasets.importers.source import Episode, Source
from utils.errors import DatasetError, printable
from utils.manifest import Damage
from utils.tensor_files import load_tensors, look_over

_PARTS = ("state", "obs", "action", "reward", "done", "avail")
_OLD = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # how torch's format before 1.6 begins
_LOOKED_AT = 20  # episodes by which rewards are judged
_FEWEST = 3  # episodes with rewards that fall, by which returns to go are recognised
_CHOICES = ("raw", "to-go")
_ELSEWHERE = "only unpickling reads that, and nothing is unpickled here: convert it elsewhere, see docs/your-data.md"


@dataclass
class _Tally:
    copied: int = 0
    cut: int = 0
    gone: int = 0
    reward: float = 0.0


class OMIGASMAC:
    """The importer."""

    def recognise(self, path: Path) -> str | None:
        files = _files(path)
        if not files or not (_is_old(files[0]) or _is_zip(files[0])):
            return None
        return f"a folder of {len(files)} files of torch's, such as OMIGA's SMAC episodes"

    def open(self, path: Path, options: Mapping[str, Any]) -> Source:
        """Read the first episodes: what agents see, and whether rewards are returns to go.

        options: `rewards`, raw or to-go, where the first episodes do not show it. Raises DatasetError for a folder
        without files, and for a file that cannot be read without unpickling.
        """
        files = _files(path)
        if not files:
            raise DatasetError(f"{path} is no folder with files in it; give the folder of one set, such as 3m/good")
        stated = options.get("rewards")
        if stated is not None and stated not in _CHOICES:
            raise DatasetError(f"--rewards is '{printable(str(stated))}'; it must be {' or '.join(_CHOICES)}")
        first = _read(files[0])
        judged = [first["reward"], *(_read(file)["reward"] for file in files[1:_LOOKED_AT])]
        to_go = stated == "to-go" or (stated is None and _are_to_go(judged))
        notes = [
            "each agent's own state is kept, side by side with the others'",
            "a battle that the time limit ended is a terminal, as the files flag both ends alike",
        ]
        if to_go:
            notes.append("the files' rewards are returns to go, from which the rewards were computed again")
        elif stated is None:
            notes.append(
                f"rewards are kept as they are: they are no returns to go in the first {len(judged)} episodes, as "
                "some rise within an episode"
                if any((np.diff(reward, axis=0) > 0).any() for reward in judged)
                else "rewards are kept as they are; too few episodes were there to tell them from returns to go"
            )
        names = path.resolve().parts[-2:]
        card = {
            "environment": None,
            "action_space": "discrete",
            "n_actions": first["avail"].shape[2],
            "behaviour": printable(f"OMIGA's {'/'.join(names)}"),
            "quality": printable(names[-1]),
            "reference": None,
        }
        return Source(card, _episodes(files, to_go, first, notes), notes)


IMPORTER = OMIGASMAC()


def _files(path: Path) -> list[Path]:
    """The folder's plain files, episodes in the order of their numbers; none where it is no folder."""
    try:
        found = [file for file in path.iterdir() if not file.name.startswith(".")] if path.is_dir() else []
        return sorted((file for file in found if file.is_file()), key=lambda file: natural(file.name))
    except OSError as error:
        raise input_error(path, error) from error


def _is_old(file: Path) -> bool:
    with open(file, "rb") as opened:
        return opened.read(len(_OLD)) == _OLD


def _is_zip(file: Path) -> bool:
    """Whether a file is an archive of torch's."""
    if not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        return any(name.endswith("/data.pkl") for name in archive.namelist()[:100])


def _read(file: Path) -> dict[str, np.ndarray]:
    """An episode's arrays (steps, agents, ...) by `_PARTS`. Raises DatasetError for a file that holds no episode."""
    try:
        if _is_old(file):
            raise DatasetError(f"{file} is in torch's format from before release 1.6; {_ELSEWHERE}")
        look_over(file)
        content = load_tensors(file)
    except Damage as error:
        raise DatasetError(f"{error}; where it holds NumPy arrays, {_ELSEWHERE}") from error
    except OSError as error:
        raise input_error(file, error) from error
    if not isinstance(content, list | tuple) or not content:
        raise DatasetError(f"{file} holds no list of agents; an episode is a list over agents of lists over steps")
    lengths = [len(agent) if isinstance(agent, list | tuple) else 0 for agent in content]
    if 0 in lengths or len(set(lengths)) > 1:
        raise DatasetError(f"{file} has agents of {lengths} steps; all agents must have as many, at least one")
    for agent, steps in enumerate(content):
        for row, step in enumerate(steps):
            if not isinstance(step, list | tuple) or len(step) != len(_PARTS):
                raise DatasetError(f"{file}: agent {agent} has on row {row} no list of {', '.join(_PARTS)}")
    return {part: _array(file, content, index, part) for index, part in enumerate(_PARTS)}


def _array(file: Path, content: Any, index: int, part: str) -> np.ndarray:
    """One part of all steps, (steps, agents, size)."""
    rows: list[list[np.ndarray]] = []
    size = None
    for row in range(len(content[0])):
        rows.append([])
        for agent, steps in enumerate(content):
            value = steps[row][index]
            try:
                array = np.asarray(value.numpy() if isinstance(value, th.Tensor) else value).reshape(-1)
            except (ValueError, TypeError, RuntimeError):  # lists of several lengths, a tensor of another kind
                array = np.empty(0, object)
            if array.dtype.kind not in "biuf" or len(array) != (size or len(array)) or not len(array):
                raise DatasetError(
                    f"{file}: '{part}' of agent {agent} on row {row} is no list of "
                    f"{f'{size} ' if size else ''}numbers, as elsewhere in the file"
                )
            size = len(array)
            rows[-1].append(array)
    found = np.asarray(rows)
    if size != 1 and part in ("action", "reward", "done"):
        raise DatasetError(f"{file}: '{part}' has {size} numbers a row and agent; it must have one")
    return found.astype(np.uint8) if found.dtype == np.bool_ else found


def _are_to_go(rewards: list[np.ndarray]) -> bool:
    """Whether rewards (steps, agents, 1) never rise within an episode and end above 0: SMAC pays 0 or more a step."""
    falls = [bool((np.diff(reward, axis=0) < 0).any()) for reward in rewards]
    sinking = all((np.diff(reward, axis=0) <= 0).all() and (reward >= 0).all() for reward in rewards)
    return sinking and sum(falls) >= _FEWEST


def _episodes(files: list[Path], to_go: bool, first: Mapping[str, np.ndarray], notes: list[str]) -> Iterator[Episode]:
    tally = _Tally()
    for file in files:
        parts = _read(file)
        for part in _PARTS:
            if parts[part].shape[1:] != first[part].shape[1:]:
                raise DatasetError(
                    f"{file}: '{part}' has rows of {parts[part].shape[1:]}, {files[0].name} has "
                    f"{first[part].shape[1:]} agents and numbers; all episodes must be alike"
                )
        episode = _episode(parts, to_go, file, tally)
        if episode is not None:
            yield episode
    if tally.copied:
        notes.append(copied_note(tally.copied))
    if tally.cut:
        notes.append(
            f"{tally.cut} episodes were cut: their last step, whose next observation is missing, is left out, and with "
            f"it rewards of {tally.reward:g} in all{gone_note(tally.gone)}"
        )


def _episode(parts: Mapping[str, np.ndarray], to_go: bool, file: Path, tally: _Tally) -> Episode | None:
    """An episode's rows; None where it was cut after its first one."""
    n_steps = len(parts["reward"])
    check_finite(parts["reward"], "reward", str(file))
    reward = parts["reward"][..., 0].astype(np.float64)  # (steps, N)
    if to_go:
        rising = np.diff(reward, axis=0) > 0
        if rising.any():
            row = int(np.argwhere(rising)[0][0])
            raise DatasetError(
                f"{file}: 'reward' rises after row {row}, so it is no return to go as in the first episodes; add "
                "--rewards raw"
            )
        reward[:-1] -= reward[1:]
    for part in ("done", "avail"):
        check_flags(parts[part], part, str(file))
    ended = (parts["done"] != 0).all(axis=(1, 2))  # (steps,)
    if ended[:-1].any():
        raise DatasetError(
            f"{file}: 'done' is 1 for all agents on row {int(np.argmax(ended))}, before the last row; one file must "
            "hold one episode"
        )
    terminal = bool(ended[-1])
    tally.copied += terminal
    if not terminal:
        tally.cut += 1
        tally.reward += float(reward[-1].mean())
        if n_steps < 2:
            tally.gone += 1
            return None
    index = kept_rows(n_steps, terminal)
    reward = reward[index]
    reward[-1] = 0
    actions = np.array(parts["action"])[index]  # (L + 1, N, 1)
    if actions.dtype.kind == "f":
        wrong = (actions != np.floor(actions)) | ~np.isfinite(actions)
        if wrong.any():
            row = int(np.argwhere(wrong)[0][0])
            raise DatasetError(f"{file}: 'action' is no whole number on row {row}")
        actions = actions.astype(np.int64)
    if terminal:
        actions[-1] = 0
    arrays = {
        "obs": parts["obs"][index],
        "state": parts["state"][index].reshape(len(index), -1),
        "actions": actions,
        "avail_actions": parts["avail"][index] != 0,
        "reward": reward,
        "terminated": terminal_flags(len(index), terminal),
    }
    return Episode(arrays, not terminal, str(file))
