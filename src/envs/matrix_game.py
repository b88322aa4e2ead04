"""Two-player matrix games, played again and again: the XOR game and the penalty game of AlberDICE's `mmdp_game_1`.

XOR (A = 0, B = 1): a unit for the agents that choose differently, nothing for both A, a loss for both B. The best
joint policies, AB and BA, are two modes of which every mixture of one agent's choices over both is worse: factored
behaviour cloning of {AB, BA} earns 0 and an additive value of {AA, AB, BA} is greedy for BB.
"""

import numpy as np

from envs.game_env import GameEnv
from utils.errors import EnvError, nearest

# The team's reward of a step, [action of agent 0][action of agent 1].
PAYOFFS: dict[str, np.ndarray] = {
    "xor": np.array([[0.0, 1.0], [1.0, -2.0]]),
    # The two corners that agree pay; the borders around them cost, 2 in the first row and the last column, where
    # agent 0 is at its first or agent 1 at its last action, 1 in the first column and the last row; the centre is 0.
    "penalty": np.array(
        [
            [1.0, -2.0, -2.0, -2.0],
            [-1.0, 0.0, 0.0, -2.0],
            [-1.0, 0.0, 0.0, -2.0],
            [-1.0, -1.0, -1.0, 1.0],
        ]
    ),
}
# The published game has two states, of which the matrix game never leaves the second: its one-hot, once an agent.
STATE = np.array([0.0, 1.0, 0.0, 1.0], np.float32)


class MatrixGameEnv(GameEnv):
    """`key: xor` (2 actions) or `key: penalty` (4 actions); `PAYOFFS[key]` is the reward, 1 a step the optimum.

    State and observations (4,) are the constant `STATE`. There is no terminal: `episode_limit` (default 50, the
    published data's) is a time limit. The rest is as `GameEnv` says. Raises `EnvError` for an unknown key.
    """

    def __init__(
        self,
        key: str = "xor",
        seed: int | None = None,
        episode_limit: int = 50,
        common_reward: bool = True,
        reward_scalarisation: str = "sum",
    ) -> None:
        if key not in PAYOFFS:
            raise EnvError(f"env_args.key={key!r} is no matrix game; {nearest(str(key), PAYOFFS)}")
        self.key = key
        self._payoffs = PAYOFFS[key]
        super().__init__(len(self._payoffs), seed, episode_limit, common_reward, reward_scalarisation)

    def _start(self) -> None:
        """There is one state only."""

    def _play(self, first: int, second: int, last_step: bool) -> tuple[float, bool]:
        return float(self._payoffs[first, second]), False

    def get_state(self) -> np.ndarray:
        return STATE.copy()

    def get_state_size(self) -> int:
        return len(STATE)
