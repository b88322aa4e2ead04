"""A folder of OMAR's `.npy` files, some for each agent: `datasets.importers.omar` reads it, and so do OMAR and CFCQL.

Beside OMAR's own files the folder holds the final rows' actions, `final_acs_i` (E, A), and whether the behaviour chose
them, `last_action_known` (E,). OMAR has no place for them; its programs open files by name and pass these over.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from datasets.dataset import OfflineDataset
from datasets.importers.omar_files import FINAL, KNOWN, TASKS, Task
from utils import signals
from utils.errors import DatasetError
from utils.files import output_error, writing_folder

_BLOCK = 1 << 24  # bytes of observations at once


@signals.StopSignals()
def export(dataset: OfflineDataset, out: Path, replace: bool) -> list[str]:
    """Write `dataset` to the folder `out`, which must not exist; see `exporters.export_dataset`."""
    task = _task(dataset)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DatasetError(f"{out} exists already, and no folder is replaced; choose another name, or delete it")
    rows = int(dataset.episode_offsets[1])
    try:
        with writing_folder(out) as temporary:
            for start, stop in _ranges(dataset, rows):
                block = {key: np.asarray(array[start * rows : stop * rows]) for key, array in dataset.arrays.items()}
                shaped = {key: array.reshape(stop - start, rows, *array.shape[1:]) for key, array in block.items()}
                for name, values in _files(shaped, task):
                    _append(temporary / f"{name}.npy", values, start == 0, dataset.n_episodes)
            np.save(temporary / f"{KNOWN}.npy", dataset.last_action_known)
    except OSError as error:
        raise output_error(out, error) from error
    notes = ["the prey's own files are not there, as it is part of the environment"] if task.prey_obs else []
    return [*notes, f"the final rows' actions are in {FINAL}_0.npy, ..., which OMAR's programs do not read"]


def _task(dataset: OfflineDataset) -> Task:
    """The task that the dataset is of. Raises DatasetError for what OMAR's files cannot hold."""
    environment = dataset.card["environment"]
    key = environment["env_args"].get("key")
    task = next((task for task in TASKS if (task.env, task.key) == (environment["env"], key)), None)
    if task is None:
        known = ", ".join(f"{task.env} {task.key}" for task in TASKS)
        env = environment["env"]
        own = "states no environment" if env is None else f"is of {env}" + (f" {key}" if key is not None else "")
        raise DatasetError(f"{dataset.path} {own}; OMAR's files are of {known}")
    lengths = np.diff(dataset.episode_offsets)
    if dataset.arrays["terminated"].any() or len(set(lengths.tolist())) > 1:
        raise DatasetError(
            f"{dataset.path} has terminals or episodes of several lengths, for which OMAR's files have no place"
        )
    wanted: dict[str, tuple[int, ...]] = {"obs": (task.n_agents, task.obs), "actions": (task.n_agents, task.action)}
    wanted |= {"state": (task.state,)} if task.state else {}
    for name, array in dataset.arrays.items():
        if name not in ("reward", "terminated") and array.shape[1:] != wanted.get(name):
            raise DatasetError(
                f"'{name}' in {dataset.path} has rows of {array.shape[1:]}, OMAR's {task.name} "
                f"{wanted.get(name, 'no such array')}"
            )
    return task


def _ranges(dataset: OfflineDataset, rows: int) -> Iterator[tuple[int, int]]:
    """Ranges of episodes to write at once."""
    step = max(1, _BLOCK // (4 * rows * int(np.prod(dataset.arrays["obs"].shape[1:]))))
    for start in range(0, dataset.n_episodes, step):
        signals.check("between two blocks of an export; what was not complete is not kept")
        yield start, min(start + step, dataset.n_episodes)


def _files(block: dict[str, np.ndarray], task: Task) -> Iterator[tuple[str, np.ndarray]]:
    """Names and rows of the files from whole episodes (E, L + 1, ...)."""
    n_episodes, length = block["reward"].shape[0], block["reward"].shape[1] - 1
    done = np.zeros((n_episodes, length), np.float32)
    done[:, -1] = task.env == "mamujoco"  # whose files flag the time limit; those of the particle tasks do not
    for agent in range(task.n_agents):
        yield f"obs_{agent}", block["obs"][:, :-1, agent]
        yield f"next_obs_{agent}", block["obs"][:, 1:, agent]
        yield f"acs_{agent}", block["actions"][:, :-1, agent]
        yield f"rews_{agent}", block["reward"][:, :-1, agent]
        yield f"dones_{agent}", done
        if "state" in block:
            yield f"states_{agent}", block["state"][:, :-1]
            yield f"next_states_{agent}", block["state"][:, 1:]
        yield f"{FINAL}_{agent}", block["actions"][:, -1:, agent]


def _append(file: Path, values: np.ndarray, first: bool, n_episodes: int) -> None:
    """Add the rows of episodes (E, L, ...) to a file, which has a header for all episodes' rows in front."""
    with open(file, "wb" if first else "ab") as opened:
        if first:
            shape = (n_episodes * values.shape[1], *values.shape[2:])
            np.lib.format.write_array_header_1_0(opened, {"descr": "<f4", "fortran_order": False, "shape": shape})
        opened.write(np.ascontiguousarray(values, "<f4").tobytes())
