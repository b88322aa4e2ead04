"""Robots' datasets as agents with local observations see them, made of the states of one in which they see all."""

from pathlib import Path
from typing import Any

from datasets.dataset import read_dataset, write_dataset
from datasets.edit import provenance
from utils.errors import DatasetError, EnvError


def localise_dataset(
    source: Path, out: Path, agent_obsk: int, torso: bool = True, command: str = "", replace: bool = True
) -> dict[str, Any]:
    """Write a robot's dataset with `env_args.observations=local`; return the new dataset card.

    Local observations are entries of the state, so they are what the environment would have shown, bit for bit.
    Actions, rewards and states stay; behaviours saw what the source says they saw. agent_obsk, torso: as in
    `envs.mamujoco.division.Division`. replace: whether a file at `out` is replaced. Raises DatasetError where the
    source is of no robot, holds no state, or has other sizes than the robot.
    """
    dataset = read_dataset(source)
    environment = dataset.card["environment"]
    if environment["env"] != "mamujoco" or "state" not in dataset.arrays:
        raise DatasetError(
            f"{source} is of no robot of --env-config=mamujoco whose states are stored; choose one that is"
        )
    env_args = {**environment["env_args"], "observations": "local", "agent_obsk": agent_obsk, "observe_torso": torso}
    if torso:  # the default, which cards need not tell
        del env_args["observe_torso"]
    from envs.mamujoco.robot_env import RobotEnv  # a second, which the other commands do without

    try:
        env = RobotEnv(**env_args)
    except (EnvError, TypeError) as error:
        raise DatasetError(f"{source}: {error}") from error
    states, division = dataset.arrays["state"], env.division
    sizes = (env.n_agents, env.get_state_size(), env.get_total_actions())
    found = (dataset.n_agents, states.shape[1], dataset.card["n_actions"])
    env.close()
    if sizes != found:
        raise DatasetError(
            f"{source} has {found} agents, state entries and actions, its robot here {sizes}; give data of this robot"
        )
    arrays = dict(dataset.arrays) | {"obs": division.observe(states)}  # (R, N, O) of (R, S)
    made_by = {
        "command": command,
        "observations": f"entries of the states of {source.name}",
        "sources": [provenance(dataset)],
    }
    card = dataset.card | {"environment": environment | {"env_args": env_args}, "made_by": made_by}
    return write_dataset(
        out, arrays, dataset.episode_offsets, card, last_action_known=dataset.last_action_known, compression=9,
        replace=replace,
    )  # fmt: skip
