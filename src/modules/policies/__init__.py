"""Policies by the key `agent_output_type`."""

from types import SimpleNamespace

from modules.policies.base_policy import Policy
from modules.policies.categorical_policy import CategoricalPolicy, ValuePolicy
from modules.policies.deterministic_policy import DeterministicPolicy
from modules.policies.gaussian_policy import GaussianPolicy, TanhGaussianPolicy
from utils.errors import ConfigError

REGISTRY: dict[str, type[Policy]] = {
    "q": ValuePolicy,
    "pi_logits": CategoricalPolicy,
    "mean": DeterministicPolicy,
    "gaussian": GaussianPolicy,
    "tanh_gaussian": TanhGaussianPolicy,
}


def output_width(args: SimpleNamespace) -> int:
    """How many numbers an agent's network puts out."""
    per_action = REGISTRY[getattr(args, "agent_output_type", "q")].outputs_per_action
    return per_action * int(args.n_actions)


def build_policy(
    args: SimpleNamespace, continuous: bool, kinds: tuple[str, ...] = tuple(REGISTRY), **noise: float
) -> Policy:
    """The policy that `agent_output_type` names.

    kinds: those that the learner can use. noise: `noise_std` and `noise_clip` of a deterministic policy. Raises
    ConfigError, one sentence, where it is not among them or does not suit the actions.
    """
    fitting = [kind for kind in kinds if REGISTRY[kind].continuous == continuous]
    actions = "continuous" if continuous else "discrete"
    if not fitting:
        raise ConfigError(f"{args.learner} has no policies for {actions} actions: choose another --config")
    if args.agent_output_type not in fitting:
        raise ConfigError(
            f"agent_output_type={args.agent_output_type}: for {actions} actions {args.learner} needs "
            f"{' or '.join(fitting)}"
        )
    if args.agent_output_type == "mean":
        return DeterministicPolicy(args, **noise)
    policy: Policy = REGISTRY[args.agent_output_type](args)
    return policy
