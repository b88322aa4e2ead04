from __future__ import annotations

from envs.process_env import ProcessVectorEnv
from envs.vector_env import VectorEnv
from runners.vector_runner import VectorRunner


class ParallelRunner(VectorRunner):
    """One process an environment, `batch_size_run` of them stepped together (stock's `parallel` runner).

    It plays the same episodes as `vector`; it is the faster one where a step of the simulator takes a millisecond or
    more. The evaluation's environments are as many processes again, started by the first evaluation.
    """

    def _make_env(self) -> VectorEnv:
        return ProcessVectorEnv(
            self.batch_size,
            self.args.env,
            self.args.env_args,
            common_reward=self.args.common_reward,
            reward_scalarisation=self.args.reward_scalarisation,
        )
