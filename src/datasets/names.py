"""From a dataset's name to its file: `mpe/simple_spread/random` is offline_data/mpe/simple_spread/random.h5."""

import os
from pathlib import Path

from utils.errors import DatasetError, close_matches

DATA_ROOT = Path(__file__).resolve().parents[2] / "offline_data"

# Datasets too large to be bundled, and the command that makes each.
RECIPES = {
    "mpe/simple_spread/random": (
        "python src/main.py --config=random --env-config=mpe with collect=True collect_episodes=40000 "
        "collect_to=mpe/simple_spread/random seed=0"
    ),
    **{
        f"mpe/simple_spread/{level}": (
            "python src/main.py --config=matd3 --env-config=mpe with collect=True "
            f"checkpoint_path=offline_data/mpe/simple_spread/policies/{level} batch_size_run=500 "
            f"collect_episodes=40000 collect_to=mpe/simple_spread/{level} collect_quality={level} seed=0"
        )
        for level in ("medium", "expert")
    },
    **{
        f"mpe/simple_speaker_listener_v4/qmix-{level}": (
            "python src/main.py --config=qmix --env-config=mpe with collect=True "
            "env_args.key=simple_speaker_listener_v4 env_args.continuous_actions=False "
            f"checkpoint_path=offline_data/mpe/simple_speaker_listener_v4/policies/qmix-{level} epsilon_start=0.1 "
            "epsilon_finish=0.1 batch_size_run=100 collect_episodes=4000 "
            f"collect_to=mpe/simple_speaker_listener_v4/qmix-{level} collect_quality={level} seed=0"
        )
        for level in ("medium", "expert")
    },
}


def dataset_path(name_or_path: str | Path) -> Path:
    """Where the dataset of that name, or at that path, lies or would lie. A path ends in `.h5` or names a file."""
    text = str(name_or_path)
    path = Path(text).expanduser()
    if text.endswith((".h5", ".hdf5")) or path.is_file():
        return path
    named = DATA_ROOT / f"{text}.h5"
    if not Path(os.path.normpath(named)).is_relative_to(DATA_ROOT):  # as written: the file itself may be a link
        raise DatasetError(f"'{text}' is neither a dataset name nor a path ending in .h5")
    return named


def dataset_name(path: str | Path) -> str | None:
    """The name of the dataset that lies, or would lie, at a path under offline_data/; None for any other path.

    path: absolute or relative to the working directory, with or without `.h5`. A bare name is no such path.
    """
    expanded = Path(path).expanduser()
    # as it is written, and with links followed: either side may be reached through one
    for file, root in ((Path(os.path.abspath(expanded)), DATA_ROOT), (expanded.resolve(), DATA_ROOT.resolve())):
        if file.is_relative_to(root) and file != root:
            other_kind = file.suffix != ".h5" and file.exists()  # a folder or a README
            return None if other_kind else file.relative_to(root).as_posix().removesuffix(".h5")
    return None


def resolve_dataset(name_or_path: str | Path) -> Path:
    """The existing file of that name or path. Raises DatasetError with the nearest names or the recipe otherwise."""
    path = dataset_path(name_or_path)
    if path.is_file():
        return path
    text = str(name_or_path)
    if not DATA_ROOT.is_dir():  # plugged into a stock checkout, which has neither the folder nor the recipes' learners
        raise DatasetError(f"there is no dataset '{text}': give {accepted()}, seen from {Path.cwd()}")
    if text in RECIPES:
        raise DatasetError(f"the dataset '{text}' has not been made yet; make it with: {RECIPES[text]}")
    near = close_matches(text, [*dataset_names(), *RECIPES], n=3, cutoff=0.3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"put the file there or under {DATA_ROOT.name}/"
    raise DatasetError(f"there is no dataset '{text}' ({path} does not exist); {hint}")


def accepted() -> str:
    """What the key `dataset` takes here, for people."""
    by_path = "the path of a file that ends in .h5"
    return f"a name under {DATA_ROOT.name}/ or {by_path}" if DATA_ROOT.is_dir() else by_path


def dataset_names() -> list[str]:
    """Names of all datasets under offline_data/."""
    return sorted(file.relative_to(DATA_ROOT).with_suffix("").as_posix() for file in DATA_ROOT.rglob("*.h5"))
