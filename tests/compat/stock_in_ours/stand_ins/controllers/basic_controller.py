"""A controller with the members of stock's and no others: no `forward_all`, no `unshared`, no copying of its own."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import torch as th

from components.action_selectors import REGISTRY as action_REGISTRY
from components.episode_buffer import EpisodeBatch
from modules.agents import REGISTRY as agent_REGISTRY


class BasicMAC:
    def __init__(self, scheme: dict[str, Any], groups: dict[str, int], args: SimpleNamespace) -> None:
        self.n_agents, self.args = args.n_agents, args
        self.agent = agent_REGISTRY[args.agent](self._get_input_shape(scheme), args)
        self.agent_output_type = args.agent_output_type
        self.action_selector = action_REGISTRY[args.action_selector](args)
        self.hidden_states: th.Tensor | None = None

    def select_actions(
        self, ep_batch: EpisodeBatch, t_ep: int, t_env: int, bs: Any = slice(None), test_mode: bool = False
    ) -> th.Tensor:
        available = ep_batch["avail_actions"][:, t_ep]
        outputs = self.forward(ep_batch, t_ep, test_mode=test_mode)
        return self.action_selector.select_action(outputs[bs], available[bs], t_env, test_mode=test_mode)

    def forward(self, ep_batch: EpisodeBatch, t: int, test_mode: bool = False) -> th.Tensor:
        outputs, self.hidden_states = self.agent(self._build_inputs(ep_batch, t), self.hidden_states)
        if self.agent_output_type == "pi_logits":
            available = ep_batch["avail_actions"][:, t].reshape(ep_batch.batch_size * self.n_agents, -1)
            outputs[available == 0] = -1e10  # in place, on what the network returned
            outputs = th.softmax(outputs, dim=-1)
        return outputs.view(ep_batch.batch_size, self.n_agents, -1)

    def init_hidden(self, batch_size: int) -> None:
        self.hidden_states = self.agent.init_hidden().unsqueeze(0).expand(batch_size, self.n_agents, -1)

    def parameters(self) -> Iterator[th.nn.Parameter]:
        return self.agent.parameters()

    def load_state(self, other_mac: Any) -> None:
        self.agent.load_state_dict(other_mac.agent.state_dict())

    def cuda(self) -> None:
        self.agent.cuda()

    def save_models(self, path: str) -> None:
        th.save(self.agent.state_dict(), f"{path}/agent.th")

    def load_models(self, path: str) -> None:
        self.agent.load_state_dict(th.load(f"{path}/agent.th", map_location=lambda storage, loc: storage))

    def _build_inputs(self, batch: EpisodeBatch, t: int) -> th.Tensor:
        inputs = [batch["obs"][:, t]]
        if self.args.obs_last_action:
            last = batch["actions_onehot"]
            inputs.append(th.zeros_like(last[:, t]) if t == 0 else last[:, t - 1])
        if self.args.obs_agent_id:
            inputs.append(th.eye(self.n_agents, device=batch.device).unsqueeze(0).expand(batch.batch_size, -1, -1))
        return th.cat([part.reshape(batch.batch_size * self.n_agents, -1) for part in inputs], dim=1)

    def _get_input_shape(self, scheme: dict[str, Any]) -> int:
        width: int = scheme["obs"]["vshape"]
        if self.args.obs_last_action:
            width += scheme["actions_onehot"]["vshape"][0]
        return width + self.n_agents if self.args.obs_agent_id else width
