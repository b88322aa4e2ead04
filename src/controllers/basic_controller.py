"""The multi-agent controller: builds agent inputs, runs the agents, selects actions."""

import copy
import os
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import torch as th
from torch import Tensor

from components.action_selectors import REGISTRY as action_REGISTRY
from components.action_selectors import ActionSelector
from components.episode_buffer import EpisodeBatch
from controllers.one_pass import ask, one_pass, to_policy
from modules.agents import REGISTRY as agent_REGISTRY
from modules.layers.sizes import field_size
from utils.errors import ConfigError

Rows = slice | list[int]


class BasicMAC:
    """A controller whose agents share one network; its input may hold the agent's index (`obs_agent_id`)."""

    unshared = False  # whether each agent has its own network
    # What an agent's action may depend on when policies are played: local: its own input; autoregressive: other agents'
    # actions of the same step too; centralised: all agents' inputs.
    EXECUTION = "local"

    def __init__(self, scheme: dict[str, Any], groups: dict[str, int], args: SimpleNamespace) -> None:
        self.n_agents = args.n_agents
        self.args = args
        self.agent: Any = agent_REGISTRY[args.agent](self._get_input_shape(scheme), args)
        self.agent_output_type = args.agent_output_type
        check_selector(args)
        self.action_selector: ActionSelector = action_REGISTRY[args.action_selector](args)
        self.hidden_states: Tensor | None = None

    def select_actions(
        self, ep_batch: EpisodeBatch, t_ep: int, t_env: int, bs: Rows = slice(None), test_mode: bool = False
    ) -> Tensor:
        """Actions at step `t_ep` for the rows `bs`, detached: (len(bs), N) long or (len(bs), N, A) float."""
        avail_actions = ep_batch["avail_actions"][:, t_ep]  # (B, N, A)
        with th.no_grad():
            outputs = self.forward(ep_batch, t_ep, test_mode=test_mode)  # (B, N, P)
            return self.action_selector.select_action(outputs[bs], avail_actions[bs], t_env, test_mode=test_mode)

    def forward(self, ep_batch: EpisodeBatch, t: int, test_mode: bool = False) -> Tensor:
        """Agent outputs at step `t`, (B, N, P), for `modules.policies`; for `pi_logits` they are probabilities."""
        inputs = self._build_inputs(ep_batch, t)  # (B*N, I)
        available = ep_batch["avail_actions"][:, t]  # (B, N, A)
        outputs, self.hidden_states = ask(self.agent, inputs, self.hidden_states, available)  # (B*N, P)
        return to_policy(self, outputs.view(ep_batch.batch_size, self.n_agents, -1), available)

    def forward_all(self, ep_batch: EpisodeBatch) -> Tensor:
        """Agent outputs at all steps, (B, T, N, A): one pass for feed-forward agents, an unroll for recurrent ones.

        No gradient flows through the recurrent state of burn-in rows (`learned` is 0, see `OfflineBuffer`).
        """
        if getattr(self.agent, "is_recurrent", True):
            self.init_hidden(ep_batch.batch_size)
            steps = range(ep_batch.max_seq_length)
            return th.stack([self._forward_learned(ep_batch, t) for t in steps], dim=1)  # (B, T, N, A)
        return one_pass(self, ep_batch)

    def _forward_learned(self, batch: EpisodeBatch, t: int) -> Tensor:
        outputs = self.forward(batch, t)  # (B, N, A)
        if "learned" in batch.scheme and self.hidden_states is not None:
            hidden = self.hidden_states.reshape(batch.batch_size, self.n_agents, -1)  # (B, N, H)
            learned = batch["learned"][:, t].unsqueeze(-1) > 0  # (B, 1, 1)
            self.hidden_states = th.where(learned, hidden, hidden.detach())
        return outputs

    def init_hidden(self, batch_size: int) -> None:
        """Reset the recurrent state for an unroll of `batch_size` episodes."""
        self.hidden_states = self.agent.init_hidden().unsqueeze(0).expand(batch_size, self.n_agents, -1)  # (B, N, H)

    def parameters(self) -> Iterator[th.nn.Parameter]:
        parameters: Iterator[th.nn.Parameter] = self.agent.parameters()
        return parameters

    def load_state(self, other_mac: "BasicMAC") -> None:
        self.agent.load_state_dict(other_mac.agent.state_dict())

    def cuda(self) -> None:
        self.agent.cuda()

    def save_models(self, path: str) -> None:
        th.save(self.agent.state_dict(), os.path.join(path, "agent.th"))

    def load_models(self, path: str) -> None:
        state = th.load(os.path.join(path, "agent.th"), map_location=lambda storage, loc: storage, weights_only=True)
        self.agent.load_state_dict(state)

    def __deepcopy__(self, memo: dict[int, Any]) -> "BasicMAC":
        # torch refuses to copy a recurrent state that is part of a graph; the copy starts without a state.
        copied = object.__new__(type(self))
        memo[id(self)] = copied
        for name, value in self.__dict__.items():
            shared = name in ("args", "hidden_states")
            setattr(copied, name, value if shared else copy.deepcopy(value, memo))
        copied.hidden_states = None
        return copied

    def _build_inputs(self, batch: EpisodeBatch, t: int) -> Tensor:
        inputs = [batch["obs"][:, t]]  # (B, N, O)
        if self.args.obs_last_action:
            inputs.append(self._last_action(batch, t))  # (B, N, A)
        if self.args.obs_agent_id:
            eye = th.eye(self.n_agents, device=batch.device)
            inputs.append(eye.unsqueeze(0).expand(batch.batch_size, -1, -1))  # (B, N, N)
        return th.cat([x.reshape(batch.batch_size * self.n_agents, -1) for x in inputs], dim=1)  # (B*N, I)

    def _last_action(self, batch: EpisodeBatch, t: int) -> Tensor:
        if t > 0:
            return batch["actions_onehot"][:, t - 1]
        if "prev_actions_onehot" in batch.scheme:  # a window may start in the middle of an episode
            return batch["prev_actions_onehot"][:, 0]
        return th.zeros_like(batch["actions_onehot"][:, 0])

    def _get_input_shape(self, scheme: dict[str, Any]) -> int:
        input_shape = field_size(scheme, "obs")
        if self.args.obs_last_action:
            input_shape += field_size(scheme, "actions_onehot")
        if self.args.obs_agent_id:
            input_shape += self.n_agents
        return input_shape


def check_selector(args: SimpleNamespace) -> None:
    """Raise ConfigError where the action selector cannot read outputs of this type."""
    readable = getattr(action_REGISTRY[args.action_selector], "output_types", (args.agent_output_type,))
    if args.agent_output_type not in readable:
        raise ConfigError(
            f"action_selector={args.action_selector} reads agent_output_type={' or '.join(sorted(readable))}, "
            f"not {args.agent_output_type}: set action_selector to auto"
        )
