"""What can be judged without a simulator: losses on episodes that are held out of training.

Held-out episodes take no part in any update. They do count in what gives numbers their units: the statistics that
standardise inputs, `reward_scaling`, and the largest return. These describe the dataset, and so losses of runs with
different seeds, which hold out different episodes, can be compared.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch as th

from components.episode_buffer import EpisodeBatch
from components.offline_buffer import OfflineBuffer
from learners.base_learner import BaseLearner
from learners.losses import transition_mask
from learners.optimisation import chunks
from utils.errors import ConfigError

MOST_WINDOWS = 8192  # of the held-out episodes; evenly spaced where there are more


def split(buffer: OfflineBuffer, args: SimpleNamespace) -> tuple[OfflineBuffer, OfflineBuffer | None]:
    """Training and held-out parts of the data, by episode: `validation_share` of them, chosen by `seed`.

    None where nothing is held out. Raises ConfigError where a part would be empty.
    """
    if not args.validation_share:
        return buffer, None
    count = buffer.episodes_in_buffer
    held = held_out(count, args.validation_share)
    order = np.random.default_rng(args.seed).permutation(count)
    return buffer.part(np.sort(order[held:])), buffer.part(np.sort(order[:held]))


def held_out(count: int, share: float) -> int:
    """How many of `count` episodes are held out. Raises ConfigError where that leaves a part empty."""
    held = round(share * count)
    if share and not 0 < held < count:
        raise ConfigError(
            f"validation_share={share} holds out {held} of {count} episodes; choose a share that leaves some on both "
            "sides, or 0"
        )
    return held


def check_validates(learner: Any, args: SimpleNamespace) -> None:
    """Raise ConfigError for a learner whose losses only an update computes, as those of stock EPyMARL."""
    if not isinstance(learner, BaseLearner):
        raise ConfigError(
            f"validation_share={args.validation_share}: the losses of learner={args.learner} cannot be computed "
            "without an update; set it to 0"
        )


class Validation:
    """A learner's losses on held-out data, always on the same windows and with the same noise.

    Losses are those of training: where they use target networks, these are the newest ones. What a loss needs of a
    batch, such as a softmax over its rows, it takes from batches of `batch_size` held-out windows.
    """

    def __init__(self, learner: Any, buffer: OfflineBuffer, args: SimpleNamespace) -> None:
        check_validates(learner, args)
        self.learner, self.buffer, self.args = learner, buffer, args
        step = max(1, -(-buffer.n_windows // MOST_WINDOWS))
        self.windows = th.arange(0, buffer.n_windows, step)

    @th.no_grad()
    def losses(self) -> dict[str, float]:
        """`validation_<name>_loss` of every loss, a mean over transitions. The learner's randomness stays as it was."""
        generator = self.learner.generator
        before = generator.get_state()
        generator.manual_seed(self.args.evaluation_seed)
        try:
            return self._means()
        finally:
            generator.set_state(before)

    def _means(self) -> dict[str, float]:
        sums = {spec.name: 0.0 for spec in self.learner.LOSSES}
        rows = 0.0
        for drawn in self.windows.split(self.args.batch_size):
            batch = self.buffer.batch(drawn)
            if batch.device != self.args.device:
                batch.to(self.args.device)
            rows += float(transition_mask(batch).sum())
            for name in sums:
                sums[name] += self._sum(name, batch)
        return {f"validation_{name}_loss": total / rows for name, total in sums.items()}

    def _sum(self, name: str, batch: EpisodeBatch) -> float:
        """A loss summed over the batch's transitions, in parts of at most `loss_chunk` rows."""
        learner, total = self.learner, 0.0
        context, noise = learner.batch_context(name, batch), learner.noise(name, batch)
        for rows in chunks(batch.batch_size, self.args.loss_chunk):
            part, own = (batch, noise) if rows is None else (batch[rows], {key: x[rows] for key, x in noise.items()})
            loss, _ = getattr(learner, f"{name}_loss")(part, own, context)
            total += float(loss) * float(transition_mask(part).sum())
        return total
