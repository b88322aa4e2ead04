"""Where a learner's parts go when it moves to a GPU, as far as a machine without one can tell."""

from __future__ import annotations

import pytest
import torch as th
from torch import nn

from tests.learners.learner_tester import make_learner, train


@pytest.mark.parametrize("device", [None, "cuda:1"])
def test_controllers_move_to_the_learners_device(device: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stock's `mac.cuda()` takes no device, and its networks need not all be the learner's."""
    current, moved = ["cuda:0"], []

    class Current:
        def __init__(self, device: str | None) -> None:
            self.device = device or current[-1]

        def __enter__(self) -> None:
            current.append(self.device)

        def __exit__(self, *_: object) -> None:
            current.pop()

    learner = make_learner()
    learner.mac.cuda = lambda: moved.append(("mac", current[-1]))
    learner.target_mac.cuda = lambda: moved.append(("target_mac", current[-1]))
    monkeypatch.setattr(th.cuda, "device", Current)
    monkeypatch.setattr(nn.Module, "cuda", lambda self, to=None: moved.append(("learner", to or current[-1])))
    learner.cuda(device)
    assert moved == [(what, device or "cuda:0") for what in ("learner", "mac", "target_mac")]


@pytest.mark.parametrize(("alg", "has_one"), [("bc", False), ("comadice", False), ("spacql", True), ("vdn", True)])
def test_only_target_agents_need_a_second_controller(alg: str, has_one: bool) -> None:
    learner = make_learner(alg, discrete=True)
    assert hasattr(learner, "target_mac") == has_one
    assert not has_one or learner.target_mac.agent is learner.target_agent is not learner.agent


@pytest.mark.filterwarnings("ignore:.*which is a no-op")
def test_statistics_that_wait_for_the_log_follow_the_learner_to_its_device() -> None:
    """A training state is loaded to the CPU; `meta` stands for a GPU."""
    first = make_learner(actor_update_interval=4, learner_log_interval=1)
    train(first, 0, 1)
    state = first.training_state()
    assert state["pending"]["critic"] and state["pending"]["actor"] is None
    moved = make_learner(actor_update_interval=4, learner_log_interval=1).to("meta")
    moved.load_training_state(state)
    assert all(value.is_meta for value in moved._pending["critic"].values()) and moved._pending["actor"] is None
