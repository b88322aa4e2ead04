"""Continuous actions that conservative Q-learning pushes down, with their densities (Kumar et al. 2020, CQL(H)).

MACQL joins an action of every agent to one joint action; OMAR takes each agent's alone.
"""

import math
from types import SimpleNamespace

import torch as th
from torch import Tensor

from learners.base_learner import Noise
from modules.policies.base_policy import BoxPolicy, Policy, sum_over_own
from utils.keys import COUNT, POSITIVE, WEIGHT, Key

PENALTY_KEYS = {
    "alpha_cql": Key("weight of the penalty", WEIGHT),
    "penalty_samples": Key("actions in the penalty", ("uniform", "policies")),
    "n_penalty_samples": Key("actions per agent and row of each kind in the penalty", COUNT),
    "penalty_noise": Key(
        "standard deviation of the noise on policies' actions in the penalty, in half action ranges",
        POSITIVE,
        where={"penalty_samples": ("policies",)},
    ),
}


class PenaltySamples:
    """K actions of each agent and row, and the logarithms of their densities.

    `penalty_samples` is `uniform`: uniform over the agent's box; `policies`: as many again about the policy's action in
    this row, and as many about its action in the next row. Densities are in units of half the action range, over the
    agent's own dimensions; that of a clipped action is what it was before it was clipped.
    """

    def __init__(self, policy: Policy, args: SimpleNamespace) -> None:
        assert isinstance(policy, BoxPolicy)
        self.policy, self.n_samples = policy, args.n_penalty_samples
        self.reads_policies: bool = args.penalty_samples == "policies"
        self.std: float = args.penalty_noise if self.reads_policies else math.nan

    def noise(self, lead: tuple[int, ...], n_agents: int, generator: th.Generator) -> Noise:
        """The randomness of the samples; lead: (B, T')."""
        noise = self.policy.cover_noise((*lead, n_agents), self.n_samples, generator)  # uniform (B, T', K, N, A)
        if self.reads_policies:
            shape = (*lead, self.n_samples, n_agents)
            noise |= {key: self.policy.make_noise(shape, generator, generator.device) for key in ("here", "after")}
        return noise

    def __call__(self, available: Tensor, noise: Noise, own: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Actions (R, K, N, A) and log-densities (R, K, N).

        available: (R, N, A). own: the policies' actions `here` and `after`, (R, N, A) each, where they are read.
        """
        has = available.unsqueeze(1)  # (R, 1, N, A)
        actions = [self.policy.cover(available, available, noise)]  # (R, K, N, A)
        log_densities = [sum_over_own(th.full_like(actions[0], -math.log(2)), has)]  # (R, K, N)
        for key, mean in own.items():
            z = noise[key].flatten(0, 1)  # (R, K, N, A)
            shifted = mean.unsqueeze(1) + self.std * z * self.policy.half_range()  # (R, K, N, A)
            actions.append(self.policy.clip(shifted, has))
            log_density = -0.5 * z.square() - math.log(self.std * math.sqrt(2 * math.pi))  # (R, K, N, A)
            log_densities.append(sum_over_own(log_density, has))
        return th.cat(actions, 1), th.cat(log_densities, 1)
