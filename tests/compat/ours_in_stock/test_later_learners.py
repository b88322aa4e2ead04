"""The learners that joined last train in stock checkouts as the others do: a few updates each, saved and evaluated."""

from __future__ import annotations

import numpy as np
import pytest
import torch as th

from stock import plug, plug_into
from tests.compat.ours_in_stock.conftest import COUNTING, OFFLINE, made_once
from tests.compat.ours_in_stock.stand_in import Launcher, build, write_tiny_dataset

pytestmark = pytest.mark.slow  # the fixture trains in checkouts
LATER = sorted(set(plug.CONFIGS) - OFFLINE.keys())
UPDATES = ("t_max=9", "test_interval=9", "batch_size=4", "buffer_size=4", "save_model=True", "save_model_interval=9",
           "learner_log_interval=1", "runner_log_interval=1")  # fmt: skip
MIXED = {"implicit_q-mixed": ("implicit_q", ("mixer=qmix",)), "bcq-alone": ("bcq", ("mixer=None",))}
RUNS = {**{alg: (alg, ()) for alg in LATER}, **MIXED}


@pytest.fixture(scope="module")
def later(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Launcher:
    """Their runs, and evaluations of what was saved at the end."""
    return made_once(f"later-{kind}", tmp_path_factory, lambda launcher: make_runs(kind, launcher))


def make_runs(kind: str, launcher: Launcher) -> None:
    """In a checkout that is plugged into."""
    plugged = build(kind, launcher.folder / "plugged")
    assert plug_into.main([str(plugged)]) == 0
    data = f"dataset={write_tiny_dataset(launcher.folder / 'tiny.h5')}"
    for name, (alg, own) in RUNS.items():
        launcher.add(name, plugged, alg, *COUNTING, *UPDATES, data, *own)
    for alg in ("icq_discrete", "omiga"):
        launcher.add(f"{alg}-qmix", plugged, alg, *COUNTING, *UPDATES, data, "mixer=qmix")
    launcher.launch()
    for alg in LATER:
        keys = ("evaluate=True", f"checkpoint_path='{launcher.models(alg)}'", "batch_size=4", "buffer_size=4")
        launcher.add(f"evaluate-{alg}", plugged, alg, *COUNTING, *keys)
    launcher.launch()


@pytest.mark.parametrize("name", RUNS)
def test_trains_offline(name: str, later: Launcher) -> None:
    metrics = later.metrics(name)
    assert metrics["test_return_mean"][0] == [1, 10]
    losses = [key for key in metrics if key.endswith("_loss")]
    assert losses and all(np.isfinite(metrics[key][1]).all() for key in losses)
    first, last = (th.load(later.models(name) / step / "agent.th", weights_only=True) for step in ("1", "10"))
    moved = [key for key in first if "normaliser" not in key and not th.equal(first[key], last[key])]
    assert moved and all(th.isfinite(value).all() for value in last.values())


@pytest.mark.parametrize("alg", LATER)
def test_what_it_saved_is_evaluated(alg: str, later: Launcher) -> None:
    assert later.codes[f"evaluate-{alg}"] == 0, later.log(f"evaluate-{alg}")[-3000:]


@pytest.mark.parametrize("alg", ["icq_discrete", "omiga"])
def test_another_mixer_is_refused(alg: str, later: Launcher) -> None:
    assert "mixer=qmix: choose one of monotone" in later.refusal(f"{alg}-qmix")
