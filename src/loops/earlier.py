"""What a command takes over from the run whose checkpoint it names: the configuration, so that nothing is repeated."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from components.scheme import is_continuous
from datasets.agreement import environment_mismatch
from datasets.names import dataset_path
from learners import REGISTRY as learner_REGISTRY
from loops.described import POLICY_KEYS
from loops.resolve import resolved_outputs
from utils.checkpoint import find_checkpoint
from utils.config import CONFIG, Config, algorithm, choose, environment
from utils.description import ADVICE, find_description, read_description
from utils.errors import CheckpointError, ConfigError, UserError, shown
from utils.old_names import OldNames
from utils.redact import HIDDEN
from utils.run_keys import RUN_KEYS
from utils.settings_files import read_yaml
from utils.validation import check_values, keys_of

# What one command asks for; the next one says it anew.
ONE_OFF = ("evaluate", "collect", "render", "checkpoint_path", "load_step", "load_weights", "collect_to",
           "collect_episodes", "collect_quality", "replay_to")  # fmt: skip
# The algorithm and its networks, the policies' and those that only training has: a checkpoint is of no other ones.
POLICIES = ("learner", "mac", "agent", "hidden_dim", "use_rnn", "obs_agent_id", "obs_last_action", "agent_output_type",
            "mask_before_softmax", "input_norm")  # fmt: skip
NETWORKS = (*POLICIES, "mixer", "mixing_embed_dim", "hypernet_layers", "hypernet_embed", "mixer_layers", "mixer_nonneg",
            "mixer_activation", "mixer_elu_alpha", "ensemble_size", "value_memory")  # fmt: skip
# What playing a policy may change, by what it is about. `seed` is then of the episodes, and `dataset` names the returns
# to compare with. All other keys of the run say how it was trained.
FREE_TO_PLAY = {
    "machine": ("use_cuda", "buffer_cpu_only", "memory_map", "threads", "loss_chunk", "compile",
                "matmul_precision"),
    "records": ("use_tensorboard", "use_wandb", "wandb_mode", "wandb_project", "wandb_team", "mongo", "save_model",
                "save_model_interval", "local_results_path", "label", "repeat_id", "hypergroup", "log_interval",
                "runner_log_interval", "learner_log_interval"),
    "evaluation": ("seed", "dataset", "runner", "batch_size_run", "test_nepisode", "test_greedy", "evaluation_seed",
                   "evaluation_epsilon", "action_selector", "epsilon_start", "epsilon_finish", "epsilon_anneal_time",
                   "exploration_noise"),
    "environment": ("env", "env_args", "common_reward", "reward_scalarisation"),
}  # fmt: skip
_FREE = {*ONE_OFF, *(key for keys in FREE_TO_PLAY.values() for key in keys)}


@dataclass(frozen=True)
class EarlierRun:
    """The run that wrote a checkpoint. directory: the step directory. path: its description, which `content` holds."""

    directory: Path
    path: Path
    content: dict[str, Any]

    @property
    def config(self) -> Config:
        """Its configuration as resolved."""
        found: Config = self.content["config"]
        return found

    @property
    def as_given(self) -> Config:
        """The same with what the run replaced, such as `auto`, as it was given, which older `run.json` lack."""
        return {**self.config, **self.content.get("given", {})}


def earlier_run(updates: Mapping[str, Any], alg: str | None) -> EarlierRun | None:
    """The run whose checkpoint the overrides name; None without a checkpoint, and where it has no description.

    alg: the name that --config gives. Raises CheckpointError where there is no such checkpoint, where its description
    is damaged, and where neither a description nor --config says what the run was.
    """
    where = updates.get("checkpoint_path")
    if not where or not isinstance(where, str):
        return None
    step = RUN_KEYS["load_step"].check("load_step", updates.get("load_step", 0))
    directory = find_checkpoint(where, step)
    path = find_description(directory)
    if path is not None:
        return EarlierRun(directory, path, read_description(path))
    if alg is None:
        raise CheckpointError(
            f"{directory} has no run.json that describes its run (release 0.1.0 and stock EPyMARL write none); give "
            "--config, --env-config and the overrides that it was trained with"
        )
    return None


def described_layers(
    earlier: EarlierRun, alg: str | None, env: str | None, updates: Config, names_of: Callable[[Any], OldNames]
) -> Config:
    """The configuration below `with`: that of the earlier run, without what only its command asked for.

    alg, env: what --config and --env-config give, None where they are not. An environment of another kind replaces the
    run's with all keys of its file except the dataset. names_of: as in `layered_config`.
    Raises ConfigError for an unknown --config or --env-config, CheckpointError for another algorithm and for a
    description whose configuration cannot be one.
    """
    if alg is not None:
        _check_algorithm(earlier, str(algorithm(alg).get("name", alg)), f"--config={alg}")
    plays = updates.get("evaluate") or updates.get("collect")
    config = recorded_config(earlier, earlier.config if plays else earlier.as_given, names_of)
    if updates.get("collect"):
        config.pop("seed", None)  # the training run's episodes would be played again
    if config["env_args"].get("replay_path") is not None:  # the file is there already
        config["env_args"] = config["env_args"] | {"replay_path": None}
    if env is not None and (other := environment(env)).get("env") != config["env"]:
        config |= {key: value for key, value in other.items() if key != "dataset"}
    for key in _hidden(config):
        if key not in set(_dotted(updates)):
            raise ConfigError(f"{earlier.path} keeps no credentials: give {key}=... again, after `with`")
    if "dataset" not in updates:
        config["dataset"] = _dataset(earlier, config["dataset"])
    return config


def recorded_config(earlier: EarlierRun, own: Config, names_of: Callable[[Any], OldNames]) -> Config:
    """A whole configuration of today from the run's `own`, as resolved or as given, without `ONE_OFF`.

    names_of: as in `layered_config`. Raises CheckpointError where it cannot be one.
    """
    default = read_yaml(CONFIG / "default.yaml")
    try:
        learner = own.get("learner")
        learner_class = choose(learner_REGISTRY, "learner", str(learner))
        names = names_of(learner)
        described = {key: value for key, value in names.stored(own).items() if key not in ONE_OFF}
        return names.completed(check_values({**default, **described}, keys_of(learner_class)))
    except UserError as error:
        raise CheckpointError(f"{earlier.path}: {error}; {ADVICE}") from error


def weights_before(earlier: EarlierRun | None, updates: Config) -> str:
    """The `load_weights` of the run that is continued: they are part of what it is, and are not loaded again.

    updates: the overrides. Raises ConfigError where they name weights to start from.
    """
    if updates.get("load_weights"):
        raise ConfigError(
            "load_weights starts a new run, checkpoint_path continues or plays an earlier one: give one of the two"
        )
    return "" if earlier is None else str(earlier.config.get("load_weights") or "")


def check_same(earlier: EarlierRun, final: Config, updates: Config, flags: bool, warn: Callable[[str], None]) -> None:
    """Check a whole configuration against the run whose checkpoint it continues or plays.

    updates: the overrides, which are in `final` already. flags: whether the layers below them came from --config and
    --env-config. warn: called with a sentence where a policy is played in another environment than the run's.
    Raises CheckpointError for the first key that would make it another algorithm or other networks, and, where a policy
    is played, for an override that says how the run was trained; ConfigError where its dataset is gone.
    """
    plays = bool(final["evaluate"] or final["collect"])
    _check_algorithm(earlier, final["name"], f"name={shown(final['name'])}")
    here, there = with_outputs(earlier, final), with_outputs(earlier, earlier.config)
    if flags:
        compared: Iterable[str] = POLICIES if plays else NETWORKS
        if getattr(learner_REGISTRY.get(final["learner"]), "FIXED_POLICY", False):
            compared = [key for key in compared if key not in POLICY_KEYS]  # they are those of the policy it values
    else:
        compared = [key for key in updates if (key not in _FREE if plays else key in NETWORKS)]
    for key in compared:
        if key in here and key in there and here[key] != there[key]:
            remedy = "leave out --config and --env-config, for its run.json says all" if flags else f"leave out {key}"
            raise CheckpointError(
                f"{key}={shown(here[key])}: the run of {earlier.directory} was trained with {shown(there[key])}; "
                f"{remedy}"
            )
    if not plays and final["offline"]:
        _check_dataset(earlier, final, "dataset" in updates)
    env, env_args = there.get("env"), there.get("env_args")
    if plays and env is not None and isinstance(env_args, dict):
        card = {"environment": {"env": env, "env_args": env_args}}
        different = environment_mismatch(SimpleNamespace(**final), card)
        if different:
            warn(f"The policy of {earlier.directory} is played in another environment than its run's: {different}")


def _check_algorithm(earlier: EarlierRun, name: str, said: str) -> None:
    """Raise CheckpointError where a command would file the run under another algorithm's name."""
    own = earlier.content["algorithm"]
    if name != own:
        raise CheckpointError(
            f"{said}: the run of {earlier.directory} is of {shown(own)} and is not filed as another algorithm's; leave "
            "out --config and name, for its run.json names them"
        )


def with_outputs(earlier: EarlierRun, config: Config) -> Config:
    """A configuration with what `auto` stands for."""
    chosen = {key: str(config.get(key)) for key in ("agent_output_type", "action_selector")}
    return {**config, **resolved_outputs(**chosen, continuous=is_continuous(earlier.content["env_info"]))}


def _dataset(earlier: EarlierRun, name: Any) -> Any:
    """The run's dataset as it was named, or its whole path where the name leads nowhere from here."""
    described = earlier.content["dataset"] or {}
    path = described.get("path")
    if isinstance(name, str) and isinstance(path, str) and not dataset_path(name).exists() and Path(path).is_file():
        return path
    return name


def _check_dataset(earlier: EarlierRun, final: Config, given: bool) -> None:
    name = final["dataset"]
    if given or name is None or dataset_path(name).exists():
        return
    raise ConfigError(
        f"the dataset {shown(name)} of {earlier.path} is not at {dataset_path(name)} any more; say where it is, with "
        "dataset=..."
    )


def _hidden(config: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Dotted keys of values from which credentials were taken out."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _hidden(value, f"{prefix}{key}.")
        elif HIDDEN in str(value):
            yield f"{prefix}{key}"


def _dotted(updates: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in updates.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _dotted(value, f"{prefix}{key}.")
