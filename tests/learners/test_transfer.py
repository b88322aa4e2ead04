"""A checkpoint's weights in a new run's networks: which are loaded, what goes with them, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch as th
from torch import nn

from learners.transfer import load_weights
from modules.layers.normaliser import Normaliser
from tests.learners.learner_tester import assert_same, make_batch, make_learner, train
from utils.checkpoint import save_checkpoint
from utils.errors import CheckpointError


def saved(learner: Any, folder: Path) -> Path:
    """A checkpoint of a learner after some updates."""
    train(learner, 0, 6)
    return save_checkpoint(folder, 6, learner, {})


def outputs(learner: Any) -> th.Tensor:
    batch = make_batch(learner.args)
    result: th.Tensor = learner.mac.forward_all(batch)
    return result


@pytest.mark.parametrize(
    ("before", "after", "loaded"),
    [
        ("spacql", "spacql", ["policies", "critic"]),
        ("bc", "spacql", ["policies"]),
        ("spacql", "bc", ["policies"]),
        ("matd3_bc", "matd3", ["policies", "critic"]),
        ("comadice", "comadice", ["policies", "value", "normaliser", "mixer"]),
    ],
)
def test_policies_are_loaded_and_other_networks_where_they_agree(
    before: str, after: str, loaded: list[str], tmp_path: Path
) -> None:
    old, new = make_learner(before), make_learner(after, seed=9)
    fresh = {name: value.clone() for name, value in new.state_dict().items()}
    assert not th.equal(outputs(old), outputs(new))
    found, anew = load_weights(new, saved(old, tmp_path))
    assert sorted(found) == sorted(loaded)
    assert th.equal(outputs(old), outputs(new))
    for name in loaded[1:]:
        assert_same(getattr(old, name).state_dict(), getattr(new, name).state_dict())
    for name in new.TARGETS:
        assert_same(getattr(new, f"target_{name}").state_dict(), getattr(new, name).state_dict())
    for name in anew:
        for key, value in getattr(new, name).state_dict().items():
            assert th.equal(value, fresh[f"{name}.{key}"])
    assert all(not optimiser.state for optimiser in new.optimisers.values()) and new.training_steps == 0
    weights = [parameter.clone() for parameter in new.agent.parameters()]
    train(new, 0, 6)
    assert any(not th.equal(a, b) for a, b in zip(weights, new.agent.parameters(), strict=True))


def standardises(module: nn.Module) -> set[bool]:
    return {layer.filled for layer in module.modules() if isinstance(layer, Normaliser)}


@pytest.mark.parametrize(("before", "after"), [("dataset", "none"), ("none", "dataset"), ("dataset", "dataset")])
def test_input_statistics_go_with_the_weights(before: str, after: str, tmp_path: Path) -> None:
    """Whatever the new run's dataset has: a policy is what it computes, its standardisation included."""
    old, new = make_learner("bc", input_norm=before), make_learner("bc", input_norm=after, seed=9)
    if after == "dataset":
        new.agent.normaliser.mean += 3
    load_weights(new, saved(old, tmp_path))
    assert th.equal(outputs(old), outputs(new)) and standardises(new.agent) == {before == "dataset"}
    again = make_learner("bc", input_norm=after, seed=4)
    again.load_models(str(save_checkpoint(tmp_path, 7, new, {})))  # and stay with them when this run is continued
    assert th.equal(outputs(again), outputs(new))


def test_a_network_that_is_not_loaded_keeps_this_runs_statistics(tmp_path: Path) -> None:
    old, new = make_learner("bc", input_norm="none"), make_learner("spacql", input_norm="dataset")
    _, anew = load_weights(new, saved(old, tmp_path))
    assert anew == {"critic": "not in the checkpoint"}
    assert standardises(new.agent) == {False} and standardises(new.critic) == {True}


def test_a_mixer_is_loaded_with_its_normaliser_or_not_at_all(tmp_path: Path) -> None:
    old, new = make_learner("comadice", mixer="qmix"), make_learner("comadice", mixer="qmix", seed=9)
    step = saved(old, tmp_path)
    (step / "normaliser.th").unlink()
    fresh = {name: value.clone() for name, value in new.mixer.state_dict().items()}
    found, anew = load_weights(new, step)
    assert "mixer" not in found and anew == {"normaliser": "not in the checkpoint", "mixer": "of no use alone"}
    assert_same(fresh, new.mixer.state_dict())


def test_networks_of_other_sizes_are_named_and_start_anew(tmp_path: Path) -> None:
    old, new = make_learner("spacql"), make_learner("spacql", ensemble_size=7)
    found, anew = load_weights(new, saved(old, tmp_path))
    assert found == ["policies"] and "has shape (4, " in anew["critic"] and "(7, " in anew["critic"]


@pytest.mark.parametrize(
    ("updates", "words"),
    [
        ({"hidden_dim": 16}, "has shape"),
        ({"agent": "mlp", "mac": "basic_mac"}, "has shape|is not part"),
        ({"agent": "rnn_ns"}, "is not part|has shape"),
        ({"n_actions": 3, "action_low": [-1.0] * 3, "action_high": [1.0] * 3}, "has shape"),
    ],
)
def test_policies_that_do_not_fit_are_refused(updates: dict[str, Any], words: str, tmp_path: Path) -> None:
    step, new = saved(make_learner("bc"), tmp_path), make_learner("bc", **updates)
    with pytest.raises(CheckpointError, match=f"the policies in {step} do not fit this run \\(.*({words})"):
        load_weights(new, step)


def test_weights_that_are_none_are_refused(tmp_path: Path) -> None:
    step, new = saved(make_learner("bc"), tmp_path), make_learner("bc")
    for content in ([1], {"a": 3}, {3: th.zeros(2)}, {}):
        th.save(content, step / "agent.th")
        with pytest.raises(CheckpointError, match="do not fit this run"):
            load_weights(new, step)
    (step / "agent.th").unlink()
    with pytest.raises(CheckpointError, match=r"there is no agent\.th"):
        load_weights(new, step)


class StockController:
    """What a learner of stock EPyMARL's needs of one."""

    def __init__(self) -> None:
        self.agent = nn.Linear(2, 3)

    def load_state(self, other: StockController) -> None:
        self.agent.load_state_dict(other.agent.state_dict())


class StockLearner:
    """Networks and targets as stock EPyMARL's learners hold them."""

    def __init__(self) -> None:
        self.mac, self.target_mac = StockController(), StockController()
        self.critic, self.target_critic = nn.Linear(3, 1), nn.Linear(3, 1)
        self.mixer = self.target_mixer = None

    def save_models(self, path: str) -> None:
        th.save(self.mac.agent.state_dict(), f"{path}/agent.th")
        th.save(self.critic.state_dict(), f"{path}/critic.th")


def test_a_stock_learner_takes_weights_and_copies_its_targets(tmp_path: Path) -> None:
    old, new = StockLearner(), StockLearner()
    found, anew = load_weights(new, save_checkpoint(tmp_path, 1, old, {}))
    assert found == ["policies", "critic"] and anew == {}
    for network in (new.mac.agent, new.target_mac.agent):
        assert_same(network.state_dict(), old.mac.agent.state_dict())
    for network in (new.critic, new.target_critic):
        assert_same(network.state_dict(), old.critic.state_dict())
