"""A run's controller, and what must be true of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from components.action_selectors import REGISTRY as selector_REGISTRY
from components.scheme import Groups, Scheme
from controllers import REGISTRY as mac_REGISTRY
from controllers.basic_controller import BasicMAC
from learners import REGISTRY as learner_REGISTRY
from modules.agents import REGISTRY as agent_REGISTRY
from modules.policies import REGISTRY as policy_REGISTRY
from utils.config import choose
from utils.errors import ConfigError


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
    kinds = {kind: "continuous" if policy.continuous else "discrete" for kind, policy in policy_REGISTRY.items()}
    meant = kinds.get(args.agent_output_type, space)
    if meant != space and args.learner is not None:
        files = getattr(learner_REGISTRY.get(args.learner), "CONFIGS", ("", ""))  # for continuous, for discrete actions
        file = files[space == "discrete"]
        remedy = "set it and action_selector to auto"
        if args.name in files and args.name != file:
            remedy = f"choose --config={file}"
        raise ConfigError(
            f"agent_output_type={args.agent_output_type} is for {meant} actions; these are {space}: {remedy}"
        )
    if space not in getattr(selector, "action_types", {space}):
        fitting = sorted(name for name, other in selectors.items() if space in getattr(other, "action_types", {space}))
        raise ConfigError(
            f"action_selector={args.action_selector} cannot choose {space} actions; set it to {' or '.join(fitting)}"
        )
    return mac(scheme, groups, args)
