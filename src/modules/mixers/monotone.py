from collections.abc import Callable
from functools import partial
from types import SimpleNamespace

import torch as th
import torch.nn.functional as F
from torch import Tensor, nn

from modules.mixers.hypernet import hypernet, state_size
from utils.errors import ConfigError

NONNEG: dict[str, Callable[[Tensor], Tensor]] = {"abs": th.abs, "softplus": F.softplus, "square": th.square}
ACTIVATIONS: dict[str, Callable[..., Tensor]] = {
    "linear": nn.Identity(),
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,  # slope 0.01
    "softplus": F.softplus,
    "elu": F.elu,
}
# Why well-known activations are refused.
NOT_CONVEX, NOT_INCREASING = "is not convex", "is not non-decreasing"
REASONS = {
    **dict.fromkeys(("tanh", "sigmoid", "hardtanh", "softsign", "logsigmoid", "relu6", "selu"), NOT_CONVEX),
    **dict.fromkeys(("gelu", "silu", "swish", "mish", "hardswish", "abs", "square"), NOT_INCREASING),
}


class MonotoneMixer(nn.Module):
    """A mixer that is non-decreasing and convex in the agents' values for every state (ComaDICE, Theorem 4.2).

    Weights are non-negative, activations convex and non-decreasing, and biases free. With k, W, w >= 0:
      one layer:  M[x] = sum_i k_i(s) x_i + b(s)
      two layers: M[x] = w(s)^T phi(W(s)^T x + c(s)) + b(s)

    forward: agent_qs (B, T, N) local values, states (B, T, S) -> (B, T, 1). with_bias=False leaves out only b(s), which
    would count twice in ComaDICE's M[q - nu] + M[nu]. Without it one layer is linear, so values of 0 mix to 0. Two
    layers keep c(s), which is part of the mixing function, so values of 0 mix to w(s)^T phi(c(s)).

    args: n_agents, state_shape; mixer_layers (1 or 2), mixer_nonneg (abs, softplus or square), mixer_activation (phi),
    mixer_elu_alpha (0 to 1, of elu); mixing_embed_dim (width of phi), hypernet_layers and hypernet_embed (the networks
    that make k, W, w, b and c). Raises ConfigError for other values, with the reason for an activation.
    """

    def __init__(self, args: SimpleNamespace) -> None:
        super().__init__()
        if args.mixer_layers not in (1, 2):
            raise ConfigError(
                f"mixer_layers={args.mixer_layers}: a monotone mixer has 1 or 2 layers; choose one of them"
            )
        if args.mixer_nonneg not in NONNEG:
            raise ConfigError(f"mixer_nonneg={args.mixer_nonneg}: choose one of {', '.join(NONNEG)}")
        self.n_agents, self.layers = args.n_agents, args.mixer_layers
        self.state_dim = state_size(args)
        self.nonneg = NONNEG[args.mixer_nonneg]
        self.activation = convex_activation(args.mixer_activation, args.mixer_elu_alpha)
        if self.layers == 2:
            self.embed_dim = args.mixing_embed_dim
            self.hyper_w_1 = hypernet(args, self.n_agents * self.embed_dim)
            self.hyper_b_1 = hypernet(args, self.embed_dim)
        self.hyper_w_final = hypernet(args, self.embed_dim if self.layers == 2 else self.n_agents)
        self.hyper_b_final = hypernet(args, 1)

    def forward(self, agent_qs: Tensor, states: Tensor, with_bias: bool = True) -> Tensor:
        rows = states.reshape(-1, self.state_dim)  # (B*T, S)
        inputs = agent_qs.reshape(-1, 1, self.n_agents)  # (B*T, 1, N)
        if self.layers == 2:
            w_1 = self.nonneg(self.hyper_w_1(rows)).view(-1, self.n_agents, self.embed_dim)  # (B*T, N, E)
            b_1 = self.hyper_b_1(rows).unsqueeze(1)  # (B*T, 1, E)
            inputs = self.activation(th.baddbmm(b_1, inputs, w_1))  # (B*T, 1, E)
        w_final = self.nonneg(self.hyper_w_final(rows)).unsqueeze(2)  # (B*T, N or E, 1)
        total = th.bmm(inputs, w_final)  # (B*T, 1, 1)
        if with_bias:
            total = total + self.hyper_b_final(rows).unsqueeze(1)  # (B*T, 1, 1)
        return total.view(*agent_qs.shape[:2], 1)

    def weights(self, states: Tensor) -> Tensor:
        """Weights k_i(s) of the one-layer mixer; states (B, T, S) -> (B, T, N). Raises ConfigError for two layers."""
        if self.layers != 1:
            raise ConfigError(
                f"mixer_layers={self.layers}: only a mixer of one layer has one weight per agent; set mixer_layers=1"
            )
        return self.nonneg(self.hyper_w_final(states.reshape(*states.shape[:2], self.state_dim)))  # (B, T, N)


def convex_activation(name: str, elu_alpha: float) -> Callable[[Tensor], Tensor]:
    """The activation `name`. Raises ConfigError, with the reason, unless it is convex and non-decreasing."""
    if name not in ACTIVATIONS:
        reason = REASONS.get(name, "is not known here to be convex and non-decreasing")
        raise ConfigError(
            f"mixer_activation={name}: this {reason}, as a mixer must be in the agents' values; "
            f"choose one of {', '.join(ACTIVATIONS)}"
        )
    if name != "elu":
        return ACTIVATIONS[name]
    if not 0 <= elu_alpha <= 1:
        reason = NOT_INCREASING if elu_alpha < 0 else f"{NOT_CONVEX}, as its slope falls to 1 at 0"
        raise ConfigError(f"mixer_elu_alpha={elu_alpha}: ELU with this alpha {reason}; choose a number from 0 to 1")
    return partial(F.elu, alpha=elu_alpha)
