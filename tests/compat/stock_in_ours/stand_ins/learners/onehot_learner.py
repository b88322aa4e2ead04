"""A learner of a critic of joint one-hot actions, whose targets move by episodes: the face of stock's MADDPG."""

import copy
from types import SimpleNamespace
from typing import Any

import torch as th
from modules.critics.joint import JointCritic
from torch.optim import Adam

from components.episode_buffer import EpisodeBatch


class OneHotLearner:
    def __init__(self, mac: Any, scheme: dict[str, Any], logger: Any, args: SimpleNamespace) -> None:
        self.args, self.mac, self.logger = args, mac, logger
        self.target_mac = copy.deepcopy(mac)
        self.critic = JointCritic(scheme, args)
        self.optimiser = Adam(params=[*mac.parameters(), *self.critic.parameters()], lr=args.lr)
        self.last_target_update_episode = 0
        self.log_stats_t = -args.learner_log_interval - 1

    def train(self, batch: EpisodeBatch, t_env: int, episode_num: int) -> None:
        mask = 1 - batch["terminated"][:, :-1].float()
        self.mac.init_hidden(batch.batch_size)
        steps = range(batch.max_seq_length - 1)
        pi = th.softmax(th.stack([self.mac.forward(batch, t) for t in steps], dim=1), dim=-1)
        self.target_mac.init_hidden(batch.batch_size)
        following = th.stack([self.target_mac.target_actions(batch, t + 1) for t in steps], dim=1)
        states = batch["state"]
        with th.no_grad():
            target = batch["reward"][:, :-1] + self.args.gamma * mask * self.critic(states[:, 1:], following)
        taken = self.critic(states[:, :-1], batch["actions_onehot"][:, :-1].detach())
        critic_loss = (((taken - target) * mask) ** 2).mean()
        pg_loss = -(self.critic(states[:, :-1], pi) * mask).mean() + self.args.reg * (pi**2).mean()
        self.optimiser.zero_grad()
        (critic_loss + pg_loss).backward()
        self.optimiser.step()
        if episode_num - self.last_target_update_episode >= self.args.target_update_interval_or_tau:
            self.target_mac.load_state(self.mac)
            self.last_target_update_episode = episode_num
        if t_env - self.log_stats_t >= self.args.learner_log_interval:
            self.logger.log_stat("critic_loss", critic_loss.item(), t_env)
            self.logger.log_stat("pg_loss", pg_loss.item(), t_env)
            self.log_stats_t = t_env

    def cuda(self) -> None:
        self.mac.cuda()
        self.target_mac.cuda()
        self.critic.cuda()

    def save_models(self, path: str) -> None:
        self.mac.save_models(path)
        th.save(self.critic.state_dict(), f"{path}/critic.th")

    def load_models(self, path: str) -> None:
        self.mac.load_models(path)
