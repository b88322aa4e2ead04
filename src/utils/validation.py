"""What values a key may have, checked before a run exists."""

from __future__ import annotations

import re
from typing import Any

from utils.errors import ConfigError
from utils.keys import COUNT, COUNT_OR_NULL, INDEX, POSITIVE, SHARE, WEIGHT, Range

COUNTS = ("t_max", "test_interval", "test_nepisode", "batch_size", "batch_size_run", "log_interval",
          "runner_log_interval", "learner_log_interval", "save_model_interval", "hidden_dim", "ensemble_size",
          "actor_update_interval", "target_update_interval", "n_penalty_samples", "collect_episodes",
          "buffer_size", "updates_per_run", "mixing_embed_dim", "hypernet_embed")  # fmt: skip
RANGES: dict[str, Range] = {
    **dict.fromkeys(COUNTS, COUNT),
    **dict.fromkeys(("window", "loss_chunk"), COUNT_OR_NULL),
    **dict.fromkeys(("load_step", "evaluation_seed", "epsilon_anneal_time", "burn_in"), INDEX),
    "seed": Range(0, 2**32 - 1, whole=True),  # numpy's global stream takes no others
    **dict.fromkeys(("gamma", "epsilon_start", "epsilon_finish", "evaluation_epsilon"), SHARE),
    "tau": Range(0, 1, above=True),
    "alpha": POSITIVE,
    "target_update_interval_or_tau": POSITIVE,
    **dict.fromkeys(("hypernet_layers", "mixer_layers"), Range(1, 2, whole=True)),
    **dict.fromkeys(
        ("lr", "q_lr", "actor_lr", "critic_lr", "value_lr", "density_lr", "grad_norm_clip", "reward_scale"), POSITIVE
    ),
    "final_init": Range(0, above=True, null=True),
    **dict.fromkeys(
        (
            "alpha_cql",
            "penalty_temperature",
            "target_noise",
            "action_l2",
            "pre_tanh_l2",
            "exploration_noise",
            "target_noise_clip",
            "mixer_elu_alpha",  # the mixer refuses those above 1, with its reason
        ),
        WEIGHT,
    ),
}

CHOICES: dict[str, tuple[str, ...]] = {
    "reward_scalarisation": ("sum", "mean"),
    "train_reward": ("mean", "sum", "agent0"),
    "reward_scaling": ("none", "centre", "standardise"),
    "input_norm": ("none", "dataset"),
    "critic_dtype": ("float32", "bfloat16"),
    "matmul_precision": ("highest", "high", "medium"),
    "mixer_nonneg": ("abs", "softplus", "square"),
    "agent_output_type": ("q", "pi_logits", "mean", "gaussian", "tanh_gaussian", "auto", "stochastic"),
}


# Whether a text may be null.
TEXTS = {"local_results_path": False, "checkpoint_path": False, "runner": False, "mac": False, "agent": False,
         "action_selector": False, "mongo": True, "collect_to": True, "replay_to": True, "collect_quality": True,
         "dataset": True, "env": True, "learner": True, "tuned": False, "mixer_activation": False}  # fmt: skip


def check_values(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration with whole numbers as integers (1e4 is 10000).

    Raises ConfigError for a value out of its key's range, and for modes that exclude each other.
    """
    checked = dict(config)
    for key, allowed in RANGES.items():
        if key not in config:
            continue
        value = config[key]
        if value not in allowed:
            raise ConfigError(f"{key}={value}: this must be {allowed}")
        if allowed.whole and value is not None:
            checked[key] = int(value)
    for key, choices in CHOICES.items():
        if key in config and config[key] not in choices:
            raise ConfigError(f"{key}={config[key]}: choose one of {', '.join(choices)}")
    for key, null in TEXTS.items():
        if not (isinstance(config[key], str) or (null and config[key] is None)):
            raise ConfigError(f"{key}={config[key]}: this must be text{', or None' if null else ''}")
    if not isinstance(config["env_args"], dict):
        raise ConfigError(f"env_args={config['env_args']}: set its entries, such as env_args.key=simple_spread")
    if re.fullmatch(r"\w[\w.+-]*", str(config["name"])) is None:
        raise ConfigError(f"name={config['name']}: runs are filed under it; use letters, digits, - and _")
    if config["evaluate"] and config["collect"]:
        raise ConfigError("evaluate=True and collect=True exclude each other; choose one")
    if config["render"] and not config["evaluate"]:
        raise ConfigError("render=True draws an episode of an evaluation; add evaluate=True and checkpoint_path=...")
    return checked
