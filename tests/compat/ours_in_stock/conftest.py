"""Checkouts with and without our learners, and every run that the tests of this folder look at."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from stock import plug, plug_into
from tests.compat.ours_in_stock.stand_in import HERE, LIMIT, Launcher, build, write_tiny_dataset
from tests.compat.stock_checkout import stock_checkout
from utils import files as written

OFFLINE = {
    "bc_discrete": (),
    "spacql_discrete": ("ensemble_size=3",),
    "comadice_discrete": ("mixer_layers=1",),
}
SHORT = ("hidden_dim=8", "use_cuda=False", "seed=3", f"env_args.time_limit={LIMIT}", "test_nepisode=4",
         "runner_log_interval=20", "learner_log_interval=20", "log_interval=20")  # fmt: skip
COUNTING = (*SHORT, "env_args.key=tiny_team:CountingTeam-v0")
TINY = (*SHORT, "env_args.key=tiny_team:TinyTeam-v0")
UPDATES = ("t_max=60", "test_interval=20", "batch_size=8", "buffer_size=8", "save_model=True", "save_model_interval=20")
STEPS = ("t_max=200", "test_interval=50", "batch_size=4")
STOCKS_OWN = {
    "stand_in": ("iql", "vdn", "qmix"),
    "real": ("iql", "vdn", "qmix", "ippo", "mappo", "maddpg"),
}


@pytest.fixture(scope="session", params=["stand_in", "real"])
def kind(request: pytest.FixtureRequest) -> str:
    if request.param == "real":
        stock_checkout()
    return str(request.param)


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave written files in the kernel's memory: only a power cut could lose them, and no test makes one."""
    monkeypatch.setattr(written, "flush_to_disk", lambda path: None)


@pytest.fixture(scope="session")
def files() -> dict[str, bytes]:
    """What is copied."""
    return plug.planned_files()


@pytest.fixture
def planned_once(files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Read what is copied once, for tests that plug in often."""
    monkeypatch.setattr(plug_into, "planned_files", lambda: files)


@pytest.fixture(scope="session")
def runs(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Launcher:
    """Every run."""
    return made_once(f"stock-{kind}", tmp_path_factory, lambda launcher: make_runs(kind, launcher))


def made_once(name: str, tmp_path_factory: pytest.TempPathFactory, make: Callable[[Launcher], None]) -> Launcher:
    """The runs that `make` launches, in a folder of this name: made once, also where several processes test."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        launcher = Launcher(folder)
        if not launcher.restore():
            make(launcher)
            launcher.save()
    return launcher


def make_runs(kind: str, launcher: Launcher) -> None:
    """In a checkout as it comes and in one plugged into; evaluations of what was saved at the end."""
    plain, plugged = build(kind, launcher.folder / "plain"), build(kind, launcher.folder / "plugged")
    assert plug_into.main([str(plugged)]) == 0
    data = f"dataset={write_tiny_dataset(launcher.folder / 'tiny.h5')}"
    for alg, own in OFFLINE.items():
        launcher.add(alg, plugged, alg, *COUNTING, *UPDATES, data, *own)
    parallel = ("evaluation_runner=parallel", "batch_size_run=2")
    launcher.add("evaluated-in-parallel", plugged, "bc_discrete", *COUNTING, *UPDATES, data, *parallel)
    launcher.add("unrolled", plugged, "bc_discrete", *COUNTING, *UPDATES, data, "mac=non_shared_mac")
    value_losses = {
        "vdn-semi": ("vdn", "semi_dataset"),
        "qmix-full": ("qmix", "full"),
        "qmix-semi": ("qmix", "semi_dataset"),
    }
    for name, (mixer, value_loss) in value_losses.items():
        own = (f"mixer={mixer}", f"value_loss={value_loss}", "test_interval=100")
        launcher.add(name, plugged, "comadice_discrete", *COUNTING, *UPDATES, data, *own)
    launcher.add("other-size", plugged, "bc_discrete", *COUNTING, *UPDATES, data, "buffer_size=9")
    launcher.add("no-dataset", plugged, "bc_discrete", *COUNTING, *UPDATES)
    wide = write_tiny_dataset(launcher.folder / "wide.h5", width=7)
    launcher.add("other-width", plugged, "bc_discrete", *COUNTING, *UPDATES, f"dataset={wide}")
    launcher.add("too-long", plugged, "bc_discrete", *COUNTING, *UPDATES, data, "env_args.time_limit=4")
    stocks = (*COUNTING, *UPDATES, data, "runner=offline")
    launcher.add("stocks-learner", plugged, "vdn", *stocks, flags=("-f",))
    add_probe(plugged)
    launcher.add("probe", plugged, "probe", *COUNTING, *UPDATES, data, f"probe_to={launcher.folder / 'served.pt'}")
    for alg in STOCKS_OWN[kind]:
        launcher.add(f"before-{alg}", plain, alg, *TINY, *STEPS)
        launcher.add(f"after-{alg}", plugged, alg, *TINY, *STEPS)
    launcher.launch()
    for alg in OFFLINE:
        keys = (
            *COUNTING,
            "evaluate=True",
            f"checkpoint_path='{launcher.models(alg)}'",
            "batch_size=8",
            "buffer_size=8",
        )
        launcher.add(f"evaluate-{alg}", plugged, alg, *keys, *OFFLINE[alg])
    launcher.launch()


def add_probe(checkout: Path) -> None:
    """A learner that keeps what it is trained on, added as users add theirs."""
    source = checkout / "src"
    shutil.copy(HERE / "probe_learner.py", source / "learners")
    registry = source / "learners" / "__init__.py"
    line = 'from learners.probe_learner import ProbeLearner\n\nREGISTRY["probe_learner"] = ProbeLearner\n'
    registry.write_text(f"{registry.read_text()}\n{line}")
    text = (source / "config" / "algs" / "bc_discrete.yaml").read_text()
    text = text.replace('"bc_discrete"', '"probe"').replace('"bc_learner"', '"probe_learner"')
    (source / "config" / "algs" / "probe.yaml").write_text(f"{text}probe_to: null # where the batches go\n")
