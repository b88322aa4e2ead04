"""Action selectors: from the outputs of a controller's `forward`, (B, N, P), to actions."""

from types import SimpleNamespace
from typing import Protocol

import torch as th
from torch import Tensor

from components.epsilon_schedules import DecayThenFlatSchedule
from modules.policies.base_policy import BoxPolicy, Policy
from modules.policies.categorical_policy import CategoricalPolicy
from modules.policies.deterministic_policy import DeterministicPolicy
from modules.policies.gaussian_policy import GaussianPolicy, TanhGaussianPolicy

DISCRETE, CONTINUOUS = frozenset({"discrete"}), frozenset({"continuous"})


class ActionSelector(Protocol):
    """Interface of selectors: agent_inputs (B, N, P), the controller's outputs, and avail_actions (B, N, A) to actions.

    Actions are (B, N) long where discrete and (B, N, A) float where continuous; padded dimensions (availability 0) are
    0. A selector may list in `output_types` which values of `agent_output_type` it reads; without the list, all.
    """

    action_types: frozenset[str]

    def __init__(self, args: SimpleNamespace) -> None: ...

    def select_action(
        self, agent_inputs: Tensor, avail_actions: Tensor, t_env: int, test_mode: bool = False
    ) -> Tensor: ...


class PolicySelector:
    """Samples of a policy, with torch's global generator; its mode in test mode where `test_greedy`."""

    policy: Policy

    def __init__(self, args: SimpleNamespace) -> None:
        self.test_greedy: bool = getattr(args, "test_greedy", True)

    def select_action(self, agent_inputs: Tensor, avail_actions: Tensor, t_env: int, test_mode: bool = False) -> Tensor:
        outputs = agent_inputs.detach()
        if test_mode and self.test_greedy:
            return as_chosen(self.policy.mode(outputs, avail_actions), self.policy)
        return as_chosen(sample(self.policy, outputs, avail_actions), self.policy)


class MultinomialActionSelector(PolicySelector):
    """Samples of policy probabilities; the likeliest action in test mode where `test_greedy`."""

    action_types = DISCRETE
    output_types = frozenset({"pi_logits"})

    def __init__(self, args: SimpleNamespace) -> None:
        super().__init__(args)
        self.policy = CategoricalPolicy(args)


class SoftPoliciesSelector(PolicySelector):
    """Samples of policy probabilities, also in test mode, as in EPyMARL."""

    action_types = DISCRETE
    output_types = frozenset({"pi_logits"})

    def __init__(self, args: SimpleNamespace) -> None:
        super().__init__(args)
        self.policy, self.test_greedy = CategoricalPolicy(args), False


class EpsilonGreedyActionSelector:
    """The best available action, or with probability epsilon, which falls over environment steps, a random one.

    Runners log `epsilon`.
    """

    action_types = DISCRETE
    output_types = frozenset({"q", "pi_logits"})

    def __init__(self, args: SimpleNamespace) -> None:
        self.schedule = DecayThenFlatSchedule(
            args.epsilon_start, args.epsilon_finish, args.epsilon_anneal_time, decay="linear"
        )
        self.epsilon = self.schedule.eval(0)
        self.evaluation_epsilon = args.evaluation_epsilon
        self.policy = CategoricalPolicy(args)

    def select_action(self, agent_inputs: Tensor, avail_actions: Tensor, t_env: int, test_mode: bool = False) -> Tensor:
        epsilon = self.evaluation_epsilon if test_mode else self.schedule.eval(t_env)
        if not test_mode:
            self.epsilon = epsilon  # runners log the epsilon of training
        greedy = as_chosen(self.policy.mode(agent_inputs, avail_actions), self.policy)  # (B, N)
        explore = th.rand_like(agent_inputs[..., 0]) < epsilon  # (B, N)
        uniform = as_chosen(sample(self.policy, avail_actions.float(), avail_actions), self.policy)  # (B, N)
        return th.where(explore, uniform, greedy)


class DeterministicActionSelector(PolicySelector):
    """Continuous actions: the squashed outputs, without noise."""

    action_types = CONTINUOUS
    output_types = frozenset({"mean"})
    policy: DeterministicPolicy

    def __init__(self, args: SimpleNamespace) -> None:
        super().__init__(args)
        self.policy = DeterministicPolicy(args)

    @property
    def noise(self) -> float:
        """The noise's standard deviation in half action ranges, a mean over agents where each has its own."""
        return float(th.as_tensor(self.policy.spread()).detach().mean())

    def select_action(self, agent_inputs: Tensor, avail_actions: Tensor, t_env: int, test_mode: bool = False) -> Tensor:
        return self.policy.mode(agent_inputs.detach(), avail_actions)  # (B, N, A)


class GaussianActionSelector(DeterministicActionSelector):
    """Continuous actions: the squashed outputs plus Gaussian noise, clipped to the bounds. Test mode has no noise.

    `exploration_noise` is the noise's standard deviation in half action ranges, unless a learner sets `policy` to one
    that learns it.
    """

    def __init__(self, args: SimpleNamespace) -> None:
        super().__init__(args)
        self.policy = DeterministicPolicy(args, noise_std=args.exploration_noise)

    def select_action(self, agent_inputs: Tensor, avail_actions: Tensor, t_env: int, test_mode: bool = False) -> Tensor:
        if test_mode:
            return super().select_action(agent_inputs, avail_actions, t_env, test_mode)
        return sample(self.policy, agent_inputs.detach(), avail_actions)  # (B, N, A)


class GaussianPolicySelector(PolicySelector):
    """Samples of a Gaussian policy; its mean in test mode where `test_greedy`."""

    action_types = CONTINUOUS
    output_types = frozenset({"gaussian"})

    def __init__(self, args: SimpleNamespace) -> None:
        super().__init__(args)
        self.policy = GaussianPolicy(args)


class TanhGaussianPolicySelector(PolicySelector):
    """Samples of a tanh-Gaussian policy; its mean action in test mode where `test_greedy`."""

    action_types = CONTINUOUS
    output_types = frozenset({"tanh_gaussian"})

    def __init__(self, args: SimpleNamespace) -> None:
        super().__init__(args)
        self.policy = TanhGaussianPolicy(args)


class UniformActionSelector:
    """Actions that ignore the network: uniform within the action bounds, or over the available discrete actions."""

    action_types = DISCRETE | CONTINUOUS

    def __init__(self, args: SimpleNamespace) -> None:
        self.policy = BoxPolicy(args) if hasattr(args, "action_low") else CategoricalPolicy(args)

    def select_action(self, agent_inputs: Tensor, avail_actions: Tensor, t_env: int, test_mode: bool = False) -> Tensor:
        if isinstance(self.policy, BoxPolicy):
            unit = th.rand(avail_actions.shape, device=avail_actions.device)  # (B, N, A)
            return self.policy.uniform(unit) * avail_actions
        return as_chosen(sample(self.policy, avail_actions.float(), avail_actions), self.policy)  # (B, N)


def sample(policy: Policy, outputs: Tensor, avail_actions: Tensor) -> Tensor:
    """A sample of the policy with noise from torch's global generator, (B, N, A)."""
    noise = policy.make_noise(tuple(outputs.shape[:-1]), None, outputs.device)
    return policy.sample(outputs, avail_actions, noise)


def as_chosen(actions: Tensor, policy: Policy) -> Tensor:
    """Actions as environments take them: continuous (B, N, A) unchanged, one-hot (B, N, A) as indices (B, N)."""
    return actions if policy.continuous else actions.argmax(-1)


REGISTRY: dict[str, type[ActionSelector]] = {
    "multinomial": MultinomialActionSelector,
    "epsilon_greedy": EpsilonGreedyActionSelector,
    "soft_policies": SoftPoliciesSelector,
    "deterministic": DeterministicActionSelector,
    "gaussian": GaussianActionSelector,
    "gaussian_policy": GaussianPolicySelector,
    "tanh_gaussian_policy": TanhGaussianPolicySelector,
    "uniform": UniformActionSelector,
}
