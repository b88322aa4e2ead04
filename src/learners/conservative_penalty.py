"""What the conservative penalty of eq. 5 pushes down: actions of one agent at a time, the others' as logged.

A penalty chooses K replacement actions per agent and makes one number per agent of the critics' values at them. A new
one is a class with these members and an entry in `REGISTRY`.
"""

from types import SimpleNamespace
from typing import NamedTuple, Protocol

import torch as th
from torch import Tensor

from learners.losses import NOW, importance_logsumexp, logsumexp_actions
from learners.penalty_samples import PenaltySamples
from modules.policies.base_policy import BoxPolicy, Noise, Policy
from utils.errors import ConfigError


class Rows(NamedTuple):
    """What a penalty may read of a batch's rows.

    logged, available: (R, N, A). outputs: the policies' in these rows, (R, N, P), read only where `reads_policies`.
    after: the policies' in the next rows, (R, N, P), or None where `reads_next` is False.
    """

    logged: Tensor
    available: Tensor
    outputs: Tensor
    after: Tensor | None


class ConservativePenalty(Protocol):
    """One penalty. reads_policies, reads_next: whether it needs the policies' outputs in these and in the next rows.

    kinds: of continuous actions that it draws, `n_penalty_samples` of each; 0: it draws none.
    """

    kinds: int
    reads_policies: bool
    reads_next: bool

    def __init__(self, policy: Policy, args: SimpleNamespace) -> None: ...

    def noise(self, lead: tuple[int, ...], n_agents: int, generator: th.Generator) -> Noise:
        """The randomness that `actions` needs; lead: (B, T')."""

    def actions(self, rows: Rows, noise: Noise) -> tuple[Tensor, Tensor | None]:
        """Replacement actions (R, K, N, A), and their log-densities (R, K, N) where `value` reads them."""

    def value(self, replaced: Tensor, rows: Rows, log_densities: Tensor | None) -> Tensor:
        """One number per agent of the values at them: (E, R, K, N) -> (E, R, N)."""


class LogSumExp:
    """CFCQL's code for particles: a log-sum-exp over K uniform actions or, where discrete, over all available ones."""

    kinds = 1
    reads_policies = reads_next = False

    def __init__(self, policy: Policy, args: SimpleNamespace) -> None:
        self.policy = policy
        self.n_samples: int = args.n_penalty_samples if isinstance(policy, BoxPolicy) else 0

    def noise(self, lead: tuple[int, ...], n_agents: int, generator: th.Generator) -> Noise:
        return self.policy.cover_noise((*lead, n_agents), self.n_samples, generator)

    def actions(self, rows: Rows, noise: Noise) -> tuple[Tensor, Tensor | None]:
        return self.policy.cover(rows.logged, rows.available, noise), None

    def value(self, replaced: Tensor, rows: Rows, log_densities: Tensor | None) -> Tensor:
        return logsumexp_actions(replaced, self.policy.forbidden(rows.available))


class LogSumExpOfPolicies:
    """CFCQL's code for robots: K uniform actions, K about the policy's in this row and K about that in the next row.

    Each value counts by the inverse of its action's density, as in CQL(H). Narrow data need it: there few uniform
    actions are near those that a policy moves to.
    """

    kinds = 3
    reads_policies = reads_next = True

    def __init__(self, policy: Policy, args: SimpleNamespace) -> None:
        if not isinstance(policy, BoxPolicy):
            raise ConfigError(
                "cql_penalty=logsumexp_policies samples actions, and logsumexp is exact over discrete ones: set that"
            )
        self.policy = policy
        self.samples = PenaltySamples(policy, args.n_penalty_samples, args.penalty_noise)

    def noise(self, lead: tuple[int, ...], n_agents: int, generator: th.Generator) -> Noise:
        return self.samples.noise(lead, n_agents, generator)

    def actions(self, rows: Rows, noise: Noise) -> tuple[Tensor, Tensor | None]:
        def own(steps: slice) -> Tensor:  # (R, N, A)
            outputs = rows.outputs if steps == NOW else rows.after
            assert outputs is not None
            return self.policy.mode(outputs, rows.available)

        return self.samples(rows.available, noise, own)

    def value(self, replaced: Tensor, rows: Rows, log_densities: Tensor | None) -> Tensor:
        assert log_densities is not None
        return importance_logsumexp(replaced.transpose(-1, -2), log_densities.transpose(-1, -2))


class PolicyExpectation:
    """Eq. 5 as printed: the expectation under each policy, of one action or of all with their probabilities."""

    kinds = 0
    reads_policies, reads_next = True, False

    def __init__(self, policy: Policy, args: SimpleNamespace) -> None:
        self.policy = policy

    def noise(self, lead: tuple[int, ...], n_agents: int, generator: th.Generator) -> Noise:
        return {}

    def actions(self, rows: Rows, noise: Noise) -> tuple[Tensor, Tensor | None]:
        return self.policy.support(rows.outputs, rows.available), None

    def value(self, replaced: Tensor, rows: Rows, log_densities: Tensor | None) -> Tensor:
        return self.policy.expected(replaced, rows.outputs)


REGISTRY: dict[str, type[ConservativePenalty]] = {
    "logsumexp": LogSumExp,
    "logsumexp_policies": LogSumExpOfPolicies,
    "policy": PolicyExpectation,
}
