"""What our learners do inside a stock checkout: offline, online, saved and loaded, beside stock's own."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch as th

from datasets.dataset import read_dataset
from tests.compat.ours_in_stock.conftest import OFFLINE, STOCKS_OWN
from tests.compat.ours_in_stock.stand_in import LIMIT, Launcher

pytestmark = pytest.mark.slow  # the fixture `runs` trains in checkouts


@pytest.mark.parametrize("alg", OFFLINE)
def test_trains_offline(alg: str, runs: Launcher) -> None:
    metrics = runs.metrics(alg)
    steps, returns = metrics["test_return_mean"]
    # Stock evaluates after the first update and then every interval; t_env is the number of updates.
    assert steps == [1, 21, 41, 61]
    # An episode's return is how many were begun before it: evaluations of exactly four episodes, nothing in between.
    assert np.diff(returns).tolist() == [4.0, 4.0, 4.0]
    assert metrics["test_return_std"][1] == pytest.approx([np.arange(4).std()] * 4)
    assert metrics["test_ep_length_mean"][1] == [LIMIT] * 4
    assert "return_mean" not in metrics
    losses = [key for key in metrics if key.endswith("_loss")]
    assert losses and all(np.isfinite(metrics[key][1]).all() for key in losses)


@pytest.mark.parametrize("alg", OFFLINE)
def test_updates_change_the_weights_that_are_saved(alg: str, runs: Launcher) -> None:
    runs.run_of(alg)
    first, last = (runs.models(alg) / step for step in ("1", "61"))
    assert {path.name for path in runs.models(alg).iterdir()} == {"1", "21", "41", "61"}
    before, after = (th.load(folder / "agent.th", weights_only=True) for folder in (first, last))
    moved = [key for key in before if not th.equal(before[key], after[key])]
    assert set(before) - set(moved) == {"normaliser.mean", "normaliser.std"}
    state = th.load(last / "agent_opt.th", weights_only=True)["state"]
    assert state[0]["step"] == (12 if alg == "spacql_discrete" else 61)  # its actors move every fifth update


@pytest.mark.parametrize("alg", OFFLINE)
def test_a_checkpoint_is_evaluated_without_the_dataset(alg: str, runs: Launcher) -> None:
    steps, returns = runs.metrics(f"evaluate-{alg}")["test_return_mean"]
    assert steps == [61] and len(returns) == 1


def test_evaluations_can_be_played_in_parallel(runs: Launcher) -> None:
    steps, returns = runs.metrics("evaluated-in-parallel")["test_return_mean"]
    assert steps == [1, 21, 41, 61]
    assert np.diff(returns).tolist() == [2.0, 2.0, 2.0]  # each of two environments plays two of the four episodes


def test_a_batched_pass_is_stocks_unrolling(runs: Launcher) -> None:
    batched, unrolled = runs.metrics("bc_discrete"), runs.metrics("unrolled")
    assert batched["bc_loss"][1] == pytest.approx(unrolled["bc_loss"][1], rel=1e-5)


@pytest.mark.parametrize("alg", sorted({alg for algs in STOCKS_OWN.values() for alg in algs}))
def test_stocks_own_results_are_the_same(alg: str, kind: str, runs: Launcher) -> None:
    if alg not in STOCKS_OWN[kind]:
        pytest.skip(f"the {kind} has no {alg}")
    before, after = runs.metrics(f"before-{alg}"), runs.metrics(f"after-{alg}")
    assert before == after and len(before["test_return_mean"][1]) >= 2


def test_stocks_learners_train_offline_too(runs: Launcher) -> None:
    metrics = runs.metrics("stocks-learner")
    assert np.diff(metrics["test_return_mean"][1]).tolist() == [4.0, 4.0, 4.0]
    assert len(metrics["loss"][1]) == 4


def test_stocks_mixers_serve_where_they_can(runs: Launcher) -> None:
    assert "value_loss" in runs.metrics("vdn-semi") and "value_loss" in runs.metrics("qmix-full")
    assert runs.codes["qmix-semi"] == 1 and "cannot leave out its bias" in runs.log("qmix-semi")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("other-size", "set buffer_size=8"),
        ("no-dataset", "none is set: add `with dataset="),
        ("other-width", "has obs_shape 7, the environment 5"),
        ("too-long", "has episodes of 5 steps, the environment ends them after 4"),
    ],
)
def test_what_cannot_work_is_refused_in_one_sentence(name: str, sentence: str, runs: Launcher) -> None:
    assert sentence in runs.refusal(name)


def test_learners_are_served_the_datasets_transitions_and_no_others(runs: Launcher) -> None:
    runs.run_of("probe")
    served = th.load(runs.folder / "served.pt", weights_only=True)
    dataset = read_dataset(runs.folder / "tiny.h5")
    lengths = np.diff(dataset.episode_offsets) - 1
    arrays, seen = dataset.arrays, Counter[int]()
    assert [int(batch["t_env"]) for batch in served["batches"]] == list(range(1, 62))
    for batch in served["batches"]:
        assert batch["obs"].shape[0] == 8
        for row in range(8):
            episode = int(batch["obs"][row, 0, 0, 0])
            length, start = int(lengths[episode]), int(dataset.episode_offsets[episode])
            seen[episode] += 1
            steps = np.flatnonzero(batch["mask"][row, :, 0])
            assert steps.tolist() == list(range(length))  # an early cut gains no transition
            check_rows(batch, row, arrays, slice(start, start + length + 1), length)
    assert len(seen) == 40 and sum(seen.values()) == 61 * 8
    mean, _ = dataset.obs_statistics()
    th.testing.assert_close(served["statistics"]["scheme"], th.from_numpy(mean))
    th.testing.assert_close(served["statistics"]["agent"], th.from_numpy(mean))


@pytest.mark.parametrize(
    ("alg", "file", "field"),
    [
        ("spacql_discrete", "critic.th", "state"),
        ("comadice_discrete", "value.th", "obs"),
        ("comadice_discrete", "normaliser.th", "state"),
    ],
)
def test_learners_standardise_by_the_datasets_statistics(alg: str, file: str, field: str, runs: Launcher) -> None:
    saved = th.load(runs.models(alg) / "61" / file, weights_only=True)
    prefix = "" if file == "normaliser.th" else "normaliser."
    mean, std = getattr(read_dataset(runs.folder / "tiny.h5"), f"{field}_statistics")()
    th.testing.assert_close(saved[f"{prefix}mean"], th.from_numpy(mean))
    scale = np.where(std == 0, 1, std)  # constant columns are not scaled
    th.testing.assert_close(saved[f"{prefix}std"], th.from_numpy(scale))


def check_rows(batch: dict[str, th.Tensor], row: int, arrays: Any, rows: slice, length: int) -> None:
    """One served episode is the dataset's; where its last action is not known, it has no encoding."""
    obs = arrays["obs"][rows]
    assert np.array_equal(batch["obs"][row, : length + 1], obs)
    assert np.array_equal(batch["state"][row, : length + 1], obs.reshape(length + 1, -1))
    assert np.array_equal(batch["actions"][row, :length], arrays["actions"][rows][:length])
    assert batch["actions_onehot"][row, :length].argmax(-1, keepdim=True).equal(batch["actions"][row, :length])
    assert not batch["actions_onehot"][row, length:].any()
    reward = arrays["reward"][rows][:length].mean(1)
    np.testing.assert_allclose(batch["reward"][row, :length, 0], reward, rtol=1e-6)
    assert np.array_equal(batch["terminated"][row, : length + 1, 0], arrays["terminated"][rows])
    assert not batch["obs"][row, length + 1 :].any() and not batch["filled"][row, length + 1 :].any()
    assert batch["avail_actions"][row, : length + 1].all()
