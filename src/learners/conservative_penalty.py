"""What the conservative penalty of eq. 5 pushes down: actions of one agent at a time, the others' as logged.

A penalty chooses K replacement actions per agent and makes one number per agent of the critics' values at them. A new
one is a class with these members and an entry in `REGISTRY`.
"""

from typing import Protocol

import torch as th
from torch import Tensor

from learners.losses import logsumexp_actions
from modules.policies.base_policy import Noise, Policy


class ConservativePenalty(Protocol):
    """One penalty. reads_policies: whether its actions and values depend on the policies' outputs."""

    reads_policies: bool

    def noise(self, policy: Policy, lead: tuple[int, ...], n_samples: int, generator: th.Generator) -> Noise:
        """The randomness that `actions` needs; lead: (B, T', N)."""

    def actions(self, policy: Policy, logged: Tensor, outputs: Tensor, available: Tensor, noise: Noise) -> Tensor:
        """Replacement actions, (R, K, N, A); logged and available (R, N, A), outputs (R, N, P)."""

    def value(self, policy: Policy, replaced: Tensor, outputs: Tensor, available: Tensor) -> Tensor:
        """One number per agent of the values at them: (E, R, K, N) -> (E, R, N)."""


class LogSumExp:
    """CFCQL's code: a log-sum-exp over K uniform actions or, where they are discrete, over all available ones."""

    reads_policies = False

    def noise(self, policy: Policy, lead: tuple[int, ...], n_samples: int, generator: th.Generator) -> Noise:
        return policy.cover_noise(lead, n_samples, generator)

    def actions(self, policy: Policy, logged: Tensor, outputs: Tensor, available: Tensor, noise: Noise) -> Tensor:
        return policy.cover(logged, available, noise)

    def value(self, policy: Policy, replaced: Tensor, outputs: Tensor, available: Tensor) -> Tensor:
        return logsumexp_actions(replaced, policy.forbidden(available))


class PolicyExpectation:
    """Eq. 5 as printed: the expectation under each policy, of one action or of all with their probabilities."""

    reads_policies = True

    def noise(self, policy: Policy, lead: tuple[int, ...], n_samples: int, generator: th.Generator) -> Noise:
        return {}

    def actions(self, policy: Policy, logged: Tensor, outputs: Tensor, available: Tensor, noise: Noise) -> Tensor:
        return policy.support(outputs, available)

    def value(self, policy: Policy, replaced: Tensor, outputs: Tensor, available: Tensor) -> Tensor:
        return policy.expected(replaced, outputs)


REGISTRY: dict[str, ConservativePenalty] = {"logsumexp": LogSumExp(), "policy": PolicyExpectation()}
