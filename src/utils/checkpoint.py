"""Checkpoints: written to a temporary directory and renamed, so never incomplete; checked before they are read."""

from __future__ import annotations

import fcntl
import os
import pickle
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from logging import getLogger
from pathlib import Path
from typing import Any, Protocol

import torch as th

from utils.errors import CheckpointError, OutputError, cause, one_line, printable
from utils.files import clear_remains, output_error, reserve, writing_folder
from utils.manifest import MANIFEST, Damage, ManifestWriter, check_manifest
from utils.paths import user_path
from utils.tensor_files import load_tensors, look_over
from utils.training_state import check_state

_LOG = getLogger(__name__)
STATE_FILE = "train_state.th"
SUFFIX = ".th"  # of model files
CHECKOUT = Path(__file__).resolve().parents[2]
STEP_KEYS = {"checkpoint_path": "load_step", "load_weights": "load_step", "policy_path": "policy_step", "path": "step"}
_STEP = re.compile("0|[1-9][0-9]{0,17}")  # a step directory's name, as `str` writes it
_ASIDE = re.compile(rf"\.({_STEP.pattern})\.replaced")  # an old checkpoint while a new one takes its place
_TORCH_WRITES = ("inline_container", "PytorchStreamWriter", "Parent directory")  # in torch's words for a refused write

# What loading raises for files that are sound and do not fit.
_MISFITS = (RuntimeError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError, AssertionError, EOFError,
            pickle.UnpicklingError)  # fmt: skip
_OTHER_SHAPE = re.compile(  # in what torch's load_state_dict says
    r"size mismatch for (\S+): copying a param with shape torch\.Size\(\[(.*?)\]\) from checkpoint, "
    r"the shape in current model is torch\.Size\(\[(.*?)\]\)"
)


class SavesModels(Protocol):
    """Interface of a learner that a checkpoint uses."""

    def save_models(self, path: str) -> None: ...


# -- writing -----------------------------------------------------------------------------------------------------------


def save_checkpoint(directory: Path, t: int, learner: SavesModels, state: dict[str, Any]) -> Path:
    """Write the learner's model files, `state` and a manifest to `directory`/`t`; return this path.

    A process killed at any moment leaves either no such directory or a complete one. An existing checkpoint of the same
    step is renamed to .`t`.replaced, and removed when the new one is complete; `clear_models` takes it back after a
    kill between the two. Raises OutputError where the disk refuses, and leaves nothing of the new one then.
    """
    final = directory / str(t)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with _locked(directory):
            try:
                with writing_folder(final) as temporary:
                    _write(temporary, learner, state)
                    if final.exists():
                        shutil.rmtree(directory / f".{t}.replaced", ignore_errors=True)
                        os.replace(final, directory / f".{t}.replaced")
            finally:
                _settle(directory)
    except OSError as error:
        raise output_error(final, error) from error
    return final


def clear_models(folder: Path) -> None:
    """Clear away what killed runs left in the model directories below `folder`; whole checkpoints stay.

    Directories of runs that are saving at this moment are left alone, and so is what cannot be removed.
    """
    with suppress(OSError):
        for directory in folder.iterdir():
            _recover(directory)


def _write(folder: Path, learner: SavesModels, state: dict[str, Any]) -> None:
    try:
        with ManifestWriter(folder) as manifest:
            learner.save_models(str(folder))
            manifest.take_files()
            th.save(state, folder / STATE_FILE)
            manifest.write()
    except RuntimeError as error:
        if not any(words in str(error) for words in _TORCH_WRITES):
            raise
        written = max((file.stat().st_size for file in folder.iterdir()), default=0) if folder.is_dir() else 0
        reserve(folder / "probe", written + 2**20)  # torch hides the operating system's error: meet it again
        words = printable(str(error).splitlines()[0])[:200]
        raise OutputError(f"cannot write {folder.parent} ({words}); choose another folder") from error


def _settle(directory: Path) -> None:
    """Take back a checkpoint that was set aside where none took its place, else remove it."""
    for entry in directory.iterdir():
        match = _ASIDE.fullmatch(entry.name)
        if match is not None and not entry.is_symlink():
            if os.path.lexists(directory / match[1]):
                shutil.rmtree(entry, ignore_errors=True)
            else:
                os.rename(entry, directory / match[1])


def _recover(directory: Path) -> None:
    """Clear away what killed writers left in one run's directory, unless a living one is at work there."""
    with suppress(OSError):
        if any(entry.name.startswith(".") for entry in directory.iterdir()) and not directory.is_symlink():
            with _locked(directory, wait=False):
                clear_remains(directory)
                _settle(directory)


@contextmanager
def _locked(directory: Path, wait: bool = True) -> Iterator[None]:
    """A context in which no other process moves checkpoints of `directory`.

    Raises OSError where the directory cannot be opened, and without `wait` where it is locked or cannot be.
    """
    lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(*([OSError] if wait else [])):  # some network disks have no locks for directories
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(lock)


# -- finding -----------------------------------------------------------------------------------------------------------


def find_checkpoint(path: str, load_step: int, key: str = "checkpoint_path") -> Path:
    """Step directory to load: the nearest to `load_step`, or the newest for 0.

    path: a run's model directory, whose sub-directories are steps, or one step directory. key: the configuration's, for
    messages. Raises CheckpointError where there is no such directory.
    """
    shown = f"{key}={printable(path)}"
    try:
        root = user_path(path, key, folder=True)
        if not root.is_dir() and not root.is_absolute() and (CHECKOUT / root).is_dir():
            root = CHECKOUT / root  # results are relative to the checkout, not to the working directory
        if not root.is_dir():
            raise CheckpointError(f"{shown}: there is no such directory; {_nearby(root)}")
        if not _STEP.fullmatch(root.name):
            _recover(root)
        steps = _steps(root)
        if steps:
            step = max(steps) if load_step == 0 else min(steps, key=lambda t: abs(t - load_step))
            return steps[step]
        if _STEP.fullmatch(root.name) and any(entry.name.endswith(SUFFIX) for entry in root.iterdir()):
            if load_step not in (0, int(root.name)):
                raise CheckpointError(
                    f"{shown} is one step, and {STEP_KEYS[key]}={load_step} names another; leave that out, or name the "
                    "directory above"
                )
            return root
    except OSError as error:
        raise CheckpointError(f"{shown}: cannot read it ({cause(error)}); name one that can be read") from error
    raise CheckpointError(
        f"{shown}: it holds no step directories such as {printable(root.name)}/1000; "
        "name the directory that a run printed as its checkpoint"
    )


def _steps(root: Path) -> dict[int, Path]:
    return {int(entry.name): entry for entry in root.iterdir() if _STEP.fullmatch(entry.name) and entry.is_dir()}


def _nearby(root: Path) -> str:
    siblings = sorted(entry.name for entry in root.parent.iterdir() if entry.is_dir()) if root.parent.is_dir() else []
    if not siblings:
        return "models are saved under results/models"
    return printable(f"{root.parent} holds {', '.join(siblings[-3:])}")


# -- checking and reading ----------------------------------------------------------------------------------------------


def check_checkpoint(directory: Path, warn: bool = True) -> None:
    """Check every file of a checkpoint before any of it is used.

    warn: log a warning where there is no manifest, so that only the files' form can be checked. Raises CheckpointError,
    which names the file at fault and the newest checkpoint beside it that is whole.
    """
    try:
        checked = _check_files(directory)
    except Damage as damage:
        raise _refusal(damage) from damage
    except OSError as error:
        raise _unreadable(directory, error) from error
    if warn and not checked:
        _LOG.warning(
            f"{directory} holds no {MANIFEST} (earlier releases and stock EPyMARL write none), so damage to its "
            "numbers would not be noticed"
        )


def load_state(directory: Path, mapped: bool = False, warn: bool = True) -> dict[str, Any]:
    """The training state of a checkpoint, from which a run can be continued; the checkpoint is checked first.

    Tensors are loaded to the CPU and moved by the part that uses them, so that a saved replay buffer does not pass
    through a GPU's memory. mapped: leave tensors in the file until they are read. warn: see `check_checkpoint`.

    Raises CheckpointError where there is no training state (stock EPyMARL's checkpoints hold only weights), where a
    file of the checkpoint is damaged and where the state is of another program.
    """
    check_checkpoint(directory, warn)
    file = directory / STATE_FILE
    if not os.path.lexists(file):
        raise CheckpointError(
            f"{directory} holds no training state (stock EPyMARL saves weights only), so the run cannot be continued: "
            "evaluate it with evaluate=True, or start a new run from its weights with load_weights"
        )
    try:
        state = load_tensors(file, mapped)
        check_state(file, state)
    except Damage as damage:
        raise _refusal(damage) from damage
    except OSError as error:
        raise _unreadable(file, error) from error
    return dict(state)


def checkpoint_seed(checkpoint_path: str, load_step: int) -> int:
    """Seed of the run that wrote a checkpoint. Raises CheckpointError where there is none that is sound.

    The run that continues it warns of a missing manifest.
    """
    return int(load_state(find_checkpoint(checkpoint_path, load_step), mapped=True, warn=False)["seed"])


def load_or_refuse(load: Callable[[], object], directory: Path) -> None:
    """Call `load`, which loads model files. Raises CheckpointError where they are missing or do not fit."""
    try:
        load()
    except (*_MISFITS, OSError) as error:
        if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
            raise _unreadable(directory, error) from error
        absent = isinstance(error, FileNotFoundError) and error.filename
        reason = f"it lacks {Path(absent).name}" if absent else _misfit(error)
        raise CheckpointError(
            f"the checkpoint {directory} does not fit this run ({reason}); give the --config, --env-config, env_args "
            "and network sizes that it was saved with"
        ) from error


def _misfit(error: Exception) -> str:
    """What torch says of weights that do not fit, in one line: of those of another shape the first alone."""
    found = _OTHER_SHAPE.search(str(error))
    if found is None:
        return one_line(error)
    name, there, here = found.groups()
    return f"{name} has shape ({there}) there, ({here}) here"


def _check_files(directory: Path) -> bool:
    """Whether a manifest vouches for the files. Raises Damage for the first one that is not sound, and OSError."""
    checked = check_manifest(directory, SUFFIX)
    for file in sorted(directory.iterdir()):
        if file.name.endswith(SUFFIX):
            look_over(file)
    return checked


def _refusal(damage: Damage) -> CheckpointError:
    """The sentence about a file that is not sound, with the newest step beside it that is."""
    step = damage.file.parent
    whole = None
    with suppress(OSError):
        others = sorted(_steps(step.parent).items(), reverse=True) if _STEP.fullmatch(step.name) else []
        whole = next((other for _, other in others if other.name != step.name and _is_whole(other)), None)
    remedy = f"the newest whole checkpoint is {whole}: name it instead" if whole else "no other step beside it is whole"
    return CheckpointError(f"{printable(str(damage.file))} {damage.reason}; {remedy}")


def _is_whole(directory: Path) -> bool:
    try:
        _check_files(directory)
        return any(file.name.endswith(SUFFIX) for file in directory.iterdir())
    except (Damage, OSError):
        return False


def _unreadable(path: Path, error: OSError) -> CheckpointError:
    """The sentence for an operating system's refusal to read, which says nothing about the content."""
    file = printable(str(error.filename or path))
    return CheckpointError(f"cannot read {file} ({cause(error)}); make it readable, or name another checkpoint")
