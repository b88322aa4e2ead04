"""Fuzz targets, one per reader: an input is accepted and can be used, or refused by one sentence, at little cost.

Each test tries some seeds of a generator; `python tests/robustness/counts.py TARGET GENERATOR SEED` tries one again.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.robustness import checkpoints, dataset_files, foreign, imports, other_uses, records, settings
from tests.robustness.harness import Call, attempt, campaign, case_folder
from tests.robustness.server import ROOT
from tests.robustness.targets import TARGETS

FEW, MANY = 1, 5  # seeds of each generator
GENERATORS = [(name, generator) for name, target in TARGETS.items() for generator in target.generators]


@pytest.mark.parametrize(("target", "generator"), GENERATORS, ids=[" ".join(each) for each in GENERATORS])
def test_accepted_or_refused_by_one_sentence(target: str, generator: str) -> None:
    assert campaign(TARGETS[target], generator, range(FEW)).faults == []


@pytest.mark.slow
@pytest.mark.parametrize(("target", "generator"), GENERATORS, ids=[" ".join(each) for each in GENERATORS])
def test_many_are_accepted_or_refused_by_one_sentence(target: str, generator: str) -> None:
    assert campaign(TARGETS[target], generator, range(FEW, FEW + MANY)).faults == []


def test_the_page_names_every_target() -> None:
    page = (ROOT / "docs" / "reliability.md").read_text().partition("## Fuzz targets")[2]
    assert [line.split("|")[1].strip() for line in page.splitlines() if line.startswith("|")][2:] == list(TARGETS)


def sound_files(rng: random.Random, folder: Path) -> list[Call]:
    return dataset_files.uses(rng, dataset_files.put_sound(rng, folder))


def sound_checkpoints(rng: random.Random, folder: Path) -> list[Call]:
    checkpoints.put_sound(folder)
    return checkpoints.uses(rng, folder)


def sound_settings(rng: random.Random, folder: Path) -> list[Call]:
    return settings.printed(folder, str(settings.put_settings(rng, folder)))


def sound_buffers(rng: random.Random, folder: Path) -> list[Call]:
    return foreign.imported(foreign.put_buffer(rng, folder))


def sound_records(rng: random.Random, folder: Path) -> list[Call]:
    foreign.put_checkout(folder)
    return foreign.taken_out(rng, folder)


SOUND = [sound_files, sound_checkpoints, other_uses.sound_weights, other_uses.sound_policies, sound_settings,
         sound_buffers, sound_records, records.sound_runs, imports.sound_imports]  # fmt: skip


@pytest.mark.parametrize("sound", SOUND)
def test_sound_inputs_are_accepted_and_used(sound: dataset_files.Generator) -> None:
    """Without this, readers that refuse everything would pass."""
    for seed in range(4):
        with case_folder() as folder:
            for call in sound(random.Random(seed), folder):
                outcome, fault = attempt(call, folder)
                assert fault is None and outcome.code == 0, outcome


@pytest.mark.parametrize(
    ("promise", "fault"),
    [("time", "it takes 1."), ("memory", "it takes 6"), ("signal", "it dies of SIGSEGV"), ("hang", "it hangs"),
     ("traceback", "a traceback: KeyError"), ("new file", "it leaves new file"), ("status", "exit status 3"),
     ("changed file", "it changes changed file"), ("silence", "no sentence"), ("two sentences", "more than one"),
     ("escape", "it prints '\\x1b'")],
)  # fmt: skip
def test_broken_promises_are_noticed(promise: str, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.robustness.harness.TIMEOUT", 1 if promise == "hang" else 60)
    if promise == "time":
        monkeypatch.setattr("tests.robustness.harness.SECONDS", 0.9)
    with case_folder() as folder:
        (folder / "changed file").write_text("mine")
        _, found = attempt(Call("breaking", (promise, "1"), writes=("changed file", "new file")), folder)
    assert found is not None and found.startswith(fault)


def test_permissions_are_obeyed() -> None:
    """Also where the tests are root's, who may read everything: else no test of permissions could fail."""
    with case_folder() as folder:
        path = dataset_files.put_sound(random.Random(0), folder)
        path.chmod(0)
        outcome, _ = attempt(Call("dataset", ("verify", str(path)), unprivileged=True), folder)
        assert outcome.code == 1


def test_the_same_seed_makes_the_same_input() -> None:
    made = []
    for _ in range(2):
        with case_folder() as folder:
            TARGETS["dataset file"].generators["overwritten"](random.Random(5), folder)
            made.append((folder / "data" / "set.h5").read_bytes())
    assert made[0] == made[1]
