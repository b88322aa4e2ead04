"""What every runner shares: its environments, and the record of what its episodes came to."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np

from components.episode_buffer import EpisodeBatch
from controllers.basic_controller import BasicMAC
from datasets.endings import doubtful_ends
from envs.finite import check_finite
from runners.episodes import Episodes, EpisodeStore
from utils import signals
from utils.errors import EnvError
from utils.logging import Logger

WATCHED = 10  # training episodes whose ends are looked at


def environment_name(args: SimpleNamespace) -> str:
    """A run's environment for messages: its kind, and its key where it has one."""
    key = args.env_args.get("key", args.env_args.get("map_name"))
    return str(args.env) if key is None else f"{args.env} ({key})"


def team_reward_alone(args: SimpleNamespace) -> EnvError:
    """The error where agents need rewards of their own and the environment pays one number for the team."""
    return EnvError(f"{environment_name(args)} pays one reward for the team: set common_reward=True")


class BaseRunner:
    """Plays episodes with a controller and returns them as an `EpisodeBatch`.

    env: the environment to train in, as `make_env` gives it; None to make one here.

    Test episode number i of an evaluation starts from seed `evaluation_seed` + i, in an environment of its own: every
    evaluation plays the same episodes, and neither training nor evaluation disturbs the other's random stream.
    Training statistics are logged here, an evaluation's result is returned by `evaluate`.

    explores_as_at: the step whose exploration every episode is played with; None: that of `t_env`, which grows.
    """

    def __init__(self, args: SimpleNamespace, logger: Logger, env: Any = None) -> None:
        self.args = args
        self.logger = logger
        self.batch_size = args.batch_size_run
        self.evaluation_seed = getattr(args, "evaluation_seed", 0)
        self.team_reward = False  # whether the environment pays one number for the team; known from a step on
        self.unstable: list[bool] = []  # of the newest rollout's episodes, whether the simulation gave up
        self.t = 0
        self.t_env = 0
        self.explores_as_at: int | None = None
        self.train_episodes, self.test_episodes = EpisodeStore(), EpisodeStore()
        self.log_train_stats_t = -1000000  # log the first run
        # Collected episodes are looked at when they are written.
        self._ends: list[tuple[int, bool]] | None = None if getattr(args, "collect", False) else []
        self.environment = environment_name(args)
        self.env = self.make_env(args) if env is None else env
        self._test_env: Any = None
        self.episode_limit: int = self.env.episode_limit

    @staticmethod
    def make_env(args: SimpleNamespace) -> Any:
        """An environment of the kind that the runner steps."""
        raise NotImplementedError

    def setup(self, scheme: dict[str, Any], groups: dict[str, int], preprocess: dict[str, Any], mac: BasicMAC) -> None:
        """Give the runner its controller and the scheme of the batches it returns."""
        self.new_batch = partial(
            EpisodeBatch, scheme, groups, max_seq_length=self.episode_limit + 1, preprocess=preprocess,
            device=self.args.device,
        )  # fmt: skip
        self.mac = mac

    def get_env_info(self) -> dict[str, Any]:
        """What the environment says of itself."""
        info: dict[str, Any] = self.env.get_env_info()
        return info

    def close_env(self) -> None:
        """Release the environments."""
        self._doubt_ends()
        self.env.close()
        if self._test_env is not None:
            self._test_env.close()

    def run(self, test_mode: bool = False) -> EpisodeBatch:
        """Play `batch_size` episodes; in test mode the next of an evaluation's."""
        raise NotImplementedError

    def evaluate(self) -> Episodes:
        """Play the `test_nepisode` episodes of one evaluation, from the first on."""
        self.test_episodes.clear()
        while len(self.test_episodes) < self.args.test_nepisode:
            signals.check("during an evaluation, which is not kept")
            self.run(test_mode=True)
        return self.test_episodes.take()

    def _exploration_step(self) -> int:
        """The step by which exploration is annealed."""
        return self.t_env if self.explores_as_at is None else self.explores_as_at

    def _next_test_episode(self) -> int:
        """The number of the evaluation's next episode; after its last one another evaluation begins."""
        if len(self.test_episodes) >= self.args.test_nepisode:
            self.test_episodes.clear()
        return len(self.test_episodes)

    def _test_environment(self) -> Any:
        """The environment of evaluations, made when it is first needed."""
        if self._test_env is None:
            self._test_env = self.make_env(self.args)
        return self._test_env

    def _check_limit(self) -> None:
        """Raise `EnvError` where an episode goes on after the last step that there is room for."""
        if self.t >= self.episode_limit:
            raise EnvError(
                f"{self.environment} goes on after {self.t} steps, its episode_limit: its step must return truncated "
                "there, and may say episode_limit in its info"
            )

    def _check_seen(self, obs: Any, state: Any, axes: tuple[str, ...]) -> None:
        """Raise `EnvError` for an observation or a state that is not finite. axes: those before agent and component."""
        check_finite("observation", obs, (*axes, "agent", "component"), self.environment, self.t)
        check_finite("state", state, (*axes, "component"), self.environment, self.t)

    def _check_reward(self, reward: Any, axes: tuple[str, ...]) -> None:
        """Raise `EnvError` for a reward of the step that is not finite."""
        check_finite("reward", reward, axes, self.environment, self.t + 1)

    def _note_team_reward(self, pays_team: bool) -> None:
        """Note whether the environment pays one number for the team. Raises `EnvError` where agents need their own."""
        self.team_reward = pays_team
        if pays_team and not self.args.common_reward and not getattr(self.args, "collect", False):
            raise team_reward_alone(self.args)

    def _watch_ends(self, lengths: list[int], terminals: list[bool]) -> None:
        """Note how training episodes end, until there are enough to judge by."""
        if self._ends is not None:
            self._ends.extend(zip(lengths, terminals, strict=True))
            if len(self._ends) >= WATCHED:
                self._doubt_ends()

    def _doubt_ends(self) -> None:
        """Warn, once, where a time limit seems to have been called a terminal state."""
        if self._ends:
            lengths, terminals = (np.array(column) for column in zip(*self._ends, strict=True))
            warning = doubtful_ends(lengths, terminals, {"env": self.args.env, "env_args": self.args.env_args})
            if warning is not None:
                self.logger.console_logger.warning(f"{self.environment}: {warning}")
        self._ends = None

    def _finish(
        self,
        returns: list[Any],
        lengths: list[int],
        infos: list[dict[str, float]],
        terminals: list[bool],
        test_mode: bool,
    ) -> None:
        """Record finished episodes; log those of training where it is time. terminals: those that end by one."""
        self.unstable = [info.get("unstable", 0.0) > 0 for info in infos]
        (self.test_episodes if test_mode else self.train_episodes).add(returns, lengths, infos)
        if test_mode:
            return
        self._watch_ends(lengths, terminals)
        self.t_env += sum(lengths)
        if self.t_env - self.log_train_stats_t >= self.args.runner_log_interval:
            self.train_episodes.take().log(self.logger, "", self.t_env)
            if hasattr(self.mac.action_selector, "epsilon"):
                self.logger.log_stat("epsilon", self.mac.action_selector.epsilon, self.t_env)
            self.log_train_stats_t = self.t_env
