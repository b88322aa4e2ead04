"""Calls of agents, at one step or all at once, for our controllers, exported files and stock EPyMARL's controllers."""

from typing import Any

import torch as th
from torch import Tensor

from components.episode_buffer import EpisodeBatch
from modules.layers.masks import FORBIDDEN


def one_pass(mac: Any, ep_batch: EpisodeBatch) -> Tensor:
    """Outputs of a controller with feed-forward agents at all steps, (B, T, N, A), in one pass."""
    inputs = th.stack([mac._build_inputs(ep_batch, t) for t in range(ep_batch.max_seq_length)])  # (T, B*N, I)
    available = ep_batch["avail_actions"]  # (B, T, N, A)
    outputs, _ = ask(mac.agent, inputs.flatten(0, 1), mac.agent.init_hidden(), available.transpose(0, 1))  # (T*B*N, P)
    by_step = outputs.view(ep_batch.max_seq_length, ep_batch.batch_size, mac.n_agents, -1)
    return to_policy(mac, by_step.transpose(0, 1), available)  # (B, T, N, A)


def ask(agent: Any, inputs: Tensor, hidden: Any, available: Tensor) -> tuple[Tensor, Any]:
    """What agents put out, (R, P), and their hidden state.

    inputs: (R, I). available: (..., A), R rows in the order of the inputs. Agents whose `takes_available` is set have
    it as a third argument, for what they put out of one action depends on which others there are.
    """
    given = (available.reshape(-1, available.shape[-1]),) if getattr(agent, "takes_available", False) else ()
    found: tuple[Tensor, Any] = agent(inputs, hidden, *given)
    return found


def to_policy(mac: Any, outputs: Tensor, avail_actions: Tensor) -> Tensor:
    """Turn outputs (..., A) into probabilities where they are logits (`pi_logits`); else return them unchanged."""
    if mac.agent_output_type != "pi_logits":
        return outputs
    if getattr(mac.args, "mask_before_softmax", True):
        outputs = outputs.masked_fill(avail_actions == 0, FORBIDDEN)
    return th.softmax(outputs, dim=-1)
