from functools import partial

import numpy as np

from components.episode_buffer import EpisodeBatch
from envs import REGISTRY as env_REGISTRY


class ParallelRunner:
    """Several environments a call; in one process here, which its interface does not show."""

    def __init__(self, args, logger):
        self.args, self.logger, self.batch_size = args, logger, args.batch_size_run
        own = {"common_reward": args.common_reward, "reward_scalarisation": args.reward_scalarisation}
        kwargs = [{**args.env_args, **own, "seed": args.env_args["seed"] + i} for i in range(self.batch_size)]
        self.envs = [env_REGISTRY[args.env](**each) for each in kwargs]
        self.episode_limit = self.envs[0].episode_limit
        self.t = self.t_env = 0
        self.train_returns, self.test_returns, self.train_stats, self.test_stats = [], [], {}, {}
        self.log_train_stats_t = -100000

    def setup(self, scheme, groups, preprocess, mac):
        size = (self.batch_size, self.episode_limit + 1)
        self.new_batch = partial(EpisodeBatch, scheme, groups, *size, preprocess=preprocess, device=self.args.device)
        self.mac, self.scheme, self.groups, self.preprocess = mac, scheme, groups, preprocess

    def get_env_info(self):
        return self.envs[0].get_env_info()

    def save_replay(self):
        pass

    def close_env(self):
        for env in self.envs:
            env.close()

    def reset(self):
        self.batch, self.t = self.new_batch(), 0
        for env in self.envs:
            env.reset()

    def observe(self, alive):
        seen = [
            (env.get_state(), env.get_avail_actions(), env.get_obs()) for i, env in enumerate(self.envs) if i in alive
        ]
        state, available, obs = (list(parts) for parts in zip(*seen, strict=True))
        self.batch.update({"state": state, "avail_actions": available, "obs": obs}, bs=alive, ts=self.t)

    def act(self, alive, test_mode):
        chosen = self.mac.select_actions(self.batch, self.t, self.t_env, bs=alive, test_mode=test_mode)
        self.batch.update({"actions": chosen.unsqueeze(1)}, bs=alive, ts=self.t, mark_filled=False)
        return chosen.cpu().numpy()

    def run(self, test_mode=False):
        self.reset()
        self.mac.init_hidden(batch_size=self.batch_size)
        alive = acting = list(range(self.batch_size))
        returns, length = np.zeros(self.batch_size), 0
        self.observe(alive)
        while True:
            actions = dict(zip(acting, self.act(acting, test_mode), strict=True))  # one more where an episode ended
            if not alive:
                break
            rewards, ends, still = [], [], []
            for i in alive:
                _, reward, terminated, truncated, info = self.envs[i].step(actions[i])
                rewards.append((reward,))
                ends.append(((terminated or truncated) and not info.get("episode_limit", False),))
                returns[i] += reward
                length += 1
                if not (terminated or truncated):
                    still.append(i)
            self.batch.update({"reward": rewards, "terminated": ends}, bs=alive, ts=self.t, mark_filled=False)
            self.t += 1
            self.observe(alive)
            acting, alive = alive, still
        self.finish(returns, length, test_mode)
        return self.batch

    def finish(self, returns, length, test_mode):
        if not test_mode:
            self.t_env += length
        kept = self.test_returns if test_mode else self.train_returns
        stats = self.test_stats if test_mode else self.train_stats
        kept.extend(returns)
        stats["n_episodes"] = stats.get("n_episodes", 0) + self.batch_size
        stats["ep_length"] = stats.get("ep_length", 0) + length
        wanted = max(1, self.args.test_nepisode // self.batch_size) * self.batch_size
        if test_mode and len(kept) == wanted:
            self.log(kept, stats, "test_")
        elif self.t_env - self.log_train_stats_t >= self.args.runner_log_interval:  # in test mode too, as in stock
            self.log(kept, stats, "test_" if test_mode else "")
            self.log_train_stats_t = self.t_env

    def log(self, returns, stats, prefix):
        self.logger.log_stat(prefix + "return_mean", np.mean(returns), self.t_env)
        self.logger.log_stat(prefix + "return_std", np.std(returns), self.t_env)
        self.logger.log_stat(prefix + "ep_length_mean", stats["ep_length"] / stats["n_episodes"], self.t_env)
        returns.clear()
        stats.clear()
