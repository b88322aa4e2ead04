"""Exploration schedules over environment steps."""

import math
from types import SimpleNamespace


class DecayThenFlatSchedule:
    """A decay from `start` to `finish` over `time_length` steps, linear or exponential, and constant afterwards.

    A length of 0 gives `finish` from the first step on. Raises ValueError for an unknown `decay`.
    """

    def __init__(self, start: float, finish: float, time_length: int, decay: str = "exp") -> None:
        if decay not in ("linear", "exp"):
            raise ValueError(f"decay is '{decay}'; choose linear or exp")
        self.start, self.finish, self.time_length, self.decay = start, finish, time_length, decay
        # exp(-T / scale) meets `finish` at T = time_length
        self.exp_scaling = -time_length / math.log(finish) if 0 < finish < 1 and time_length > 0 else 1.0

    def eval(self, T: int) -> float:  # stock EPyMARL's names
        """Value at environment step `T`."""
        if self.time_length <= T:
            return self.finish
        if self.decay == "linear":
            return self.start + (self.finish - self.start) * T / self.time_length
        return min(self.start, max(self.finish, math.exp(-T / self.exp_scaling)))


def exploration_step(args: SimpleNamespace, step: int) -> int:
    """The environment step whose exploration the policy of a checkpoint plays with. args: of the run that saved it.

    step: the checkpoint's. Training from a dataset counts updates and explores nowhere: its policies play with
    `epsilon_finish`, as after all annealing.
    """
    return max(step, args.epsilon_anneal_time) if args.offline else step
