import os
import sys
from copy import deepcopy

import numpy as np
import torch as th
import yaml
from sacred import SETTINGS, Experiment
from sacred.observers import FileStorageObserver

from run import run
from utils.logging import get_logger

HERE = os.path.dirname(os.path.abspath(__file__))
SETTINGS["CAPTURE_MODE"] = "no"
ex = Experiment("stand_in", save_git_info=False)
ex.logger = get_logger()


@ex.main
def my_main(_run, _config, _log):
    config = deepcopy(dict(_config))
    np.random.seed(config["seed"])
    th.manual_seed(config["seed"])
    config["env_args"] = {**config["env_args"], "seed": config["seed"]}
    run(_run, config, _log)


def layer(folder, name):
    with open(os.path.join(HERE, "config", folder, f"{name}.yaml")) as file:
        return yaml.load(file, Loader=yaml.FullLoader)


def take(words, option):
    """The value of `option=value`, removed from the words: no other spelling is known."""
    for position, word in enumerate(words):
        if word.split("=")[0] == option:
            del words[position]
            return word.split("=")[1]
    raise AttributeError(option)


if __name__ == "__main__":
    words = list(sys.argv)
    th.set_num_threads(1)
    config = layer("", "default")
    environment, algorithm = take(words, "--env-config"), take(words, "--config")
    for name, folder in ((environment, "envs"), (algorithm, "algs")):
        for key, value in layer(folder, name).items():
            config[key] = {**config[key], **value} if isinstance(value, dict) else value
    ex.add_config(config)
    key = next((word.split("=")[1] for word in words if word.startswith("env_args.key")), config["env_args"]["key"])
    results = os.path.join(os.path.dirname(HERE), "results", "sacred", config["name"], str(key))
    ex.observers.append(FileStorageObserver.create(results))
    ex.run_commandline(words)
