"""OMAR's World as an environment on mpe2; `envs.mpe.pursuit_env` is the scenario."""

from mpe2._mpe_utils.simple_env import SimpleEnv, make_env
from pettingzoo.utils.conversions import parallel_wrapper_fn

from envs.mpe.pursuit_env import PursuitEnv
from envs.mpe.tasks import TIME_LIMIT


class WorldEnv(PursuitEnv):
    """mpe2's environment with this scenario. prey, control: as in `envs.mpe.pursuit_twin.PursuitTwin`."""

    metadata = {**SimpleEnv.metadata, "name": "simple_world"}

    def __init__(
        self,
        max_cycles: int = TIME_LIMIT,
        continuous_actions: bool = True,
        render_mode: str | None = None,
        prey: str | None = None,
        control: str = "predators",
    ) -> None:
        super().__init__("simple_world", max_cycles, continuous_actions, render_mode, prey, control)


raw_env = WorldEnv
parallel_env = parallel_wrapper_fn(make_env(WorldEnv))
