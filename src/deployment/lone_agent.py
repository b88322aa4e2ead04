"""One agent of a policy as a function of tensors alone, which other programs can run."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import torch as th
from torch import Tensor, nn

from controllers.one_pass import ask, to_policy
from deployment.loaded import LoadedPolicy
from modules.policies import REGISTRY as policy_REGISTRY
from modules.policies.base_policy import Policy
from modules.policies.gaussian_policy import TanhGaussianPolicy
from utils.errors import PolicyError

FORMAT, VERSION = "epymarl-offline agent", 1


class StoredNodes(TanhGaussianPolicy):
    """A tanh-Gaussian policy whose quadrature points are constants; ONNX has no inverse of the normal distribution."""

    standard: Tensor

    def __init__(self, args: SimpleNamespace) -> None:
        super().__init__(args)
        self.register_buffer("standard", super().nodes(self.low), persistent=False)

    def nodes(self, like: Tensor) -> Tensor:
        return self.standard


class LoneAgent(nn.Module):
    """One agent's greedy policy. All tensors are float32, but for discrete actions (int64).

    forward: obs (B, O) and avail_actions (B, A), then what is remembered: last_action (B, A) and hidden (B, H), each
    where the agent uses it, zeros at an episode's start. Returns action, (B,) or (B, A); outputs (B, P), values or
    probabilities or, where actions are continuous, numbers before tanh; then the same to be remembered.
    """

    def __init__(self, policy: LoadedPolicy, index: int) -> None:
        super().__init__()
        self.args, self.index = policy.args, index
        self.continuous, self.recurrent = policy.continuous, policy.recurrent
        self.agent = lone_network(policy.mac.agent, index, policy.args.agent)
        self.policy = _own_policy(policy, index)
        self.start = self.agent.init_hidden().detach()  # (1, H)
        if self.recurrent and self.start.any():
            raise PolicyError(f"agent={policy.args.agent} starts from another state than zeros, which files cannot say")
        self.identity = th.eye(policy.n_agents)[index : index + 1] if policy.args.obs_agent_id else None  # (1, N)
        self.sizes = {"obs": policy.obs_size, "actions": policy.n_actions, "outputs": self._width(policy.n_actions)}

    def forward(self, obs: Tensor, avail_actions: Tensor, *remembered: Tensor) -> tuple[Tensor, ...]:
        inputs, state = [obs], list(remembered)
        if self.args.obs_last_action:
            inputs.append(state.pop(0))
        if self.identity is not None:
            inputs.append(self.identity.expand(obs.shape[0], -1))
        hidden = state.pop(0) if self.recurrent else self.start
        outputs, hidden = ask(self.agent, th.cat(inputs, dim=-1), hidden, avail_actions)  # (B, P), (B, H)
        outputs = to_policy(self, outputs, avail_actions)
        chosen = self.policy.mode(outputs, avail_actions)  # (B, A), one-hot where discrete
        results = [chosen if self.continuous else chosen.argmax(-1), outputs]
        if self.args.obs_last_action:
            results.append(chosen)
        return tuple([*results, hidden] if self.recurrent else results)

    @th.no_grad()
    def choices(self, obs: Tensor, avail_actions: Tensor) -> tuple[Tensor, Tensor, Tensor] | None:
        """What the agent chooses among: outputs (B, K, P), their actions (B, K, A) and their values (B, K).

        None where it does not choose among several.
        """
        found = self.agent.choices(obs, avail_actions) if hasattr(self.agent, "choices") else None
        if found is None:
            return None
        outputs, values = found
        return outputs, self.policy.mode(outputs, avail_actions.unsqueeze(1)), values

    @property
    def agent_output_type(self) -> str:
        """What `to_policy` reads."""
        return str(self.args.agent_output_type)

    def inputs(self) -> dict[str, list[Any]]:
        """Shapes of the inputs by name, in their order."""
        given = {"obs": ["batch", self.sizes["obs"]], "avail_actions": ["batch", self.sizes["actions"]]}
        return given | self._remembered()

    def outputs(self) -> dict[str, list[Any]]:
        """Shapes of the outputs by name, in their order."""
        action = ["batch", self.sizes["actions"]] if self.continuous else ["batch"]
        remembered = {f"next_{name}": shape for name, shape in self._remembered().items()}
        return {"action": action, "outputs": ["batch", self.sizes["outputs"]], **remembered}

    def example(self, rows: int = 2) -> tuple[Tensor, ...]:
        """Inputs of the right shapes."""
        zeros = [th.zeros(rows, shape[1]) for shape in self.inputs().values()]
        zeros[1] += 1  # every action is available
        return tuple(zeros)

    def _remembered(self) -> dict[str, list[Any]]:
        last = {"last_action": ["batch", self.sizes["actions"]]} if self.args.obs_last_action else {}
        return last | ({"hidden": ["batch", self.start.shape[-1]]} if self.recurrent else {})

    def _width(self, n_actions: int) -> int:
        return policy_REGISTRY[self.agent_output_type].outputs_per_action * n_actions


def lone_network(agents: Any, index: int, name: str) -> Any:
    """One agent's network, a copy. Raises PolicyError where agents have one each and cannot be taken apart."""
    if not getattr(agents, "unshared", False):
        return copy.deepcopy(agents).eval()
    if not hasattr(agents, "alone"):
        raise PolicyError(f"agent={name} cannot be exported: it has a network per agent and no method `alone(index)`")
    return agents.alone(index).eval()


def _own_policy(policy: LoadedPolicy, index: int) -> Policy:
    """What the agent's outputs mean, with its own bounds."""
    kind = policy_REGISTRY[policy.args.agent_output_type]
    args = policy.args
    if policy.action_low is not None and policy.action_high is not None:
        low, high = policy.action_low[index].tolist(), policy.action_high[index].tolist()
        args = args.extended(action_low=low, action_high=high)
    return StoredNodes(args) if kind is TanhGaussianPolicy else kind(args)


def metadata(policy: LoadedPolicy, agent: LoneAgent) -> dict[str, Any]:
    """What an exported file says of itself, as plain JSON values."""
    bounds: dict[str, Any] = {}
    if policy.action_low is not None and policy.action_high is not None:
        low, high = policy.action_low[agent.index].tolist(), policy.action_high[agent.index].tolist()
        bounds = {"action_low": low, "action_high": high}
    names, own = [*agent.inputs()][2:], None if policy.available is None else policy.available[agent.index]
    return {
        "format": FORMAT,
        "format_version": VERSION,
        "run": policy.description["name"],
        "algorithm": policy.description["algorithm"],
        "step": policy.step,
        "agent": agent.index,
        "n_agents": policy.n_agents,
        "environment": policy.environment,
        "action_space": "continuous" if policy.continuous else "discrete",
        "n_actions": policy.n_actions,
        # files take any mask: these say which one, and whether all ones may be given. null: not known
        "avail_actions": own if own is None else own.tolist(),
        "mask_required": own is None or not own.all() if "available" in policy.description else None,
        **bounds,
        "outputs_are": agent.agent_output_type,
        "inputs": {name: {"shape": shape, "dtype": "float32"} for name, shape in agent.inputs().items()},
        "outputs": {
            name: {"shape": shape, "dtype": "int64" if len(shape) == 1 else "float32"}
            for name, shape in agent.outputs().items()
        },
        "remembered": {name: f"next_{name}" for name in names},  # input of the next step <- output; zeros at first
    }
