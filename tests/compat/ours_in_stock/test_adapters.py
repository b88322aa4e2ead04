"""What the adapters of src/stock add to our learners and mixers, without a checkout."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch as th
from torch import Tensor, nn

from modules.mixers import REGISTRY as native_REGISTRY
from modules.mixers import build_mixer as native_build_mixer
from stock import learners, mixers
from stock.learners import BCInStock, ComaDICEInStock, SPaCQLInStock, check_bias, statistics_in
from stock.offline_runner import leave_statistics
from tests.learners.learner_tester import make_batch, make_learner
from utils.errors import ConfigError

ADAPTERS = {"bc_discrete": BCInStock, "spacql_discrete": SPaCQLInStock, "comadice_discrete": ComaDICEInStock}


def adapted(alg: str, **keys: Any) -> Any:
    """An adapter around the parts of `make_learner`, and the `args` it was given, which lack the keys of `DEFAULTS`."""
    native = make_learner(alg, **keys)
    args = SimpleNamespace(**{key: value for key, value in vars(native.args).items() if key not in learners.DEFAULTS})
    return ADAPTERS[alg](native.mac, scheme_of(native), native.logger, args), args


def scheme_of(learner: Any) -> dict[str, Any]:
    return make_batch(learner.args, steps=2).scheme


class BiasedMixer(nn.Module):
    """A mixer with stock's signature, which has no `with_bias`."""

    def forward(self, agent_qs: Tensor, states: Tensor) -> Tensor:
        return agent_qs.sum(2, keepdim=True)


@pytest.mark.parametrize("alg", ADAPTERS)
def test_keys_that_stock_lacks_have_defaults_and_args_are_not_written_to(alg: str) -> None:
    learner, args = adapted(alg)
    assert {key: getattr(learner.args, key) for key in learners.DEFAULTS} == learners.DEFAULTS
    assert not learners.DEFAULTS.keys() & vars(args).keys()


def test_keys_that_are_there_are_kept() -> None:
    native = make_learner("bc_discrete")
    args = SimpleNamespace(**{**vars(native.args), "loss_chunk": 2})
    assert BCInStock(native.mac, scheme_of(native), native.logger, args).args.loss_chunk == 2


def test_an_all_zero_row_means_that_no_next_action_was_logged() -> None:
    learner, _ = adapted("spacql_discrete")
    batch = make_batch(learner.args, steps=4)  # three transitions
    batch.data.transition_data.pop("next_action_valid", None)
    n_rows = batch["filled"].shape[0] * 3
    assert learner.next_action_valid(batch).tolist() == [True] * n_rows
    batch["actions_onehot"][0, 3] = 0
    batch["actions_onehot"][1, 2, 0] = 0  # one agent's only: the row has an action
    assert learner.next_action_valid(batch).tolist() == [row != 2 for row in range(n_rows)]


@pytest.mark.parametrize(
    ("value_loss", "advantage", "refused"),
    [("full", "sample", False), ("full", "joint", False), ("full", "mixed", True), ("semi_dataset", "sample", True)],
)
def test_a_mixer_that_cannot_leave_out_its_bias(value_loss: str, advantage: str, refused: bool) -> None:
    args = SimpleNamespace(mixer="qmix", value_loss=value_loss, advantage=advantage)
    check_bias(native_REGISTRY["vdn"](), args)
    if not refused:
        check_bias(BiasedMixer(), args)
        return
    sentence = f"mixer=qmix: this checkout's BiasedMixer cannot leave out its bias, which value_loss={value_loss} with"
    with pytest.raises(ConfigError, match=sentence):
        check_bias(BiasedMixer(), args)


def test_comadice_is_refused_with_such_a_mixer(monkeypatch: pytest.MonkeyPatch) -> None:
    learner, args = adapted("comadice_discrete", value_loss="semi_dataset")
    monkeypatch.setattr("learners.comadice_learner.build_mixer", lambda name, args: BiasedMixer())
    with pytest.raises(ConfigError, match="cannot leave out its bias"):
        ComaDICEInStock(learner.mac, scheme_of(learner), learner.logger, args)


def test_statistics_travel_from_the_runner_to_the_learner() -> None:
    class Dataset:
        def obs_statistics(self) -> Any:
            return th.ones(3, 5).numpy(), th.full((3, 5), 2.0).numpy()

        def state_statistics(self) -> Any:
            return th.zeros(15).numpy(), th.full((15,), 3.0).numpy()

    scheme: dict[str, Any] = {"obs": {"vshape": 5}, "state": {"vshape": 15}, "reward": {"vshape": (1,)}}
    assert statistics_in(scheme) == {}
    leave_statistics(scheme, Dataset())
    found = statistics_in(scheme)
    assert {key: (float(mean.mean()), float(std.mean())) for key, (mean, std) in found.items()} == {
        "obs": (1.0, 2.0),
        "state": (0.0, 3.0),
    }


def test_the_mixers_of_a_checkout_are_those_of_this_repository() -> None:
    assert list(mixers.REGISTRY) == list(native_REGISTRY)
    args = make_learner("comadice_discrete").args
    qs, states = th.randn(2, 3, args.n_agents), th.randn(2, 3, args.state_shape)
    for name in native_REGISTRY:
        th.manual_seed(0)
        ours: Any = native_build_mixer(name, args)
        th.manual_seed(0)
        stocks: Any = mixers.build_mixer(name, args)
        for with_bias in (True, False):
            assert th.equal(ours(qs, states, with_bias=with_bias), stocks(qs, states, with_bias=with_bias))
    assert mixers.build_mixer(None, args) is None
    with pytest.raises(ConfigError, match="mixer=qtran: there is no such mixer; choose qmix, vdn, monotone, or None"):
        mixers.build_mixer("qtran", args)


def test_a_sum_has_no_bias_to_leave_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """With stock's class, which takes two tensors only."""
    monkeypatch.setattr(mixers.VDNMixer, "forward", BiasedMixer.forward)
    qs = th.randn(2, 3, 4)
    total = mixers.SumMixer()(qs, th.zeros(2, 3, 1), with_bias=False)
    assert th.equal(total, qs.sum(2, keepdim=True))
