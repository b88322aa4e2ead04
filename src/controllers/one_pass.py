"""Evaluation of feed-forward agents at all steps at once, for our controllers and those of stock EPyMARL."""

from typing import Any

import torch as th
from torch import Tensor

from components.episode_buffer import EpisodeBatch
from modules.layers.masks import FORBIDDEN


def one_pass(mac: Any, ep_batch: EpisodeBatch) -> Tensor:
    """Outputs of a controller with feed-forward agents at all steps, (B, T, N, A), in one pass."""
    inputs = th.stack([mac._build_inputs(ep_batch, t) for t in range(ep_batch.max_seq_length)])  # (T, B*N, I)
    outputs, _ = mac.agent(inputs.flatten(0, 1), mac.agent.init_hidden())  # (T*B*N, A)
    by_step = outputs.view(ep_batch.max_seq_length, ep_batch.batch_size, mac.n_agents, -1)
    return to_policy(mac, by_step.transpose(0, 1), ep_batch["avail_actions"])  # (B, T, N, A)


def to_policy(mac: Any, outputs: Tensor, avail_actions: Tensor) -> Tensor:
    """Turn outputs (..., A) into probabilities where they are logits (`pi_logits`); else return them unchanged."""
    if mac.agent_output_type != "pi_logits":
        return outputs
    if getattr(mac.args, "mask_before_softmax", True):
        outputs = outputs.masked_fill(avail_actions == 0, FORBIDDEN)
    return th.softmax(outputs, dim=-1)
