"""Training in an environment, as stock EPyMARL does it: the runner plays, the replay buffer feeds the learner."""

from __future__ import annotations

from typing import Any

from sacred.run import Run

from components.episode_buffer import EpisodeBatch
from loops.build import Parts
from loops.continuation import episodes_of
from loops.recording import Recording
from loops.simulators import StableEpisodes
from loops.training import Training
from utils.logging import Logger


def run(parts: Parts, logger: Logger, sacred_run: Run) -> dict[str, float]:
    """Train for `t_max` environment steps; returns final, best and mean-of-last-ten figures."""
    return OnlineTraining(parts, logger).run(sacred_run)


class OnlineTraining(Training):
    """One online run. `t` counts environment steps, all parallel environments' together."""

    unit, clock, clock_name = "step", "environment steps", "t_env"

    def __init__(self, parts: Parts, logger: Logger) -> None:
        super().__init__(parts, logger)
        self.recording = Recording(parts.args) if parts.args.replay_to else None
        self.stable = StableEpisodes(parts.runner, self.log)
        self.episodes, self.trained, self.begins = 0, False, 0

    def _advance(self) -> None:
        self._check_finite()  # the rollout that follows would play a diverged policy, and fail or learn from it
        super()._advance()

    def advance(self) -> None:
        """One rollout, then `updates_per_run` updates from the replay buffer."""
        batch = self.runner.run(test_mode=False)
        if self.recording is not None:
            recorded = self.stable.of(batch)
            if recorded is not None:
                self.recording.add(recorded)
            batch = batch[tuple(self.buffer.scheme)]
        self.buffer.insert_episode_batch(batch)
        self.t = self.runner.t_env
        if self._can_sample():
            self.trained = True
            for _ in range(self.args.updates_per_run):
                self.learner.train(self._sample(), self.t, self.episodes)
        self.episodes += batch.batch_size  # stock counts a rollout after it is learned from

    def _can_sample(self) -> bool:
        if self.args.window is None:
            return bool(self.buffer.can_sample(self.args.batch_size))
        return bool(self.buffer.n_transitions >= self.args.batch_size)

    def _sample(self) -> EpisodeBatch:
        if self.args.window is None:
            batch = self.buffer.sample(self.args.batch_size)
            batch = batch[:, : int(batch.max_t_filled())]
        else:
            batch = self.buffer.sample_windows(self.args.batch_size, self.args.window)
        return self.to_device(batch)

    def _log_clock(self) -> None:
        self.logger.log_stat("episode", self.episodes, self.t)

    def finish(self) -> None:
        if not self.trained:
            since = f" since step {self.begins}" if self.begins else ""  # before it, another run may have learned
            rows = "episodes" if self.args.window is None else "steps"
            self.log.warning(
                f"Nothing was learned{since}: t_max={self.args.t_max} steps never filled a batch of "
                f"{self.args.batch_size} {rows}; raise t_max or lower batch_size"
            )
        if self.recording is not None:
            self.recording.write(self.runner, self.log)

    def buffer_state(self) -> dict[str, Any]:
        """Episode count, and the replay buffer where `save_replay_buffer` asks for it."""
        kept = self.buffer.state_dict() if self.args.save_replay_buffer else None
        return {"episodes": self.episodes, "replay": kept}

    def load_buffer_state(self, state: dict[str, Any]) -> None:
        self.episodes = episodes_of(state)
        if state["replay"] is not None:
            self.buffer.load_state_dict(state["replay"])
        elif self.args.buffer_size > self.args.batch_size_run:  # else the next rollout would replace all of it
            self.log.warning("The checkpoint holds no replay buffer (save_replay_buffer=False): it starts empty")

    def resume(self) -> None:
        super().resume()
        self.runner.t_env = self.begins = self.t

    def title(self) -> str:
        return f"{self.args.name} in {self.args.env_args.get('key', self.args.env)}"
