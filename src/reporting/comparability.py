"""What must be known to compare two rows: who sees and shares what, which evaluation counts, who chose the values."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from reporting.groups import Group, defaults_of
from reporting.runs import Run
from reporting.tables import Table

ENTRIES = ("execution", "observations", "critics", "parameters")
UNKNOWN = "not recorded"


def comparability(groups: list[Group]) -> Table:
    """One row for each method, of what its runs declared.

    Runs of earlier releases declared nothing: what today's code declares for their configuration is marked by *.
    """
    by_method: dict[str, list[Run]] = {}
    for group in groups:
        by_method.setdefault(group.method, []).extend(group.runs)
    rows = []
    for method, runs in by_method.items():
        cells = [_joined(_declared(run, entry) for run in runs) for entry in ENTRIES]
        rows.append((method, *cells, "last", _joined(map(chosen_by, runs))))
    head = ("method", *ENTRIES, "evaluation", "values of its keys")
    table = Table("Comparability", head, rows)
    if any("*" in cell for row in rows for cell in row):
        table.notes.append("*: declared by today's code; the runs are older than these declarations.")
    return table


def _joined(cells: Any) -> str:
    """The different texts of several runs, in order."""
    return "; ".join(dict.fromkeys(cells))


def _declared(run: Run, entry: str) -> str:
    if run.declared is not None:
        return str(run.declared.get(entry) or "not declared")
    found = today(run.algorithm, run.config).get(entry)
    return UNKNOWN if found is None else f"{found}*"


def chosen_by(run: Run) -> str:
    """Who chose the values of the configuration's keys: a paper, the algorithm's file, a search, a hand."""
    origin = (run.declared or {}).get("hyperparameters")
    parts = [str(origin) if origin else UNKNOWN]
    if run.config.get("hypergroup"):
        parts.append(f"a search ({run.config['hypergroup']})")
    if run.by_hand:
        parts.append(f"by hand {', '.join(run.by_hand)}")
    return " + ".join(parts)


def today(name: str, config: dict[str, Any]) -> dict[str, str | None]:
    """What today's classes declare for a configuration; empty for learners and controllers that are not ours.

    Keys that are newer than the run count at the values of the algorithm's file. Imports torch, which costs a second:
    only runs of earlier releases need it.
    """
    from controllers import REGISTRY as mac_REGISTRY
    from learners import REGISTRY as learner_REGISTRY

    learner, mac = learner_REGISTRY.get(str(config.get("learner"))), mac_REGISTRY.get(str(config.get("mac")))
    found: dict[str, str | None] = {}
    if learner is not None:
        with suppress(KeyError):  # a learner of this name in stock EPyMARL has other keys: nothing is known then
            found["critics"] = learner.critics({**defaults_of(name), **config})
    if mac is not None:
        found |= {"execution": mac.EXECUTION, "parameters": "not shared" if mac.unshared else "shared"}
    return found
