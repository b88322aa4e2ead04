"""The scripts in examples/ run as they are."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from datasets.dataset import read_dataset
from tests.command_line import ROOT

EXAMPLES = sorted(path.name for path in (ROOT / "examples").glob("*.py"))


def run(name: str, folder: Path) -> str:
    """What an example prints; it writes under `folder` alone."""
    environment = os.environ | {"PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        [sys.executable, str(ROOT / "examples" / name), str(folder)],
        capture_output=True, text=True, cwd=folder.parent, env=environment, timeout=240,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_every_example_is_tested_and_short() -> None:
    assert EXAMPLES == ["evaluate_checkpoint.py", "train_from_numpy.py"]
    assert all(len((ROOT / "examples" / name).read_text().splitlines()) < 60 for name in EXAMPLES)


def test_training_from_numpy_arrays(tmp_path: Path) -> None:
    printed = run("train_from_numpy.py", tmp_path / "own data")
    dataset = read_dataset(tmp_path / "own data" / "my_data.h5")
    counts = dataset.card["counts"]
    assert dataset.n_episodes == 100 and 0 < counts["terminals"] < 100
    (checkpoint,) = re.findall(r"^  (\S.*/models/.*)$", printed, re.MULTILINE)
    assert (Path(checkpoint) / "agent.th").is_file()


def test_evaluating_a_checkpoint(tmp_path: Path) -> None:
    printed = run("evaluate_checkpoint.py", tmp_path / "short")
    found = re.search(r"^checkpoint (\S+): normalised score (-?[\d.]+) ", printed, re.MULTILINE)
    assert found is not None
    assert (Path(found[1]) / "50" / "agent.th").is_file()
    assert -60 < float(found[2]) < 60  # near a random policy's 0 after so few updates
    assert len(list(tmp_path.glob("short/sacred/spacql/simple_spread/[0-9]*"))) == 2


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_refusal_ends_the_example_with_its_sentence_and_status(tmp_path: Path, name: str) -> None:
    (folder := tmp_path / "own").mkdir()
    (folder / "models").write_text("in the place of a folder")
    asked = [sys.executable, str(ROOT / "examples" / name), str(folder)]
    done = subprocess.run(asked, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert str(folder / "models") in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_documentation_names_them(name: str) -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    assert any(f"examples/{name}" in page.read_text() for page in pages)


@pytest.mark.parametrize(
    ("name", "folder"), [("evaluate_checkpoint.py", "results/short"), ("train_from_numpy.py", "results/my_data")]
)
def test_help_trains_nothing(tmp_path: Path, name: str, folder: str) -> None:
    asked = [sys.executable, str(ROOT / "examples" / name), "--help"]
    printed = subprocess.run(asked, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120).stdout
    assert printed.startswith(f"usage: {name}") and folder in printed
    assert not any(tmp_path.iterdir())
