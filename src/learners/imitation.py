"""Likelihood of logged actions, for every kind of policy: behaviour cloning, and ComaDICE's weighted policies."""

from types import SimpleNamespace
from typing import Any

from torch import Tensor, nn

from components.episode_buffer import EpisodeBatch
from learners.losses import NOW, available, rows_of
from modules.policies import build_policy


class Imitation(nn.Module):
    """-log pi_i(a_i | o_i) of the logged actions, a mean over an agent's action dimensions.

    `agent_output_type` names the policy. Discrete actions: `pi_logits`, or `q`, whose values are read as logits (so
    that configurations of value-based algorithms can be used). Continuous: `mean`, the squared error in half action
    ranges; `gaussian`, whose standard deviations are learned too; `tanh_gaussian`, a Gaussian before tanh.
    Raises ConfigError, one sentence, where it does not suit the actions.
    """

    def __init__(self, scheme: dict[str, Any], args: SimpleNamespace) -> None:
        super().__init__()
        self.policy = build_policy(args, continuous=scheme["actions"]["dtype"].is_floating_point)

    def forward(self, outputs: Tensor, batch: EpisodeBatch) -> Tensor:
        """The cost of the actions logged on the time steps NOW; outputs (B, T', N, P) -> (R, N)."""
        logged, has = rows_of(batch, "actions_onehot", NOW), available(batch, NOW)  # (R, N, A) each
        return -self.policy.log_prob(outputs.flatten(0, 1), logged, has) / self.policy.dimensions(has)
