"""ComaDICE's losses against their formulas, written out once more."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch as th
from torch import Tensor

from components.episode_buffer import EpisodeBatch
from learners.dice_values import check_dice
from tests.command_line import ROOT
from tests.learners.learner_tester import F64, N_AGENTS, OBS, make_args, make_batch, make_learner, statistics
from utils.errors import ConfigError
from utils.histogram import WEIGHT_EDGES

ALL_LOSSES = ("full", "semi_dataset", "official", "poster")


def with_starts(batch: EpisodeBatch) -> EpisodeBatch:
    """The first observations and states that windows of the offline buffer carry, different from every row's."""
    rows = batch.batch_size
    generator = th.Generator().manual_seed(4)
    obs = th.randn(rows, N_AGENTS, OBS, generator=generator, dtype=batch["obs"].dtype)
    for key, value in (("init_obs", obs), ("init_state", obs.flatten(1))):
        batch.scheme[key] = {"vshape": value.shape[1:], "episode_const": True}
        batch.data.episode_data[key] = value
    return batch


def case(discrete: bool = False, steps: int = 2, **updates: Any) -> tuple[Any, EpisodeBatch]:
    """A float64 learner whose targets differ from its networks, and a batch in which one row ends."""
    learner = make_learner("comadice", dtype=F64, discrete=discrete, final_init=1.0, **updates)
    th.manual_seed(11)
    with th.no_grad():
        for name, parameter in learner.named_parameters():
            if name.startswith("target_"):
                parameter.add_(0.1 * th.randn_like(parameter))
    batch = with_starts(make_batch(learner.args, steps=steps, dtype=F64))
    batch["terminated"][1, -2] = 1
    return learner, batch


def mixed(learner: Any, local: Tensor, state: Tensor) -> Tensor:
    """sum_i |k_i(s)| x_i + b(s) of the one-layer mixer, (B, N), (B, S) -> (B,)."""
    rows = learner.normaliser(state)
    return (learner.mixer.hyper_w_final(rows).abs() * local).sum(-1) + learner.mixer.hyper_b_final(rows).squeeze(-1)


@pytest.mark.parametrize("steps", [2, 3])
def test_the_dual_written_out(steps: int) -> None:
    """(1 - gamma) nu(s_0) + alpha f*((r + gamma nu(s') - nu(s)) / alpha), nothing after a terminal."""
    learner, batch = case(steps=steps, alpha=0.7, divergence="chi2")
    loss, stats = learner("value", batch, {})
    total = []
    for row in range(6):
        start = mixed(learner, learner.value(batch["init_obs"][:, None])[row, 0], batch["init_state"][row])
        for t in range(steps - 1):
            here, after = (
                mixed(learner, learner.value(batch["obs"])[row, k], batch["state"][row, k]) for k in (t, t + 1)
            )
            alive = 0.0 if row == 1 and t == steps - 2 else 1.0
            x = (batch["reward"][row, t, 0] + learner.args.gamma * alive * after - here) / 0.7
            conjugate = th.where(x > -1, x * x / 2 + x, th.tensor(-0.5, dtype=F64))
            total.append((1 - learner.args.gamma) * start + 0.7 * conjugate)
    th.testing.assert_close(loss, th.stack(total).mean(), rtol=0, atol=1e-10)
    assert stats["nu_start"].shape == (6 * (steps - 1),)


def test_the_released_codes_objective_written_out() -> None:
    """(1 - gamma) nu_i(s_0) + w e_i - alpha f(w), mean over agents; its gradient in e_i is x w*'(x), x = e_i / alpha.

    q, nu and the mixer's weights are the networks' own: the targets, which differ here, are for q's loss and the actor.
    """
    learner, batch = case(value_loss="official", alpha=0.5, divergence="soft_chi2")
    loss, _ = learner("value", batch, {})
    q = learner.q(batch["obs"][:, :1], batch["actions"][:, :1])[:, 0]  # (B, N)
    gaps = q - learner.value(batch["obs"][:, :1])[:, 0]
    e = learner.mixer.hyper_w_final(learner.normaliser(batch["state"][:, 0])).abs() * gaps
    x = e.detach() / 0.5
    assert (x < 0).any() and (x > 0).any()
    weight = th.where(x < 0, x.exp(), x + 1)
    cost = th.where(x < 0, weight * weight.log() - weight + 1, (weight - 1).square() / 2)
    slope = th.where(x < 0, x * x.exp(), x)
    start = (1 - learner.args.gamma) * learner.value(batch["init_obs"][:, None])[:, 0]  # (B, N)
    expected = (start + weight * e.detach() - 0.5 * cost).mean()
    th.testing.assert_close(loss, expected, rtol=0, atol=1e-12)
    (spec,) = (spec for spec in learner.LOSSES if spec.name == "value")
    assert spec.modules == ("value", "normaliser")
    parameters = learner.parameters_of(spec)
    by_hand = th.autograd.grad((start + slope * e).mean(), parameters)
    for left, right in zip(th.autograd.grad(loss, parameters), by_hand, strict=True):
        th.testing.assert_close(left, right, rtol=0, atol=1e-12)


def test_whole_episodes_start_at_their_first_row() -> None:
    learner, batch = case(steps=4)
    given, local = learner.start_nu(batch), learner.local_start_nu(batch)
    for key in ("init_obs", "init_state"):
        del batch.scheme[key]
    whole = learner.start_nu(batch)
    first = mixed(learner, learner.value(batch["obs"][:, :1])[:, 0], batch["state"][:, 0])
    th.testing.assert_close(whole, first.repeat_interleave(3))
    assert (given - whole).abs().min() > 1e-6 and local.shape == (6, 1, N_AGENTS)


@pytest.mark.parametrize(
    ("value_loss", "value_rows", "actor_rows"),
    [("full", 6 * 3, 6 * 2), ("semi_dataset", 6 * 2, 6), ("official", 6 * 2, 6)],
)
def test_local_values_are_evaluated_once_in_each_loss(value_loss: str, value_rows: int, actor_rows: int) -> None:
    """Windows of one step: s and s' (the dual) or s alone, and s_0 in the values' loss."""
    learner, batch = case(value_loss=value_loss)
    rows: list[int] = []
    learner.value.register_forward_hook(lambda module, inputs, output: rows.append(inputs[0].shape[:2].numel()))
    for name, expected in (("value", value_rows), ("actor", actor_rows)):
        rows.clear()
        learner(name, batch, {})
        assert sum(rows) == expected, name


def test_values_that_count_steps_have_no_solution_where_a_limit_cuts() -> None:
    """One state, reward 1, episodes of 8 steps: r / (1 - gamma) for values of the state; those with a memory fall.

    The GRU makes a state of every step, and the last one has inflow only.
    """
    ends = {}
    for memory in (False, True):
        learner = make_learner(
            "comadice", discrete=True, agent="rnn_ns", value_memory=memory, value_lr=0.01, gamma=0.9, window=None
        )
        batch = make_batch(learner.args, steps=9)
        for key, value in (("obs", 0.5), ("state", 0.5), ("reward", 1.0)):
            batch[key].fill_(value)
        for _ in range(200):
            learner.update(0, batch)
        with th.no_grad():
            ends[memory] = learner.nu(batch, slice(8, 9)).mean().item()
    assert ends[False] == pytest.approx(10, abs=0.2)
    assert ends[True] < -100


@pytest.mark.parametrize("discrete", [False, True])
@pytest.mark.parametrize("value_loss", ALL_LOSSES)
def test_policies_are_weighted_by_the_advantage_of_their_loss(value_loss: str, discrete: bool) -> None:
    learner, batch = case(discrete, value_loss=value_loss, advantage="mixed", alpha=0.5, divergence="soft_chi2")
    loss, stats = learner("actor", batch, {})
    logged = batch["actions_onehot" if discrete else "actions"][:, :1]
    official = value_loss == "official"
    q, mixer = (learner.target_q, learner.target_mixer) if official else (learner.q, learner.mixer)
    gaps = (q(batch["obs"][:, :1], logged) - learner.value(batch["obs"][:, :1]))[:, 0]  # (B, N)
    local = mixer.hyper_w_final(learner.normaliser(batch["state"][:, 0])).abs() * gaps / 0.5
    x = local if official else local.sum(-1)
    weight = th.where(x < 0, x.clamp(max=0).exp(), x + 1)  # of soft chi-square
    if official:
        weight = (weight.clamp(max=2) if discrete else weight).sum(-1)
    th.testing.assert_close(stats["weight"], weight.detach(), rtol=0, atol=1e-12)
    cost = learner.imitation(learner.mac.forward_all(batch)[:, :1], batch).mean(-1)
    th.testing.assert_close(loss, (weight.detach() * cost).mean(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("value_loss", ALL_LOSSES)
def test_q_learns_the_backup(value_loss: str) -> None:
    """(M[q - nu] + M[nu] - (r + gamma M'[nu']))^2, of the targets' values except in `full`, which has none."""
    learner, batch = case(value_loss=value_loss, advantage="mixed")
    loss, _ = learner("q", batch, {})
    local = learner.q(batch["obs"][:, :1], batch["actions"][:, :1])[:, 0]
    total = mixed(learner, local, batch["state"][:, 0])  # a linear mixer adds up
    with th.no_grad():
        value = learner.value if value_loss == "full" else learner.target_value
        mixer = learner.mixer if value_loss == "full" else learner.target_mixer
        after = mixer(value(batch["obs"])[:, 1:], learner.normaliser(batch["state"][:, 1:]))[:, 0, 0]
    alive = 1 - batch["terminated"][:, 0, 0].to(F64)
    target = batch["reward"][:, 0, 0] + learner.args.gamma * alive * after
    th.testing.assert_close(loss, (total - target).square().mean(), rtol=0, atol=1e-10)
    owners = {spec.name: spec.modules for spec in learner.LOSSES}
    assert owners["q"] == (("q", "mixer") if value_loss in ("semi_dataset", "official") else ("q",))


def test_the_joint_advantage_learns_the_sampled_one() -> None:
    learner, batch = case(discrete=True, advantage="joint", value_lr=0.01)
    sampled = learner.sampled_advantage(batch)
    loss, _ = learner("joint", batch, {})
    values = learner.joint(batch["state"][:, 0], batch["actions_onehot"][:, 0])[0]
    th.testing.assert_close(loss, (values - sampled).square().mean())
    before = th.autograd.grad(learner("value", batch, {})[0], learner.parameters_of(learner.LOSSES[1]))
    with th.no_grad():  # where it is exact, the gradient is that of the sampled advantage
        exact = type("Exact", (), {"__call__": lambda self, state, actions: sampled.detach()[None]})()
    del learner.joint
    learner.joint = exact
    learned = th.autograd.grad(learner("value", batch, {})[0], learner.parameters_of(learner.LOSSES[1]))
    learner.advantage_from = "sample"
    direct = th.autograd.grad(learner("value", batch, {})[0], learner.parameters_of(learner.LOSSES[1]))
    for left, right, other in zip(learned, direct, before, strict=True):
        th.testing.assert_close(left, right, rtol=0, atol=1e-12)
        assert not th.allclose(right, other)


@pytest.mark.parametrize(
    ("updates", "message"),
    [
        ({"value_loss": "dual"}, "value_loss=dual: choose one of full, semi_dataset, official, poster"),
        ({"advantage": "q"}, "advantage=q: choose one of sample, joint, mixed"),
        ({"divergence": "js"}, "divergence=js: choose one of kl, chi2, soft_chi2"),
        ({"gamma": 1.0}, "gamma=1.0: occupancies are discounted"),
        ({"alpha": 0.0}, "alpha=0.0: this must be a number above 0"),
        ({"alpha": -1.0}, "alpha=-1.0: this must be a number above 0"),
        ({"alpha": float("nan")}, "alpha=nan: this must be a number above 0"),
        ({"value_loss": "official", "advantage": "joint"}, "advantage=joint belongs to value_loss=full"),
        ({"value_memory": True, "agent": "rnn_ns"}, "value_loss=full needs whole episodes: set window=None"),
        (
            {"value_memory": True, "window": None},
            "value_memory=True needs recurrent policies: set agent=rnn_ns, not mlp_ns",
        ),
        ({"mixer": None}, "mixer=None: choose one of qmix, vdn, monotone$"),
        ({"value_loss": "official", "mixer": "vdn"}, "set mixer=monotone mixer_layers=1"),
        ({"value_loss": "official", "mixer_layers": 2}, "set mixer=monotone mixer_layers=1"),
    ],
)
def test_configurations_that_have_no_meaning_are_refused(updates: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_learner("comadice", discrete=True, **updates)


def test_rewards_of_single_agents_and_foreign_configurations_are_refused() -> None:
    scheme = {"actions": {"dtype": th.float32}, "reward": {"vshape": (3,)}}
    with pytest.raises(ConfigError, match="set common_reward=True"):
        check_dice(scheme, make_args("comadice", False))
    with pytest.raises(ConfigError, match="use --config=comadice$"):
        make_learner("bc", discrete=False, learner="comadice_learner", agent_output_type="tanh_gaussian")
    with pytest.raises(ConfigError, match="use --config=comadice_discrete$"):
        make_learner("bc", discrete=True, learner="comadice_learner")


@pytest.mark.parametrize("mixer", ["vdn", "qmix"])
def test_takes_the_mixers_of_the_value_based_learners(mixer: str) -> None:
    learner = make_learner("comadice", discrete=True, mixer=mixer, value_loss="semi_dataset")
    for step in range(4):
        learner.train(make_batch(learner.args, seed=step), step + 1, 0)
    learner.check_finite(4)


def test_saved_values_read_states_as_they_did(tmp_path: Path) -> None:
    """Also where nothing else knows the dataset's statistics."""
    learner, batch = case()
    learner.save_models(str(tmp_path))
    other, _ = case(input_norm="none")
    other.load_models(str(tmp_path))
    th.testing.assert_close(other.nu(batch, slice(None)), learner.nu(batch, slice(None)))


@pytest.mark.parametrize("advantage", ["sample", "joint", "mixed"])
def test_the_page_says_what_is_logged(advantage: str) -> None:
    learner, batch = case(advantage=advantage)
    page = (
        (ROOT / "docs" / "learners" / "comadice.md").read_text().partition("## What is logged")[2].partition("\n## ")[0]
    )
    logged = {f"{spec.name}_loss" for spec in learner.losses()}
    for spec in learner.losses():
        stats = learner(spec.name, batch, {})[1]
        logged |= {f"{name}_1..{name}_{value.shape[-1]}" if value.ndim > 1 else name for name, value in stats.items()}
    assert "weight_bin_1..weight_bin_11" in logged and not {name for name in logged if f"`{name}`" not in page}
    edges = ", ".join(f"{edge:g}" for edge in WEIGHT_EDGES[1:-1])
    assert f"w* = 0; then up to {edges} and {WEIGHT_EDGES[-1]:g}; then above {WEIGHT_EDGES[-1]:g}" in page


@pytest.mark.parametrize("algorithm", ["comadice", "optdice"])
@pytest.mark.parametrize(
    ("length", "updates", "warns"),
    [
        (1000, {}, True),
        (300, {}, False),
        (1000, {"batch_size": 1024}, False),
        (1000, {"grad_norm_clip": None}, False),
        (1000, {"window": None}, False),
        (200, {"window": 10, "batch_size": 32}, True),
    ],
)
def test_clipping_in_long_episodes_is_warned_of(
    caplog: pytest.LogCaptureFixture, algorithm: str, length: int, updates: dict[str, Any], warns: bool
) -> None:
    """Where most batches hold no episode's first row, the values of first states may run away."""
    learner = make_learner(algorithm, **{"batch_size": 256, **updates})
    caplog.clear()
    learner.use_statistics(replace(statistics(learner.args), mean_length=float(length)))
    assert ("grad_norm_clip=None" in caplog.text) is warns


@pytest.mark.parametrize("loss", ALL_LOSSES)
def test_only_losses_that_pull_first_values_down_warn(caplog: pytest.LogCaptureFixture, loss: str) -> None:
    learner = make_learner("comadice", batch_size=256, value_loss=loss)
    caplog.clear()
    learner.use_statistics(replace(statistics(learner.args), mean_length=1000.0))
    assert ("grad_norm_clip=None" in caplog.text) is (loss in ("full", "official"))
