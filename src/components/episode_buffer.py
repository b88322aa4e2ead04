"""Batches of episodes, as tensors (B, T, ...) under EPyMARL's names, and the online replay buffer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, overload

import numpy as np
import torch as th
from torch import Tensor

from components.scheme import Groups, Preprocess, Scheme, extend_scheme
from modules.layers.sizes import shape_of

Rows = slice | int | list[int] | np.ndarray


def _full_shape(field: dict[str, Any], groups: Groups) -> tuple[int, ...]:
    shape = shape_of(field["vshape"])
    return (groups[field["group"]], *shape) if field.get("group") else shape


class EpisodeBatch:
    """B episodes of up to T time steps. `batch["obs"]` is (B, T, N, O); indexing rows and steps gives smaller batches.

    data: existing tensors to wrap, `transition_data` (B, T, ...) and `episode_data` (B, ...); None makes zeros. With
    data, the scheme must be one that `extend_scheme` has completed.
    """

    def __init__(
        self,
        scheme: Scheme,
        groups: Groups,
        batch_size: int,
        max_seq_length: int,
        data: SimpleNamespace | None = None,
        preprocess: Preprocess | None = None,
        device: str = "cpu",
    ) -> None:
        self.groups = groups
        self.batch_size = batch_size
        self.max_seq_length = max_seq_length
        self.preprocess = preprocess or {}
        self.device = device
        if data is not None:
            self.scheme, self.data = dict(scheme), data
        else:
            self.scheme = extend_scheme(scheme, self.preprocess)
            self.data = self._zeros()

    def _zeros(self) -> SimpleNamespace:
        data = SimpleNamespace(transition_data={}, episode_data={})
        for key, field in self.scheme.items():
            shape, dtype = _full_shape(field, self.groups), field.get("dtype", th.float32)
            if field.get("episode_const", False):
                data.episode_data[key] = th.zeros((self.batch_size, *shape), dtype=dtype, device=self.device)
            else:
                lead = (self.batch_size, self.max_seq_length)
                data.transition_data[key] = th.zeros((*lead, *shape), dtype=dtype, device=self.device)
        return data

    def to(self, device: str) -> None:
        """Move every tensor to `device`, in place."""
        for store in (self.data.transition_data, self.data.episode_data):
            for key, tensor in store.items():
                store[key] = tensor.to(device)
        self.device = device

    def update(
        self, data: dict[str, Any], bs: Rows = slice(None), ts: slice | int = slice(None), mark_filled: bool = True
    ) -> None:
        """Write values at episodes `bs` and steps `ts`. Lists are converted, and preprocessed keys are recomputed.

        Raises KeyError for a key the scheme lacks, ValueError for a shape that does not fit.
        """
        rows, steps = self._index((bs, ts))
        transition: tuple[Any, ...] = (rows, steps)
        for key, value in data.items():
            if key in self.data.transition_data:
                store, where = self.data.transition_data, transition
                if mark_filled:
                    store["filled"][transition] = 1
                    mark_filled = False
            elif key in self.data.episode_data:
                store, where = self.data.episode_data, (rows,)
            else:
                raise KeyError(f"{key} is not in this batch; it holds {sorted(self.scheme)}")
            self._write(store, key, value, where)

    def _write(self, store: dict[str, Tensor], key: str, value: Any, where: tuple[Any, ...]) -> None:
        if not isinstance(value, Tensor):
            value = th.as_tensor(np.asarray(value), device=self.device)
        target = store[key][where]
        _check_view(value, target, key)
        store[key][where] = value.to(target.dtype).reshape(target.shape)
        if key in self.preprocess:
            new_key, transforms = self.preprocess[key]
            encoded = store[key][where]
            for transform in transforms:
                encoded = transform.transform(encoded)
            store[new_key][where] = encoded.reshape(store[new_key][where].shape)

    @overload
    def __getitem__(self, item: str) -> Tensor: ...
    @overload
    def __getitem__(self, item: Any) -> EpisodeBatch: ...
    def __getitem__(self, item: Any) -> Tensor | EpisodeBatch:
        if isinstance(item, str):
            for store in (self.data.episode_data, self.data.transition_data):
                if item in store:
                    tensor: Tensor = store[item]
                    return tensor
            raise ValueError(f"'{item}' is not in this batch; it holds {sorted(self.scheme)}")
        if isinstance(item, tuple) and all(isinstance(key, str) for key in item):
            return self._select_keys(item)
        rows, steps = self._index(item)
        data = SimpleNamespace(
            transition_data={key: value[rows, steps] for key, value in self.data.transition_data.items()},
            episode_data={key: value[rows] for key, value in self.data.episode_data.items()},
        )
        n_rows, n_steps = _length(rows, self.batch_size), _length(steps, self.max_seq_length)
        return EpisodeBatch(self.scheme, self.groups, n_rows, n_steps, data=data, device=self.device)

    def _select_keys(self, keys: tuple[str, ...]) -> EpisodeBatch:
        data = SimpleNamespace(transition_data={}, episode_data={})
        for key in keys:
            if key in self.data.transition_data:
                data.transition_data[key] = self.data.transition_data[key]
            elif key in self.data.episode_data:
                data.episode_data[key] = self.data.episode_data[key]
            else:
                raise KeyError(f"{key} is not in this batch; it holds {sorted(self.scheme)}")
        scheme = {key: self.scheme[key] for key in keys}
        groups = {field["group"]: self.groups[field["group"]] for field in scheme.values() if "group" in field}
        return EpisodeBatch(scheme, groups, self.batch_size, self.max_seq_length, data=data, device=self.device)

    @staticmethod
    def _index(item: Any) -> tuple[Any, slice]:
        rows, steps = item if isinstance(item, tuple) else (item, slice(None))
        if isinstance(steps, (list, np.ndarray)):
            raise IndexError("time must be indexed by a contiguous slice")
        if isinstance(rows, int):
            rows = slice(rows, rows + 1)
        if isinstance(steps, int):
            steps = slice(steps, steps + 1)
        return rows, steps

    def max_t_filled(self) -> Tensor:
        """Number of filled steps of the longest episode, a 0-d tensor."""
        filled: Tensor = self.data.transition_data["filled"]  # (B, T, 1)
        return filled.sum(1).max(0)[0].squeeze()

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}. Batch Size:{self.batch_size} Max_seq_len:{self.max_seq_length} "
            f"Keys:{list(self.scheme)} Groups:{list(self.groups)}"
        )


def _length(index: Any, size: int) -> int:
    return len(range(*index.indices(size))) if isinstance(index, slice) else len(index)


def _check_view(value: Tensor, target: Tensor, key: str) -> None:
    """Raise ValueError where shapes differ by more than dimensions of size 1."""
    if [n for n in value.shape if n != 1] != [n for n in target.shape if n != 1]:
        raise ValueError(f"unsafe reshape of '{key}': {tuple(value.shape)} does not fit {tuple(target.shape)}")


class ReplayBuffer(EpisodeBatch):
    """A ring buffer of `buffer_size` episodes; samples are copies, chosen by numpy's global stream."""

    def __init__(
        self,
        scheme: Scheme,
        groups: Groups,
        buffer_size: int,
        max_seq_length: int,
        preprocess: Preprocess | None = None,
        device: str = "cpu",
    ) -> None:
        super().__init__(scheme, groups, buffer_size, max_seq_length, preprocess=preprocess, device=device)
        self.buffer_size = buffer_size
        self.buffer_index = 0
        self.episodes_in_buffer = 0
        self._rows = np.zeros(buffer_size, dtype=np.int64)  # filled rows of each episode: its steps and one more

    def insert_episode_batch(self, ep_batch: EpisodeBatch) -> None:
        """Append episodes, overwriting the oldest once the ring is full."""
        room = self.buffer_size - self.buffer_index
        if ep_batch.batch_size > room:
            self.insert_episode_batch(ep_batch[0:room])
            self.insert_episode_batch(ep_batch[room:])
            return
        rows = slice(self.buffer_index, self.buffer_index + ep_batch.batch_size)
        for store in (self.data.transition_data, self.data.episode_data):
            for value in store.values():
                value[rows] = 0  # a shorter episode must not keep the end of the one that it overwrites
        self.update(ep_batch.data.transition_data, rows, slice(0, ep_batch.max_seq_length), mark_filled=False)
        self.update(ep_batch.data.episode_data, rows)
        self._rows[rows] = ep_batch["filled"].sum(1).squeeze(-1).cpu().numpy()
        self.episodes_in_buffer = max(self.episodes_in_buffer, rows.stop)
        self.buffer_index = rows.stop % self.buffer_size

    def can_sample(self, batch_size: int) -> bool:
        return self.episodes_in_buffer >= batch_size

    @property
    def n_transitions(self) -> int:
        """Number of steps of all episodes in the buffer."""
        return int((self._rows[: self.episodes_in_buffer] - 1).sum())

    def sample(self, batch_size: int) -> EpisodeBatch:
        """Sample `batch_size` distinct episodes uniformly. Raises ValueError where the buffer holds fewer."""
        if not self.can_sample(batch_size):
            raise ValueError(f"cannot sample {batch_size} episodes of {self.episodes_in_buffer}; collect more")
        drawn = np.random.choice(self.episodes_in_buffer, batch_size, replace=False)
        batch = self[drawn]
        _leave_out_ends_of_cut_episodes(batch, self._rows[drawn], int(self._rows[drawn].max()))
        return batch

    def sample_windows(self, batch_size: int, window: int) -> EpisodeBatch:
        """Sample windows of `window` consecutive steps (window + 1 rows), uniformly and with replacement.

        An episode shorter than `window` steps is taken whole and padded. The batch also holds the episode's first `obs`
        and `state` (`init_obs`, `init_state`) and, where the scheme has `actions_onehot`, the action before each row
        (`prev_actions_onehot`, zeros at an episode's start).

        Raises ValueError where the buffer is empty.
        """
        if self.episodes_in_buffer == 0:
            raise ValueError("cannot sample windows from an empty buffer; collect an episode first")
        counts = np.maximum(self._rows[: self.episodes_in_buffer] - window, 1)  # (E,)
        ends = counts.cumsum()
        drawn = np.random.randint(ends[-1], size=batch_size)
        episode = np.searchsorted(ends, drawn, side="right")  # (B,)
        start = drawn - (ends - counts)[episode]  # (B,)
        rows = self._rows[episode]
        steps = start[:, None] + np.arange(window + 1)  # (B, T)
        index = episode[:, None] * self.max_seq_length + np.minimum(steps, rows[:, None] - 1)
        flat = th.from_numpy(index.reshape(-1)).to(self.device)
        data = SimpleNamespace(
            transition_data={
                key: value.flatten(0, 1).index_select(0, flat).view(batch_size, window + 1, *value.shape[2:])
                for key, value in self.data.transition_data.items()
            },
            episode_data={key: value[episode] for key, value in self.data.episode_data.items()},
        )
        scheme = dict(self.scheme)
        for key in {"obs", "state"} & set(self.scheme):
            scheme[f"init_{key}"] = {**self.scheme[key], "episode_const": True}
            data.episode_data[f"init_{key}"] = self.data.transition_data[key][episode, 0]
        if "actions_onehot" in scheme:
            actions = self.data.transition_data["actions_onehot"]
            before = actions.flatten(0, 1).index_select(0, (flat - 1).clamp_min(0))
            started = th.from_numpy(steps > 0).to(self.device).view(batch_size, window + 1, 1, 1)
            data.transition_data["prev_actions_onehot"] = before.view(*started.shape[:2], *actions.shape[2:]) * started
            scheme["prev_actions_onehot"] = scheme["actions_onehot"]
        batch = EpisodeBatch(scheme, self.groups, batch_size, window + 1, data=data, device=self.device)
        padded = th.from_numpy(steps >= rows[:, None]).to(self.device)  # (B, T)
        for key in ("reward", "terminated", "filled"):
            batch[key].masked_fill_(padded.unsqueeze(-1), 0)
        _leave_out_ends_of_cut_episodes(batch, rows - start, window + 1)
        return batch

    def _stores(self) -> dict[str, dict[str, Tensor]]:
        return {"transition": self.data.transition_data, "episode": self.data.episode_data}

    def state_dict(self) -> dict[str, Any]:
        """State for a checkpoint: the episodes and the position in the ring, copied to the CPU."""
        stores, held = self._stores().items(), self.episodes_in_buffer
        data = {name: {key: rows[:held].to("cpu", copy=True) for key, rows in store.items()} for name, store in stores}
        return data | {"rows": th.from_numpy(self._rows[:held].copy()), "index": self.buffer_index}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned. Raises ValueError where it does not fit this buffer."""
        rows, index, held = state["rows"], state["index"], len(state["rows"])
        if held > self.buffer_size:
            raise ValueError(f"a replay buffer of {held} episodes does not fit buffer_size={self.buffer_size}")
        outside = bool(((rows < 1) | (rows > self.max_seq_length)).any()) or rows.dtype != th.int64
        if outside or type(index) is not int or not 0 <= index < self.buffer_size:
            raise ValueError("the replay buffer's counts of rows, or its index, are out of range here")
        for name, store in self._stores().items():
            for key in sorted({*state[name], *store}):
                here, there = store.get(key, rows)[:held], state[name].get(key, rows)
                if key not in store or there.shape != here.shape or there.dtype != here.dtype:
                    raise ValueError(f"the replay buffer's {key} has another shape or type, which does not fit here")
                here.copy_(there)
        self._rows[:held] = rows.cpu().numpy()
        self.episodes_in_buffer, self.buffer_index = held, index


def _leave_out_ends_of_cut_episodes(batch: EpisodeBatch, rows: np.ndarray, longest: int) -> None:
    """Clear `filled` on the final row of episodes that a time limit cut before the batch ends.

    rows: (B,) rows of each episode; longest: rows of the batch. A final row holds a state and no step. Only a terminal
    tells the mask that an episode is over, so before padding a final row would count as a transition.
    """
    cut = np.flatnonzero((rows < longest) & ~batch["terminated"].flatten(1).any(1).cpu().numpy())
    batch["filled"][cut, rows[cut] - 1] = 0
