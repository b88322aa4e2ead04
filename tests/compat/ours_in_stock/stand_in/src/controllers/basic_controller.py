import torch as th

from components.action_selectors import REGISTRY as action_REGISTRY
from modules.agents import REGISTRY as agent_REGISTRY


class BasicMAC:
    def __init__(self, scheme, groups, args):
        self.n_agents, self.args = args.n_agents, args
        self.agent = agent_REGISTRY[args.agent](self._get_input_shape(scheme), args)
        self.agent_output_type = args.agent_output_type
        self.action_selector = action_REGISTRY[args.action_selector](args)
        self.hidden_states = None

    def select_actions(self, ep_batch, t_ep, t_env, bs=slice(None), test_mode=False):
        outputs = self.forward(ep_batch, t_ep, test_mode=test_mode)[bs]
        available = ep_batch["avail_actions"][:, t_ep][bs]
        return self.action_selector.select_action(outputs, available, t_env, test_mode=test_mode)

    def forward(self, ep_batch, t, test_mode=False):
        outputs, self.hidden_states = self.agent(self._build_inputs(ep_batch, t), self.hidden_states)
        if self.agent_output_type == "pi_logits":
            outputs[ep_batch["avail_actions"][:, t].flatten(0, 1) == 0] = -1e10  # in place, as in stock
            outputs = outputs.softmax(-1)
        return outputs.view(ep_batch.batch_size, self.n_agents, -1)

    def init_hidden(self, batch_size):
        self.hidden_states = self.agent.init_hidden().unsqueeze(0).expand(batch_size, self.n_agents, -1)

    def parameters(self):
        return self.agent.parameters()

    def load_state(self, other_mac):
        self.agent.load_state_dict(other_mac.agent.state_dict())

    def cuda(self):
        self.agent.cuda()

    def save_models(self, path):
        th.save(self.agent.state_dict(), f"{path}/agent.th")

    def load_models(self, path):
        self.agent.load_state_dict(th.load(f"{path}/agent.th", map_location="cpu"))

    def _build_inputs(self, batch, t):
        inputs = [batch["obs"][:, t]]
        if self.args.obs_last_action:
            last = batch["actions_onehot"][:, max(t - 1, 0)]
            inputs.append(last if t else th.zeros_like(last))
        if self.args.obs_agent_id:
            inputs.append(th.eye(self.n_agents, device=batch.device).expand(batch.batch_size, -1, -1))
        return th.cat([part.flatten(0, 1) for part in inputs], dim=1)

    def _get_input_shape(self, scheme):
        last = scheme["actions_onehot"]["vshape"][0] if self.args.obs_last_action else 0
        return scheme["obs"]["vshape"] + last + (self.n_agents if self.args.obs_agent_id else 0)
