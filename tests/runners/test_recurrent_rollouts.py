from __future__ import annotations

from typing import Any

import pytest
import torch as th

from tests.runners.made import RUNNERS, build


@pytest.mark.parametrize("runner", RUNNERS)
def test_recurrent_agents_act_on_the_states_that_learning_unrolls(runner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Episodes of unequal length: one that ends must not advance the recurrent state of those that go on."""
    made, _, _ = build(
        runner, env="gymma", env_args={"key": "lbforaging:Foraging-5x5-2p-1f-v3", "seed": 5, "time_limit": 12},
        agent="rnn", mac="basic_mac", use_rnn=True, agent_output_type="q", action_selector="epsilon_greedy",
        batch_size_run=1 if runner == "episode" else 4,
    )  # fmt: skip
    with th.no_grad():
        for parameter in made.mac.parameters():
            parameter.mul_(3.0)  # so that a step on the wrong input shows
    seen: list[tuple[int, Any, th.Tensor]] = []
    select, forward = made.mac.select_actions, made.mac.forward

    def select_actions(batch: Any, t_ep: int, t_env: int, bs: Any = slice(None), test_mode: bool = False) -> th.Tensor:
        monkeypatch.setattr(
            made.mac, "forward", lambda *given, **more: seen.append((t_ep, bs, forward(*given, **more))) or seen[-1][2]
        )
        return select(batch, t_ep, t_env, bs=bs, test_mode=test_mode)

    monkeypatch.setattr(made.mac, "select_actions", select_actions)
    batch = made.run()
    monkeypatch.setattr(made.mac, "forward", forward)
    lengths = batch["filled"].sum(1)
    assert runner == "episode" or lengths.min() < lengths.max()
    with th.no_grad():
        unrolled = made.mac.forward_all(batch)  # (B, T, N, A)
    assert len(seen) == lengths.max()
    for t, rows, outputs in seen:
        assert th.allclose(outputs[rows], unrolled[:, t][rows], atol=1e-4), t
