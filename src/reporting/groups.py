"""Runs that may be averaged: of one algorithm, on one task, with no key of the configuration that differs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from reporting.runs import Run, flat, text_of
from reporting.sacred_runs import BOOKKEEPING
from utils.config import CONFIG, algorithm, config_names, read_yaml

ABSENT = "absent"  # of a key that a run's configuration lacks
QUALITIES = ("random", "medium-replay", "medium", "medium-expert", "expert", "good", "poor")


@dataclass(frozen=True, order=True)
class Task:
    """What is learned, and from which data; None for what there is none of.

    checksum: the data's where its name is a path, which may differ between machines.
    """

    environment: str
    dataset: str

    def name(self) -> str:
        """For tables."""
        return self.dataset or self.environment


@dataclass(frozen=True, eq=False)
class Group:
    """Runs that differ in their seeds alone. keys: those in which other runs of the algorithm differ, with values."""

    task: Task
    algorithm: str
    keys: tuple[tuple[str, str], ...]
    runs: tuple[Run, ...]

    @property
    def variant(self) -> str:
        """What tells it from other groups of its algorithm."""
        return " ".join(f"{key}={value}" for key, value in self.keys)

    @property
    def method(self) -> str:
        """Algorithm and variant."""
        return f"{self.algorithm} {self.variant}".strip()

    def by_seed(self) -> dict[int, Run]:
        """The runs by their seeds, in order."""
        return {run.seed: run for run in sorted(self.runs, key=lambda run: run.seed)}


def task_of(run: Run) -> Task:
    """A run's task. A file outside offline_data/ is the same data as another one where their checksums agree."""
    dataset = run.dataset or ""
    if dataset.endswith((".h5", ".hdf5")):
        dataset = f"{Path(dataset).stem} ({run.checksum[:8]})" if run.checksum else dataset
    return Task(run.environment or "", dataset)


def compared(run: Run, ignored: frozenset[str] = frozenset()) -> dict[str, str]:
    """What may tell a run from others of its algorithm on its task, as text by key."""
    own = flat(run.config)
    return {key: text_of(value) for key, value in own.items() if key not in BOOKKEEPING and key not in ignored}


def grouped(runs: Iterable[Run], ignored: Iterable[str] = ()) -> tuple[list[Group], list[str]]:
    """The groups in their order for tables, runs by their seeds, and notes on keys that some runs lack.

    A key that is newer than a run counts at the value that the algorithm's file gives it today; the note says so.
    ignored: keys in which runs may differ.
    """
    by_task: dict[tuple[str, Task], list[Run]] = defaultdict(list)
    for run in runs:
        by_task[run.algorithm, task_of(run)].append(run)
    values: dict[Run, dict[str, str]] = {}
    filled: dict[str, set[str]] = defaultdict(set)
    differing: dict[str, set[str]] = defaultdict(set)
    for (name, _), members in by_task.items():
        found = {run: compared(run, frozenset(ignored)) for run in members}
        every = {key for own in found.values() for key in own}
        for own in found.values():
            for key in every - own.keys():
                own[key] = text_of(defaults_of(name)[key]) if key in defaults_of(name) else ABSENT
                if own[key] != ABSENT:
                    filled[name].add(key)
        differing[name] |= {key for key in every if len({own[key] for own in found.values()}) > 1}
        values |= found
    groups = []
    for (name, task), members in by_task.items():
        columns = sorted(differing[name])
        split: dict[tuple[tuple[str, str], ...], list[Run]] = defaultdict(list)
        for run in members:
            split[tuple((key, values[run].get(key, ABSENT)) for key in columns)].append(run)
        groups += [Group(task, name, keys, tuple(sorted(own, key=_place))) for keys, own in split.items()]
    notes = [
        f"{name}: some runs are older than {', '.join(sorted(keys))}; counted at today's value of the algorithm's file"
        for name, keys in sorted(filled.items())
    ]
    return sorted(groups, key=order_of), notes


def _place(run: Run) -> tuple[int, str, str]:
    """A run's place in its row. Bootstraps draw by it, so it must not depend on where and when runs were found."""
    return run.seed, run.started or "", run.source


def order_of(group: Group) -> tuple[Any, ...]:
    """The place in a table: by environment, quality of the data, algorithm, variant."""
    return (group.task.environment, *quality_of(group.task), group.task.dataset, group.algorithm, group.keys)


def quality_of(task: Task) -> tuple[int, str]:
    """The quality that a dataset's name tells, with its usual place; the place of others is behind."""
    last = task.dataset.partition(" (")[0].rpartition("/")[2]  # a file's name has its checksum behind it
    known = [name for name in QUALITIES if last.startswith(f"{name}-") or f"-{last}".endswith(f"-{name}")]
    name = max(known, key=len, default="")
    return (QUALITIES.index(name) if name else len(QUALITIES), name)


@cache
def defaults_of(name: str) -> dict[str, Any]:
    """What the algorithm's file and config/default.yaml give to keys today; empty for an unknown algorithm."""
    if name not in config_names("algs"):
        return {}
    return flat({**read_yaml(CONFIG / "default.yaml"), **algorithm(name)})


def differing_between_tasks(groups: list[Group]) -> dict[str, dict[str, list[str]]]:
    """Keys in which a method's runs differ between tasks, such as values that suit a dataset: by method, by key.

    The values are in the order of the tasks.
    """
    by_method: dict[str, list[Group]] = defaultdict(list)
    for group in groups:
        by_method[group.method].append(group)
    found: dict[str, dict[str, list[str]]] = {}
    for method, members in by_method.items():
        own = [compared(group.runs[0]) for group in members]
        keys = sorted({key for values in own for key in values})
        lists = {key: [values.get(key, ABSENT) for values in own] for key in keys}
        lists = {key: values for key, values in lists.items() if len(set(values) - {ABSENT}) > 1}
        if lists:
            found[method] = lists
    return found
