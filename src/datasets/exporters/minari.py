"""A folder that Minari loads: `data/main_data.hdf5` with a group an episode, and `data/metadata.json`.

Spaces are Dict spaces with an entry an agent, all of one size. A state and available actions are `infos`. What Minari
has no place for, the final row's action, is an attribute of the episode's group. The package minari is not needed.
"""

import json
import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from datasets.bounds import bounds_of
from datasets.dataset import OfflineDataset
from datasets.exporters.pymarl import equal_rewards
from datasets.importers.padded_files import CARD, card_text
from datasets.output import new_hdf5
from utils import signals
from utils.errors import DatasetError
from utils.files import flush_to_disk, output_error, writing_folder

_VERSION = "0.5.3"  # of Minari, whose layout this is
_NAME = re.compile(r"[_A-Za-z0-9][-_A-Za-z0-9]*-v\d+")


@signals.StopSignals()
def export(dataset: OfflineDataset, out: Path, replace: bool) -> list[str]:
    """Write `dataset` to the folder `out`, which must not exist; see `exporters.export_dataset`."""
    if not _NAME.fullmatch(out.name):
        raise DatasetError(f"{out} is no name for Minari, whose names end in a version; call it {out.name}-v0")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DatasetError(f"{out} exists already, and no folder is replaced; choose another name, or delete it")
    team = equal_rewards(dataset.arrays["reward"])
    try:
        with writing_folder(out) as temporary:
            data = temporary / "data"
            data.mkdir()
            (data / "main_data.hdf5").touch()
            with new_hdf5(data / "main_data.hdf5") as file:
                file.attrs[CARD] = card_text(dataset.card)
                for episode in range(dataset.n_episodes):
                    signals.check("between two episodes of an export; what was not complete is not kept")
                    _write_episode(file.create_group(f"episode_{episode}"), dataset, episode, team)
            text = json.dumps(_metadata(dataset, out.name, data / "main_data.hdf5"))
            (data / "metadata.json").write_text(text, encoding="utf-8")
            for written in data.iterdir():
                flush_to_disk(written)
    except OSError as error:
        raise output_error(out, error) from error
    notes = [f"Minari finds it with MINARI_DATASETS_PATH={out.parent.absolute()} as '{out.name}'"]
    if not team:
        notes.append("`rewards` have a number for each agent, (steps, agents)")
    if dataset.last_action_known.any():
        notes.append("the final rows' actions are attributes of the groups, which Minari does not read")
    return notes


def agent_names(n_agents: int) -> list[str]:
    """Names whose alphabetical order is that of the agents."""
    width = len(str(n_agents - 1))
    return [f"agent_{agent:0{width}d}" for agent in range(n_agents)]


def _write_episode(group: h5py.Group, dataset: OfflineDataset, episode: int, team: bool) -> None:
    start, stop = (int(row) for row in dataset.episode_offsets[episode : episode + 2])
    rows = {key: np.asarray(array[start:stop]) for key, array in dataset.arrays.items()}
    discrete = dataset.card["action_space"] == "discrete"
    group.attrs["id"], group.attrs["total_steps"] = episode, stop - start - 1
    for agent, name in enumerate(agent_names(dataset.n_agents)):
        _put(group, f"observations/{name}", rows["obs"][:, agent])
        own = rows["actions"][:-1, agent]
        _put(group, f"actions/{name}", own[:, 0] if discrete else own)
    for key in ("state", "avail_actions"):
        if key in rows:
            _put(group, f"infos/{key}", rows[key])
    _put(group, "rewards", rows["reward"][:-1, 0] if team else rows["reward"][:-1])
    terminated = rows["terminated"][:-1].astype(bool)
    _put(group, "terminations", terminated)
    truncated = np.zeros(len(terminated), bool)
    truncated[-1] = not terminated[-1]
    _put(group, "truncations", truncated)
    known, final = bool(dataset.last_action_known[episode]), rows["actions"][-1]
    if known or final.any():
        group.attrs["final_action"], group.attrs["final_action_known"] = final, known


def _put(group: h5py.Group, place: str, values: np.ndarray) -> None:
    # as Minari writes them, with chunks and without a greatest length
    group.create_dataset(place, data=values, chunks=True, maxshape=(None, *values.shape[1:]))


def _metadata(dataset: OfflineDataset, name: str, file: Path) -> dict[str, Any]:
    card, n_agents = dataset.card, dataset.n_agents
    size = dataset.arrays["obs"].shape[2]
    observation = _box([-np.inf] * size, [np.inf] * size)
    if card["action_space"] == "discrete":
        action = [{"type": "Discrete", "dtype": "int64", "start": 0, "n": int(card["n_actions"])}] * n_agents
    else:
        low, high = bounds_of(card, n_agents)  # (N, A) each
        action = [_box(low[agent].tolist(), high[agent].tolist()) for agent in range(n_agents)]
    names = agent_names(n_agents)
    found = {
        "total_episodes": dataset.n_episodes,
        "total_steps": dataset.n_transitions,
        "data_format": "hdf5",
        "jpeg_encoding": False,
        "observation_space": json.dumps({"type": "Dict", "subspaces": dict.fromkeys(names, observation)}),
        "action_space": json.dumps({"type": "Dict", "subspaces": dict(zip(names, action, strict=True))}),
        "dataset_id": name,
        "algorithm_name": str(card["behaviour"]),
        "author": [],
        "author_email": [],
        "minari_version": _VERSION,
        "dataset_size": round(file.stat().st_size / 1e6, 1),
    }
    reference = card["reference"]
    if reference is not None:
        found |= {"ref_min_score": reference["random"], "ref_max_score": reference["expert"]}
    return found


def _box(low: list[float], high: list[float]) -> dict[str, Any]:
    return {"type": "Box", "dtype": "float32", "shape": [len(low)], "low": low, "high": high}
