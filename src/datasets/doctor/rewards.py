"""Rewards: whether they are the team's or each agent's own."""

from __future__ import annotations

import numpy as np

from datasets.dataset import OfflineDataset
from datasets.doctor.finding import Finding, step_rows


def find_rewards(dataset: OfflineDataset) -> Finding:
    """Share of steps on which all agents have the same reward, and of steps without one."""
    reward = dataset.arrays["reward"][step_rows(dataset)]  # (T, N)
    unequal = float((reward != reward[:, :1]).any(1).mean())
    zero = float((reward == 0).all(1).mean())
    values = {
        "equal_over_agents": unequal == 0,
        "unequal_steps": unequal,
        "zero_steps": zero,
        "constant": bool((reward == reward[0]).all()),
        "mean_by_agent": reward.mean(0, dtype=np.float64).tolist(),
    }
    line = (
        "rewards: equal over agents on every step"
        if unequal == 0
        else f"rewards: differ over agents on {unequal:.2%} of steps"
    )
    if dataset.n_agents == 1:
        line = "rewards: of one agent"
    lines = [f"{line}; {zero:.2%} of steps have none"]
    if values["constant"]:
        lines.append("every step has the same reward: there is nothing to learn but imitation")
    return Finding("rewards", values, tuple(lines))
