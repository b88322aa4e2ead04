"""The finding about kappa: how far the joint behaviour is from agents that act independently of each other."""

from __future__ import annotations

import numpy as np

from datasets.bounds import bounds_of
from datasets.dataset import OfflineDataset
from datasets.doctor.correlation import FEWEST_EPISODES, Behaviour, Effort, excess_correlation
from datasets.doctor.finding import Finding, step_episodes, step_rows
from datasets.hdf5 import any_row

_MOST_ROWS = 150_000  # that are copied from the dataset


def find_correlation(dataset: OfflineDataset, effort: Effort | None = None) -> Finding:
    """Kappa over the data's states, over the tenth of them where it is largest, and what it rests on.

    The values are those of `ExcessCorrelation`, or `reason` where nothing was estimated.
    """
    found = excess_correlation(behaviour_of(dataset), effort=effort)
    if found is None:
        reason = "there is one agent" if dataset.n_agents < 2 else "fewer than 10 episodes leave none to be held out"
        return Finding("kappa", {"reason": reason}, (f"excess correlation kappa: not estimated, as {reason}",))
    low, high = found.interval
    top_low, top_high = found.top_interval
    lines = [
        f"excess correlation kappa, mean over states: {found.mean:.3f} (95 % interval {low:.3f} to {high:.3f}, "
        f"permutation test p = {found.p_value:.3f})",
        f"kappa in the tenth of states where it is largest: {found.top:.3f} ({top_low:.3f} to {top_high:.3f})",
        f"from {found.train_rows} rows to fit and {found.held_out_rows} rows of {found.held_out_episodes} held-out "
        f"episodes, out of {dataset.n_transitions}",
    ]
    if found.doubtful:
        lines.append(
            "actions follow from the state nearly without noise: errors of the fit can look like correlation, so take "
            "this kappa for an upper bound"
        )
    return Finding("kappa", found.values(), tuple(lines))


def behaviour_of(dataset: OfflineDataset) -> Behaviour:
    """A dataset's steps, or some of them where there are many: all that it holds of the state, and the actions.

    Whole episodes are left out where at least 10 remain, else steps of all episodes.
    """
    rows, episodes, arrays = step_rows(dataset), step_episodes(dataset), dataset.arrays
    if len(rows) > _MOST_ROWS:
        share = _MOST_ROWS / len(rows)
        rng = np.random.default_rng(0)
        whole = rng.random(dataset.n_episodes) < share  # (E,)
        if whole.sum() >= FEWEST_EPISODES:
            kept = np.flatnonzero(whole[episodes])
        else:
            kept = np.sort(rng.choice(len(rows), _MOST_ROWS, replace=False))
        rows, episodes = rows[kept], episodes[kept]
    seen = [arrays["obs"][rows].reshape(len(rows), -1)]  # (T, N O)
    if "state" in arrays:
        seen.append(arrays["state"][rows])  # (T, S)
    states, actions = np.concatenate(seen, 1), arrays["actions"][rows]
    if dataset.card["action_space"] == "continuous":
        low, high = bounds_of(dataset.card, dataset.n_agents)  # (N, A) each
        width = high - low
        if "avail_actions" in arrays:  # an agent that lacks a dimension may share the others' bounds
            width = width * any_row(arrays["avail_actions"])
        return Behaviour(states, actions, episodes, actions.shape[-1], width=width)
    available = arrays["avail_actions"][rows] > 0 if "avail_actions" in arrays else None  # (T, N, n_actions)
    return Behaviour(states, actions, episodes, int(dataset.card["n_actions"]), available)
