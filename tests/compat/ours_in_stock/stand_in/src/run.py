import datetime
import os
from types import SimpleNamespace

import torch as th
from utils.general_reward_support import test_alg_config_supports_reward

from components.episode_buffer import ReplayBuffer
from components.transforms import OneHot
from controllers import REGISTRY as mac_REGISTRY
from learners import REGISTRY as le_REGISTRY
from runners import REGISTRY as r_REGISTRY
from utils.logging import Logger


def run(_run, _config, _log):
    _config["use_cuda"] = _config["use_cuda"] and th.cuda.is_available()
    at_once = _config["batch_size_run"]
    _config["test_nepisode"] = max(at_once, _config["test_nepisode"] // at_once * at_once)
    args = SimpleNamespace(**_config)
    args.device = "cuda" if args.use_cuda else "cpu"
    assert test_alg_config_supports_reward(args)
    logger = Logger(_log)
    args.unique_token = f"{args.name}_seed{args.seed}_{args.env_args['key']}_{datetime.datetime.now()}"
    logger.setup_sacred(_run)
    run_sequential(args, logger)
    logger.finish()


def build_scheme(info):
    scheme = {
        "state": {"vshape": info["state_shape"]},
        "obs": {"vshape": info["obs_shape"], "group": "agents"},
        "actions": {"vshape": (1,), "group": "agents", "dtype": th.long},
        "avail_actions": {"vshape": (info["n_actions"],), "group": "agents", "dtype": th.int},
        "terminated": {"vshape": (1,), "dtype": th.uint8},
        "reward": {"vshape": (1,)},
    }
    return scheme, {"agents": info["n_agents"]}, {"actions": ("actions_onehot", [OneHot(out_dim=info["n_actions"])])}


def run_sequential(args, logger):
    runner = r_REGISTRY[args.runner](args=args, logger=logger)
    info = runner.get_env_info()
    args.n_agents, args.n_actions, args.state_shape = info["n_agents"], info["n_actions"], info["state_shape"]
    scheme, groups, preprocess = build_scheme(info)
    device = "cpu" if args.buffer_cpu_only else args.device
    buffer = ReplayBuffer(scheme, groups, args.buffer_size, info["episode_limit"] + 1, preprocess, device)
    mac = mac_REGISTRY[args.mac](buffer.scheme, groups, args)
    runner.setup(scheme=scheme, groups=groups, preprocess=preprocess, mac=mac)
    learner = le_REGISTRY[args.learner](mac, buffer.scheme, logger, args)
    if args.use_cuda:
        learner.cuda()
    if args.checkpoint_path != "":
        steps = [int(name) for name in os.listdir(args.checkpoint_path) if name.isdigit()]
        step = max(steps) if args.load_step == 0 else min(steps, key=lambda known: abs(known - args.load_step))
        learner.load_models(os.path.join(args.checkpoint_path, str(step)))
        runner.t_env = step
        if args.evaluate:
            runner.log_train_stats_t = runner.t_env
            for _ in range(args.test_nepisode):
                runner.run(test_mode=True)
            runner.close_env()
            return
    train(args, logger, runner, buffer, learner)


def train(args, logger, runner, buffer, learner):
    episode, tested, logged, saved = 0, -args.test_interval - 1, 0, 0
    while runner.t_env <= args.t_max:
        buffer.insert_episode_batch(runner.run(test_mode=False))
        if buffer.can_sample(args.batch_size):
            sample = buffer.sample(args.batch_size)
            sample = sample[:, : sample.max_t_filled()]
            if sample.device != args.device:
                sample.to(args.device)
            learner.train(sample, runner.t_env, episode)
        if runner.t_env - tested >= args.test_interval:
            tested = runner.t_env
            for _ in range(max(1, args.test_nepisode // runner.batch_size)):
                runner.run(test_mode=True)
        if args.save_model and (runner.t_env - saved >= args.save_model_interval or saved == 0):
            saved = runner.t_env
            path = os.path.join(args.local_results_path, "models", args.unique_token, str(saved))
            os.makedirs(path, exist_ok=True)
            learner.save_models(path)
        episode += args.batch_size_run
        if runner.t_env - logged >= args.log_interval:
            logger.log_stat("episode", episode, runner.t_env)
            logger.print_recent_stats()
            logged = runner.t_env
    runner.close_env()
