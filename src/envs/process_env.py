"""Environments in separate processes behind the `VectorEnv` interface, and the program that each process runs.

Each process starts as a new Python interpreter. Forking a process that has loaded torch can deadlock, and
multiprocessing's other start methods would import the main module (Sacred's experiment and torch) in every process.
"""

import os
import socket
import subprocess
import sys
import weakref
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from envs.arguments import own_arguments
from envs.multiagentenv import MultiAgentEnv, as_array
from envs.vector_env import VectorEnv, episode_end, stack_infos
from utils.errors import EnvError, cause, one_line
from utils.signals import outlive_signals

SRC = Path(__file__).resolve().parents[1]
PATIENCE = 5.0  # seconds in which a process must close its environment


class ProcessVectorEnv(VectorEnv):
    """`n_envs` environments `envs.REGISTRY[env](**env_args)`, each in its own process.

    Number i has seed + i, as in stock EPyMARL. Episodes, rewards and info equal those of `SyncVectorEnv` over the same
    environments. Raises `EnvError` for every failure inside a process. The processes end when this object is closed or
    this process ends, even if it is killed.
    """

    def __init__(
        self,
        n_envs: int,
        env: str,
        env_args: dict[str, Any],
        common_reward: bool = True,
        reward_scalarisation: str = "sum",
    ) -> None:
        super().__init__(n_envs, common_reward, reward_scalarisation)
        env_args = own_arguments(env_args)
        seed = env_args.get("seed")
        self._workers: list[Worker] = []
        self._finalizer = weakref.finalize(self, _close_all, self._workers)
        try:
            for i in range(n_envs):
                own = {**env_args, "seed": None if seed is None else seed + i, "common_reward": False}
                self._workers.append(Worker(i))
                self._workers[-1].send("make", (env, own))
        except EnvError:
            self.close()
            raise
        self._env_info, self.OBSERVATIONS = [self._answer(worker) for worker in self._workers][0]
        self.n_agents = int(self._env_info["n_agents"])
        self.episode_limit = int(self._env_info["episode_limit"])
        self._n_active = 0

    def reset(self, seeds: Sequence[int] | None = None) -> None:
        own: Sequence[int | None] = [None] * self.n_envs if seeds is None else self.check_seeds(seeds)
        self._n_active = len(own)
        active = self._workers[: self._n_active]
        for worker, seed in zip(active, own, strict=True):
            worker.send("reset", seed)
        self._seen = [self._answer(worker) for worker in active]
        self._terminated = np.zeros(self._n_active, dtype=bool)
        self._truncated = np.zeros(self._n_active, dtype=bool)
        self._infos: list[dict[str, Any]] = [{} for _ in active]
        self._t = 0

    def step(self, actions: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        self._check_started()
        joint = as_array(actions)  # (E, N, A) or (E, N, 1) or (E, N)
        if len(joint) != self._n_active:
            raise EnvError(f"step needs actions for {self._n_active} episodes, not {len(joint)}")
        reward = np.zeros((self._n_active, self.n_agents))
        self._t += 1
        alive = np.flatnonzero(~(self._terminated | self._truncated))
        for i in alive:
            self._workers[i].send("step", joint[i])
        for i, answer in [(i, self._answer(self._workers[i])) for i in alive]:
            paid, terminated, truncated, self._infos[i], self._seen[i] = answer
            reward[i] = self.rewards_of(paid)
            at_limit = self._t >= self.episode_limit
            self._terminated[i], self._truncated[i] = episode_end(terminated, truncated, self._infos[i], at_limit)
        return reward, self._terminated.copy(), self._truncated.copy(), stack_infos(self._infos)

    def get_obs(self) -> np.ndarray:
        self._check_started()
        return np.stack([obs for obs, _, _ in self._seen])

    def get_state(self) -> np.ndarray:
        self._check_started()
        return np.stack([state for _, state, _ in self._seen])

    def get_avail_actions(self) -> np.ndarray:
        self._check_started()
        return np.stack([avail_actions for _, _, avail_actions in self._seen])

    def get_env_info(self) -> dict[str, Any]:
        return dict(self._env_info)

    def close(self) -> None:
        self._n_active = 0
        self._finalizer()

    def _answer(self, worker: "Worker") -> Any:
        """A worker's answer. On an error all workers are closed, because their answers no longer match the commands."""
        try:
            return worker.receive()
        except EnvError:
            self.close()
            raise

    def _check_started(self) -> None:
        if not self._n_active:
            raise EnvError("the vectorised environment has no episodes yet: call reset first")


class Worker:
    """Handle of one process and the connection to it."""

    def __init__(self, number: int) -> None:
        """Start the process. Raises `EnvError` where the system has no room for one more."""
        self.number = number
        try:
            self.process, self._connection = _started()
        except OSError as error:
            raise EnvError(
                f"process {number} of the environments cannot be started ({cause(error)}): lower batch_size_run"
            ) from error

    def send(self, command: str, payload: Any) -> None:
        try:
            self._connection.send((command, payload))
        except OSError as error:
            raise self._died() from error

    def receive(self) -> Any:
        """The answer to the last command. Raises `EnvError` if the command failed or the process has died."""
        try:
            failure, payload = self._connection.recv()
        except (EOFError, OSError) as error:
            raise self._died() from error
        if failure:
            raise EnvError(payload)
        return payload

    def _died(self) -> EnvError:
        try:
            status: Any = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            status = "none yet"
        return EnvError(
            f"the process of environment {self.number} has died (exit status {status}): "
            "set runner=vector to see why, or a smaller batch_size_run if memory is short"
        )

    def close_connection(self) -> None:
        self._connection.close()

    def join(self) -> None:
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _started() -> tuple["subprocess.Popen[bytes]", Connection]:
    """A new process that serves, and the connection to it. Raises OSError."""
    ours, theirs = socket.socketpair()
    with theirs, ours:
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",  # the processes already fill the cores
            "PYTHONPATH": os.pathsep.join([str(SRC), *(path or os.getcwd() for path in sys.path)]),
        }
        command = [sys.executable, "-P", "-m", "envs.process_env", str(theirs.fileno())]
        # A new session, so that Ctrl-C in the terminal reaches only the parent, which then closes the workers.
        # Output is dropped, because Sacred waits until every process that holds its captured stream has closed it.
        nothing = subprocess.DEVNULL
        process = subprocess.Popen(
            command, env=environment, pass_fds=[theirs.fileno()], stdin=nothing, stdout=nothing, stderr=nothing,
            start_new_session=True,
        )  # fmt: skip
        return process, Connection(ours.detach())


def _close_all(workers: list[Worker]) -> None:
    """Close the connections, at which the workers close their environments and exit, and wait for them."""
    for worker in workers:
        worker.close_connection()
    for worker in workers:
        worker.join()
    workers.clear()


# ------------------------------------------------------------------------------------------------ inside the process


def serve(connection: Connection) -> None:
    """Answer commands with (failed, answer or error message) until the other side closes the connection."""
    env: MultiAgentEnv | None = None
    try:
        while True:
            command, payload = connection.recv()
            try:
                if command == "make":
                    from envs import REGISTRY

                    name, env_args = payload
                    env = REGISTRY[name](**env_args)
                    answer: Any = (env.get_env_info(), getattr(env, "OBSERVATIONS", "local"))
                else:
                    assert env is not None
                    answer = _play(env, command, payload)
            except EnvError as error:
                connection.send((True, str(error)))
            except Exception as error:
                what = f"{type(error).__name__}: {one_line(error)}"
                sentence = f"an environment failed with {what}; set runner=vector to see where"
                connection.send((True, sentence))
            else:
                connection.send((False, answer))
    except (EOFError, OSError):
        pass
    finally:
        if env is not None:
            env.close()


def _play(env: MultiAgentEnv, command: str, payload: Any) -> Any:
    if command == "reset":
        env.reset() if payload is None else env.reset(seed=payload)
        return _see(env)
    _, reward, terminated, truncated, info = env.step(payload)
    return reward, terminated, truncated, info, _see(env)


def _see(env: MultiAgentEnv) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Observations (N, O), state (S,) and available actions (N, A)."""
    return np.stack(env.get_obs()), env.get_state(), np.array(env.get_avail_actions())


if __name__ == "__main__":
    outlive_signals()  # schedulers signal every process; the parent needs this one for the step in progress
    serve(Connection(int(sys.argv[1])))
