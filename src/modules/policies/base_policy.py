"""What an agent's outputs mean: the interface of every kind of policy."""

from __future__ import annotations

from types import SimpleNamespace

import torch as th
from torch import Tensor, nn

from modules.layers.squash import action_bounds, half_range, squash

Noise = dict[str, Tensor]


class Policy(nn.Module):
    """A distribution over one agent's actions, given the outputs of its network.

    outputs: (..., P), what the controller's `forward` returns, P = `outputs_per_action` times A.
    actions: (..., A) as networks take them: one-hot where they are discrete.
    available: (..., A), 1 for each action (discrete) or action dimension (continuous) that the agent has, else 0.
    Continuous dimensions that an agent lacks are 0 in every action, as they are in the data.

    `expected` and `divergence` take what `read` returns; the other methods take outputs as they are, and probabilities
    that `read` has normalised as well. Gaussian kinds have no `support`, `expected`, `divergence` and `regulariser`.
    """

    continuous: bool
    outputs_per_action = 1

    def read(self, outputs: Tensor, available: Tensor) -> Tensor:
        """The outputs as losses read them, (..., P): probabilities sum to 1 over the available actions."""
        return outputs

    def mode(self, outputs: Tensor, available: Tensor) -> Tensor:
        """The action of a greedy policy, (..., A)."""
        raise NotImplementedError

    def make_noise(self, lead: tuple[int, ...], generator: th.Generator | None, device: str | th.device) -> Tensor:
        """The noise that `sample` needs, (*lead, A); generator: None for torch's global one."""
        raise NotImplementedError

    def sample(self, outputs: Tensor, available: Tensor, noise: Tensor) -> Tensor:
        """An action for each entry of `noise` (..., A), reparameterised where actions are continuous: (..., A)."""
        raise NotImplementedError

    def log_prob(self, outputs: Tensor, actions: Tensor, available: Tensor) -> Tensor:
        """log pi(a | o), (...). Densities are in units of half the action range, over the agent's own dimensions."""
        raise NotImplementedError

    def entropy(self, outputs: Tensor, available: Tensor) -> Tensor:
        """-E[log pi], in nats, (...)."""
        raise NotImplementedError

    def dimensions(self, available: Tensor) -> Tensor:
        """How many numbers one action has, (...): 1 where actions are discrete."""
        raise NotImplementedError

    # -- expectations over one agent's action ------------------------------------------------------------------------

    def support(self, outputs: Tensor, available: Tensor) -> Tensor:
        """The K actions that `expected` weighs; outputs (R, N, P) -> (R, K, N, A)."""
        raise NotImplementedError

    def expected(self, values: Tensor, outputs: Tensor) -> Tensor:
        """E[Q] over each agent's own action, from values at `support`: (E, R, K, N) -> (E, R, N)."""
        raise NotImplementedError

    def cover_noise(self, lead: tuple[int, ...], n_samples: int, generator: th.Generator) -> Noise:
        """The noise that `cover` needs; lead: (B, T', N)."""
        raise NotImplementedError

    def cover(self, actions: Tensor, available: Tensor, noise: Noise) -> Tensor:
        """Actions that cover each agent's choices, whatever the policy: (R, K, N, A).

        actions: any, (R, N, A), whose shape and type are taken; available: (R, N, A).
        """
        raise NotImplementedError

    def forbidden(self, available: Tensor) -> Tensor | None:
        """Which actions of `cover` an agent lacks, (R, K, N) bool; None where it has them all."""
        raise NotImplementedError

    def divergence(self, log_mu: Tensor, outputs: Tensor) -> Tensor:
        """How far the policy is from a behaviour mu, from log mu at `support`: (R, K, N) -> (R, N)."""
        raise NotImplementedError

    # -- what keeps a policy from its flat ends ----------------------------------------------------------------------

    def regulariser(self, outputs: Tensor, available: Tensor, action_l2: float, pre_tanh_l2: float) -> Tensor:
        """A penalty on actions and on outputs before tanh, a sum and a mean over agents: (R, N, P) -> (R,).

        Only action dimensions that an agent has count.
        """
        raise NotImplementedError

    def statistics(self, outputs: Tensor, available: Tensor) -> Noise:
        """What to log of the policies, (R,) each."""
        raise NotImplementedError


class BoxPolicy(Policy):
    """A policy of continuous actions between bounds; args: n_actions, action_low, action_high.

    Where agents have bounds of their own, every tensor of outputs or actions ends in (N, ·), an agent a row.
    """

    continuous = True
    low: Tensor
    high: Tensor

    def __init__(self, args: SimpleNamespace) -> None:
        super().__init__()
        self.n_actions = int(args.n_actions)
        low, high = action_bounds(args)  # (A,) or (N, A)
        self.register_buffer("low", low, persistent=False)
        self.register_buffer("high", high, persistent=False)

    def make_noise(self, lead: tuple[int, ...], generator: th.Generator | None, device: str | th.device) -> Tensor:
        return th.randn((*lead, self.n_actions), generator=generator, device=device)

    def dimensions(self, available: Tensor) -> Tensor:
        return available.sum(-1).clamp_min(1)

    def squash(self, raw: Tensor) -> Tensor:
        """Outputs before tanh as actions inside the bounds, (..., A)."""
        self.check_agents(raw)
        return squash(raw, self.low, self.high)

    def check_agents(self, actions: Tensor) -> None:
        """Raise ValueError where bounds of N agents would be laid over rows that are no agents; actions (..., A).

        Broadcasting alone would not notice it where there are as many rows as agents, or one.
        """
        if self.low.dim() > 1 and actions.shape[-2:] != self.low.shape:
            raise ValueError(
                f"these actions have shape {tuple(actions.shape)}; with bounds of their own for each agent they must "
                f"end in (agents, dimensions) {tuple(self.low.shape)}"
            )

    def half_range(self) -> Tensor:
        """Half the action range, (A,) or (N, A)."""
        return half_range(self.low, self.high)

    def clip(self, actions: Tensor, available: Tensor) -> Tensor:
        """Actions moved into the bounds, 0 in dimensions that an agent lacks, (..., A)."""
        self.check_agents(actions)
        return th.clamp(actions, self.low, self.high) * available

    def cover_noise(self, lead: tuple[int, ...], n_samples: int, generator: th.Generator) -> Noise:
        shape = (*lead[:-1], n_samples, lead[-1], self.n_actions)  # (B, T', K, N, A)
        return {"uniform": th.rand(shape, generator=generator, device=generator.device)}

    def cover(self, actions: Tensor, available: Tensor, noise: Noise) -> Tensor:
        """Uniform actions, from noise in [0, 1)."""
        return self.uniform(noise["uniform"]).flatten(0, 1) * available.unsqueeze(1)

    def uniform(self, unit: Tensor) -> Tensor:
        """Numbers in [0, 1) as actions between the bounds, (..., A)."""
        self.check_agents(unit)
        return self.low + unit * (self.high - self.low)

    def forbidden(self, available: Tensor) -> Tensor | None:
        return None


def sum_over_own(values: Tensor, available: Tensor) -> Tensor:
    """Sum over the action dimensions that an agent has. (..., A) twice -> (...)."""
    return (values * available).sum(-1)
