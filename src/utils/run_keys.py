"""Keys of every run, which config/default.yaml sets. Learners declare theirs in their own files (`KEYS`)."""

from utils.keys import (
    COUNT,
    COUNT_OR_NULL,
    INDEX,
    LIST_OR_NULL,
    POSITIVE,
    SHARE,
    TEXT_OR_NULL,
    WEIGHT,
    Key,
    Keys,
    Range,
    Where,
)

ONE_OR_TWO = Range(1, 2, whole=True)

# With which values of other keys a run reads what not every run does.
OFFLINE: Where = {"offline": (True,)}
ONLINE: Where = {"offline": (False,)}
COLLECTING: Where = {"collect": (True,)}
OF_DATA: Where = {"offline": (True,), "evaluate": (True,)}  # evaluations take reference returns from a dataset
EPSILON: Where = {"action_selector": ("epsilon_greedy",)}
TRACKED: Where = {"use_wandb": (True,)}
MIXED: Where = {"mixer": ("vdn", "qmix", "monotone", "free")}
MONOTONE: Where = {"mixer": ("monotone",)}

RUN_KEYS: Keys = {
    # -- what to run --
    "name": Key("how runs are filed", str),
    "seed": Key(
        "seed of all randomness", Range(0, 2**32 - 1, whole=True)
    ),  # the seeds that numpy's global stream accepts
    "seeds": Key("seeds of several runs that one process trains together (offline)", LIST_OR_NULL, where=OFFLINE),
    "offline": Key("learn from a dataset", bool),
    "collect": Key("write a dataset with the configured policy instead of training", bool),
    "evaluate": Key("play test_nepisode episodes with the policy of checkpoint_path instead of training", bool),
    "dataset": Key("dataset to learn from", TEXT_OR_NULL, where=OF_DATA),
    "window": Key("steps per training sample", COUNT_OR_NULL),
    "tuned": Key("algorithm whose values per dataset are used, from config/tuned/", str),
    "burn_in": Key("steps before each window that only warm up the recurrent state", INDEX, where=OFFLINE),
    "memory_map": Key("read the dataset through a memory-mapped cache (offline)", bool, where=OF_DATA),
    "reward_scaling": Key(
        "scaling of the dataset's team rewards (offline)", ("none", "centre", "standardise"), where=OFFLINE
    ),
    "validation_share": Key(
        "share of the dataset's episodes held out for validation losses (offline)", Range(0, 0.9), where=OFFLINE
    ),
    "train_reward": Key("team reward that is learned from (offline)", ("mean", "sum", "agent0"), where=OFFLINE),
    "updates_per_run": Key("updates after each rollout of the runner (online)", COUNT, where=ONLINE),
    "buffer_size": Key("episodes in the replay buffer (online)", COUNT, where=ONLINE),
    "save_replay_buffer": Key("keep the replay buffer in checkpoints (online)", bool, where=ONLINE),
    "replay_to": Key("dataset to which every training episode is written (online)", TEXT_OR_NULL, where=ONLINE),
    "collect_to": Key("dataset that collect=True writes", TEXT_OR_NULL, where=COLLECTING),
    "collect_episodes": Key("episodes that collect=True writes", COUNT, where=COLLECTING),
    "collect_quality": Key(
        "quality of the behaviour, for the dataset card that collect=True or replay_to writes",
        TEXT_OR_NULL,
        where={**COLLECTING, **ONLINE},
    ),
    # -- pieces, by their names in the registries --
    "runner": Key("who plays episodes", str),
    "mac": Key("how agents share networks", str),
    "env": Key("environment", TEXT_OR_NULL),
    "env_args": Key("keyword arguments of the environment", dict),
    "learner": Key("learning algorithm", TEXT_OR_NULL),
    "common_reward": Key("one team reward", bool),
    "reward_scalarisation": Key("team reward that an environment pays", ("sum", "mean")),
    # -- length and intervals --
    "t_max": Key("training length", COUNT),
    "batch_size": Key("windows per training batch", COUNT),
    "batch_size_run": Key("episodes that the runner plays at once", COUNT),
    "test_nepisode": Key("episodes per evaluation", COUNT),
    "test_interval": Key("evaluation interval", COUNT),
    "test_greedy": Key("evaluate stochastic policies by their likeliest action or their mean", bool),
    "evaluation_seed": Key("seed of the first evaluation episode", INDEX),
    "log_interval": Key("interval of the printed summary", COUNT),
    "runner_log_interval": Key(
        "interval of the runner's training statistics, in environment steps", COUNT, where=ONLINE
    ),
    "learner_log_interval": Key("interval of the learner's statistics", COUNT),
    # -- machine --
    "use_cuda": Key("use a GPU where there is one", bool),
    "buffer_cpu_only": Key("keep the dataset, or the replay buffer, in main memory", bool),
    "threads": Key("threads of the learner's updates on a CPU", Range(1, whole=True, word="auto")),
    "loss_chunk": Key("batch rows evaluated at a time", COUNT_OR_NULL),
    "compile": Key("compile the losses with torch.compile", bool),
    "matmul_precision": Key("precision of float32 matrix products", ("highest", "high", "medium")),
    # -- records --
    "use_tensorboard": Key("write TensorBoard events too", bool),
    "mongo": Key("MongoDB that records the run too, host:port:db_name", TEXT_OR_NULL),
    "use_wandb": Key("write to Weights & Biases too", bool),
    "wandb_mode": Key("where Weights & Biases writes", ("online", "offline"), where=TRACKED),
    "wandb_project": Key("project of Weights & Biases", str, where=TRACKED),
    "wandb_team": Key("team of Weights & Biases", TEXT_OR_NULL, where=TRACKED),
    "save_model": Key("write checkpoints", bool),
    "save_model_interval": Key("checkpoint interval", COUNT, where={"save_model": (True,)}),
    "checkpoint_path": Key("directory of the run to continue or to evaluate", str),
    "load_step": Key("step of its checkpoint to load", INDEX),
    "load_weights": Key("directory of the run whose weights a new run starts from", str),
    "render": Key("draw the first episode of an evaluation to a GIF", bool),
    "local_results_path": Key("folder of all records, relative to the checkout", str),
    # -- learning --
    "gamma": Key("discount", SHARE),
    "lr": Key("learning rate of losses that have no key of their own", POSITIVE),
    "grad_norm_clip": Key("largest gradient norm", POSITIVE),
    "add_value_last_step": Key("bootstrap n-step returns at an episode's end (stock EPyMARL's actor-critics)", bool),
    # -- agents --
    "agent": Key("network of the agents", str),
    "hidden_dim": Key("width of hidden layers", COUNT),
    "obs_agent_id": Key("append the agent's one-hot index to its observation", bool),
    "obs_last_action": Key("append the agent's last action to its observation", bool),
    "use_rnn": Key("make agents rnn and rnn_ns recurrent", bool, where={"agent": ("rnn", "rnn_ns")}),
    "final_init": Key(
        "bound of the uniform distribution from which the last layer of agents mlp and mlp_ns starts",
        Range(0, 1000, above=True, null=True),  # torch draws from no interval that is longer than a number can be
        where={"agent": ("mlp", "mlp_ns")},
    ),
    "agent_output_type": Key(
        "meaning of the agents' outputs",
        ("q", "pi_logits", "mean", "gaussian", "tanh_gaussian", "auto", "stochastic"),
    ),
    "mask_before_softmax": Key(
        "give unavailable actions probability 0 (pi_logits)",
        bool,
        where={"agent_output_type": ("pi_logits", "auto", "stochastic")},
    ),
    "action_selector": Key("how actions are chosen", str),
    "epsilon_start": Key("share of random actions at the start (epsilon_greedy)", SHARE, where=EPSILON),
    "epsilon_finish": Key(
        "share of random actions after epsilon_anneal_time steps (epsilon_greedy)", SHARE, where=EPSILON
    ),
    "epsilon_anneal_time": Key(
        "environment steps from epsilon_start to epsilon_finish (epsilon_greedy)", INDEX, where=EPSILON
    ),
    "evaluation_epsilon": Key("share of random actions in evaluations (epsilon_greedy)", SHARE, where=EPSILON),
    "exploration_noise": Key(
        "standard deviation of the exploration noise, in half action ranges (gaussian)",
        WEIGHT,
        where={"action_selector": ("gaussian", "explore")},
    ),
    "input_norm": Key("standardisation of inputs", ("none", "dataset"), where=OFFLINE),
    # -- mixers of the agents' values --
    "mixing_embed_dim": Key(
        "width of the mixing network", COUNT, where={"mixer": ("qmix", "free"), "mixer_layers": (2,)}
    ),
    "hypernet_layers": Key(
        "layers of the networks that make weights and biases from the state",
        ONE_OR_TWO,
        where={"mixer": ("qmix", "monotone", "free")},
    ),
    "hypernet_embed": Key("width of those networks where they have two layers", COUNT, where={"hypernet_layers": (2,)}),
    "mixer_layers": Key("layers of the mixing network", ONE_OR_TWO, where=MONOTONE),
    "mixer_nonneg": Key("function that makes weights non-negative", str, where=MONOTONE),
    # The mixer says why other activations do not serve, and why alphas above 1 do not.
    "mixer_activation": Key("activation between two layers", str, where={"mixer_layers": (2,)}),
    "mixer_elu_alpha": Key("alpha of elu", WEIGHT, where={"mixer_activation": ("elu",)}),
    "svn": Key(
        "divide TD errors of mixed values by the batch's mean absolute deviation of these values",
        bool,
        where=MIXED,
    ),
    # -- bookkeeping of sweeps --
    "repeat_id": Key("number of a repetition", INDEX),
    "label": Key("free text", str),
    "hypergroup": Key("group of a hyperparameter search", TEXT_OR_NULL),
}

# Keys of every run that only learners read, which then declare them.
READ_BY_LEARNERS = frozenset({"lr", "add_value_last_step", "loss_chunk", "compile", "learner_log_interval",
                              "grad_norm_clip", "input_norm", "svn"})  # fmt: skip
# Keys of every run that only training reads, and those that evaluations read too. A collection reads none of them.
OF_TRAINING = frozenset({
    "window", "burn_in", "reward_scaling", "validation_share", "train_reward", "updates_per_run", "buffer_size",
    "save_replay_buffer", "replay_to", "t_max", "batch_size", "test_interval", "log_interval", "learner_log_interval",
    "buffer_cpu_only", "loss_chunk", "compile", "save_model", "save_model_interval", "gamma", "lr", "grad_norm_clip",
    "add_value_last_step", "mixing_embed_dim", "hypernet_layers", "hypernet_embed", "mixer_layers", "mixer_nonneg",
    "mixer_activation", "mixer_elu_alpha", "svn",
})  # fmt: skip
OF_EVALUATIONS = frozenset({"memory_map", "test_nepisode", "test_greedy", "evaluation_seed", "evaluation_epsilon"})
# What only playing reads: a run without an environment leaves it alone.
OF_PLAY = frozenset({"test_nepisode", "runner", "batch_size_run"})
# The kind of actions that `agent_output_type` is for, where it says so.
ACTIONS = {
    **dict.fromkeys(("q", "pi_logits"), "discrete"),
    **dict.fromkeys(("mean", "gaussian", "tanh_gaussian"), "continuous"),
}
