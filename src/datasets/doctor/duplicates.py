"""Episodes that occur more than once."""

from __future__ import annotations

import hashlib

import numpy as np

from datasets.dataset import OfflineDataset
from datasets.doctor.finding import Finding, listed

_SHOWN = 100


def find_duplicates(dataset: OfflineDataset) -> Finding:
    """Episodes whose observations, states, actions and rewards are those of an earlier one, bit for bit."""
    first: dict[bytes, int] = {}
    pairs: list[tuple[int, int]] = []
    offsets = dataset.episode_offsets
    arrays = [dataset.arrays[key] for key in ("obs", "state", "actions", "reward") if key in dataset.arrays]
    for episode, (start, stop) in enumerate(zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)):
        digest = hashlib.blake2b(digest_size=16)
        for array in arrays:
            # without the final row's action, which one of two copies may not know
            rows = array[start : stop - 1] if array is dataset.arrays["actions"] else array[start:stop]
            digest.update(np.ascontiguousarray(rows).data)
        earlier = first.setdefault(digest.digest(), episode)
        if earlier != episode:
            pairs.append((episode, earlier))
    values = {
        "duplicated_episodes": len(pairs),
        "distinct_episodes": dataset.n_episodes - len(pairs),
        "pairs": [list(pair) for pair in pairs[:_SHOWN]],
    }
    if not pairs:
        return Finding("duplicates", values, ("duplicated episodes: none",))
    named = listed([f"{episode} (as {earlier})" for episode, earlier in pairs], 5)
    line = (
        f"duplicated episodes: {len(pairs)} of {dataset.n_episodes} are the same as an earlier one: {named}; held-out "
        "losses and intervals take them for independent"
    )
    return Finding("duplicates", values, (line,))
