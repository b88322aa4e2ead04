"""An on-policy actor-critic with the outer face of stock's: one update from the rollout that fills the buffer."""

import copy
from types import SimpleNamespace
from typing import Any

import torch as th
from torch.optim import Adam

from components.episode_buffer import EpisodeBatch
from modules.critics import REGISTRY as critic_registry


class PolicyLearner:
    def __init__(self, mac: Any, scheme: dict[str, Any], logger: Any, args: SimpleNamespace) -> None:
        self.args, self.mac, self.logger = args, mac, logger
        self.agent_params = list(mac.parameters())
        self.agent_optimiser = Adam(params=self.agent_params, lr=args.lr)
        self.critic = critic_registry[args.critic_type](scheme, args)
        self.target_critic = copy.deepcopy(self.critic)
        self.critic_optimiser = Adam(params=self.critic.parameters(), lr=args.lr)
        self.seen: list[int] = []
        self.log_stats_t = -args.learner_log_interval - 1

    def train(self, batch: EpisodeBatch, t_env: int, episode_num: int) -> None:
        assert batch.batch_size == self.args.batch_size == self.args.batch_size_run
        steps = int((batch["filled"].sum(1) - 1).sum())  # every step played is learned from, once
        assert t_env == sum(self.seen) + steps and episode_num == len(self.seen) * self.args.batch_size_run
        self.seen.append(steps)
        rewards = batch["reward"][:, :-1]
        terminated = batch["terminated"][:, :-1].float()
        mask = batch["filled"][:, :-1].float()
        mask[:, 1:] = mask[:, 1:] * (1 - terminated[:, :-1])
        mask = mask.repeat(1, 1, self.args.n_agents)
        values = self.critic(batch).squeeze(3)
        with th.no_grad():
            following = self.target_critic(batch).squeeze(3)[:, 1:]
            if not self.args.add_value_last_step:
                following[:, -1] = 0
        error = (rewards + self.args.gamma * (1 - terminated) * following - values[:, :-1]) * mask
        critic_loss = (error**2).sum() / mask.sum()
        self.critic_optimiser.zero_grad()
        critic_loss.backward()
        self.critic_optimiser.step()
        self.mac.init_hidden(batch.batch_size)
        pi = th.stack([self.mac.forward(batch, t=t) for t in range(batch.max_seq_length - 1)], dim=1)
        log_taken = th.log((pi * batch["actions_onehot"][:, :-1]).sum(-1) + 1e-10)
        entropy = -(pi * th.log(pi + 1e-10)).sum(-1)
        pg_loss = -((error.detach() * log_taken + self.args.entropy_coef * entropy) * mask).sum() / mask.sum()
        self.agent_optimiser.zero_grad()
        pg_loss.backward()
        th.nn.utils.clip_grad_norm_(self.agent_params, self.args.grad_norm_clip)
        self.agent_optimiser.step()
        tau = self.args.target_update_interval_or_tau
        for target, param in zip(self.target_critic.parameters(), self.critic.parameters(), strict=True):
            target.data.copy_(target.data * (1.0 - tau) + param.data * tau)
        if t_env - self.log_stats_t >= self.args.learner_log_interval:
            self.logger.log_stat("critic_loss", critic_loss.item(), t_env)
            self.logger.log_stat("pg_loss", pg_loss.item(), t_env)
            self.log_stats_t = t_env

    def cuda(self) -> None:
        self.mac.cuda()
        self.critic.cuda()
        self.target_critic.cuda()

    def save_models(self, path: str) -> None:
        self.mac.save_models(path)
        th.save(self.critic.state_dict(), f"{path}/critic.th")

    def load_models(self, path: str) -> None:
        self.mac.load_models(path)
        self.critic.load_state_dict(th.load(f"{path}/critic.th", map_location=lambda storage, loc: storage))
