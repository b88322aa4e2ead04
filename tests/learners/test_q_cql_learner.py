"""CQL on discrete actions: both penalties written out, available actions alone, plain Q-learning without a penalty."""

from __future__ import annotations

import copy
import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch as th

from components.episode_buffer import EpisodeBatch
from learners.losses import EVERY
from learners.transfer import load_weights
from tests.learners.learner_tester import ACTION, F64, N_AGENTS, assert_same, make_batch, make_learner, train
from utils.checkpoint import save_checkpoint
from utils.errors import CheckpointError, ConfigError

ALGS = pytest.mark.parametrize("alg", ["iql_cql", "qmix_cql"])


def case(alg: str, **updates: Any) -> tuple[Any, EpisodeBatch]:
    """A float64 learner far from its initial weights; episodes of which one ends and one is cut; missing actions."""
    learner = make_learner(alg, dtype=F64, **updates)
    th.manual_seed(3)
    with th.no_grad():
        for parameter in learner.parameters():
            parameter.add_(0.3 * th.randn_like(parameter))
    batch = make_batch(learner.args, rows=4, steps=4, dtype=F64)
    batch["terminated"][1, 1] = 1
    batch["filled"][2, 2:] = 0
    batch["avail_actions"][0, :, 1, 1] = batch["avail_actions"][3, 1, :, 0] = 0
    batch["actions"][0, :, 1] = 0
    batch["actions"][3, 1] = 1
    return learner, batch


def noise_of(learner: Any, batch: EpisodeBatch) -> dict[str, th.Tensor]:
    return {key: value.to(F64) for key, value in learner.noise("q", batch).items()}


VALID = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2)]  # row, step


def test_each_agents_penalty_written_out() -> None:
    learner, batch = case("iql_cql")
    values = learner.unroll(learner.mac, batch, EVERY)  # (B, T, N, A)
    penalties = []
    for row, step in VALID:
        for agent in range(N_AGENTS):
            own = [a for a in range(ACTION) if batch["avail_actions"][row, step, agent, a]]
            q = values[row, step, agent]
            penalties.append(q[own].exp().sum().log() - q[batch["actions"][row, step, agent, 0]])
    assert_penalty(learner, batch, {}, sum(penalties) / len(penalties))


def test_the_joint_penalty_written_out() -> None:
    learner, batch = case("qmix_cql", n_penalty_samples=5)
    values, noise = learner.unroll(learner.mac, batch, EVERY), noise_of(learner, batch)
    penalties = []
    for row, step in VALID:
        state = learner.normaliser(batch["state"][row, step]).view(1, 1, -1)

        def total(actions: list[int], row: int = row, step: int = step, state: th.Tensor = state) -> th.Tensor:
            q = th.stack([values[row, step, i, a] for i, a in enumerate(actions)])
            return learner.mixer(q.view(1, 1, -1), state).squeeze()

        drawn = []
        for k in range(5):
            chances = noise["joint"][row, step, k] * batch["avail_actions"][row, step]
            drawn.append(total(chances.argmax(-1).tolist()))
        logged = total(batch["actions"][row, step, :, 0].tolist())
        penalties.append(th.stack(drawn).exp().mean().log() - logged)
    assert_penalty(learner, batch, noise, sum(penalties) / len(penalties))


def assert_penalty(learner: Any, batch: EpisodeBatch, noise: dict[str, th.Tensor], expected: Any) -> None:
    """The loss is Q-learning's and alpha times the expected penalty."""
    learner.args.alpha_cql = 0.0
    plain = learner("q", batch, noise)[0]
    learner.args.alpha_cql = 0.7
    th.testing.assert_close(learner("q", batch, noise)[0], plain + 0.7 * expected)


@ALGS
def test_without_the_penalty_it_is_q_learning(alg: str) -> None:
    learner, batch = case(alg, alpha_cql=0.0)
    plain = make_learner(alg, dtype=F64, learner="q_learner")
    plain.load_state_dict({k: v for k, v in learner.state_dict().items() if not k.startswith("normaliser")})
    if learner.mixer is not None:  # plain Q-learning's mixer sees states as they are
        learner.normaliser.mean.zero_()
        learner.normaliser.std.fill_(1.0)
    assert th.equal(learner("q", batch, noise_of(learner, batch))[0], plain("q", batch, {})[0])


def test_joint_actions_are_drawn_evenly_from_those_available() -> None:
    """An additive mixer of known values: the penalty is the mean of exp over available joint actions, nearly."""
    learner, batch = case("qmix_cql", mixer="vdn", n_penalty_samples=4000)
    values = th.randn(batch.batch_size * 3, N_AGENTS, ACTION, dtype=F64)  # (R, N, A)
    noise = noise_of(learner, batch)
    found = learner.joint_penalty(values, batch, noise)  # (R,)
    has, logged = batch["avail_actions"][:, :3].flatten(0, 1), batch["actions"][:, :3].flatten(0, 1)
    for row in range(len(values)):
        own = [[a for a in range(ACTION) if has[row, i, a]] for i in range(N_AGENTS)]
        sums = [sum(float(values[row, i, a]) for i, a in enumerate(pair)) for pair in itertools.product(*own)]
        exact = math.log(sum(map(math.exp, sums)) / len(sums))
        taken = values[row].gather(-1, logged[row]).sum()
        assert abs(float(found[row] + taken) - exact) < 0.15


def test_what_it_cannot_handle_is_refused() -> None:
    with pytest.raises(ConfigError, match="^mixer=vdn needs random joint actions in the penalty: set n_penalty_"):
        make_learner("iql_cql", mixer="vdn")
    with pytest.raises(ConfigError, match="^mixer=qmix needs one team reward: set common_reward=True, or mixer=None$"):
        make_learner("qmix_cql", common_reward=False)
    with pytest.raises(ConfigError, match="^q_learner handles discrete actions only"):
        make_learner("iql_cql", discrete=False, agent_output_type="mean", action_selector="deterministic")


# -- states ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("svn", [False, True])
def test_the_mixer_sees_standardised_states(svn: bool) -> None:
    """Targets, values, penalty and spread: all as of a learner whose batch holds the standardised states."""
    learner, batch = case("qmix_cql", svn=svn)
    noise = noise_of(learner, batch)
    found = learner("q", batch, noise)[0]
    mean, std = learner.normaliser.mean.clone(), learner.normaliser.std.clone()
    learner.normaliser.mean.zero_()
    learner.normaliser.std.fill_(1.0)
    assert not th.allclose(learner("q", batch, noise)[0], found, rtol=1e-6)
    batch.data.transition_data["state"] = (batch["state"] - mean) / std  # a new tensor: observations share the old one
    th.testing.assert_close(learner("q", batch, noise)[0], found, rtol=1e-12, atol=0)


@pytest.mark.parametrize("alg", ["qmix", "vdn"])
def test_mixers_of_plain_q_learning_see_states_as_they_are(alg: str) -> None:
    """As stock's do, whatever the agents' inputs are."""
    learner = make_learner(alg, input_norm="dataset")
    assert learner.agent.normaliser.filled and not hasattr(learner, "normaliser")
    batch = make_batch(learner.args)
    assert learner.states(batch, EVERY) is not None and th.equal(learner.states(batch, EVERY), batch["state"])


def test_a_run_from_before_goes_on_with_states_as_they_are(tmp_path: Path) -> None:
    """Its checkpoint has no statistics of states: the mixer learned from raw ones. Bit for bit, and saved so again."""
    old = raw_states()
    train(old, 0, 4)
    old.save_models(str(tmp_path))
    (tmp_path / "normaliser.th").unlink()
    state = copy.deepcopy(old.training_state())
    train(old, 4, 8)
    new = make_learner("qmix_cql", seed=9)
    assert new.normaliser.filled
    new.load_models(str(tmp_path))
    new.load_training_state(state)
    assert not new.normaliser.filled
    train(new, 4, 8)
    assert_same(old.state_dict(), new.state_dict())
    new.save_models(str(tmp_path))
    third = make_learner("qmix_cql", seed=4)
    third.load_models(str(tmp_path))
    assert_same(third.mixer.state_dict(), new.mixer.state_dict())
    assert not third.normaliser.filled


def raw_states() -> Any:
    """A learner whose agents' inputs are standardised and whose mixer's states are not."""
    learner = make_learner("qmix_cql")
    learner.normaliser.load_state_dict({})
    return learner


def test_other_files_are_not_missed(tmp_path: Path) -> None:
    learner = make_learner("qmix_cql")
    learner.save_models(str(tmp_path))
    (tmp_path / "mixer.th").unlink()
    with pytest.raises(CheckpointError, match=r"it lacks mixer\.th"):
        make_learner("qmix_cql").load_models(str(tmp_path))


def test_a_mixer_of_raw_states_is_loaded_with_them(tmp_path: Path) -> None:
    """`load_weights` of a QMIX run: what its mixer computes stays what it was. The way back it would not."""
    old, new = make_learner("qmix"), make_learner("qmix_cql", seed=9)
    loaded, _ = load_weights(new, save_checkpoint(tmp_path / "old", 1, old, {}))
    assert loaded == ["policies", "mixer", "normaliser"]
    assert not new.normaliser.filled
    assert_same(new.mixer.state_dict(), old.mixer.state_dict())
    new = make_learner("qmix_cql", seed=9)
    loaded, anew = load_weights(old, save_checkpoint(tmp_path / "new", 1, new, {}))
    assert loaded == ["policies"] and anew == {"mixer": "of no use alone"}
