"""From network outputs to actions. `agent_inputs` are what the controller's `forward` returns, (B, N, A)."""

from types import SimpleNamespace
from typing import Protocol

import torch as th
from torch import Tensor
from torch.distributions import Categorical

from components.epsilon_schedules import DecayThenFlatSchedule
from modules.layers.gaussian import gaussian_policy, tanh_gaussian_mean, tanh_gaussian_policy
from modules.layers.squash import action_bounds, squash

DISCRETE, CONTINUOUS = frozenset({"discrete"}), frozenset({"continuous"})
PROBABILITIES = frozenset({"pi_logits"})


class ActionSelector(Protocol):
    """(B, N, A) outputs and (B, N, A) availability to actions: (B, N) long, or (B, N, A) float when continuous.

    Continuous action dimensions that an agent lacks (availability 0, padding) are 0. A selector may declare the
    `output_types` it can read, values of `agent_output_type`; one that does not reads all.
    """

    action_types: frozenset[str]

    def select_action(
        self, agent_inputs: Tensor, avail_actions: Tensor, t_env: int, test_mode: bool = False
    ) -> Tensor: ...


class AnnealedSelector:
    """Discrete selectors with an `epsilon` that falls over environment steps; runners log it."""

    action_types = DISCRETE

    def __init__(self, args: SimpleNamespace) -> None:
        self.schedule = DecayThenFlatSchedule(
            args.epsilon_start, args.epsilon_finish, args.epsilon_anneal_time, decay="linear"
        )
        self.epsilon = self.schedule.eval(0)


class MultinomialActionSelector(AnnealedSelector):
    """Sample from policy probabilities; greedy in test mode when `test_greedy`."""

    output_types = PROBABILITIES

    def __init__(self, args: SimpleNamespace) -> None:
        super().__init__(args)
        self.test_greedy = getattr(args, "test_greedy", True)

    def select_action(self, agent_inputs: Tensor, avail_actions: Tensor, t_env: int, test_mode: bool = False) -> Tensor:
        policies = agent_inputs.masked_fill(avail_actions == 0, 0.0)  # (B, N, A)
        self.epsilon = self.schedule.eval(t_env)
        if test_mode and self.test_greedy:
            return policies.argmax(dim=-1)  # (B, N)
        return Categorical(policies).sample().long()  # (B, N)


class SoftPoliciesSelector:
    """Sample from policy probabilities, in test mode too (stock's behaviour)."""

    action_types = DISCRETE
    output_types = PROBABILITIES

    def __init__(self, args: SimpleNamespace) -> None:
        self.args = args

    def select_action(self, agent_inputs: Tensor, avail_actions: Tensor, t_env: int, test_mode: bool = False) -> Tensor:
        return Categorical(agent_inputs).sample().long()  # (B, N)


class EpsilonGreedyActionSelector(AnnealedSelector):
    """The best available action, or with probability epsilon a uniform available one."""

    output_types = frozenset({"q", "pi_logits"})

    def __init__(self, args: SimpleNamespace) -> None:
        super().__init__(args)
        self.evaluation_epsilon = args.evaluation_epsilon

    def select_action(self, agent_inputs: Tensor, avail_actions: Tensor, t_env: int, test_mode: bool = False) -> Tensor:
        epsilon = self.evaluation_epsilon if test_mode else self.schedule.eval(t_env)
        if not test_mode:
            self.epsilon = epsilon  # what runners log is training's
        greedy = agent_inputs.masked_fill(avail_actions == 0, -float("inf")).argmax(dim=-1)  # (B, N)
        explore = th.rand_like(agent_inputs[..., 0]) < epsilon  # (B, N)
        return th.where(explore, Categorical(avail_actions.float()).sample().long(), greedy)


class DeterministicActionSelector:
    """Continuous actions: the squashed mean, without noise."""

    action_types = CONTINUOUS
    output_types = frozenset({"mean"})

    def __init__(self, args: SimpleNamespace) -> None:
        self.low, self.high = action_bounds(args)

    def select_action(self, agent_inputs: Tensor, avail_actions: Tensor, t_env: int, test_mode: bool = False) -> Tensor:
        return squash(agent_inputs, self.low, self.high).detach() * avail_actions  # (B, N, A)


class GaussianActionSelector(DeterministicActionSelector):
    """Continuous actions: the squashed mean plus Gaussian noise, clipped to the bounds; no noise in test mode.

    `exploration_noise` is the noise's standard deviation as a share of half the action range.
    """

    def __init__(self, args: SimpleNamespace) -> None:
        super().__init__(args)
        self.noise = args.exploration_noise

    def select_action(self, agent_inputs: Tensor, avail_actions: Tensor, t_env: int, test_mode: bool = False) -> Tensor:
        mean = super().select_action(agent_inputs, avail_actions, t_env, test_mode)
        if test_mode:
            return mean
        noise = th.randn_like(mean) * self.noise * 0.5 * (self.high - self.low)
        return th.clamp(mean + noise, self.low, self.high) * avail_actions  # (B, N, A)


class GaussianPolicySelector:
    """Continuous actions: samples of a Gaussian policy, clipped to the bounds; its mean in test mode if `test_greedy`.

    Outputs are (B, N, 2A), see `modules.layers.gaussian`.
    """

    action_types = CONTINUOUS
    output_types = frozenset({"gaussian"})

    def __init__(self, args: SimpleNamespace) -> None:
        self.low, self.high = action_bounds(args)
        self.test_greedy = getattr(args, "test_greedy", True)

    def select_action(self, agent_inputs: Tensor, avail_actions: Tensor, t_env: int, test_mode: bool = False) -> Tensor:
        mean, log_std = gaussian_policy(agent_inputs.detach(), self.low, self.high)  # (B, N, A) each
        if test_mode and self.test_greedy:
            return mean * avail_actions
        noise = th.randn_like(mean) * log_std.exp() * 0.5 * (self.high - self.low)
        return th.clamp(mean + noise, self.low, self.high) * avail_actions  # (B, N, A)


class TanhGaussianPolicySelector(GaussianPolicySelector):
    """The same of a Gaussian that tanh squashes into the bounds instead of clipping."""

    output_types = frozenset({"tanh_gaussian"})

    def select_action(self, agent_inputs: Tensor, avail_actions: Tensor, t_env: int, test_mode: bool = False) -> Tensor:
        outputs = agent_inputs.detach()
        if test_mode and self.test_greedy:
            return tanh_gaussian_mean(outputs, self.low, self.high) * avail_actions  # (B, N, A)
        raw, log_std = tanh_gaussian_policy(outputs)  # (B, N, A) each
        raw = raw + th.randn_like(raw) * log_std.exp()
        return squash(raw, self.low, self.high) * avail_actions


class UniformActionSelector:
    """Behaviour that ignores the network: uniform over the action box, or over the available discrete actions."""

    action_types = DISCRETE | CONTINUOUS

    def __init__(self, args: SimpleNamespace) -> None:
        self.continuous = hasattr(args, "action_low")
        self.low, self.high = action_bounds(args)

    def select_action(self, agent_inputs: Tensor, avail_actions: Tensor, t_env: int, test_mode: bool = False) -> Tensor:
        if self.continuous:
            unit = th.rand(avail_actions.shape, device=avail_actions.device)  # (B, N, A)
            return (self.low + unit * (self.high - self.low)) * avail_actions
        return Categorical(avail_actions.float()).sample().long()  # (B, N)


REGISTRY = {
    "multinomial": MultinomialActionSelector,
    "epsilon_greedy": EpsilonGreedyActionSelector,
    "soft_policies": SoftPoliciesSelector,
    "deterministic": DeterministicActionSelector,
    "gaussian": GaussianActionSelector,
    "gaussian_policy": GaussianPolicySelector,
    "tanh_gaussian_policy": TanhGaussianPolicySelector,
    "uniform": UniformActionSelector,
}
