"""What a dataset says of itself as a whole, for learners: they see its batches only."""

from dataclasses import dataclass

from modules.layers.normaliser import InputStatistics


@dataclass(frozen=True)
class DataStatistics:
    """Numbers of a dataset as it is learned from, rewards scaled and scalarised.

    inputs: mean and standard deviation of `obs`, (N, O) each, and of `state`, (S,) each. max_return: the largest
    undiscounted return of an episode. max_return_to_go: the largest discounted sum of rewards from a step to its
    episode's end. Where agents have rewards of their own, the largest over agents.
    """

    inputs: InputStatistics
    max_return: float
    max_return_to_go: float
