"""All that the doctor looks at in a sound dataset."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from datasets.dataset import OfflineDataset
from datasets.doctor.actions import find_actions
from datasets.doctor.agents import find_swaps
from datasets.doctor.columns import find_columns
from datasets.doctor.duplicates import find_duplicates
from datasets.doctor.finding import Finding
from datasets.doctor.recommend import find_refusals, recommend
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


def full_findings(dataset: OfflineDataset, refusals: Mapping[str, str | None]) -> list[Finding]:
    """Findings with coverage, kappa, a recommendation and refusals: about half a minute.

    refusals: why each algorithm's configuration would refuse the dataset, None where it would not.
    """
    from datasets.doctor.coverage import find_coverage  # torch, which the other commands do without
    from datasets.doctor.kappa import find_correlation

    findings = [*quick_findings(dataset), find_coverage(dataset), find_correlation(dataset)]
    discrete = dataset.card["action_space"] == "discrete"
    return [*findings, recommend(as_json(findings), discrete), find_refusals(refusals)]


def as_json(findings: list[Finding]) -> dict[str, Any]:
    """Values of findings by name."""
    return {finding.name: finding.values for finding in findings}


def as_lines(findings: list[Finding]) -> list[str]:
    """Lines of findings, for people."""
    return [f"  {line}" for finding in findings for line in finding.lines]
