from torch import Tensor, nn


class VDNMixer(nn.Module):
    """Value decomposition networks (Sunehag et al. 2018): the team's value is the sum of the agents' values.

    forward: agent_qs (B, T, N) -> (B, T, 1); states (B, T, S) and with_bias have no effect.
    """

    def forward(self, agent_qs: Tensor, states: Tensor, with_bias: bool = True) -> Tensor:
        return agent_qs.sum(dim=2, keepdim=True)
