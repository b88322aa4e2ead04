"""All that the doctor looks at in a sound dataset."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from datasets.dataset import OfflineDataset
from datasets.doctor.actions import find_actions
from datasets.doctor.agents import find_swaps
from datasets.doctor.columns import find_columns
from datasets.doctor.duplicates import find_duplicates
from datasets.doctor.finding import Finding
from datasets.doctor.returns import find_ends, find_lengths, find_returns
from datasets.doctor.rewards import find_rewards

QUICK: tuple[Callable[[OfflineDataset], Finding], ...] = (
    find_returns,
    find_lengths,
    find_ends,
    find_actions,
    find_rewards,
    find_duplicates,
    find_columns,
    find_swaps,
)


def quick_findings(dataset: OfflineDataset) -> list[Finding]:
    """Findings that need no fit and no neighbours: seconds for a million transitions."""
    return [find(dataset) for find in QUICK]


def as_json(findings: list[Finding]) -> dict[str, Any]:
    """Values of findings by name."""
    return {finding.name: finding.values for finding in findings}


def as_lines(findings: list[Finding]) -> list[str]:
    """Lines of findings, for people."""
    return [f"  {line}" for finding in findings for line in finding.lines]
