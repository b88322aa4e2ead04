from __future__ import annotations

from types import SimpleNamespace

from envs.process_env import ProcessVectorEnv
from envs.vector_env import VectorEnv
from runners.vector_runner import VectorRunner


class ParallelRunner(VectorRunner):
    """One process per environment, `batch_size_run` of them stepped together (stock's `parallel` runner).

    It plays the same episodes as `vector`, except in training on `simple_spread`, `simple_tag` and `simple_world`,
    which the vectorised environment starts elsewhere. It is the faster one where a step of the simulator takes a
    millisecond or more. The evaluation's environments are as many processes again, started by the first evaluation.
    """

    @staticmethod
    def make_env(args: SimpleNamespace) -> VectorEnv:
        return ProcessVectorEnv(
            args.batch_size_run,
            args.env,
            args.env_args,
            common_reward=args.common_reward,
            reward_scalarisation=args.reward_scalarisation,
        )
