"""Sizes that cannot fit are refused before anything is allocated, by key, need and what there is."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch as th

from components.episode_buffer import EpisodeBatch
from components.needs import row_bytes
from components.scheme import build_scheme, extend_scheme
from learners import REGISTRY as learner_REGISTRY
from learners.optimisation import keep_freed_memory
from loops import needs
from loops.build import build
from loops.needs import check_optimiser, check_projected, checked_networks
from loops.resolve import run_settings
from utils.config import layered_config, merge
from utils.logging import Logger
from utils.memory import MemoryShortage
from utils.validation import check_values, keys_of

LOG = logging.getLogger("test")
HUGE = 10**9
DATASET = "mpe/simple_spread/random-100k"


@pytest.mark.parametrize("continuous", [False, True])
def test_the_need_is_what_a_batch_really_takes(continuous: bool) -> None:
    info = {"state_shape": 7, "obs_shape": 5, "n_actions": 3, "n_agents": 2,
            "action_space": "continuous" if continuous else "discrete"}  # fmt: skip
    scheme, groups, preprocess = build_scheme(info, SimpleNamespace(common_reward=False))
    batch = EpisodeBatch(scheme, groups, 4, 6, preprocess=preprocess)
    real = sum(tensor.nbytes for tensor in batch.data.transition_data.values())
    assert 4 * 6 * row_bytes(extend_scheme(scheme, preprocess), groups) == real


def test_a_network_is_refused_before_its_tensor_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("utils.memory.free_memory", lambda swap=False: 10**9)
    args = SimpleNamespace(hidden_dim=20_000, mixing_embed_dim=32)
    too_large = pytest.raises(MemoryShortage, match=r"a network with hidden_dim=20000 needs at least 1\.6 GB")
    with too_large, checked_networks(args, None):
        th.nn.Linear(20_000, 20_000)
    with checked_networks(args, None):
        th.nn.Linear(20_000, 300)


def test_a_block_that_holds_no_weights_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under a limit of the process, the block of 32 MB that sets the allocator's threshold is no network of 98 MB."""
    monkeypatch.setattr("utils.memory.free_memory", lambda swap=False: 40_000_000)
    args = SimpleNamespace(hidden_dim=64, learner="bc_learner", use_layer_norm=False)
    with checked_networks(args, learner_REGISTRY["bc_learner"]):
        keep_freed_memory()
        with pytest.raises(MemoryShortage, match="hidden_dim=64 needs at least"):
            th.empty(64, 2**17)


def test_networks_are_the_same_under_the_watch() -> None:
    args = SimpleNamespace(hidden_dim=64)
    th.manual_seed(3)
    plain = th.nn.GRUCell(64, 64)
    th.manual_seed(3)
    with checked_networks(args, None):
        watched = th.nn.GRUCell(64, 64)
    assert all(th.equal(one, other) for one, other in zip(plain.parameters(), watched.parameters(), strict=True))


def test_gradients_and_averages_count(monkeypatch: pytest.MonkeyPatch) -> None:
    network = th.nn.Linear(100, 100)  # 40 400 bytes
    args = SimpleNamespace(hidden_dim=100, device="cpu")
    monkeypatch.setattr("utils.memory.free_memory", lambda swap=False: 3 * 40_400)
    check_optimiser(args, network)
    monkeypatch.setattr("utils.memory.free_memory", lambda swap=False: 3 * 40_400 - 1)
    with pytest.raises(MemoryShortage, match="hidden_dim=100"):
        check_optimiser(args, network)


def test_a_collection_is_refused_once_its_first_episodes_show_their_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("utils.memory.free_memory", lambda swap=False: 10**6)
    check_projected(SimpleNamespace(collect_episodes=100), 10, 40_000)
    with pytest.raises(
        MemoryShortage, match="collect_episodes=200, as long as the first 10, needs at least 1.56 MB .*apart$"
    ):
        check_projected(SimpleNamespace(collect_episodes=200), 10, 40_000)


def built(alg: str, layer: str, tmp_path: Path, **updates: Any) -> Any:
    """The parts of a run with these keys, as `main.py` builds them."""
    layers = merge(
        layered_config(alg, layer, updates),
        {"local_results_path": str(tmp_path), "seed": 0, "use_cuda": False, **updates},
    )
    config = check_values(layers, keys_of(learner_REGISTRY.get(layers["learner"])))
    return build(run_settings(config, LOG), Logger(LOG))


def refused(message: str, alg: str, layer: str, tmp_path: Path, **updates: Any) -> None:
    started = time.monotonic()
    with pytest.raises(MemoryShortage, match=message) as refusal:
        built(alg, layer, tmp_path, **updates)
    assert "are free; lower" in str(refusal.value) and time.monotonic() - started < 5


@pytest.mark.parametrize(
    "updates, message",
    [
        ({"buffer_size": 50_000_000}, "buffer_size=50000000 episodes of up to 50 steps needs at least 278 GB"),
        ({"buffer_size": 2**62}, "buffer_size=4611686018427387904 episodes"),
        ({"batch_size": 10**10, "window": 1, "use_rnn": False}, "batch_size=10000000000, window=1, hidden_dim="),
        ({"window": 10**12, "use_rnn": False}, "window=1000000000000"),
        ({"batch_size_run": HUGE, "runner": "vector"}, "batch_size_run=1000000000 environments at once, and as"),
        ({"batch_size_run": HUGE, "runner": "parallel"}, "batch_size_run=1000000000 environments at once, and as"),
        ({"test_nepisode": 10**12}, "test_nepisode=1000000000000 episodes per evaluation needs"),
        ({"hidden_dim": HUGE}, "hidden_dim=1000000000 needs"),
        ({"mixing_embed_dim": 10**11}, "mixing_embed_dim=100000000000 needs"),
        ({"hypernet_embed": 10**11, "hypernet_layers": 2}, "hypernet_embed=100000000000 needs"),
        ({"t_max": 10**12, "runner": "vector", "replay_to": "x.h5"}, "t_max=1000000000000 steps, needs"),
        ({"collect_episodes": 10**12, "collect": True, "collect_to": "x.h5"}, "collect_episodes=1000000000000, of one"),
    ],
)  # fmt: skip
def test_sizes_online_that_cannot_fit(updates: dict[str, Any], message: str, tmp_path: Path) -> None:
    places = {key: str(tmp_path / updates[key]) for key in ("replay_to", "collect_to") if key in updates}
    refused(message, "qmix", "matrix_game", tmp_path, **(updates | places))


@pytest.mark.parametrize(
    "updates, message",
    [
        ({"batch_size": 10**10}, "batch_size=10000000000, window=1, hidden_dim=64 needs"),
        ({"window": 10**12}, "window=1000000000000"),
        ({"n_penalty_samples": 10**8}, "n_penalty_samples=100000000 needs"),
        ({"hidden_dim": HUGE}, "hidden_dim=1000000000 needs"),
        ({"ensemble_size": 10**10}, "ensemble_size=10000000000 needs"),
    ],
)
def test_sizes_offline_that_cannot_fit(updates: dict[str, Any], message: str, tmp_path: Path) -> None:
    refused(message, "spacql", "mpe", tmp_path, dataset=DATASET, env=None, **updates)


@pytest.mark.parametrize("collect", [False, True])
def test_a_layer_that_cannot_follow_is_refused_before_the_first_is_filled(
    collect: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*args: Any) -> None:
        raise AssertionError("the network is built")

    monkeypatch.setattr("loops.build.build_mac", never)
    place = {"collect": True, "collect_to": str(tmp_path / "x.h5")} if collect else {"dataset": DATASET, "env": None}
    refused("hidden_dim=10000000 needs at least 400000 GB", "bc", "mpe", tmp_path, hidden_dim=10**7, **place)


def test_a_buffer_over_a_dataset_that_cannot_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.loading._WINDOW_BYTES", 10**12)
    with pytest.raises(MemoryShortage, match="the buffer over dataset .* needs at least .*slice"):
        built("bc", "mpe", tmp_path, dataset=DATASET, env=None)


def test_episodes_that_are_too_long_for_one_name_the_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs, "row_bytes", lambda *_: 1000)
    args = SimpleNamespace(batch_size_run=1, device="cpu", collect=False)
    with pytest.raises(MemoryShortage, match="lower batch_size_run or the environment's time limit"):
        needs.check_play(args, {"episode_limit": 10**12}, {}, {})


@pytest.mark.parametrize(
    "runner, collect, need",
    [("parallel", False, 320_000_000), ("parallel", True, 160_000_000), ("vector", False, 20_000)],
)
def test_environments_count_as_processes_and_once_more_for_evaluations(
    runner: str, collect: bool, need: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = SimpleNamespace(runner=runner, collect=collect, batch_size_run=10, test_nepisode=1)
    monkeypatch.setattr("utils.memory.free_memory", lambda swap=False: need)
    needs.check_environments(settings)
    monkeypatch.setattr("utils.memory.free_memory", lambda swap=False: need - 1)
    with pytest.raises(MemoryShortage, match="batch_size_run=10 environments at once"):
        needs.check_environments(settings)
