"""Controllers that read every step of a batch in one pass, for learners in plugged checkouts (src/plug_into.py).

Stock's are stepped through time, which feed-forward agents do not need. In this repository every controller has
`forward_all`, so these are registered in plugged checkouts only.
"""

from typing import Any

import torch as th
from torch import Tensor

from components.episode_buffer import EpisodeBatch
from controllers.basic_controller import BasicMAC
from controllers.non_shared_controller import NonSharedMAC
from modules.layers.masks import FORBIDDEN


def forward_all(mac: Any, ep_batch: EpisodeBatch) -> Tensor:
    """What `mac.forward` says at every step, (B, T, N, A); recurrent agents are unrolled."""
    steps = range(ep_batch.max_seq_length)
    if getattr(mac.agent, "is_recurrent", True):
        mac.init_hidden(ep_batch.batch_size)
        return th.stack([mac.forward(ep_batch, t) for t in steps], dim=1)
    inputs = th.stack([mac._build_inputs(ep_batch, t) for t in steps])  # (T, B*N, I)
    outputs, _ = mac.agent(inputs.flatten(0, 1), mac.agent.init_hidden())  # (T*B*N, A)
    outputs = outputs.view(len(steps), ep_batch.batch_size, mac.n_agents, -1).transpose(0, 1)  # (B, T, N, A)
    if mac.agent_output_type != "pi_logits":
        return outputs
    if getattr(mac.args, "mask_before_softmax", True):
        outputs = outputs.masked_fill(ep_batch["avail_actions"] == 0, FORBIDDEN)
    return outputs.softmax(-1)


class BatchedMAC(BasicMAC):
    """`basic_mac` with `forward_all`."""

    def forward_all(self, ep_batch: EpisodeBatch) -> Tensor:
        return forward_all(self, ep_batch)


class BatchedNonSharedMAC(NonSharedMAC):
    """`non_shared_mac` with `forward_all`."""

    def forward_all(self, ep_batch: EpisodeBatch) -> Tensor:
        return forward_all(self, ep_batch)
