"""Offline training inside a stock EPyMARL checkout: a dataset in the place of the environment's training episodes.

Stock's loop asks a runner for episodes, inserts them into its replay buffer and trains on a sample of it. This runner
answers with a batch of random episodes of a dataset, and lets a stock runner play the evaluations. It is registered in
plugged checkouts only: in this repository `offline: True` trains from a dataset without it.
"""

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch as th

from components.episode_buffer import EpisodeBatch
from components.offline_buffer import OfflineBuffer
from runners import REGISTRY as runner_REGISTRY
from utils.errors import ConfigError, DatasetError

# For algorithm files of stock's own learners, which lack the keys of stock/stock.yaml.
DEFAULTS = {"name": "this", "dataset": None, "memory_map": False, "reward_scaling": "none", "train_reward": "mean",
            "input_norm": "none", "evaluation_runner": "episode"}  # fmt: skip
WHOLE_EPISODES = {"window": None, "burn_in": 0}


class OfflineRunner:
    """Stock's runner interface over a dataset and an inner runner; `t_env` counts batches, and so updates.

    run(test_mode=False): `batch_size` episodes, drawn with replacement, in stock's layout of episode_limit + 1 rows.
    run(test_mode=True): the episodes that the inner runner, `evaluation_runner`, plays. The rest of the interface is
    the inner runner's. Raises ConfigError or DatasetError where dataset, environment and configuration do not fit
    together.
    """

    def __init__(self, args: SimpleNamespace, logger: Any) -> None:
        self.args, self.logger = args, logger
        self.settings = SimpleNamespace(**{**DEFAULTS, **vars(args), **WHOLE_EPISODES})
        check_keys(self.settings)
        check_checkpoint(args.checkpoint_path)
        self.inner: Any = runner_REGISTRY[self.settings.evaluation_runner](args=args, logger=logger)
        self.batch_size: int = self.inner.batch_size  # stock divides test_nepisode by it
        self.t = self.t_env = 0
        self.log_train_stats_t = -1000000
        self.buffer: OfflineBuffer | None = None
        self.dataset: Any = None if only_plays(args) else self.load_dataset()

    def __getattr__(self, name: str) -> Any:
        """The inner runner's attribute, such as `env`, `episode_limit` or `test_returns`."""
        if name == "inner":  # asked for before it exists: its constructor failed
            raise AttributeError(name)
        return getattr(self.inner, name)

    def get_env_info(self) -> dict[str, Any]:
        info: dict[str, Any] = self.inner.get_env_info()
        return info

    def save_replay(self) -> None:
        self.inner.save_replay()

    def close_env(self) -> None:
        self.inner.close_env()

    def load_dataset(self) -> Any:
        """Read the dataset. Raises DatasetError where its agents, observations, actions or episodes do not fit."""
        try:  # not at the top: the other runners must work without h5py
            from datasets.loading import check_dimensions, load_dataset, stated_differences
        except ModuleNotFoundError as error:
            raise ConfigError(f"runner=offline reads datasets with {error.name}: pip install {error.name}") from error
        logging.getLogger("h5py").setLevel(logging.WARNING)  # stock's root logger shows debug output
        info = {"action_space": "discrete", **self.inner.get_env_info()}
        dataset = load_dataset(self.settings)
        remedy = "choose the env_args that the dataset's card names"
        check_dimensions(self.settings, dataset, info, remedy)
        if dataset.max_length > info["episode_limit"]:
            raise DatasetError(
                f"dataset {self.settings.dataset} has episodes of {dataset.max_length} steps, the environment ends "
                f"them after {info['episode_limit']}; {remedy}"
            )
        # Arguments that stock's environment does not have count as equal.
        named = {**dataset.card["environment"]["env_args"], **self.args.env_args}
        settings = SimpleNamespace(**{**vars(self.settings), "env_args": named})
        different = "; ".join(stated_differences(settings, dataset.card))
        if different:  # a warning only: the same game may have another name in stock, and the dimensions fit
            self.logger.console_logger.warning(f"Dataset and evaluation differ: {different}")
        return dataset

    def setup(self, scheme: dict[str, Any], groups: dict[str, int], preprocess: dict[str, Any], mac: Any) -> None:
        """Prepare the batches; stock calls this after it built the controller and before it builds the learner."""
        self.scheme, self.groups, self.preprocess = scheme, groups, preprocess
        self.inner.setup(scheme=scheme, groups=groups, preprocess=preprocess, mac=mac)
        if self.dataset is None:
            return
        from datasets.loading import build_buffer  # see load_dataset

        log = self.logger.console_logger
        leave_statistics(scheme, self.dataset)
        self.buffer = build_buffer(self.settings, self.dataset, scheme, groups, preprocess, log)
        if self.settings.input_norm == "dataset":
            if not hasattr(mac.agent, "normaliser"):
                raise ConfigError(f"agent={self.args.agent} does not standardise its inputs; set input_norm=none")
            mac.agent.normaliser.fill_field(scheme["obs"]["mean"], scheme["obs"]["std"])
        returns = self.dataset.card["returns"]
        log.info(
            f"Dataset {self.settings.dataset}: {self.dataset.n_transitions} transitions in {self.dataset.n_episodes} "
            f"episodes, return {returns['mean']:.2f}, standard deviation {returns['std']:.2f} (means over agents)"
        )

    @th.no_grad()
    def run(self, test_mode: bool = False) -> EpisodeBatch:
        """Return episodes of the dataset or, in test mode, those that the inner runner plays."""
        if not test_mode:
            self.t_env += 1
            return self.draw()
        self.inner.t_env = self.t_env
        # Only a training episode of the inner runner resets this clock. Left alone, stock would log in the middle of
        # an evaluation and count the remaining returns in the next one.
        self.inner.log_train_stats_t = self.t_env
        batch: EpisodeBatch = self.inner.run(test_mode=True)
        return batch

    def draw(self) -> EpisodeBatch:
        """Return `batch_size` episodes in stock's layout.

        Rows after an episode's end are zeros. `filled` is the offline buffer's. It leaves out the final row of an
        episode that was cut before the longest one of the batch ended: stock's mask would take it for a transition.
        """
        assert self.buffer is not None  # stock draws training batches only where there is a dataset
        drawn = self.buffer.sample(self.args.batch_size)
        batch = EpisodeBatch(
            self.scheme, self.groups, drawn.batch_size, self.inner.episode_limit + 1, preprocess=self.preprocess,
            device=drawn.device,
        )  # fmt: skip
        for key, rows in batch.data.transition_data.items():
            rows[:, : drawn.max_seq_length] = drawn[key]
        # Stock's scheme has no key for this: an all-zero one-hot row means that no next action was logged.
        known = drawn["next_action_valid"][:, :-1].unsqueeze(-1)  # (B, T-1, 1, 1)
        batch["actions_onehot"][:, 1 : drawn.max_seq_length] *= known
        return batch


def leave_statistics(scheme: dict[str, Any], dataset: Any) -> None:
    """Put the input statistics into the scheme, where `stock.learners.statistics_in` finds them.

    The scheme is all that stock hands to a learner. Its replay buffer shares the entries of this one.
    """
    for key, statistics in (("obs", dataset.obs_statistics()), ("state", dataset.state_statistics())):
        mean, std = map(th.from_numpy, statistics)  # (N, O) or (S,), each
        scheme[key] |= {"mean": mean, "std": std}


def only_plays(args: SimpleNamespace) -> bool:
    """Whether stock's `run.py` only evaluates a checkpoint, which takes no dataset."""
    return bool(args.checkpoint_path != "" and (args.evaluate or args.save_replay))


def check_keys(settings: SimpleNamespace) -> None:
    """Raise ConfigError, one sentence, for values that stock's loop would accept without a word."""
    others = sorted(set(runner_REGISTRY) - {"offline"})
    if settings.evaluation_runner not in others:
        raise ConfigError(
            f"evaluation_runner={settings.evaluation_runner}: evaluations are played by one of {', '.join(others)}"
        )
    if settings.evaluation_runner == "episode" and settings.batch_size_run != 1:
        raise ConfigError(
            f"batch_size_run={settings.batch_size_run}: evaluation_runner=episode plays one episode at a time; set "
            "batch_size_run=1, or evaluation_runner=parallel"
        )
    if settings.buffer_size != settings.batch_size:
        raise ConfigError(
            f"buffer_size={settings.buffer_size} and batch_size={settings.batch_size}: runner=offline draws a batch of "
            f"episodes for every update, which the replay buffer only passes on; set buffer_size={settings.batch_size}"
        )


def check_checkpoint(path: str) -> None:
    """Raise ConfigError where there is no checkpoint, for which stock's loop ends without a word or in `max([])`."""
    if path == "":
        return
    folder = Path(path)
    if not folder.is_dir():
        raise ConfigError(
            f"checkpoint_path={path} is no folder (looked for in {Path.cwd()}): name one under results/models/"
        )
    if not any(step.is_dir() and step.name.isdigit() for step in folder.iterdir()):
        raise ConfigError(
            f"checkpoint_path={path} holds no folder named by a step: name the run's own folder, and choose the step "
            "with load_step"
        )
