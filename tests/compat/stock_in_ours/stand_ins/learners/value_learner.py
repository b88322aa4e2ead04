"""A value learner with the outer face of stock's: no `action_types`, no training state, its own mask and targets."""

import copy
from types import SimpleNamespace
from typing import Any

import torch as th
from modules.mixers.total import TotalMixer
from torch.optim import Adam

from components.episode_buffer import EpisodeBatch
from components.standarize_stream import RunningMeanStd


class ValueLearner:
    def __init__(self, mac: Any, scheme: dict[str, Any], logger: Any, args: SimpleNamespace) -> None:
        self.args, self.mac, self.logger = args, mac, logger
        self.params = list(mac.parameters())
        self.mixer = None
        if args.mixer is not None:
            assert args.common_reward, "total only supports a common reward"
            self.mixer = TotalMixer(args)
            self.params += list(self.mixer.parameters())
            self.target_mixer = copy.deepcopy(self.mixer)
        self.optimiser = Adam(params=self.params, lr=args.lr)
        self.target_mac = copy.deepcopy(mac)
        self.training_steps, self.last_target_update_step = 0, 0
        self.log_stats_t = -args.learner_log_interval - 1
        device = "cuda" if args.use_cuda else "cpu"
        if args.standardise_returns:
            self.ret_ms = RunningMeanStd(shape=(args.n_agents,), device=device)
        if args.standardise_rewards:
            self.rew_ms = RunningMeanStd(shape=(1,) if args.common_reward else (args.n_agents,), device=device)

    def train(self, batch: EpisodeBatch, t_env: int, episode_num: int) -> None:
        rewards = batch["reward"][:, :-1]
        terminated = batch["terminated"][:, :-1].float()
        mask = batch["filled"][:, :-1].float()
        mask[:, 1:] = mask[:, 1:] * (1 - terminated[:, :-1])
        if self.args.standardise_rewards:
            self.rew_ms.update(rewards)
            rewards = (rewards - self.rew_ms.mean) / th.sqrt(self.rew_ms.var)
        q = self._unroll(self.mac, batch)
        taken = th.gather(q[:, :-1], dim=3, index=batch["actions"][:, :-1]).squeeze(3)
        with th.no_grad():
            target_q = self._unroll(self.target_mac, batch)[:, 1:]
            target_q[batch["avail_actions"][:, 1:] == 0] = -9999999
            best = target_q.max(dim=3)[0]
        if self.mixer is not None:
            taken = self.mixer(taken, batch["state"][:, :-1])
            best = self.target_mixer(best, batch["state"][:, 1:]).detach()
        if self.args.standardise_returns:
            best = best * th.sqrt(self.ret_ms.var) + self.ret_ms.mean
        targets = rewards + self.args.gamma * (1 - terminated) * best
        if self.args.standardise_returns:
            self.ret_ms.update(targets)
            targets = (targets - self.ret_ms.mean) / th.sqrt(self.ret_ms.var)
        error = taken - targets
        mask = mask.expand_as(error)
        loss = ((error * mask) ** 2).sum() / mask.sum()
        self.optimiser.zero_grad()
        loss.backward()
        grad_norm = th.nn.utils.clip_grad_norm_(self.params, self.args.grad_norm_clip)
        self.optimiser.step()
        self._update_targets()
        if t_env - self.log_stats_t >= self.args.learner_log_interval:
            self.logger.log_stat("loss", loss.item(), t_env)
            self.logger.log_stat("grad_norm", grad_norm.item(), t_env)
            self.log_stats_t = t_env

    @staticmethod
    def _unroll(mac: Any, batch: EpisodeBatch) -> th.Tensor:
        mac.init_hidden(batch.batch_size)
        return th.stack([mac.forward(batch, t=t) for t in range(batch.max_seq_length)], dim=1)

    def _update_targets(self) -> None:
        self.training_steps += 1
        interval = self.args.target_update_interval_or_tau
        if interval > 1 and (self.training_steps - self.last_target_update_step) / interval >= 1.0:
            self.target_mac.load_state(self.mac)
            self.last_target_update_step = self.training_steps

    def cuda(self) -> None:
        self.mac.cuda()
        self.target_mac.cuda()

    def save_models(self, path: str) -> None:
        self.mac.save_models(path)
        th.save(self.optimiser.state_dict(), f"{path}/opt.th")

    def load_models(self, path: str) -> None:
        self.mac.load_models(path)
        self.target_mac.load_models(path)
        self.optimiser.load_state_dict(th.load(f"{path}/opt.th", map_location=lambda storage, loc: storage))
