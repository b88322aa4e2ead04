"""What is saved in a stock checkout is all there, is loaded, and goes on from there; what is not there is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch as th

from tests.compat.ours_in_stock.conftest import OFFLINE
from tests.compat.ours_in_stock.later_runs import EVALUATED, RUNNERS, later_runs
from tests.compat.ours_in_stock.stand_in import LIMIT, Launcher

pytestmark = pytest.mark.slow  # the fixtures train in checkouts
FILES = {
    "bc_discrete": {"manifest.json", "agent.th", "agent_opt.th"},
    "spacql_discrete": {"manifest.json", "agent.th", "agent_opt.th", "critic.th", "critic_opt.th"},
    "comadice_discrete": {
        "manifest.json",
        "agent.th",
        "agent_opt.th",
        "value.th",
        "value_opt.th",
        "mixer.th",
        "normaliser.th",
    },
}


@pytest.fixture(scope="module")
def later(kind: str, runs: Launcher) -> Launcher:
    return later_runs(kind, runs)


def load(path: Path) -> dict[str, th.Tensor]:
    state: dict[str, th.Tensor] = th.load(path, weights_only=True)
    return state


def steps_of(path: Path) -> set[int]:
    """How many steps an optimiser has made, by its parameters."""
    return {int(state["step"]) for state in th.load(path, weights_only=True)["state"].values()}


def unmoved(first: Path, last: Path) -> set[str]:
    """The parameters that are the same in two checkpoints."""
    names = [path.name for path in first.glob("*.th") if not path.name.endswith("_opt.th")]
    pairs = {name: (load(first / name), load(last / name)) for name in names}
    return {f"{name} {key}" for name, (old, new) in pairs.items() for key in old if th.equal(old[key], new[key])}


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("alg", OFFLINE)
def test_online_training_moves_and_saves_everything(alg: str, runner: str, later: Launcher) -> None:
    metrics = later.metrics(f"{alg}-{runner}")
    assert len(metrics["test_return_mean"][1]) >= 3 and len(metrics["return_mean"][1]) >= 3
    losses = [key for key in metrics if key.endswith("_loss")]
    assert losses and all(len(metrics[key][1]) >= 3 and np.isfinite(metrics[key][1]).all() for key in losses)
    folders = sorted(later.models(f"{alg}-{runner}").iterdir(), key=lambda folder: int(folder.name))
    assert len(folders) >= 5 and int(folders[-1].name) >= 250
    assert all({path.name for path in folder.iterdir()} == FILES[alg] for folder in folders)
    assert all("normaliser" in name for name in unmoved(folders[0], folders[-1]))
    optimisers = [name for name in FILES[alg] if name.endswith("_opt.th")]
    assert all(min(steps_of(folders[-1] / name)) > 0 for name in optimisers)


@pytest.mark.parametrize("alg", OFFLINE)
def test_an_offline_run_goes_on_from_its_checkpoint(alg: str, runs: Launcher, later: Launcher) -> None:
    later.run_of(f"resumed-{alg}")
    (resumed,) = later.models(f"resumed-{alg}").iterdir()
    last = runs.models(alg) / "61"
    assert resumed.name == "62" and {path.name for path in resumed.iterdir()} == FILES[alg]
    # SPaCQL's policies move every fifth update of a run, its critics at each.
    moved, still = ("critic", {"agent"}) if alg == "spacql_discrete" else (min({"agent", "value"}), set())
    for name in (name.removesuffix("_opt.th") for name in FILES[alg] if name.endswith("_opt.th")):
        more = name not in still
        assert steps_of(resumed / f"{name}_opt.th") == {step + more for step in steps_of(last / f"{name}_opt.th")}
    old, new = load(last / f"{moved}.th"), load(resumed / f"{moved}.th")
    for key in old:  # one update away: no fresh weights
        th.testing.assert_close(new[key], old[key], atol=0.01, rtol=0)


@pytest.mark.parametrize("alg", EVALUATED)
def test_an_evaluation_plays_the_policy_that_is_loaded(alg: str, later: Launcher) -> None:
    ended, went_on = (later.metrics(f"always-{action}-{alg}") for action in (2, 0))
    steps, lengths = ended["test_ep_length_mean"]
    assert set(steps) == {61} and set(lengths) == {1.0} and set(ended["test_return_mean"][1]) == {0.0}
    assert set(went_on["test_ep_length_mean"][1]) == {float(LIMIT)} and min(went_on["test_return_mean"][1]) > 0


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("two-at-once", "set batch_size_run=1, or evaluation_runner=parallel"),
        ("nowhere", "checkpoint_path=results/nowhere is no folder"),
        ("a-steps-folder", "holds no folder named by a step"),
        ("our-dataset", "no dataset 'mpe/simple_spread/expert': give the path of a file that ends in .h5"),
        ("no-file", "no dataset 'absent.h5': give the path of a file that ends in .h5, relative to "),
        ("none-named", "add `with dataset=...`, the path of a file that ends in .h5"),
    ],
)
def test_what_is_not_there_is_refused_in_one_sentence(name: str, sentence: str, later: Launcher) -> None:
    last = later.refusal(name)
    assert sentence in last and "offline_data" not in last
