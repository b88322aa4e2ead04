"""Minari's HDF5 datasets of several agents: Dict or Tuple spaces with one entry an agent; also those of one agent.

A dataset is a folder with `data/main_data.hdf5` and `data/metadata.json`. The groups `episode_0`, ... hold observations
(L + 1 rows), actions, rewards, terminations and truncations (L rows each). The package minari is not needed.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from datasets.declared import check_expansion, plain_attribute
from datasets.importers.foreign_hdf5 import check_sizes, is_hdf5, member, numbers, open_hdf5
from datasets.importers.minari_episode import Layout, episode_arrays, layout_of
from datasets.importers.minari_spaces import Space, shown_space, stated_space
from datasets.importers.options import refuse_option, stated_bounds, whole_number
from datasets.importers.padded_files import CARD, PaddedFile, exported_card, natural
from datasets.importers.source import Episode, Source
from utils.bounds import shortest
from utils.errors import DatasetError, printable

_FILE = "main_data.hdf5"
_LARGEST_METADATA = 1 << 24
_TEXTS = ("observation_space", "action_space")


@dataclass
class _Tally:
    cut: int = 0
    both: int = 0
    total: int = 0
    held: int = 0
    notes: list[str] = field(default_factory=list)


class Minari:
    """The importer."""

    def recognise(self, path: Path) -> str | None:
        file = _main_file(path) or path
        if not is_hdf5(file):
            return None
        with open_hdf5(file) as opened:
            if "episode_0" not in opened:
                return None
            if file.name != _FILE:
                raise DatasetError(f"{file} has the group 'episode_0' as Minari's {_FILE} has; rename it to {_FILE}")
            return f"a Minari dataset of {len(_names(opened))} episodes"

    def open(self, path: Path, options: Mapping[str, Any]) -> Source:
        """Read the metadata and what the first episode holds.

        options: where the spaces do not tell them, `bounds` of continuous actions and `n_actions` of discrete ones.
        Raises DatasetError for another storage than HDF5, for spaces that cannot become observations and actions, and
        for missing arrays.
        """
        file = _main_file(path)
        if file is None and is_hdf5(path):
            raise DatasetError(f"{path} is not named {_FILE}, as a Minari dataset's file must be; rename it")
        if file is None:
            raise DatasetError(
                f"{path} is no Minari dataset in HDF5: there is no {_FILE} in it or in its folder data; one stored as "
                "Arrow can be converted with minari"
            )
        metadata = _metadata(file)
        with open_hdf5(file) as opened:
            names = _names(opened)
            if not names:
                raise DatasetError(f"{file} has no group 'episode_0', so it is no Minari dataset")
            count = metadata.get("total_episodes")
            if isinstance(count, int) and count != len(names):
                raise DatasetError(
                    f"{file} holds {len(names)} episodes and its metadata.json says {count}; fetch the dataset anew"
                )
            for key in (*_TEXTS, "env_spec"):  # where releases before 0.5 keep them
                metadata.setdefault(key, plain_attribute(opened, key))
            first = member(opened, names[0], file)
            if not isinstance(first, h5py.Group):
                raise DatasetError(f"'{names[0]}' in {file} is no group; fetch the dataset anew")
            n_actions = whole_number(options, "n_actions")
            spaces = [_space(metadata, key, first, file, n_actions) for key in _TEXTS]
            layout = layout_of(spaces[0], spaces[1], first, file)
            stated = exported_card(PaddedFile({}, plain_attribute(opened, CARD)))
        if "action_low" in stated:
            refuse_option(options, "bounds", f"{file} states its own")
        card = _card(layout, metadata, options, file)
        tally = _Tally(notes=list(layout.notes))
        return Source(card | stated, _episodes(file, names, layout, tally), tally.notes, exact=bool(stated))


IMPORTER = Minari()


def _main_file(path: Path) -> Path | None:
    choices = (path / "data" / _FILE, path / _FILE, path)
    return next((choice for choice in choices if choice.name == _FILE and choice.is_file()), None)


def _names(file: h5py.File) -> list[str]:
    names = [name for name in file if isinstance(name, str) and name.startswith("episode_") and name[8:].isdigit()]
    return sorted(names, key=natural)


def _metadata(file: Path) -> dict[str, Any]:
    """The mapping in metadata.json; an empty one where there is no such file, as before Minari 0.5."""
    path = file.with_name("metadata.json")
    if not path.is_file():
        return {}
    try:
        if path.stat().st_size > _LARGEST_METADATA:
            raise ValueError("it is larger than metadata can be")
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError("it is no mapping")
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(f"{path} cannot be read ({printable(str(error))[:100]}); fetch it anew") from error
    if found.get("data_format", "hdf5") != "hdf5":
        raise DatasetError(f"{path} says that the data are stored as {found['data_format']!r}; convert them to hdf5")
    return found


def _space(metadata: Mapping[str, Any], key: str, first: h5py.Group, file: Path, n_actions: int | None) -> Space:
    text = metadata.get(key)
    place = f"{key} of {file.with_name('metadata.json')}"
    if text is None:
        name = "actions" if key == "action_space" else "observations"
        entry = member(first, name, file)
        place = f"'{first.name.lstrip('/')}/{name}' in {file}"
        if entry is None:
            raise DatasetError(f"{place} is missing; fetch the dataset anew")
    try:
        if text is not None:
            return stated_space(json.loads(text) if isinstance(text, str) else text)
        return shown_space(entry, lambda group: _members(group, file), key == "action_space", n_actions)
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{place} {printable(str(error))[:200]}") from error
    except DatasetError as error:
        raise DatasetError(f"{place}: {error}") from error


def _members(group: h5py.Group, file: Path) -> dict[str, Any]:
    return {name: member(group, name, file) for name in sorted(group, key=natural)}


def _card(layout: Layout, metadata: Mapping[str, Any], options: Mapping[str, Any], file: Path) -> dict[str, Any]:
    made = {
        name: printable(str(metadata[key]))[:200]
        for name, key in (("minari_dataset", "dataset_id"), ("author", "author"), ("env_spec", "env_spec"))
        if metadata.get(key)
    }
    behaviour = metadata.get("algorithm_name")
    card: dict[str, Any] = {
        "environment": None,
        "behaviour": printable(behaviour)[:200] if isinstance(behaviour, str) and behaviour else "unknown",
        "made_by": made,
        "reference": _reference(metadata),
    }
    if layout.reward_size == 1 and len(layout.names) > 1:
        card["reward"] = "the team's, the same number for each agent"
    if layout.discrete:
        refuse_option(options, "bounds", f"the actions of {file} are discrete")
        if whole_number(options, "n_actions") not in (None, layout.action_size):
            refuse_option(options, "n_actions", f"{file} tells of {layout.action_size} actions")
        return card | {"action_space": "discrete", "n_actions": layout.action_size}
    refuse_option(options, "n_actions", f"the actions of {file} are continuous")
    low, high = _bounds(layout, options, file)
    return card | {"action_space": "continuous", "action_low": low, "action_high": high}


def _bounds(layout: Layout, options: Mapping[str, Any], file: Path) -> tuple[list[Any], list[Any]]:
    """The spaces' own bounds; those of the option, -1 and 1 without one, where a space is not known or has none.

    Raises DatasetError where bounds are missing, and where the spaces leave no room for the option.
    """
    size = (len(layout.names), layout.action_size)
    has = np.arange(layout.action_size) < np.array([[space.size] for space in layout.actions])  # (N, A)
    bounds = np.zeros((2, *size))  # low and high
    needed = False
    for agent, space in enumerate(layout.actions):
        stated = np.asarray(stated_bounds(options, space.size))  # (2, A)
        if space.low is None or space.high is None:
            own, missing = stated, np.ones(stated.shape, bool)
        else:
            own = np.stack([space.low, space.high])
            missing = ~np.isfinite(own)
        if options.get("bounds") is not None:
            own = np.where(missing, stated, own)
        needed |= bool(missing.any())
        bounds[:, agent, : space.size] = own
    if not np.isfinite(bounds).all():
        raise DatasetError(f"the actions of {file} have no finite bounds; state them, such as --bounds=-1,1")
    given = np.asarray(stated_bounds(options, 1))  # (2, 1)
    if not needed and (bounds[:, has].astype(np.float32) != given.astype(np.float32)).any():
        low, high = bounds[:, has].min(), bounds[:, has].max()
        refuse_option(options, "bounds", f"the actions of {file} have bounds of their own, within {low:g} and {high:g}")
    least, greatest = shortest(bounds[0], bounds[1], has)
    return least, greatest


def _reference(metadata: Mapping[str, Any]) -> dict[str, Any] | None:
    """Minari's reference scores: mean returns of a random policy and of an expert."""
    random, expert = metadata.get("ref_min_score"), metadata.get("ref_max_score")
    if not all(isinstance(score, int | float) and np.isfinite(score) for score in (random, expert)) or random == expert:
        return None
    return {"random": random, "expert": expert, "source": "the Minari dataset's metadata"}


def _episodes(file: Path, names: list[str], layout: Layout, tally: _Tally) -> Iterator[Episode]:
    with open_hdf5(file) as opened:
        for name in names:
            group = member(opened, name, file)
            if not isinstance(group, h5py.Group):
                raise DatasetError(f"'{name}' in {file} is no group; fetch the dataset anew")
            entries = layout.entries(group, file)
            total, held = check_sizes(opened, entries.values(), file)
            tally.total, tally.held = tally.total + total, tally.held + held
            check_expansion(file, tally.total, tally.held)
            values = {key: numbers(entry[()]) for key, entry in entries.items()}
            arrays, ended, cut = episode_arrays(values, layout, f"{name} of {file}")
            tally.cut += not (ended or cut)
            tally.both += ended and cut
            known = _final_action(group, arrays)
            yield Episode(arrays, known, f"{name} of {file}")
    if tally.cut:
        tally.notes.append(f"{tally.cut} episodes end without a termination or a truncation; they count as cut")
    if tally.both:
        tally.notes.append(f"{tally.both} episodes end by a termination and a truncation at once; they are terminals")


def _final_action(group: h5py.Group, arrays: dict[str, np.ndarray]) -> bool:
    """Put the final row's action there, which our exporter keeps in an attribute; whether the behaviour chose it."""
    final = group.attrs.get("final_action")
    if not isinstance(final, np.ndarray) or final.shape != arrays["actions"].shape[1:] or final.dtype.kind not in "iuf":
        return False
    arrays["actions"][-1] = final
    return bool(group.attrs.get("final_action_known", False))
