from types import SimpleNamespace

import numpy as np
import torch as th


class EpisodeBatch:
    def __init__(self, scheme, groups, batch_size, max_seq_length, data=None, preprocess=None, device="cpu"):
        self.scheme, self.groups = scheme.copy(), groups  # entries stay shared with the caller's, as in stock
        self.batch_size, self.max_seq_length = batch_size, max_seq_length
        self.preprocess, self.device = preprocess or {}, device
        self.data = data
        if data is None:
            self.data = SimpleNamespace(transition_data={}, episode_data={})
            self._allocate()

    def _allocate(self):
        for key, (name, transforms) in self.preprocess.items():
            entry = dict(self.scheme[key])
            for transform in transforms:
                entry["vshape"], entry["dtype"] = transform.infer_output_info(entry["vshape"], entry["dtype"])
            self.scheme[name] = entry
        assert "filled" not in self.scheme
        self.scheme["filled"] = {"vshape": (1,), "dtype": th.long}
        for key, entry in self.scheme.items():
            vshape = entry["vshape"] if isinstance(entry["vshape"], tuple) else (entry["vshape"],)
            group = (self.groups[entry["group"]],) if "group" in entry else ()
            shape = (self.batch_size, self.max_seq_length, *group, *vshape)
            self.data.transition_data[key] = th.zeros(shape, dtype=entry.get("dtype", th.float32), device=self.device)

    def to(self, device):
        for key, value in self.data.transition_data.items():
            self.data.transition_data[key] = value.to(device)
        self.device = device

    def update(self, data, bs=slice(None), ts=slice(None), mark_filled=True):
        where = self._where((bs, ts))
        for key, value in data.items():
            if key not in self.data.transition_data:
                raise KeyError(f"{key} not found in transition or episode data")
            store = self.data.transition_data
            if mark_filled:
                store["filled"][where], mark_filled = 1, False
            if isinstance(value, list):
                value = th.tensor(np.array(value), dtype=self.scheme[key].get("dtype", th.float32), device=self.device)
            target = store[key][where]
            if [n for n in value.shape if n != 1] != [n for n in target.shape if n != 1]:
                raise ValueError(f"Unsafe reshape of {value.shape} to {target.shape}")
            store[key][where] = value.view_as(target).to(target.dtype)
            if key in self.preprocess:
                name, transforms = self.preprocess[key]
                encoded = store[key][where]
                for transform in transforms:
                    encoded = transform.transform(encoded)
                store[name][where] = encoded.view_as(store[name][where])

    def __getitem__(self, item):
        if isinstance(item, str):
            return self.data.transition_data[item]
        rows, steps = self._where(item)
        data = {key: value[rows, steps] for key, value in self.data.transition_data.items()}
        n_rows, n_steps = data["filled"].shape[:2]
        held = SimpleNamespace(transition_data=data, episode_data={})
        return EpisodeBatch(self.scheme, self.groups, n_rows, n_steps, data=held, device=self.device)

    def _where(self, item):
        rows, steps = item if isinstance(item, tuple) else (item, slice(None))
        if isinstance(steps, list):
            raise IndexError("time is contiguous")
        return tuple(slice(part, part + 1) if isinstance(part, int) else part for part in (rows, steps))

    def max_t_filled(self):
        return self.data.transition_data["filled"].sum(1).max(0)[0]


class ReplayBuffer(EpisodeBatch):
    def __init__(self, scheme, groups, buffer_size, max_seq_length, preprocess=None, device="cpu"):
        super().__init__(scheme, groups, buffer_size, max_seq_length, preprocess=preprocess, device=device)
        self.buffer_size, self.buffer_index, self.episodes_in_buffer = buffer_size, 0, 0

    def insert_episode_batch(self, ep_batch):
        room = self.buffer_size - self.buffer_index
        if ep_batch.batch_size > room:
            self.insert_episode_batch(ep_batch[0:room, :])
            self.insert_episode_batch(ep_batch[room:, :])
            return
        end = self.buffer_index + ep_batch.batch_size
        rows, steps = slice(self.buffer_index, end), slice(0, ep_batch.max_seq_length)
        self.update(ep_batch.data.transition_data, rows, steps, mark_filled=False)
        self.episodes_in_buffer = max(self.episodes_in_buffer, end)
        self.buffer_index = end % self.buffer_size

    def can_sample(self, batch_size):
        return self.episodes_in_buffer >= batch_size

    def sample(self, batch_size):
        assert self.can_sample(batch_size)
        if self.episodes_in_buffer == batch_size:
            return self[:batch_size]  # views, as in stock
        return self[np.random.choice(self.episodes_in_buffer, batch_size, replace=False)]
