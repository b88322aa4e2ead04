"""Names of datasets: `mpe/simple_spread/random` is the file offline_data/mpe/simple_spread/random.h5."""

import os
import re
from pathlib import Path

from datasets.faults import check_plain_file, input_error
from utils.errors import DatasetError, close_matches, printable
from utils.paths import reachable, user_path

DATA_ROOT = Path(__file__).resolve().parents[2] / "offline_data"

# Datasets that come with this repository.
BUNDLED = (
    *(f"bridge/{name}" for name in ("mix", "optimal", "random")),
    *(
        f"mamujoco/{robot}/{level}-20k"
        for robot in ("Ant-2x4", "HalfCheetah-2x3", "HalfCheetah-6x1", "Hopper-3x1")
        for level in ("expert", "medium", "medium-replay")
    ),
    "mamujoco/HalfCheetah-2x3/random-20k",
    *(f"matrix_game/{name}" for name in ("penalty/random", "xor/aa-ab-ba", "xor/ab", "xor/ab-ba", "xor/random")),
    *(f"mpe/simple_spread/{name}" for name in ("medium-100k", "medium-replay", "random-100k")),
    *(f"mpe/{task}/medium-replay" for task in ("simple_tag", "simple_world")),
)
_ENDINGS = (".h5", ".hdf5")  # of what is a path and no name
_SIMILAR = 0.7  # of a path to a dataset's name, for a suggestion
_FAMILY = re.compile(r'^FOLDER="(.+)"\nSETS="(.+)"$', re.MULTILINE)


def recipes() -> dict[str, str]:
    """The command that makes each dataset, by name, as the scripts in offline_data/recipes/ say of themselves."""
    found: dict[str, str] = {}
    for script in sorted((DATA_ROOT / "recipes").glob("*.sh")):
        family = _FAMILY.search(script.read_text(encoding="utf-8"))
        if family is not None:
            command = f"sh {DATA_ROOT.name}/recipes/{script.name}"
            found |= {f"{family[1]}/{name}": f"{command} {name}" for name in family[2].split()}
    return found


def dataset_path(name_or_path: str | Path, key: str = "dataset") -> Path:
    """Path of a dataset, whether it exists or not. A path ends in `.h5` or names a file; all else is a name.

    key: who gives it, for messages. Raises DatasetError for a name that leads out of offline_data/, ConfigError for
    what cannot be a path.
    """
    text = str(name_or_path)
    path = user_path(text, key)
    if text.endswith(_ENDINGS) or _is_file(path):
        return path
    named = DATA_ROOT / f"{text}.h5"
    if not Path(os.path.normpath(named)).is_relative_to(DATA_ROOT):  # links are not followed: the file may be one
        raise DatasetError(f"'{printable(text)}' is neither a dataset name nor a path ending in .h5; give {accepted()}")
    return reachable(named, key)


def output_path(name_or_path: str | Path) -> Path:
    """Path of a dataset that a command writes, its `-o`.

    Raises DatasetError for an existing file of another ending, which `--force` must not replace, and as `dataset_path`
    does.
    """
    path = dataset_path(name_or_path, "-o")
    if path.suffix not in _ENDINGS:
        raise DatasetError(f"-o names the file {path}, which exists and does not end in .h5; give {accepted()}")
    return path


def dataset_name(path: str | Path) -> str | None:
    """Name of the dataset at a path under offline_data/, whether it exists or not; None for any other path.

    path: absolute or relative to the working directory, with or without `.h5`; not a dataset name. Raises ConfigError
    for what cannot be a path.
    """
    expanded = user_path(path, "dataset")
    # without and with links followed, as either path may contain links
    followed, root_followed = Path(os.path.realpath(expanded)), Path(os.path.realpath(DATA_ROOT))
    for file, root in ((Path(os.path.abspath(expanded)), DATA_ROOT), (followed, root_followed)):
        if file.is_relative_to(root) and file != root:
            other_kind = file.suffix != ".h5" and os.path.lexists(file)  # a folder or a README
            return None if other_kind else file.relative_to(root).as_posix().removesuffix(".h5")
    return None


def resolve_dataset(name_or_path: str | Path) -> Path:
    """File of an existing dataset. Raises DatasetError, with its recipe or the nearest names, where there is none."""
    path = dataset_path(name_or_path)
    if os.path.lexists(path):
        check_plain_file(path)
        return path
    _check_reachable(path)
    text = str(name_or_path)
    said = printable(text)
    # in a checkout of stock EPyMARL, which has neither the folder nor the learners of the recipes
    if not DATA_ROOT.is_dir():
        raise DatasetError(f"there is no dataset '{said}': give {accepted()}, relative to {Path.cwd()}")
    if text.endswith(_ENDINGS):
        near = close_matches(text.rpartition(".")[0], dataset_names(), n=3, cutoff=_SIMILAR)
        listed = "give the path of an existing file, or a name that 'python src/dataset.py list' shows"
        hint = f"did you mean {' or '.join(near)}?" if near else listed
        raise DatasetError(f"there is no dataset file {printable(os.path.abspath(path))}; {hint}")
    commands = recipes()
    if text in commands:
        raise DatasetError(f"the dataset '{text}' has not been made yet; make it with: {commands[text]}")
    near = close_matches(text, sorted({*dataset_names(), *commands}), n=3, cutoff=0.3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"put the file there or under {DATA_ROOT.name}/"
    raise DatasetError(f"there is no dataset '{said}' ({printable(str(path))} does not exist); {hint}")


def accepted() -> str:
    """Values of the key `dataset`, for messages."""
    by_path = "the path of a file that ends in .h5"
    return f"a name under {DATA_ROOT.name}/ or {by_path}" if DATA_ROOT.is_dir() else by_path


def dataset_names() -> list[str]:
    """Names of all datasets under offline_data/."""
    return sorted(file.relative_to(DATA_ROOT).with_suffix("").as_posix() for file in DATA_ROOT.rglob("*.h5"))


def _is_file(path: Path) -> bool:
    """Whether a plain file is at `path`; also False where the operating system refuses to look."""
    try:
        return path.is_file()
    except OSError:
        return False


def _check_reachable(path: Path) -> None:
    """Raise DatasetError where the operating system refuses to look for `path`: then it may exist all the same."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        raise input_error(path, error) from error
