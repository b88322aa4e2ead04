"""A last update that spoils the weights is seen before they are played or saved, though no loss has seen it."""

from __future__ import annotations

import pytest
import torch as th

from learners.lanes import Lanes
from tests.learners.learner_tester import make_batch, make_learner, train
from utils.errors import TrainingError

QUIET = {"learner_log_interval": 10**6}


@pytest.mark.parametrize("alg", ["bc_discrete", "spacql", "comadice", "qmix", "mappo"])
def test_weights_that_the_last_update_spoilt(alg: str) -> None:
    learner = make_learner(alg, **QUIET)
    episode = {"rows": learner.args.batch_size_run, "steps": 4} if alg == "mappo" else {"steps": 4}
    learner.train(make_batch(learner.args, **episode), 1, 0)
    learner.check_finite(1)
    for optimiser in learner.optimisers.values():
        optimiser.param_groups[0]["lr"] = 1e308
    learner.train(make_batch(learner.args, seed=1, **episode), 2, 0)
    learner.first_bad.fill_(-1)  # losses of the same update that came later may have seen it
    with pytest.raises(TrainingError, match=r"the weights of \w+ in \w+ stopped being finite by update 2 .*t=2\)"):
        learner.check_finite(2)


@pytest.mark.parametrize("number", [th.nan, th.inf, -th.inf])
def test_one_number_is_enough_and_the_network_is_named(number: float) -> None:
    learner = make_learner(**QUIET)
    train(learner, 0, 2)
    with th.no_grad():
        learner.target_critic.fc2.weight.view(-1)[-1] = number
    with pytest.raises(
        TrainingError, match="the weights of target_critic in SPaCQLLearner .* lower the learning rates"
    ):
        learner.check_finite(2)


def test_each_lane_names_its_own() -> None:
    learners = [make_learner("bc", seed=seed, **QUIET) for seed in (1, 2)]
    lanes = Lanes(learners)
    with th.no_grad():
        lanes.state["agent.fc2.weight"][1, 0, 0] = th.nan
    learners[0].check_finite(3)
    with pytest.raises(TrainingError, match="the weights of agent in BCLearner"):
        learners[1].check_finite(3)
