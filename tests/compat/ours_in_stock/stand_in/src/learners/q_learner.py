import copy

import torch as th

from modules.mixers.qmix import QMixer
from modules.mixers.vdn import VDNMixer


class QLearner:
    def __init__(self, mac, scheme, logger, args):
        self.args, self.mac, self.logger = args, mac, logger
        self.params = list(mac.parameters())
        self.mixer = {None: lambda args: None, "vdn": lambda args: VDNMixer(), "qmix": QMixer}[args.mixer](args)
        if self.mixer is not None:
            self.params += list(self.mixer.parameters())
        self.target_mac, self.target_mixer = copy.deepcopy(mac), copy.deepcopy(self.mixer)
        self.optimiser = th.optim.Adam(self.params, lr=args.lr)
        self.training_steps, self.log_stats_t = 0, -args.learner_log_interval - 1

    def train(self, batch, t_env, episode_num):
        reward, terminated = batch["reward"][:, :-1], batch["terminated"][:, :-1].float()
        mask = batch["filled"][:, :-1].float()
        mask[:, 1:] = mask[:, 1:] * (1 - terminated[:, :-1])
        chosen = self.values(self.mac, batch)[:, :-1].gather(3, batch["actions"][:, :-1]).squeeze(3)
        best = self.values(self.target_mac, batch).masked_fill(batch["avail_actions"] == 0, -1e9).max(3)[0][:, 1:]
        if self.mixer is not None:
            chosen = self.mixer(chosen, batch["state"][:, :-1])
            best = self.target_mixer(best.contiguous(), batch["state"][:, 1:])
        target = reward + self.args.gamma * (1 - terminated) * best.detach()
        error = (chosen - target) * mask
        loss = error.square().sum() / mask.sum()
        self.optimiser.zero_grad()
        loss.backward()
        norm = th.nn.utils.clip_grad_norm_(self.params, self.args.grad_norm_clip)
        self.optimiser.step()
        self.training_steps += 1
        if self.training_steps % self.args.target_update_interval_or_tau == 0:
            self.target_mac.load_state(self.mac)
        if t_env - self.log_stats_t >= self.args.learner_log_interval:
            self.logger.log_stat("loss", loss.item(), t_env)
            self.logger.log_stat("grad_norm", float(norm), t_env)
            self.log_stats_t = t_env

    def values(self, mac, batch):
        mac.init_hidden(batch.batch_size)
        return th.stack([mac.forward(batch, t=t) for t in range(batch.max_seq_length)], dim=1)

    def cuda(self):
        self.mac.cuda()
        self.target_mac.cuda()

    def save_models(self, path):
        self.mac.save_models(path)
        th.save(self.optimiser.state_dict(), f"{path}/opt.th")

    def load_models(self, path):
        self.mac.load_models(path)
        self.target_mac.load_models(path)
        self.optimiser.load_state_dict(th.load(f"{path}/opt.th"))
