"""Learned joint densities of the team's actions given the state, whose marginals of each agent are known exactly."""

from __future__ import annotations

import math
from typing import Protocol

import torch as th
from torch import Tensor, nn

_COMPONENTS = 6
_HIDDEN = 128


class JointDensity(Protocol):
    """A density p(a_1, ..., a_N | s) with its marginals. R rows, S columns of the state.

    `situation` gives what the other methods need of R states, a tensor with R rows; actions are (R, N, A).
    """

    def situation(self, states: Tensor, available: Tensor | None) -> Tensor: ...
    def log_joint(self, situation: Tensor, actions: Tensor) -> Tensor: ...  # (R,)
    def log_marginal(self, situation: Tensor, actions: Tensor, agent: int) -> Tensor: ...  # (R,), actions (R, A)
    def sample(self, situation: Tensor, generator: th.Generator) -> Tensor: ...  # (R, N, A)
    def place(self, situation: Tensor, agent: int) -> Tensor: ...  # (R, m), alike where the marginals are


def _network(n_inputs: int, n_outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(n_inputs, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, n_outputs)
    )


class GaussianMixture(nn.Module):
    """A mixture of Gaussians with full covariances, whose marginals are mixtures of their blocks.

    With e = (a - m(s)) / sigma(s), e is a mixture with weights w(s) of Gaussians of fixed means and precisions. So
    agents may depend on each other differently in different states, through w.
    """

    def __init__(self, n_columns: int, n_agents: int, action_size: int, n_components: int = _COMPONENTS) -> None:
        super().__init__()
        self.shape, self.size = (n_agents, action_size), n_agents * action_size
        self.n_components = n_components
        self.network = _network(n_columns, n_components + 2 * self.size)
        self.means = nn.Parameter(0.3 * th.randn(n_components, self.size))  # (K, D)
        self.lower = nn.Parameter(0.1 * th.randn(n_components, self.size, self.size))  # (K, D, D) below the diagonal
        self.log_diagonal = nn.Parameter(th.zeros(n_components, self.size))  # (K, D)

    def situation(self, states: Tensor, available: Tensor | None) -> Tensor:
        situation: Tensor = self.network(states)  # (R, K + 2 D)
        return situation

    def _parts(self, situation: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log weights (R, K), means (R, N, A) and log scales (R, N, A)."""
        weights, means, scales = situation.split([self.n_components, self.size, self.size], dim=-1)
        return weights.log_softmax(-1), means.unflatten(-1, self.shape), scales.clamp(-6, 3).unflatten(-1, self.shape)

    def _precisions(self) -> Tensor:
        """Square roots of the precisions, (K, D, D), lower triangular."""
        return self.lower.tril(-1) + th.diag_embed(self.log_diagonal.clamp(-4, 4).exp())

    def log_joint(self, situation: Tensor, actions: Tensor) -> Tensor:
        weights, means, scales = self._parts(situation)
        e = ((actions - means) * (-scales).exp()).flatten(1)  # (R, D)
        whitened = th.einsum("kde,rke->rkd", self._precisions(), e.unsqueeze(1) - self.means)  # (R, K, D)
        logs = -0.5 * whitened.square().sum(-1) + self.log_diagonal.clamp(-4, 4).sum(-1)  # (R, K)
        constant = 0.5 * self.size * math.log(2 * math.pi)
        return (weights + logs).logsumexp(-1) - scales.flatten(1).sum(-1) - constant

    def log_marginal(self, situation: Tensor, actions: Tensor, agent: int) -> Tensor:
        weights, means, scales = self._parts(situation)
        e = (actions - means[:, agent]) * (-scales[:, agent]).exp()  # (R, A)
        precisions, size = self._precisions(), self.shape[1]
        block = slice(agent * size, (agent + 1) * size)
        covariances = th.linalg.inv(precisions.mT @ precisions)[:, block, block]  # (K, A, A)
        roots = th.linalg.cholesky(covariances)  # (K, A, A)
        inverse = th.linalg.inv(roots)  # (K, A, A)
        whitened = th.einsum("kde,rke->rkd", inverse, e.unsqueeze(1) - self.means[:, block])  # (R, K, A)
        logs = -0.5 * whitened.square().sum(-1) - roots.diagonal(dim1=-2, dim2=-1).log().sum(-1)  # (R, K)
        constant = 0.5 * size * math.log(2 * math.pi)
        density: Tensor = (weights + logs).logsumexp(-1) - scales[:, agent].sum(-1) - constant  # (R,)
        return density

    def sample(self, situation: Tensor, generator: th.Generator) -> Tensor:
        weights, means, scales = self._parts(situation)
        component = th.multinomial(weights.exp(), 1, generator=generator)[:, 0]  # (R,)
        noise = th.randn(len(situation), self.size, 1, generator=generator)  # (R, D, 1)
        e = th.linalg.solve_triangular(self._precisions()[component], noise, upper=False)[..., 0]  # (R, D)
        actions: Tensor = means + scales.exp() * (e + self.means[component]).unflatten(-1, self.shape)  # (R, N, A)
        return actions

    def place(self, situation: Tensor, agent: int) -> Tensor:
        weights, means, scales = self._parts(situation)
        return th.cat([weights.exp(), means[:, agent], scales[:, agent]], dim=-1)  # (R, K + 2 A)


class ProductMixture(nn.Module):
    """A mixture, with weights w(s), of joint distributions in which agents act independently; discrete actions."""

    def __init__(self, n_columns: int, n_agents: int, n_actions: int, n_components: int = _COMPONENTS) -> None:
        super().__init__()
        self.shape = (n_components, n_agents, n_actions)
        self.network = _network(n_columns, n_components + math.prod(self.shape))
        self.log_shares = nn.Parameter(th.randn(self.shape))  # (K, N, n): tells the components apart at the start

    def situation(self, states: Tensor, available: Tensor | None) -> Tensor:
        outputs = self.network(states)  # (R, K + K N n)
        logits = outputs[:, self.shape[0] :].unflatten(-1, self.shape) + self.log_shares  # (R, K, N, n)
        if available is not None:
            logits = logits.masked_fill(~available.unsqueeze(1), -1e9)
        weights = outputs[:, : self.shape[0]].log_softmax(-1)  # (R, K)
        return th.cat([weights, logits.log_softmax(-1).flatten(1)], dim=-1)  # (R, K + K N n)

    def _parts(self, situation: Tensor) -> tuple[Tensor, Tensor]:
        """Log weights (R, K) and log probabilities (R, K, N, n)."""
        return situation[:, : self.shape[0]], situation[:, self.shape[0] :].unflatten(-1, self.shape)

    def log_joint(self, situation: Tensor, actions: Tensor) -> Tensor:
        weights, logs = self._parts(situation)
        index = actions.unsqueeze(1).expand(-1, self.shape[0], -1, -1)  # (R, K, N, 1)
        return (weights + logs.gather(-1, index)[..., 0].sum(-1)).logsumexp(-1)

    def log_marginal(self, situation: Tensor, actions: Tensor, agent: int) -> Tensor:
        weights, logs = self._parts(situation)
        index = actions.unsqueeze(1).expand(-1, self.shape[0], -1)  # (R, K, 1)
        return (weights + logs[:, :, agent].gather(-1, index)[..., 0]).logsumexp(-1)

    def sample(self, situation: Tensor, generator: th.Generator) -> Tensor:
        weights, logs = self._parts(situation)
        component = th.multinomial(weights.exp(), 1, generator=generator)[:, 0]  # (R,)
        chosen = logs[th.arange(len(logs)), component].exp()  # (R, N, n)
        actions: Tensor = th.multinomial(chosen.flatten(0, 1), 1, generator=generator).unflatten(0, chosen.shape[:2])
        return actions  # (R, N, 1)

    def place(self, situation: Tensor, agent: int) -> Tensor:
        weights, logs = self._parts(situation)
        return (weights.unsqueeze(-1) + logs[:, :, agent]).logsumexp(1).exp()  # (R, n)
