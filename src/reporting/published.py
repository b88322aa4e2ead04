"""Published results beside ours: `--paper NAME`, from the files in papers/."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

from reporting.groups import Group, Task, quality_of
from reporting.numbers import by_rule, signed, student_interval
from reporting.runs import ReportError
from reporting.tables import Table
from utils.errors import nearest

PAPERS = Path(__file__).parent / "papers"


def paper_names() -> list[str]:
    """The papers whose numbers are known."""
    return sorted(path.stem for path in PAPERS.glob("*.json"))


def beside_paper(name: str, groups: list[Group], units: dict[Task, str]) -> Table:
    """Our rows that the paper has too: both means, their difference, overlap of the 95 % intervals, the best known.

    Raises ReportError for an unknown paper, and where it has none of these rows.
    """
    if name not in paper_names():
        raise ReportError(f"--paper {name}: its numbers are not known; {nearest(name, paper_names())}")
    paper = json.loads((PAPERS / f"{name}.json").read_text(encoding="utf-8"))
    rows: list[tuple[str, ...]] = []
    for group in groups:
        row = row_of(paper, group.task)
        if row is None or group.algorithm not in row["scores"] or units[group.task] != paper["unit"]:
            continue
        mean, deviation = row["scores"][group.algorithm]
        ours = by_rule(group, "final", paper["unit"])
        limits = student_interval(ours.mean, ours.std, ours.n)
        theirs = student_interval(mean, sample_deviation(paper, deviation), paper["seeds"])
        overlap = "not known"
        if limits is not None and theirs is not None:
            overlap = "yes" if limits[0] <= theirs[1] and theirs[0] <= limits[1] else "no"
        published = f"{mean:.1f}" + ("" if deviation is None else f" ± {deviation:.1f}")
        numbers = str(ours), published, signed(ours.mean - mean)
        rows.append((group.task.name(), group.method, str(ours.n), *numbers, overlap, row.get("best", "")))
    if not rows:
        raise ReportError(
            f"--paper {name}: it has no {paper['unit']} of any of these tasks and algorithms; leave --paper out"
            + (", or --raw" if paper["unit"] != "return" else ", or add --raw")
        )
    head = ("data", "method", "n", "ours", "paper", "difference", "overlap", "best known")
    of_seeds = "the standard deviation of its seeds"
    if paper.get("population"):
        of_seeds += f" as a population (divided by {paper['seeds']}), and the interval takes that of a sample"
    notes = [
        f"{paper['title']}, {paper['source']}, {paper['seeds']} seeds. Overlap: of the 95 % intervals of both means by "
        f"Student's t; the paper's ± is taken for {of_seeds}.",
        *paper["notes"],
        "Best known: the highest published number that we know of, of policies that act on their own observations; on "
        "the published files, and not checked by us.",
    ]
    return Table(f"Beside the paper, {paper['unit']}", head, rows, keys=2, notes=notes)


def sample_deviation(paper: dict[str, Any], deviation: float | None) -> float | None:
    """The sample standard deviation of a paper's seeds, from its ±.

    Where the paper's file says `population`, the ± divides by the number of seeds and not by one less.
    """
    if deviation is None or not paper.get("population"):
        return deviation
    return deviation * math.sqrt(paper["seeds"] / (paper["seeds"] - 1))


def row_of(paper: dict[str, Any], task: Task) -> dict[str, Any] | None:
    """The paper's row for a task: one of the row's names is a part of the dataset's or environment's name."""
    words = set(re.split(r"[/ ().]+", f"{task.environment}/{task.dataset}".lower()))
    quality = quality_of(task)[1]
    rows: list[dict[str, Any]] = paper["rows"]
    return next((row for row in rows if quality == row["quality"] and not words.isdisjoint(row["match"])), None)
