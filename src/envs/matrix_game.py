"""Repeated two-player matrix games: the XOR game and the penalty game of AlberDICE's `mmdp_game_1`.

XOR (A = 0, B = 1) pays 1 where the agents choose differently, 0 for AA and -2 for BB. AB and BA are optimal, and agents
that mix independently between these two modes earn less. Factored behaviour cloning of {AB, BA} earns 0, and an
additive value function fitted to {AA, AB, BA} makes BB the greedy joint action.
"""

import numpy as np

from envs.game_env import GameEnv
from utils.errors import EnvError, nearest

# The team's reward of a step, [action of agent 0][action of agent 1].
PAYOFFS: dict[str, np.ndarray] = {
    "xor": np.array([[0.0, 1.0], [1.0, -2.0]]),
    # The first and the last action pay 1 where both agents take them. The rest of the first row and last column costs
    # 2, the rest of the first column and last row costs 1, and the centre pays 0.
    "penalty": np.array(
        [
            [1.0, -2.0, -2.0, -2.0],
            [-1.0, 0.0, 0.0, -2.0],
            [-1.0, 0.0, 0.0, -2.0],
            [-1.0, -1.0, -1.0, 1.0],
        ]
    ),
}
# The published game has two states, and the matrix game stays in the second: its one-hot vector, once per agent.
STATE = np.array([0.0, 1.0, 0.0, 1.0], np.float32)


class MatrixGameEnv(GameEnv):
    """The game `key: xor` (2 actions) or `key: penalty` (4 actions). `PAYOFFS[key]` is the reward, at most 1.

    State and observations (4,) are the constant `STATE`. Episodes never terminate; `episode_limit` (50, as in the
    published data) truncates them. The rest is as in `GameEnv`. Raises `EnvError` for an unknown key.
    """

    def __init__(
        self,
        key: str = "xor",
        seed: int | None = None,
        episode_limit: int = 50,
        common_reward: bool = True,
        reward_scalarisation: str = "sum",
    ) -> None:
        if not isinstance(key, str) or key not in PAYOFFS:
            raise EnvError(f"env_args.key={key!r} is no matrix game; {nearest(str(key), PAYOFFS)}")
        self.key = key
        self._payoffs = PAYOFFS[key]
        super().__init__(len(self._payoffs), seed, episode_limit, common_reward, reward_scalarisation)

    def _start(self) -> None:
        """Do nothing: there is only one state."""

    def _play(self, first: int, second: int, last_step: bool) -> tuple[float, bool]:
        return float(self._payoffs[first, second]), False

    def get_state(self) -> np.ndarray:
        return STATE.copy()

    def get_state_size(self) -> int:
        return len(STATE)
