"""From a configuration to its pieces: runner, controller, learner. Shared by every loop."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from components.action_selectors import REGISTRY as selector_REGISTRY
from components.scheme import Groups, Preprocess, Scheme, build_scheme, is_continuous
from controllers import REGISTRY as mac_REGISTRY
from controllers.basic_controller import BasicMAC
from envs import REGISTRY as env_REGISTRY
from envs import VECTOR_REGISTRY
from learners import REGISTRY as learner_REGISTRY
from modules.agents import REGISTRY as agent_REGISTRY
from runners import REGISTRY as runner_REGISTRY
from utils.config import choose
from utils.errors import ConfigError
from utils.logging import Logger

# What chooses actions from each kind of network output, where `action_selector` is `auto`.
SELECTORS = {
    "q": "epsilon_greedy",
    "pi_logits": "multinomial",
    "mean": "deterministic",
    "gaussian": "gaussian_policy",
    "tanh_gaussian": "tanh_gaussian_policy",
}
# What `agent_output_type` may leave open, for continuous actions; discrete ones have pi_logits.
CONTINUOUS_OUTPUTS = {"auto": "mean", "stochastic": "tanh_gaussian"}


def build_runner(args: SimpleNamespace, logger: Logger) -> Any:
    """The runner the configuration names, with its environment. Raises ConfigError for an unknown name."""
    runner = choose(runner_REGISTRY, "runner", args.runner)
    choose(VECTOR_REGISTRY if args.runner == "vector" else env_REGISTRY, "env", args.env)
    return runner(args, logger)


def set_dimensions(args: SimpleNamespace, env_info: dict[str, Any]) -> None:
    """Put what stock puts on `args`, and the action bounds; everything else is read from the scheme."""
    args.n_agents, args.n_actions = int(env_info["n_agents"]), int(env_info["n_actions"])
    args.state_shape = env_info["state_shape"]
    if "action_low" in env_info:
        args.action_low = [float(bound) for bound in env_info["action_low"]]
        args.action_high = [float(bound) for bound in env_info["action_high"]]


def build_schemes(env_info: dict[str, Any], args: SimpleNamespace) -> tuple[Scheme, Groups, Preprocess]:
    """The scheme of an environment's batches, groups and preprocessing, with its dimensions put on `args`."""
    set_dimensions(args, env_info)
    resolve_action_keys(args, is_continuous(env_info))
    return build_scheme(env_info, args)


def resolve_action_keys(args: SimpleNamespace, continuous: bool) -> None:
    """Replace what `agent_output_type` (auto, stochastic) and `action_selector` (auto) leave open by what suits."""
    if args.agent_output_type in CONTINUOUS_OUTPUTS:
        args.agent_output_type = CONTINUOUS_OUTPUTS[args.agent_output_type] if continuous else "pi_logits"
    if args.action_selector == "auto":
        args.action_selector = SELECTORS.get(args.agent_output_type, "auto")


def check_recurrence(mac: Any, args: SimpleNamespace) -> None:
    """Refuse to train recurrent agents on windows that start without a recurrent state (ConfigError)."""
    if args.window is not None and args.burn_in == 0 and getattr(mac.agent, "is_recurrent", True):
        raise ConfigError(
            f"agent={args.agent} is recurrent and learns from whole episodes: set window=None (or from windows of "
            f"several steps with a warm-up: burn_in=10 window=10)"
        )


def build_mac(scheme: Scheme, groups: Groups, args: SimpleNamespace) -> BasicMAC:
    """The controller the configuration names. Raises ConfigError for unknown names and for parts that do not fit."""
    agents: dict[str, Any] = dict(agent_REGISTRY)
    selectors: dict[str, Any] = dict(selector_REGISTRY)
    agent = choose(agents, "agent", args.agent)
    mac = choose(mac_REGISTRY, "mac", args.mac)
    selector = choose(selectors, "action_selector", args.action_selector)
    # Stock's own controllers, agents and selectors do not declare themselves; they are taken as they come.
    shares = getattr(mac, "unshared", None)
    if shares is not None and getattr(agent, "unshared", shares) != shares:
        fitting = sorted(name for name, other in agents.items() if getattr(other, "unshared", shares) == shares)
        raise ConfigError(f"agent={args.agent} does not fit mac={args.mac}, which takes agent={' or '.join(fitting)}")
    space = "continuous" if scheme["actions"]["dtype"].is_floating_point else "discrete"
    if space == "continuous" and args.agent_output_type == "pi_logits":
        raise ConfigError(
            "agent_output_type=pi_logits is for discrete actions; these are continuous: set it to mean, gaussian or "
            "tanh_gaussian"
        )
    if space not in getattr(selector, "action_types", {space}):
        fitting = sorted(name for name, other in selectors.items() if space in getattr(other, "action_types", {space}))
        raise ConfigError(
            f"action_selector={args.action_selector} cannot choose {space} actions; set it to {' or '.join(fitting)}"
        )
    return mac(scheme, groups, args)


def build_learner(learner: Any, mac: Any, scheme: Scheme, logger: Logger, args: SimpleNamespace) -> Any:
    """A learner's instance.

    Raises ConfigError where it refuses the configuration by assertion, with its words, and where a package is missing.
    """
    try:
        return learner(mac, scheme, logger, args)
    except ModuleNotFoundError as error:  # stock's PAC learners import theirs here
        raise ConfigError(f"learner={args.learner} needs the package '{error.name}', which is not installed") from error
    except AssertionError as error:  # stock's way: "VDN only supports common reward setting"
        if not str(error):
            raise
        raise ConfigError(f"learner={args.learner} refuses this configuration: {error}") from error


def check_learner(args: SimpleNamespace, env_info: dict[str, Any]) -> Any:
    """The learner's class. Raises ConfigError where it is unknown or cannot handle the action type."""
    if args.learner is None:
        raise ConfigError(f"--config={args.name} has no learner; add collect=True to gather data with it")
    learner = choose(learner_REGISTRY, "learner", args.learner)
    space = env_info.get("action_space", "discrete")
    able = getattr(learner, "action_types", frozenset({"discrete"}))
    if space not in able:
        raise ConfigError(
            f"learner={args.learner} handles {' and '.join(sorted(able))} actions, this environment or dataset has "
            f"{space} ones; choose another --config, or data with {' or '.join(sorted(able))} actions"
        )
    return learner
