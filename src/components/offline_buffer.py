"""The offline buffer: a dataset's rows in main memory or on the GPU, sampled as `EpisodeBatch`es."""

import copy
from collections.abc import Mapping, Sequence
from types import SimpleNamespace

import numpy as np
import torch as th
from torch import Tensor

from components.episode_buffer import EpisodeBatch
from components.offline_rows import discounted_to_go, flat_tensors, next_action_valid, on_disk, window_table
from components.scheme import Groups, Preprocess, Scheme, extend_scheme
from modules.layers.sizes import shape_of
from utils.errors import DatasetError
from utils.rng import load_generator

EXTRAS = ("init_obs", "init_state", "prev_actions_onehot")


class OfflineBuffer:
    """A sampler of windows of consecutive rows, or of whole episodes, with replacement and a Generator of its own.

    arrays, episode_offsets, last_action_known: the dataset's; an episode of L steps has L + 1 of the R rows.
    scheme, groups, preprocess: from `components.scheme.build_scheme`.
    window: L for windows of L steps (L + 1 rows) of one episode, all equally likely; an episode shorter than L steps is
    taken whole and padded. None for whole episodes, padded to the longest in the batch.
    burn_in: rows before each window that only warm up a recurrent state; fewer where the episode starts later. Batches
    then have burn_in + L + 1 rows, padded at the end, and the entry `learned` (B, T, 1) float32, which is 1 on the L
    rows to learn from. The choice of windows does not depend on burn_in.
    reward_scalarisation: "sum", "mean" or "agent0" for a team reward (B, T, 1); None for rewards per agent (B, T, N).
    extras: any of `EXTRAS`.

    Beside stock EPyMARL's keys, batches hold next_action_valid (B, T, 1) float32: 1 where the action on the next row is
    known to be the behaviour's, 0 where it is not known and on an episode's final row. Tensors are kept on `device`;
    arrays that are mapped or read by rows stay on disk, their batches are moved. Raises DatasetError where arrays do
    not fit the scheme.
    """

    def __init__(
        self,
        arrays: Mapping[str, np.ndarray],
        episode_offsets: np.ndarray,
        last_action_known: np.ndarray,
        scheme: Scheme,
        groups: Groups,
        preprocess: Preprocess,
        *,
        window: int | None,
        burn_in: int = 0,
        reward_scalarisation: str | None,
        extras: Sequence[str] = (),
        device: str = "cpu",
        seed: int,
    ) -> None:
        unknown = sorted(set(extras) - set(EXTRAS))
        if unknown:
            raise DatasetError(f"the offline buffer knows no extra '{unknown[0]}'; it offers {', '.join(EXTRAS)}")
        if window is not None and window < 1:
            raise DatasetError(f"window is {window}; it must be at least 1 step, or null for whole episodes")
        if burn_in < 0 or (burn_in and window is None):
            raise DatasetError(f"burn_in is {burn_in}; it must be at least 0, and 0 where window is null")
        stays = any(on_disk(array) for array in arrays.values())
        self.device, self._home = device, "cpu" if stays else device
        self.window, self.burn_in, self.extras, self.groups = window, burn_in, tuple(extras), groups
        self._encoders = preprocess
        self._rows = flat_tensors(arrays, scheme, groups["agents"], reward_scalarisation)
        offsets = th.from_numpy(np.array(episode_offsets, np.int64))
        self._offsets, self.episodes_in_buffer = offsets, len(offsets) - 1
        self._rows["next_action_valid"] = next_action_valid(offsets, np.asarray(last_action_known, bool))
        table = window_table(offsets, self._held("terminated"), window, burn_in)
        longest = int(table["length"].max()) if window is None else burn_in + window + 1
        self._equal = bool((table["length"] == longest).all())
        self.scheme = self._batch_scheme(scheme)
        for key, value in self._rows.items():
            self._rows[key] = value.to(self._home)
        # Whole episodes of unequal length are chosen on the CPU: the longest in the batch decides T, and reading that
        # from a GPU would stall it for every batch.
        self._draw_device = self._home if self._equal or window is not None else "cpu"
        self._table = {key: value.to(self._draw_device) for key, value in table.items()}
        self._steps = th.arange(longest, device=self._draw_device)
        self._generator = th.Generator(self._draw_device).manual_seed(seed)

    @property
    def n_windows(self) -> int:
        """Number of different windows, or of episodes where window is None."""
        return len(self._table["start"])

    def largest_return(self, gamma: float, starts_only: bool = False) -> float:
        """Largest discounted sum of rewards from a step to its episode's end, of rewards as batches hold them.

        starts_only: from first steps only. Rewards per agent give the largest over agents.
        """
        to_go = self._to_go(gamma)
        return float((to_go[self._offsets[:-1]] if starts_only else to_go[self._steps_of_episodes()]).max())

    def to_go_statistics(self, gamma: float) -> tuple[float, float, float]:
        """Largest value, mean and standard deviation of all steps' discounted sums of rewards to their episode's end.

        The standard deviation is 1 where they are all equal.
        """
        to_go = self._to_go(gamma)[self._steps_of_episodes()]
        return float(to_go.max()), float(to_go.mean()), float(to_go.std(correction=0)) or 1.0

    def _to_go(self, gamma: float) -> Tensor:
        return discounted_to_go(self._held("reward").double().cpu(), self._offsets, gamma)  # (R, 1 or N)

    def _held(self, key: str) -> Tensor:
        """Rows that are a tensor always, as statistics need all of them."""
        rows = self._rows[key]
        assert isinstance(rows, Tensor)
        return rows

    def _steps_of_episodes(self) -> Tensor:
        """Rows that hold a step, (R,) bool: all but the final ones, whose 0 is no return."""
        steps = th.ones(int(self._offsets[-1]), dtype=th.bool)
        steps[self._offsets[1:] - 1] = False
        return steps

    def sample(self, batch_size: int) -> EpisodeBatch:
        """Sample `batch_size` windows or episodes uniformly and with replacement, as copies."""
        return self.batch(self._draw(batch_size))

    def _draw(self, batch_size: int) -> Tensor:
        return th.randint(self.n_windows, (batch_size,), generator=self._generator, device=self._draw_device)

    def batch(self, drawn: Tensor) -> EpisodeBatch:
        """The windows or episodes of these numbers, (B,), as copies."""
        batch_size, drawn = len(drawn), drawn.to(self._draw_device)
        starts = self._table["start"].index_select(0, drawn)  # (B,)
        if self._equal:
            steps, index = self._steps, starts.unsqueeze(1) + self._steps  # (B, T)
            real = None
        else:
            lengths = self._table["length"].index_select(0, drawn).unsqueeze(1)  # (B, 1) rows with the final one
            steps = self._steps if self.window is not None else self._steps[: int(lengths.max())]
            index = starts.unsqueeze(1) + th.minimum(steps, lengths - 1)
            real = (steps < lengths).to(self._home)
        data = self._gather(index.flatten().to(self._home), (batch_size, len(steps)), real)
        if real is None:
            data["filled"] = th.ones(1, dtype=th.long, device=self._home).expand(batch_size, len(steps), 1)
        else:
            # A final row holds no step. Stock EPyMARL's mask drops the last row of a batch and all rows after a
            # terminal. An episode that was cut earlier has neither, and its final row would count as a transition of
            # reward 0 into padding. It is therefore not marked as filled; its data stay, for bootstrapping. The same
            # holds for a window with burn-in that is shorter than the batch.
            cut = self._table["cut"].index_select(0, drawn).unsqueeze(1) & (lengths < len(steps))
            filled = steps < lengths - cut.long()
            data["filled"] = filled.long().unsqueeze(-1).to(self._home)
        if self.burn_in:
            data["learned"] = self._learned(drawn, steps)
        constant = self._add_extras(data, drawn, index, real)
        batch = EpisodeBatch(
            self.scheme,
            self.groups,
            batch_size,
            len(steps),
            data=SimpleNamespace(transition_data=data, episode_data=constant),
            device=self._home,
        )
        if self._home != self.device:
            batch.to(self.device)
        return batch

    def part(self, episodes: np.ndarray) -> "OfflineBuffer":
        """A buffer over the same rows that samples from these episodes only, (n,) indices."""
        part = copy.copy(self)
        first = self._offsets[th.from_numpy(np.asarray(episodes, np.int64))].to(self._draw_device)
        kept = th.isin(self._table["first"], first)
        part._table = {key: value[kept] for key, value in self._table.items()}
        part._equal = bool((part._table["length"] == len(self._steps)).all())
        part._generator = th.Generator(self._draw_device).manual_seed(self._generator.initial_seed())
        return part

    def with_seed(self, seed: int) -> "OfflineBuffer":
        """A buffer over the same rows with a random stream of its own."""
        other = copy.copy(self)
        other._generator = th.Generator(self._draw_device).manual_seed(seed)
        return other

    @property
    def fixed_length(self) -> bool:
        """Whether all batches have equally many rows in time."""
        return self.window is not None or self._equal

    def first_windows(self) -> Tensor:
        """Numbers of the windows that begin with an episode's first step, (n,), for `batch`."""
        return (self._table["start"] + self._table["before"] == self._table["first"]).nonzero().squeeze(-1)

    def state_dict(self) -> dict[str, Tensor]:
        """State of the sampler: a buffer over the same data that loads it samples the same batches afterwards."""
        return {"generator": self._generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Tensor], update: int = 0) -> None:
        """Continue from a `state_dict` saved at `update`.

        Where another kind of device sampled before, log a warning and sample other batches than it would have.
        """
        keys = "use_cuda, buffer_cpu_only, memory_map or window"
        load_generator(self._generator, state["generator"], update, "the batches", keys)

    def _gather(self, index: Tensor, lead: tuple[int, int], real: Tensor | None) -> dict[str, Tensor]:
        """Rows `index` (B * T,) of every key as (B, T, ...), with zeros where `real` (B, T) is False."""
        data = {key: rows.index_select(0, index).view(*lead, *rows.shape[1:]) for key, rows in self._rows.items()}
        for key, (new_key, transforms) in self._encoders.items():
            encoded = data[key]
            for transform in transforms:
                encoded = transform.transform(encoded)
            data[new_key] = encoded
        if real is not None:
            for key, value in data.items():
                data[key] = value * real.view(*lead, *[1] * (value.dim() - 2)).to(value.dtype)
        if "state" not in data:
            data["state"] = data["obs"].view(*lead, -1)
        field = self.scheme["avail_actions"]
        if "avail_actions" in data:
            data["avail_actions"] = data["avail_actions"].to(field["dtype"])
            if real is not None:  # without an available action on padding, a masked softmax would be NaN
                data["avail_actions"].masked_fill_(~real.view(*lead, 1, 1), 1)
        else:
            one = th.ones(1, dtype=field["dtype"], device=self._home)
            data["avail_actions"] = one.expand(*lead, self.groups["agents"], *field["vshape"])
        return data

    def _learned(self, drawn: Tensor, steps: Tensor) -> Tensor:
        """Rows to learn from, (B, T, 1) float32: 0 on burn-in rows, the final row and padding, 1 elsewhere."""
        before = self._table["before"].index_select(0, drawn).unsqueeze(1)  # (B, 1)
        final = self._table["length"].index_select(0, drawn).unsqueeze(1) - 1  # (B, 1)
        return ((steps >= before) & (steps < final)).float().unsqueeze(-1).to(self._home)

    def _add_extras(
        self, data: dict[str, Tensor], drawn: Tensor, index: Tensor, real: Tensor | None
    ) -> dict[str, Tensor]:
        """Add the extras to `data`; return those with one value per episode."""
        if not {"init_obs", "init_state", "prev_actions_onehot"} & set(self.extras):
            return {}
        first = self._table["first"].index_select(0, drawn)  # (B,) first row of the episode
        if "prev_actions_onehot" in self.extras:
            previous = self._rows["actions"].index_select(0, (index - 1).clamp(min=0).flatten().to(self._home))
            for transform in self._encoders["actions"][1]:
                previous = transform.transform(previous)
            known = (index > first.unsqueeze(1)).to(self._home)  # (B, T), 0 on an episode's first row
            known = known if real is None else known & real
            data["prev_actions_onehot"] = previous.view_as(data["actions_onehot"]) * known[..., None, None]
        constant: dict[str, Tensor] = {}
        first = first.to(self._home)
        if "init_obs" in self.extras:
            constant["init_obs"] = self._rows["obs"].index_select(0, first)
        if "init_state" in self.extras:
            state = self._rows["state" if "state" in self._rows else "obs"]
            constant["init_state"] = state.index_select(0, first).flatten(1)
        return constant

    def _batch_scheme(self, scheme: Scheme) -> Scheme:
        full = extend_scheme(scheme, self._encoders)
        full["avail_actions"] = {**full["avail_actions"], "vshape": shape_of(full["avail_actions"]["vshape"])}
        full["next_action_valid"] = {"vshape": (1,)}
        if self.burn_in:
            full["learned"] = {"vshape": (1,)}
        entries: Scheme = {
            "init_obs": {**full["obs"], "episode_const": True},
            "init_state": {**full["state"], "episode_const": True},
            "prev_actions_onehot": dict(full["actions_onehot"]),
        }
        return full | {key: entries[key] for key in self.extras}


def sample_together(buffers: Sequence[OfflineBuffer], batch_size: int) -> EpisodeBatch:
    """What each buffer's `sample` gives, one after another: (L*B, ...). Buffers of one dataset, of `fixed_length`."""
    first = buffers[0]
    if all(buffer._table is first._table for buffer in buffers):  # then all rows are gathered at once
        return first.batch(th.cat([buffer._draw(batch_size) for buffer in buffers]))
    parts = [buffer.sample(batch_size) for buffer in buffers]
    joined = SimpleNamespace(
        transition_data={key: th.cat([part[key] for part in parts]) for key in parts[0].data.transition_data},
        episode_data={key: th.cat([part[key] for part in parts]) for key in parts[0].data.episode_data},
    )
    size = batch_size * len(buffers)
    return EpisodeBatch(first.scheme, first.groups, size, parts[0].max_seq_length, data=joined, device=parts[0].device)
