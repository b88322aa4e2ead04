"""What is judged without a simulator: held-out losses, and the value of a given policy."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch as th

from loops.checks import check_online
from loops.validation import Validation, split
from tests.command_line import CommandLine
from tests.components.buffers import make as make_buffer
from tests.learners.learner_tester import ALGORITHMS, assert_same, is_discrete, is_recurrent, make_learner
from utils.errors import ConfigError
from utils.settings import Settings


def metrics(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "metrics.json").read_text())
    return found


@pytest.mark.parametrize("window", [1, None])
def test_the_split_is_by_episode_and_seeded(window: int | None) -> None:
    buffer = make_buffer([3, 5, 4, 2, 6], window=window)[0]
    settings = Settings(validation_share=0.4, seed=1)
    train, held = split(buffer, settings)
    assert held is not None and train.n_windows + held.n_windows == buffer.n_windows
    again = split(buffer, settings)[1]
    other = split(buffer, Settings(validation_share=0.4, seed=2))[1]
    assert again is not None and other is not None
    assert th.equal(held.first_windows(), again.first_windows())
    parts = [set(part._table["first"].tolist()) for part in (train, held, other)]
    assert len(parts[1]) == 2 and not parts[0] & parts[1] and parts[1] != parts[2]
    assert split(buffer, Settings(validation_share=0.0, seed=1)) == (buffer, None)


@pytest.mark.parametrize("share", [0.05, 0.9])
def test_an_empty_part_is_refused(share: float) -> None:
    buffer = make_buffer([3, 3], window=1)[0]
    with pytest.raises(ConfigError, match="validation_share"):
        split(buffer, Settings(validation_share=share, seed=0))


def learner_and_buffers(alg: str, seed: int = 0, **updates: Any) -> tuple[Any, Any, Any]:
    """A small learner, and the training and the held-out part of ten ragged episodes as it reads them."""
    keys: dict[str, Any] = {"batch_size": 6, "evaluation_seed": 7, "validation_share": 0.3, "seed": seed}
    if ALGORITHMS[alg]["agent_output_type"] in ("q", "pi_logits") or updates.get("discrete"):
        keys["n_actions"] = 5
    learner = make_learner(alg, **keys, **updates)
    args = learner.args
    remembers = is_recurrent(args)
    window, burn_in = (args.window, args.burn_in) if "window" in updates else (None if remembers else 1, 0)
    extras = (*learner.EXTRAS, "prev_actions_onehot") if args.obs_last_action and window else learner.EXTRAS
    lengths = [3, 7, 4, 5, 2, 6, 3, 4, 5, 3]
    buffer = make_buffer(
        lengths, window=window, burn_in=burn_in, discrete=is_discrete(args), extras=extras, terminal=[1, 4], seed=seed,
        reward="mean" if args.common_reward else None,
    )[0]  # fmt: skip
    return learner, *split(buffer, args)


BOTH = ("alberdice", "bc", "spacql", "comadice", "fqe")  # algorithm files for continuous and for discrete actions
# Learners that forget each rollout have no data to hold out.
JUDGED = [alg for alg, keys in ALGORITHMS.items() if keys["learner"] != "ppo_learner"]
CASES = [(alg, {"discrete": True} if alg in BOTH and kind else {}) for alg in JUDGED for kind in (0, alg in BOTH)]
MEMORY = {"mac": "basic_mac", "agent": "rnn"}
CASES += [("spacql", MEMORY), ("bc", MEMORY | {"window": 3, "burn_in": 2, "obs_last_action": True, "discrete": False})]
CASES += [("comadice", {"discrete": True, "advantage": "mixed", "window": 2, "burn_in": 0})]
CASES += [("spacql", {"discrete": False, "penalty_weights": "density", "loss_chunk": 4})]


@pytest.mark.parametrize(("alg", "updates"), CASES, ids=lambda part: part if isinstance(part, str) else str(part))
def test_training_is_the_same_with_and_without_judging(alg: str, updates: dict[str, Any]) -> None:
    """Weights, targets, optimisers and random streams, bit for bit, for every learner that we have."""
    states = []
    for judged in (False, True):
        learner, buffer, held = learner_and_buffers(alg, **updates)
        validation = Validation(learner, held, learner.args)
        for step in range(4):
            learner.train(buffer.sample(6), step + 1, 0)
            if judged:
                losses = validation.losses()
                assert losses == validation.losses() and np.isfinite(list(losses.values())).all()
                assert losses.keys() == {f"validation_{spec.name}_loss" for spec in learner.LOSSES}
        global_stream = {"torch": th.get_rng_state()}  # `make_learner` has seeded it
        states.append((learner.state_dict(), learner.training_state(), buffer.state_dict(), global_stream))
    assert_same(states[0], states[1])


@pytest.mark.parametrize("window", [1, None])
def test_training_is_that_of_a_dataset_without_the_held_out_episodes(window: int | None) -> None:
    lengths = [3, 5, 4, 2, 6, 3, 3, 3]
    whole, arrays, offsets = make_buffer(lengths, window=window)
    train, held = split(whole, Settings(validation_share=0.25, seed=1))
    assert held is not None
    gone = set(held._table["first"].tolist())
    kept = [episode for episode in range(len(lengths)) if offsets[episode] not in gone]
    rows = np.concatenate([np.arange(offsets[e], offsets[e + 1]) for e in kept])
    alone = make_buffer([lengths[e] for e in kept], window=window, more={key: x[rows] for key, x in arrays.items()})[0]
    for _ in range(5):
        one, other = train.sample(9), alone.sample(9)
        assert all(th.equal(one[key], other[key]) for key in one.scheme)


def test_a_held_out_loss_is_the_mean_over_transitions() -> None:
    """However they are cut into windows, batches and chunks: against plain loops over the rows."""
    found = []
    settings: list[dict[str, Any]] = [{"window": 1}, {"window": 1, "loss_chunk": 2}, {"window": 1, "batch_size": 100},
                                      {"window": None, "loss_chunk": 1}, {"window": None}]  # fmt: skip
    for keys in settings:
        size = {"batch_size": keys.pop("batch_size")} if "batch_size" in keys else {}
        learner, _, held = learner_and_buffers("bc", discrete=False, burn_in=0, **keys)
        vars(learner.args).update(size)
        found.append(Validation(learner, held, learner.args).losses()["validation_bc_loss"])
    rows, policy = [], learner.imitation.policy
    for number in range(held.n_windows):
        batch = held.batch(th.tensor([number]))  # whole episodes
        with th.no_grad():
            actions = policy.squash(learner.mac.forward_all(batch))  # (1, T, N, A)
        error = (actions - batch["actions"]) / policy.half_range()
        rows += error.square().mean((-2, -1))[0, : int(held._table["length"][number]) - 1].tolist()
    assert found == pytest.approx([float(np.mean(rows))] * len(found), rel=1e-5)


def test_many_held_out_windows_are_thinned_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    learner, _, held = learner_and_buffers("bc", discrete=False)
    whole = Validation(learner, held, learner.args).windows
    monkeypatch.setattr("loops.validation.MOST_WINDOWS", 5)
    thinned = Validation(learner, held, learner.args).windows
    assert len(whole) == held.n_windows > 5 >= len(thinned) > 2
    assert len(set(thinned.diff().tolist())) == 1 and held.n_windows - int(thinned[-1]) <= int(thinned.diff()[0])


def test_mapped_data_are_held_out_alike(tmp_path: Path) -> None:
    _, arrays, _ = make_buffer([3, 5, 4, 2], window=1)
    mapped = {}
    for key, array in arrays.items():
        np.save(tmp_path / f"{key}.npy", array)
        mapped[key] = np.load(tmp_path / f"{key}.npy", mmap_mode="r+")
    both = [make_buffer([3, 5, 4, 2], window=1, more=more)[0] for more in ({}, mapped)]
    parts = [split(buffer, Settings(validation_share=0.5, seed=3)) for buffer in both]
    for one, other in zip(*parts, strict=True):
        assert one is not None and other is not None
        assert th.equal(one.sample(20)["obs"], other.sample(20)["obs"])
        assert th.equal(one.first_windows(), other.first_windows())


@pytest.mark.skipif(not th.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("window", [1, None])
def test_held_out_losses_on_a_gpu(window: int | None) -> None:
    buffer = make_buffer([3, 5, 4, 2], window=window, device="cuda")[0]
    learner = make_learner("spacql", device="cuda", batch_size=4, evaluation_seed=0, validation_share=0.5)
    learner.cuda()
    train, held = split(buffer, learner.args)
    assert held is not None and train.sample(4)["obs"].is_cuda
    validation = Validation(learner, held, learner.args)
    assert validation.losses() == validation.losses()


def test_losses_that_cannot_be_computed_alone_are_refused() -> None:
    with pytest.raises(ConfigError, match="validation_share=0.1: the losses of learner=x cannot be computed"):
        Validation(object(), make_buffer([3], window=1)[0], Settings(learner="x", validation_share=0.1))


def test_a_run_logs_losses_of_what_it_does_not_learn_from(cli: CommandLine) -> None:
    held = cli.run("validation_share=0.25", config="spacql")
    assert held.returncode == 0, held.stderr
    assert re.search(r"validation_critic_loss +\d.*\(lowest .* at update \d+\)", held.stderr + held.stdout)
    series = metrics(cli.runs()[-1])["validation_critic_loss"]
    assert series["steps"] == [0, 10, 20] and np.isfinite(series["values"]).all()


def test_a_continued_run_holds_out_the_same(cli: CommandLine) -> None:
    """Without an environment, where the held-out losses are all there is."""
    keys = ("env=None", "validation_share=0.25", "test_interval=5", "batch_size=8", "learner_log_interval=5")
    for more in (("t_max=20",), ("t_max=10",)):
        result = cli.run(*keys, *more, config="bc")
        assert result.returncode == 0, result.stderr
    straight, first = cli.checkpoints()
    went_on = cli.run(*keys, "t_max=20", f"checkpoint_path={first}", config="bc")
    assert went_on.returncode == 0, went_on.stderr
    paths = [straight, cli.checkpoints()[-1]]
    weights = [th.load(path / "20" / "agent.th", weights_only=True) for path in paths]
    assert_same(*weights)
    series = [metrics(run)["validation_bc_loss"] for run in (cli.runs()[0], cli.runs()[-1])]
    assert series[0]["steps"] == [0, 5, 10, 15, 20]
    assert all(series[0][part] == series[1][part] for part in ("steps", "values"))
    other = cli.run(*keys, "t_max=20", f"checkpoint_path={first}", "validation_share=0.5", config="bc")
    assert other.returncode == 1 and "it held out 10 episodes, this run holds out 20 (validation_share)" in other.stderr


def test_online_training_has_nothing_to_hold_out() -> None:
    settings = Settings(offline=False, env="mpe", validation_share=0.1)
    with pytest.raises(ConfigError, match="validation_share=0.1 holds out episodes of a dataset; set it to 0"):
        check_online(settings)


def test_the_value_of_a_policy_is_fitted_from_data_alone_and_continued(cli: CommandLine) -> None:
    assert cli.run("t_max=20", config="bc").returncode == 0
    policy = cli.checkpoints()[-1]
    weights = th.load(policy / "20" / "agent.th", weights_only=True)
    keys = (f"policy_path={policy}", "test_interval=5", "hidden_dim=8", "batch_size=16", "seed=3", "ensemble_size=2",
            "validation_share=0.25")  # fmt: skip
    for updates in (("t_max=20",), ("t_max=10",), ("t_max=20", "checkpoint_path=")):
        if updates[-1].endswith("="):
            updates = (updates[0], f"{updates[-1]}{cli.checkpoints()[-1]}")
        result = cli.run(*keys, *updates, config="fqe")
        assert result.returncode == 0, result.stderr
    _, straight, _, continued = (metrics(run) for run in cli.runs())
    assert straight["fqe_value"]["steps"] == [0, 5, 10, 15, 20]
    for key in ("fqe_value", "fqe_spread", "validation_critic_loss"):
        assert all(straight[key][part] == continued[key][part] for part in ("steps", "values"))
    run = json.loads((cli.runs()[-1] / "run.json").read_text())
    assert run["result"] == continued["fqe_value"]["values"][-1] and "final_return" not in continued
    _, one, _, other = cli.checkpoints()
    for file in ("critic.th", "agent.th"):
        assert_same(*(th.load(path / "20" / file, weights_only=True) for path in (one, other)))
    assert_same(th.load(other / "20" / "agent.th", weights_only=True), weights)  # nothing moved the policy


@pytest.mark.parametrize(("path", "words"), [("", "set policy_path"), ("nowhere", "there is no such directory")])
def test_a_policy_that_is_not_there_is_refused(cli: CommandLine, path: str, words: str) -> None:
    result = cli.run(f"policy_path={path!r}", config="fqe")
    assert result.returncode == 1 and words in result.stderr and "Traceback" not in result.stderr
