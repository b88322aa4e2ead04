"""Runs beside those of conftest.py, in its plugged checkout and in new ones: saved, loaded, refused, as printed."""

from __future__ import annotations

import fcntl
import os
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import torch as th

from tests.command_line import ROOT
from tests.compat.ours_in_stock.conftest import COUNTING, OFFLINE, TINY, UPDATES
from tests.compat.ours_in_stock.stand_in import Launcher, build
from utils.manifest import write_manifest

RUNNERS = {"episode": 1, "parallel": 2}  # and how many episodes each plays at once
SAVED = "save_model=True"
STEPS = ("t_max=300", "test_interval=100", "batch_size=4", "buffer_size=16", SAVED, "save_model_interval=50")
# One per learner, and one per runner that can play it.
EVALUATED = {"bc_discrete": "offline", "spacql_discrete": "episode", "comadice_discrete": "parallel"}
SECTIONS = {"docs/reference/ours-in-stock.md": "## Offline"}
SHORTER = ("t_max=9", "test_nepisode=2", "use_cuda=False")


def later_runs(kind: str, runs: Launcher) -> Launcher:
    """The runs, made once, also where several processes test. runs: conftest's, whose checkpoints are taken up."""
    launcher = Launcher(runs.folder / "later")
    launcher.folder.mkdir(exist_ok=True)
    with (launcher.folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not launcher.restore():
            plugged = Path(runs.jobs["bc_discrete"]["cwd"])
            add_online(launcher, plugged)
            add_loads(launcher, plugged, runs)
            add_refusals(launcher, plugged, runs)
            for page in SECTIONS:
                add_as_printed(launcher, page, kind)
            launcher.launch()
            launcher.save()
    return launcher


def add_online(launcher: Launcher, plugged: Path) -> None:
    for alg, own in OFFLINE.items():
        for runner, at_once in RUNNERS.items():
            keys = (*TINY, *STEPS, f"runner={runner}", f"batch_size_run={at_once}", *own)
            launcher.add(f"{alg}-{runner}", plugged, alg, *keys)


def add_loads(launcher: Launcher, plugged: Path, runs: Launcher) -> None:
    """One update more from each learner's last checkpoint; evaluations of policies that always choose 0, or 2."""
    data = f"dataset={runs.folder / 'tiny.h5'}"
    for alg, own in OFFLINE.items():
        saved = runs.models(alg)
        resumed = (*UPDATES, "t_max=61", data, f"checkpoint_path='{saved}'")
        launcher.add(f"resumed-{alg}", plugged, alg, *COUNTING, *resumed, *own)
        runner = EVALUATED[alg]
        for action in (0, 2):
            path = always(action, saved / "61", launcher.folder / f"always-{action}-{alg}" / "61")
            loaded = ("evaluate=True", f"checkpoint_path='{path.parent}'", f"runner={runner}", "test_nepisode=2")
            keys = (*TINY, *loaded, "batch_size=8", "buffer_size=8", f"batch_size_run={RUNNERS.get(runner, 1)}")
            launcher.add(f"always-{action}-{alg}", plugged, alg, *keys, *own)


def always(action: int, saved: Path, path: Path) -> Path:
    """A copy of a checkpoint whose policies choose one action wherever they are."""
    shutil.copytree(saved, path)
    state = th.load(path / "agent.th", weights_only=True)
    state["fc3.bias"][..., action] += 1000
    th.save(state, path / "agent.th")
    write_manifest(path)
    return path


def add_refusals(launcher: Launcher, plugged: Path, runs: Launcher) -> None:
    data = f"dataset={runs.folder / 'tiny.h5'}"
    step = runs.models("bc_discrete") / "61"
    refused = {
        "two-at-once": (data, "batch_size_run=2"),
        "nowhere": ("evaluate=True", "checkpoint_path=results/nowhere"),
        "a-steps-folder": (data, f"checkpoint_path='{step}'"),
        "our-dataset": ("dataset=mpe/simple_spread/expert",),
        "no-file": ("dataset=absent.h5",),
        "none-named": (),
    }
    for name, keys in refused.items():
        launcher.add(name, plugged, "bc_discrete", *COUNTING, *UPDATES, *keys)


def add_as_printed(launcher: Launcher, page: str, kind: str) -> None:
    """A page's commands, one after the other, from a folder beside a checkout as it comes; only made shorter."""
    folder = launcher.folder / "as-printed" / page
    here = folder / "epymarl-offline"
    here.mkdir(parents=True)
    (here / "src").symlink_to(ROOT / "src")
    shutil.move(build(kind, folder), folder / "epymarl")
    for position, (place, words) in enumerate(printed(page)):
        if words[0] == "src/main.py":
            own = (f"local_results_path={folder / 'collected'}",) if place == "." else SHORTER
            words = [word.replace("<run>", "*") for word in (*words, *own)]
        name = f"{page}-{position}"
        log = launcher.folder / f"{name.replace('/', '-')}.log"
        launcher.jobs[name] = {"cwd": os.path.normpath(here / place), "argv": words, "log": str(log)}


def printed(page: str) -> Iterator[tuple[str, list[str]]]:
    """The scripts that a section's commands start, with their arguments, and the folder that `cd` led to."""
    place = "."
    for line in re.findall(r"^ {4}(\S.*)$", section(page), re.MULTILINE):
        for command in line.split(" && "):
            words = shlex.split(command, comments=True)
            if words[0] == "cd":
                place = words[1]
            elif words[0] == "python":
                yield place, words[1:]
            else:
                assert words[:2] == ["pip", "install"], f"{page} prints a command of a kind not known here: {command}"


def section(page: str) -> str:
    """The text below the heading that `SECTIONS` names, up to the next of its level."""
    text = (ROOT / page).read_text()
    return text.split(f"\n{SECTIONS[page]}\n")[1].split("\n## ")[0]
