"""The behaviour of the other agents, given one agent's action: what models of single agents cannot tell.

Discrete actions have probabilities, of all actions at once; continuous ones have densities, at given actions.
"""

from types import SimpleNamespace
from typing import Any

import torch as th
import torch.nn.functional as F
from torch import Tensor, nn

from modules.behaviour.categorical_density import CategoricalDensity
from modules.behaviour.mixture_density import MixtureDensity, Mixtures
from modules.layers.masks import FORBIDDEN
from modules.layers.normaliser import Normaliser
from modules.layers.sizes import field_size


class AutoregressiveNetwork(nn.Module):
    """What distributions mu(a_j | s, a_i, a_<j) of the agents j other than i are made from, in index order.

    One network of two hidden ReLU layers for all j. Its inputs are the state, the actions of i and of the others before
    j (zeros for the rest), and j one-hot. scheme: `state`. args: n_agents, n_actions, hidden_dim. agent: i.
    """

    shown: Tensor

    def __init__(self, scheme: dict[str, Any], args: SimpleNamespace, agent: int, n_outputs: int) -> None:
        super().__init__()
        state_dim, n_agents = field_size(scheme, "state"), int(args.n_agents)
        self.others = [j for j in range(n_agents) if j != agent]
        shown = [[k == agent or k < j for k in range(n_agents)] for j in self.others]
        self.register_buffer("shown", th.tensor(shown), persistent=False)  # (N-1, N) bool
        self.normaliser = Normaliser(state_dim, field="state")
        self.fc1 = nn.Linear(state_dim + n_agents * (args.n_actions + 1), args.hidden_dim)
        self.fc2 = nn.Linear(args.hidden_dim, args.hidden_dim)
        self.fc3 = nn.Linear(args.hidden_dim, n_outputs)

    def outputs(self, state: Tensor, actions: Tensor) -> Tensor:
        """The network's outputs for every other agent. state (R, S), actions (R, N, A) -> (R, N-1, n_outputs)."""
        seen = th.where(self.shown.unsqueeze(-1), actions.unsqueeze(1), 0.0).flatten(2)  # (R, N-1, N*A)
        states = self.normaliser(state).unsqueeze(1).expand(-1, len(self.others), -1)  # (R, N-1, S)
        whose = th.eye(actions.shape[1], dtype=actions.dtype, device=actions.device)[self.others]  # (N-1, N)
        inputs = th.cat([states, seen, whose.expand(len(actions), -1, -1)], dim=-1)  # (R, N-1, S+N*A+N)
        outputs: Tensor = self.fc3(F.relu(self.fc2(F.relu(self.fc1(inputs)))))  # (R, N-1, n_outputs)
        return outputs


class AutoregressiveDensity(AutoregressiveNetwork):
    """mu(a_-i | s, a_i) = prod_j mu(a_j | s, a_i, a_<j) over the agents j other than i; discrete."""

    def __init__(self, scheme: dict[str, Any], args: SimpleNamespace, agent: int) -> None:
        super().__init__(scheme, args, agent, n_outputs=args.n_actions)

    def forward(self, state: Tensor, actions: Tensor, avail_actions: Tensor) -> Tensor:
        """log mu of every action of every other agent, given the actions that it sees: (R, N-1, A).

        state (R, S); actions (R, N, A) one-hot; avail_actions (R, N, A), of which unavailable ones have probability 0.
        """
        logits = self.outputs(state, actions)  # (R, N-1, A)
        log_mu: Tensor = logits.masked_fill(avail_actions[:, self.others] == 0, FORBIDDEN).log_softmax(-1)
        return log_mu


class AutoregressiveMixture(AutoregressiveNetwork):
    """The same product for continuous actions; each factor is a mixture of Gaussians, as of `Mixtures`."""

    def __init__(self, scheme: dict[str, Any], args: SimpleNamespace, agent: int) -> None:
        mixtures = Mixtures(args, [j for j in range(args.n_agents) if j != agent])
        super().__init__(scheme, args, agent, mixtures.n_outputs)
        self.everyone, self.mixtures = Mixtures(args), mixtures
        self.mixtures.spread_means(self.fc3.bias)

    def forward(self, state: Tensor, actions: Tensor, avail_actions: Tensor, at: Tensor) -> Tensor:
        """log mu of K actions `at` (R, K, N-1, A) of every other agent, given what it sees of `actions`: (R, K, N-1).

        state (R, S); actions and avail_actions (R, N, A).
        """
        outputs = self.outputs(state, self.everyone.unit(actions))  # (R, N-1, n_outputs)
        return self.mixtures.log_prob(outputs, at, avail_actions[:, self.others])


class Team(nn.Module):
    """What both kinds of actions share. given: for each agent, the model of the others given its action."""

    given: nn.ModuleList

    def others(self, agent: int) -> list[int]:
        """The agents but one, in index order."""
        return [j for j in range(len(self.given)) if j != agent]


class TeamBehaviour(Team):
    """mu_i(a_i | o_i) of every agent i, and of the others given its action, mu(a_-i | s, a_i); discrete actions.

    obs (R, N, O), state (R, S), actions (R, N, A) one-hot, avail_actions (R, N, A).
    """

    def __init__(self, scheme: dict[str, Any], args: SimpleNamespace) -> None:
        super().__init__()
        self.alone = CategoricalDensity(scheme, args)
        self.given = nn.ModuleList(AutoregressiveDensity(scheme, args, i) for i in range(args.n_agents))

    def of_agent(self, agent: int, obs: Tensor, avail_actions: Tensor) -> Tensor:
        """log mu_i of every action of agent i, (R, A)."""
        logits = self.alone.outputs(obs)[:, agent]  # (R, A)
        return logits.masked_fill(avail_actions[:, agent] == 0, FORBIDDEN).log_softmax(-1)

    def of_others(self, agent: int, state: Tensor, actions: Tensor, avail_actions: Tensor) -> Tensor:
        """log mu of every action of the agents other than i, given i's and those of the others before: (R, N-1, A)."""
        log_mu: Tensor = self.given[agent](state, actions, avail_actions)
        return log_mu

    def log_likelihood(self, obs: Tensor, state: Tensor, actions: Tensor, avail_actions: Tensor) -> Tensor:
        """Of these actions, the sum over all models, (R,)."""
        total = self.alone.log_prob(obs, actions.unsqueeze(1), avail_actions).sum((-2, -1))  # (R,)
        for i in range(len(self.given)):
            every = self.of_others(i, state, actions, avail_actions)  # (R, N-1, A)
            total = total + (every * actions[:, self.others(i)]).sum((-2, -1))
        return total


class TeamMixtures(Team):
    """The same for continuous actions: log-densities in units of half the action range, at given actions.

    obs (R, N, O), state (R, S), actions and avail_actions (R, N, A).
    """

    def __init__(self, scheme: dict[str, Any], args: SimpleNamespace) -> None:
        super().__init__()
        self.alone = MixtureDensity(scheme, args)
        self.given = nn.ModuleList(AutoregressiveMixture(scheme, args, i) for i in range(args.n_agents))

    def of_agent(self, agent: int, obs: Tensor, avail_actions: Tensor, at: Tensor) -> Tensor:
        """log mu_i of agent i's part of K actions `at` (R, K, N, A): (R, K)."""
        return self.alone.log_prob(obs, at, avail_actions)[..., agent]

    def of_others(self, agent: int, state: Tensor, actions: Tensor, avail_actions: Tensor, at: Tensor) -> Tensor:
        """log mu of the others' actions, given i's and those of the others before: (R, K, N-1).

        actions: those that are given. at: K whose density is asked for, (R, K, N, A).
        """
        log_mu: Tensor = self.given[agent](state, actions, avail_actions, at[:, :, self.others(agent)])
        return log_mu

    def log_likelihood(self, obs: Tensor, state: Tensor, actions: Tensor, avail_actions: Tensor) -> Tensor:
        """Of these actions, the sum over all models, (R,)."""
        at = actions.unsqueeze(1)  # (R, 1, N, A)
        total = self.alone.log_prob(obs, at, avail_actions).sum((-2, -1))  # (R,)
        for i in range(len(self.given)):
            total = total + self.of_others(i, state, actions, avail_actions, at).sum((-2, -1))
        return total
