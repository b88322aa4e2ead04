"""OMAR's Predator-Prey as an environment on mpe2; `envs.mpe.pursuit_env` is the scenario."""

from mpe2._mpe_utils.simple_env import SimpleEnv, make_env
from pettingzoo.utils.conversions import parallel_wrapper_fn

from envs.mpe.pursuit_env import PursuitEnv


class TagEnv(PursuitEnv):
    metadata = {**SimpleEnv.metadata, "name": "simple_tag"}


raw_env = TagEnv
parallel_env = parallel_wrapper_fn(make_env(TagEnv))
