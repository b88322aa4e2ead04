"""What differs between policies of continuous and of discrete actions; the algorithm above them is the same.

Outputs are those of the agents, (R, N, A) as `read` gives them. Values of single deviations are (E, R, K, N): member e,
row r, alternative k of agent i while the others act as logged.
"""

import math
from types import SimpleNamespace

import torch as th
from torch import Tensor, nn

from components.episode_buffer import EpisodeBatch
from learners.optimisation import available
from modules.layers.masks import FORBIDDEN
from modules.layers.squash import action_bounds, squash

Tensors = dict[str, Tensor]

SMALLEST_MASS = 1e-10  # of the probabilities of the available actions, for such rows


class ContinuousPolicies(nn.Module):
    """Deterministic policies: outputs are means before tanh; a deviation is one action.

    Dimensions that an agent lacks (padding, availability 0) are 0, as they are in the data.
    """

    OUTPUT_TYPE, DENSITY = "mean", "mixture"
    KEYS = ("target_noise", "n_penalty_samples", "action_l2", "pre_tanh_l2")
    low: Tensor
    high: Tensor

    def __init__(self, args: SimpleNamespace) -> None:
        super().__init__()
        self.args = args
        low, high = action_bounds(args)  # (A,)
        self.register_buffer("low", low, persistent=False)
        self.register_buffer("high", high, persistent=False)

    def logged(self, batch: EpisodeBatch, rows: slice) -> Tensor:
        """The behaviour's actions as critics take them, (R, N, A)."""
        return batch["actions"][:, rows].flatten(0, 1)

    def read(self, outputs: Tensor, avail_actions: Tensor) -> Tensor:
        """The agents' outputs, (B, T', N, A) -> (R, N, A)."""
        return outputs.flatten(0, 1)

    def next_draws(self, lead: tuple[int, int], generator: th.Generator) -> Tensors:
        """What `next_actions` needs, (B, T', N, A): standard normal."""
        shape = (*lead, self.args.n_agents, self.args.n_actions)
        return {"noise": th.randn(shape, generator=generator, device=generator.device)}

    def next_actions(self, outputs: Tensor, batch: EpisodeBatch, rows: slice, draws: Tensors) -> Tensor:
        """Actions of the (target) policies plus noise, inside the bounds, (R, N, A)."""
        noise = draws["noise"].flatten(0, 1) * (self.args.target_noise * 0.5 * (self.high - self.low))
        actions = th.clamp(squash(outputs, self.low, self.high) + noise, self.low, self.high)
        return actions * available(batch, rows)

    def alternatives(self, outputs: Tensor, batch: EpisodeBatch, rows: slice) -> Tensor:
        """The actions that `expected` weighs, (R, 1, N, A): the policies' own."""
        return (squash(outputs, self.low, self.high) * available(batch, rows)).unsqueeze(1)

    def expected(self, values: Tensor, outputs: Tensor) -> Tensor:
        """E over a_i ~ pi_i of the values of single deviations, (E, R, 1, N) -> (E, R, N)."""
        return values.squeeze(2)

    def divergence(self, log_mu: Tensor, outputs: Tensor) -> Tensor:
        """-log mu_i of the policies' actions, from its logarithms at `alternatives`, (R, 1, N) -> (R, N)."""
        return -log_mu.squeeze(1)

    def spread_draws(self, lead: tuple[int, int], generator: th.Generator) -> Tensors:
        """What `spread` needs, (B, T', K, N, A) in [0, 1)."""
        shape = (*lead, self.args.n_penalty_samples, self.args.n_agents, self.args.n_actions)
        return {"uniform": th.rand(shape, generator=generator, device=generator.device)}

    def spread(self, batch: EpisodeBatch, rows: slice, draws: Tensors) -> Tensor:
        """Actions that cover each agent's choices, (R, K, N, A): K uniform ones."""
        uniform = (self.low + draws["uniform"] * (self.high - self.low)).flatten(0, 1)
        return uniform * available(batch, rows).unsqueeze(1)

    def logsumexp(self, values: Tensor, batch: EpisodeBatch, rows: slice) -> Tensor:
        """Over the actions of `spread`, (E, R, K, N) -> (E, R, N), without its constants (log-density and -log K)."""
        return values.logsumexp(2)

    def regulariser(self, outputs: Tensor, batch: EpisodeBatch, rows: slice) -> tuple[Tensor, Tensors]:
        """CFCQL's L2 on actions, and one of ours on outputs before tanh (0 in the paper), (R,); statistics."""
        outputs = outputs * available(batch, rows)
        unit = th.tanh(outputs)  # (R, N, A), the action in units of its bounds
        size = unit.square().mean(-1).sum(-1)  # (R,)
        reach = outputs.square().mean((-2, -1))  # (R,), how far into tanh's flat ends
        saturated = (unit.detach().abs() > 0.95).to(unit.dtype).mean((-2, -1))  # (R,)
        return self.args.action_l2 * size + self.args.pre_tanh_l2 * reach, {"actor_saturation": saturated}


class DiscretePolicies(nn.Module):
    """Softmax policies: outputs are the probabilities of the available actions; a deviation tries all A actions."""

    OUTPUT_TYPE, DENSITY = "pi_logits", "categorical"
    KEYS = ()

    def __init__(self, args: SimpleNamespace) -> None:
        super().__init__()
        self.args = args

    def logged(self, batch: EpisodeBatch, rows: slice) -> Tensor:
        """The behaviour's actions as critics take them, one-hot, (R, N, A)."""
        return batch["actions_onehot"][:, rows].flatten(0, 1)

    def read(self, outputs: Tensor, avail_actions: Tensor) -> Tensor:
        """Probabilities, 0 on unavailable actions, (B, T', N, A) -> (R, N, A)."""
        possible = outputs * (avail_actions > 0)
        return (possible / possible.sum(-1, keepdim=True).clamp_min(SMALLEST_MASS)).flatten(0, 1)

    def next_draws(self, lead: tuple[int, int], generator: th.Generator) -> Tensors:
        """What `next_actions` needs, (B, T', N, A): exponential of rate 1."""
        shape = (*lead, self.args.n_agents, self.args.n_actions)
        return {"exponential": th.empty(shape, device=generator.device).exponential_(generator=generator)}

    def next_actions(self, outputs: Tensor, batch: EpisodeBatch, rows: slice, draws: Tensors) -> Tensor:
        """One action sampled from each (target) policy, one-hot (R, N, A).

        The largest p_a / e_a belongs to a with probability p_a (a race of exponential clocks), never to a p_a of 0.
        """
        clocks = draws["exponential"].flatten(0, 1).clamp_min(th.finfo(outputs.dtype).tiny)
        winner = (outputs / clocks).argmax(-1, keepdim=True)  # (R, N, 1)
        return (winner == th.arange(outputs.shape[-1], device=outputs.device)).to(outputs.dtype)

    def alternatives(self, outputs: Tensor, batch: EpisodeBatch, rows: slice) -> Tensor:
        """The actions that `expected` weighs, (R, A, N, A): every one, one-hot, a view."""
        n_rows, n_agents, n_actions = outputs.shape
        every = th.eye(n_actions, dtype=outputs.dtype, device=outputs.device)
        return every[None, :, None].expand(n_rows, -1, n_agents, -1)

    def expected(self, values: Tensor, outputs: Tensor) -> Tensor:
        """E over a_i ~ pi_i of the values of single deviations, exactly: (E, R, A, N) -> (E, R, N)."""
        return (values * outputs.transpose(1, 2)).sum(2)

    def divergence(self, log_mu: Tensor, outputs: Tensor) -> Tensor:
        """KL(pi_i || mu_i), exactly, from the logarithms of mu_i at `alternatives`, (R, A, N) -> (R, N)."""
        lowest = math.log(SMALLEST_MASS)
        gap = outputs.clamp_min(SMALLEST_MASS).log() - log_mu.transpose(1, 2).clamp_min(lowest)  # (R, N, A)
        return (outputs * gap).sum(-1)

    def spread_draws(self, lead: tuple[int, int], generator: th.Generator) -> Tensors:
        """`spread` is exact."""
        return {}

    def spread(self, batch: EpisodeBatch, rows: slice, draws: Tensors) -> Tensor:
        """Actions that cover each agent's choices, (R, A, N, A): every one."""
        return self.alternatives(self.logged(batch, rows), batch, rows)

    def logsumexp(self, values: Tensor, batch: EpisodeBatch, rows: slice) -> Tensor:
        """Over each agent's available actions, exactly: (E, R, A, N) -> (E, R, N)."""
        forbidden = available(batch, rows).transpose(1, 2) == 0  # (R, A, N)
        return values.masked_fill(forbidden, FORBIDDEN).logsumexp(2)

    def regulariser(self, outputs: Tensor, batch: EpisodeBatch, rows: slice) -> tuple[Tensor, Tensors]:
        """None: probabilities have no range to leave, (R,) zeros; statistics."""
        probabilities = outputs.detach()
        entropy = -(probabilities * probabilities.clamp_min(SMALLEST_MASS).log()).sum(-1).mean(-1)  # (R,)
        return th.zeros_like(entropy), {"policy_entropy": entropy}
