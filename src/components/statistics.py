"""Statistics of a whole dataset, for learners, which otherwise see only batches."""

from dataclasses import dataclass

from modules.layers.normaliser import InputStatistics


@dataclass(frozen=True)
class DataStatistics:
    """Statistics of a dataset, with rewards scaled and scalarised as in its batches.

    inputs: mean and standard deviation of `obs`, (N, O) each, and of `state`, (S,) each. max_return: the largest
    undiscounted return of an episode. max_return_to_go: the largest discounted sum of rewards from a step to its
    episode's end; to_go_mean, to_go_std: the mean of these sums and their standard deviation, 1 where they are all
    equal. Rewards per agent give the largest over agents. mean_length: steps per episode.
    """

    inputs: InputStatistics
    max_return: float
    max_return_to_go: float
    to_go_mean: float = 0.0
    to_go_std: float = 1.0
    mean_length: float = 1.0
