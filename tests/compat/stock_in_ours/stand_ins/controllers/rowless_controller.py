"""A controller that selects actions for whole batches only, without a selector: the face of stock's MADDPG's."""

import torch as th

from components.episode_buffer import EpisodeBatch
from controllers.basic_controller import BasicMAC


class RowlessMAC(BasicMAC):
    action_selector = None

    def select_actions(  # type: ignore[override]
        self, ep_batch: EpisodeBatch, t_ep: int, t_env: int = 0, test_mode: bool = False
    ) -> th.Tensor:
        logits = self.forward(ep_batch, t_ep)
        noise = -th.log(-th.log(th.rand_like(logits) + 1e-20) + 1e-20)
        return (logits + noise).argmax(dim=-1)

    def target_actions(self, ep_batch: EpisodeBatch, t_ep: int) -> th.Tensor:
        logits = self.forward(ep_batch, t_ep)
        return (logits == logits.max(-1, keepdim=True)[0]).float()

    def forward(self, ep_batch: EpisodeBatch, t: int) -> th.Tensor:  # type: ignore[override]
        outputs, self.hidden_states = self.agent(self._build_inputs(ep_batch, t), self.hidden_states)
        logits = outputs.view(ep_batch.batch_size, self.n_agents, -1)
        logits[ep_batch["avail_actions"][:, t] == 0] = -1e10
        return logits
