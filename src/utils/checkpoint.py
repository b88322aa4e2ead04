"""Checkpoints: written to a temporary directory and renamed, so never incomplete; read without unpickling."""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch as th

from utils.errors import CheckpointError
from utils.files import flush_to_disk
from utils.paths import user_path

STATE_FILE = "train_state.th"
CHECKOUT = Path(__file__).resolve().parents[2]
# Entries that a training state must hold for a run to be continued.
STATE_KEYS = ("t", "seed", "learner_name", "dataset_checksum", "settings", "learner", "buffer", "rng", "statistics",
              "evaluated_for_the_end")  # fmt: skip


class SavesModels(Protocol):
    """Interface of a learner that a checkpoint uses."""

    def save_models(self, path: str) -> None: ...


def save_checkpoint(directory: Path, t: int, learner: SavesModels, state: dict[str, Any]) -> Path:
    """Write the learner's model files and `state` to `directory`/`t`; return this path.

    A process killed at any moment leaves either no such directory or a complete one. An existing checkpoint of the same
    step is renamed to .`t`.replaced and removed when the new one is complete.
    """
    final, temporary, aside = directory / str(t), directory / f".{t}.writing", directory / f".{t}.replaced"
    directory.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    learner.save_models(str(temporary))
    th.save(state, temporary / STATE_FILE)
    for file in temporary.iterdir():
        flush_to_disk(file)
    flush_to_disk(temporary)
    if final.exists():
        shutil.rmtree(aside, ignore_errors=True)
        os.replace(final, aside)
    os.replace(temporary, final)
    flush_to_disk(directory)
    shutil.rmtree(aside, ignore_errors=True)
    return final


def find_checkpoint(checkpoint_path: str, load_step: int) -> Path:
    """Step directory to load: the nearest to `load_step`, or the newest for 0.

    checkpoint_path: a run's model directory, whose sub-directories are steps, or one step directory.
    Raises CheckpointError where there is no such directory.
    """
    root = user_path(checkpoint_path, "checkpoint_path", folder=True)
    if not root.is_dir() and not root.is_absolute() and (CHECKOUT / root).is_dir():
        root = CHECKOUT / root  # results are relative to the checkout, not to the working directory
    if not root.is_dir():
        raise CheckpointError(f"checkpoint_path={checkpoint_path}: there is no such directory; {_nearby(root)}")
    steps = {int(entry.name): entry for entry in root.iterdir() if entry.is_dir() and entry.name.isdigit()}
    if steps:
        step = max(steps) if load_step == 0 else min(steps, key=lambda t: abs(t - load_step))
        return steps[step]
    if root.name.isdigit() and any(root.glob("*.th")):
        return root
    raise CheckpointError(
        f"checkpoint_path={checkpoint_path}: it holds no step directories such as {root.name}/1000; "
        "name the directory that a run printed as its checkpoint"
    )


def _nearby(root: Path) -> str:
    siblings = sorted(entry.name for entry in root.parent.iterdir() if entry.is_dir()) if root.parent.is_dir() else []
    return f"{root.parent} holds {', '.join(siblings[-3:])}" if siblings else "models are saved under results/models"


def load_state(directory: Path, mapped: bool = False) -> dict[str, Any]:
    """The training state of a checkpoint, from which a run can be continued.

    Tensors are loaded to the CPU and moved by the part that uses them, so that a saved replay buffer does not pass
    through a GPU's memory. mapped: leave tensors in the file until they are read.

    Raises CheckpointError where there is no training state (stock EPyMARL's checkpoints hold only weights) and for a
    file that is damaged or of another program.
    """
    file = directory / STATE_FILE
    if not file.is_file():
        raise CheckpointError(
            f"{directory} holds no training state (stock EPyMARL saves weights only), so the run cannot be continued: "
            "evaluate it with evaluate=True"
        )
    try:
        state = th.load(file, map_location="cpu", weights_only=True, mmap=mapped)
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
        raise CheckpointError(
            f"{file} is damaged or no checkpoint of this program; use an earlier step with load_step=STEP"
        ) from error
    missing = [key for key in STATE_KEYS if not isinstance(state, dict) or key not in state]
    if missing:
        raise CheckpointError(
            f"{file} lacks {missing[0]}, so it is no training state of this release; use another checkpoint"
        )
    return dict(state)


def checkpoint_seed(checkpoint_path: str, load_step: int) -> int:
    """Seed of the run that wrote a checkpoint. Raises CheckpointError where there is no such checkpoint."""
    return int(load_state(find_checkpoint(checkpoint_path, load_step), mapped=True)["seed"])


def load_or_refuse(load: Callable[[], None], directory: Path) -> None:
    """Call `load`, which loads model files. Raises CheckpointError where they are missing, damaged or do not fit."""
    try:
        load()
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"a model file in {directory} is damaged; use another step with load_step=STEP"
        ) from error
    except (OSError, RuntimeError, ValueError, TypeError, AttributeError, KeyError, EOFError) as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(
            f"the checkpoint {directory} does not fit this run ({reason}); give the --config, --env-config and network "
            "sizes that it was saved with"
        ) from error
