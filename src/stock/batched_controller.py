"""Stock's controllers with `forward_all`, which runs feed-forward agents on all steps of a batch in one pass.

Agents that ask for the available actions (`takes_available`) get them, which stock's own `forward` does not do.

They are registered in plugged checkouts only: in this repository every controller has `forward_all`.
"""

from typing import Any

import torch as th
from torch import Tensor

from components.episode_buffer import EpisodeBatch
from controllers.basic_controller import BasicMAC
from controllers.non_shared_controller import NonSharedMAC
from controllers.one_pass import ask, one_pass, to_policy


class _Batched:
    """What is added to a controller of stock's."""

    agent: Any
    hidden_states: Any
    n_agents: int
    init_hidden: Any
    _build_inputs: Any

    def forward(self, ep_batch: EpisodeBatch, t: int, test_mode: bool = False) -> Tensor:
        if not getattr(self.agent, "takes_available", False):
            outputs: Tensor = super().forward(ep_batch, t, test_mode=test_mode)  # type: ignore[misc]
            return outputs
        available = ep_batch["avail_actions"][:, t]  # (B, N, A)
        inputs = self._build_inputs(ep_batch, t)  # (B*N, I)
        outputs, self.hidden_states = ask(self.agent, inputs, self.hidden_states, available)  # (B*N, P)
        return to_policy(self, outputs.view(ep_batch.batch_size, self.n_agents, -1), available)

    def forward_all(self, ep_batch: EpisodeBatch) -> Tensor:
        """Outputs at every step, (B, T, N, A): one pass, or an unroll where the agents are recurrent."""
        if getattr(self.agent, "is_recurrent", True):
            self.init_hidden(ep_batch.batch_size)
            return th.stack([self.forward(ep_batch, t) for t in range(ep_batch.max_seq_length)], dim=1)
        return one_pass(self, ep_batch)


class BatchedMAC(_Batched, BasicMAC):
    """`basic_mac` with `forward_all`."""


class BatchedNonSharedMAC(_Batched, NonSharedMAC):
    """`non_shared_mac` with `forward_all`."""
