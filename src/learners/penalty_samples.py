"""Continuous actions that conservative Q-learning pushes down, with their densities (Kumar et al. 2020, CQL(H)).

MACQL joins an action of every agent to one joint action; OMAR and SPaCQL take each agent's alone.
"""

import math
from collections.abc import Callable

import torch as th
from torch import Tensor

from learners.base_learner import Noise
from learners.losses import NEXT, NOW
from modules.policies.base_policy import BoxPolicy, Policy, sum_over_own
from utils.keys import COUNT, POSITIVE, WEIGHT, Key

PENALTY_NOISE = "standard deviation of the noise on policies' actions in the penalty, in half action ranges"
PENALTY_KEYS = {
    "alpha_cql": Key("weight of the penalty", WEIGHT),
    "penalty_samples": Key("actions in the penalty", ("uniform", "policies")),
    "n_penalty_samples": Key("actions per agent and row of each kind in the penalty", COUNT),
    "penalty_noise": Key(PENALTY_NOISE, POSITIVE, where={"penalty_samples": ("policies",)}),
}
ABOUT = {"here": NOW, "after": NEXT}  # the rows about whose policies' actions samples are drawn


class PenaltySamples:
    """K actions of each agent and row, and the logarithms of their densities.

    They are uniform over the agent's box. Where `std` is a number, as many again lie about the policy's action in this
    row, and as many about its action in the next row, with that standard deviation in half action ranges. Densities are
    in units of half the action range, over the agent's own dimensions; a clipped action keeps its density from before.
    """

    def __init__(self, policy: Policy, n_samples: int, std: float | None) -> None:
        assert isinstance(policy, BoxPolicy)
        self.policy, self.n_samples = policy, n_samples
        self.reads_policies = std is not None
        self.std: float = math.nan if std is None else std

    def noise(self, lead: tuple[int, ...], n_agents: int, generator: th.Generator) -> Noise:
        """The randomness of the samples; lead: (B, T')."""
        noise = self.policy.cover_noise((*lead, n_agents), self.n_samples, generator)  # uniform (B, T', K, N, A)
        if self.reads_policies:
            shape = (*lead, self.n_samples, n_agents)
            noise |= {key: self.policy.make_noise(shape, generator, generator.device) for key in ABOUT}
        return noise

    def __call__(self, available: Tensor, noise: Noise, own: Callable[[slice], Tensor]) -> tuple[Tensor, Tensor]:
        """Actions (R, K, N, A) and log-densities (R, K, N).

        available: (R, N, A). own: the policies' actions on given time steps, (R, N, A).
        """
        has = available.unsqueeze(1)  # (R, 1, N, A)
        actions = [self.policy.cover(available, available, noise)]  # (R, K, N, A)
        log_densities = [sum_over_own(th.full_like(actions[0], -math.log(2)), has)]  # (R, K, N)
        for key, steps in ABOUT.items() if self.reads_policies else ():
            z = noise[key].flatten(0, 1)  # (R, K, N, A)
            shifted = own(steps).unsqueeze(1) + self.std * z * self.policy.half_range()  # (R, K, N, A)
            actions.append(self.policy.clip(shifted, has))
            log_density = -0.5 * z.square() - math.log(self.std * math.sqrt(2 * math.pi))  # (R, K, N, A)
            log_densities.append(sum_over_own(log_density, has))
        return th.cat(actions, 1), th.cat(log_densities, 1)
