"""Evaluations by every runner: exactly their episodes, repeated, without a trace in training."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch as th

from loops.evaluator import Evaluator, Reference
from tests.runners.made import RUNNERS, build, closed, foraging
from utils.rng import seeded_apart

__all__ = ["closed"]


def test_all_runners_play_the_same_evaluation() -> None:
    returns = {}
    for runner in RUNNERS:
        made, args, logger = build(runner)
        evaluation = Evaluator(made, args, Reference(0.0, 50.0, "here")).evaluate(7)
        assert evaluation.t == 7 and evaluation.normalised_score == 2 * evaluation.return_mean
        assert not logger.stats
        returns[runner] = evaluation.episodes.returns  # (E,)
    assert returns["episode"] == pytest.approx(returns["vector"], abs=1e-3)  # the wrapper speaks float32
    assert returns["episode"] == pytest.approx(returns["parallel"], abs=1e-3)


@pytest.mark.parametrize("runner", RUNNERS)
def test_an_evaluation_is_one_value_over_exactly_its_episodes_and_repeats(runner: str) -> None:
    """Stock's runner logs in the middle of an offline evaluation and leaves returns for the next one."""
    made, args, logger = build(runner, runner_log_interval=1)
    evaluator = Evaluator(made, args, None)
    found = [evaluator.evaluate(t) for t in (0, 1000, 2000)]
    for evaluation in found:
        assert evaluation.episodes.returns.shape == (5,) and evaluation.episodes.lengths.tolist() == [25] * 5
        assert (evaluation.episodes.returns == found[0].episodes.returns).all()
        evaluation.log(logger)
    assert evaluator.history == [(t, found[0].return_mean) for t in (0, 1000, 2000)]
    assert logger.stats["test_return_mean"] == evaluator.history
    assert len(made.test_episodes) == 0 and logger.stats["test_ep_length_mean"][0][1] == 25


@pytest.mark.parametrize("runner", RUNNERS)
def test_an_evaluation_begins_at_its_first_episode_whatever_was_played_before(runner: str) -> None:
    made, args, _ = build(runner)
    expected = Evaluator(made, args, None).evaluate(0).episodes.returns
    made.run(test_mode=True)
    assert (Evaluator(made, args, None).evaluate(0).episodes.returns == expected).all()


@pytest.mark.parametrize("runner", RUNNERS)
def test_test_episodes_begin_again_after_the_last(runner: str) -> None:
    made, _, _ = build(runner, test_nepisode=1)
    first, second = made.run(test_mode=True), made.run(test_mode=True)
    assert th.equal(first["obs"], second["obs"])


@pytest.mark.parametrize("runner", RUNNERS)
def test_evaluation_and_training_do_not_disturb_each_other(runner: str) -> None:
    undisturbed, _, _ = build(runner)
    first = [undisturbed.run()["state"] for _ in range(2)]
    disturbed, args, _ = build(runner)
    state = th.get_rng_state()
    one = disturbed.run()["state"]
    Evaluator(disturbed, args, None).evaluate(0)
    assert th.equal(th.get_rng_state(), state)
    assert th.equal(one, first[0]) and th.equal(disturbed.run()["state"], first[1])


@pytest.mark.parametrize("selector", ["epsilon_greedy", "multinomial"])
def test_evaluations_that_draw_disturb_no_training_and_repeat(selector: str) -> None:
    keys = {"action_selector": selector, "evaluation_epsilon": 0.5, "test_greedy": False,
            "env_args": {"key": "simple_spread", "seed": 5, "continuous_actions": False},
            "agent_output_type": "q" if selector == "epsilon_greedy" else "pi_logits"}  # fmt: skip
    made, args, _ = build("vector", **keys)
    evaluator = Evaluator(made, args, None)
    state = th.get_rng_state()
    first = evaluator.evaluate(0)
    assert th.equal(th.get_rng_state(), state)
    made.run()
    assert (evaluator.evaluate(1).episodes.returns == first.episodes.returns).all()


@pytest.mark.parametrize("runner", RUNNERS)
def test_an_evaluation_of_unequal_episodes_is_logged_once(runner: str) -> None:
    made, args, logger = foraging(runner, runner_log_interval=1, evaluation_epsilon=1.0)
    evaluator = Evaluator(made, args, None)
    for t in (0, 10):
        evaluator.evaluate(t).log(logger)
    for key in ("test_return_mean", "test_return_std", "test_ep_length_mean", "test_episode_limit_mean"):
        assert [t for t, _ in logger.stats[key]] == [0, 10]
    # Each episode pays 1 or is cut without.
    cut = logger.stats["test_episode_limit_mean"][0][1]
    assert logger.stats["test_return_mean"][0][1] == pytest.approx(1 - cut)


def test_an_evaluation_has_global_streams_of_its_own() -> None:
    """Environments that draw from Python's or numpy's see the same numbers in each, and training sees none missing."""
    found = []
    for seed in (1, 2):
        random.seed(seed)
        np.random.seed(seed)
        before = random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]
        with seeded_apart(1_000_000):
            found.append((random.random(), float(np.random.random())))
        assert (random.getstate(), np.random.get_state()[1].tolist()) == before  # type: ignore[index]
    assert found[0] == found[1]
