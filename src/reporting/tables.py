"""Tables as Markdown, LaTeX and CSV, the first within the width of a terminal."""

from __future__ import annotations

import csv
import io
import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from utils.errors import printable

WIDTH = 100


@dataclass
class Table:
    """A title, a head, rows of as many cells, and sentences below. keys: leading columns that say what a row is of."""

    title: str
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    keys: int = 1
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        assert all(len(row) == len(self.head) for row in self.rows), self.title


def slim(table: Table, column: str = "variant") -> Table:
    """The table without one of its columns where all of that column's cells are empty."""
    place = table.head.index(column)
    if any(row[place] for row in table.rows):
        return table

    def without(row: tuple[str, ...]) -> tuple[str, ...]:
        return row[:place] + row[place + 1 :]

    keys = table.keys - (place < table.keys)
    return Table(table.title, without(table.head), [*map(without, table.rows)], keys, table.notes)


def markdown(tables: Iterable[Table], notes: Sequence[str] = (), width: int = WIDTH) -> str:
    """The tables under their titles. A table that is too wide goes on below, its leading columns repeated."""
    blocks = []
    for table in tables:
        parts = split(table, width)
        blocks.append("\n\n".join([f"## {table.title}", *("\n".join(_lines(part)) for part in parts)]))
        blocks += ["\n".join(line for note in table.notes for line in wrapped(note, width))] if table.notes else []
    if notes:
        blocks.append("\n\n".join(["## Notes", "\n".join(line for note in notes for line in wrapped(note, width))]))
    return "\n\n".join(blocks) + "\n"


def wrapped(note: str, width: int) -> list[str]:
    """A note as an item of a list."""
    lines = textwrap.wrap(printable(note), width - 2, break_long_words=False, break_on_hyphens=False)
    return [("- " if number == 0 else "  ") + line for number, line in enumerate(lines)]


def _lines(table: Table) -> list[str]:
    rows = [[cell.replace("|", "\\|") for cell in map(printable, row)] for row in [table.head, *table.rows]]
    widths = [max(len(row[column]) for row in rows) for column in range(len(table.head))]
    shown = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    return [shown[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *shown[1:]]


def split(table: Table, width: int) -> list[Table]:
    """The table cut between columns so that each part fits, where single columns do."""

    def room(columns: Iterable[int]) -> int:
        return 1 + sum(max(len(row[column]) for row in [table.head, *table.rows]) + 3 for column in columns)

    keys = list(range(table.keys))
    parts, current = [], list(keys)
    for column in range(table.keys, len(table.head)):
        if len(current) > len(keys) and room([*current, column]) > width:
            parts.append(current)
            current = list(keys)
        current.append(column)
    parts.append(current)

    def taken(row: Sequence[str], columns: list[int]) -> tuple[str, ...]:
        return tuple(row[column] for column in columns)

    return [
        Table(table.title, taken(table.head, part), [taken(row, part) for row in table.rows], table.keys)
        for part in parts
    ]


_SPECIAL = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$",
            **{sign: f"\\{sign}" for sign in "&%$#_{}"}}  # fmt: skip


def latex_text(text: str) -> str:
    """Text that LaTeX shows as it is."""
    return "".join(_SPECIAL.get(char, char) for char in printable(text))


def latex(tables: Iterable[Table], notes: Sequence[str] = ()) -> str:
    """The tables for a paper, with booktabs' rules."""
    blocks = [r"% needs \usepackage{booktabs}"]
    for table in tables:
        rows = [" & ".join(map(latex_text, row)) + r" \\" for row in [table.head, *table.rows]]
        columns = "l" * table.keys + "r" * (len(table.head) - table.keys)
        label = re.sub(r"[^a-z]+", "-", table.title.lower()).strip("-")
        blocks.append("\n".join([
            r"\begin{table}", r"\centering", rf"\caption{{{latex_text(' '.join([table.title + '.', *table.notes]))}}}",
            rf"\label{{tab:{label}}}", rf"\begin{{tabular}}{{{columns}}}", r"\toprule", rows[0], r"\midrule", *rows[1:],
            r"\bottomrule", r"\end{tabular}", r"\end{table}",
        ]))  # fmt: skip
    blocks += [f"% {printable(note)}" for note in notes]
    return "\n\n".join(blocks) + "\n"


def comma_separated(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """One table as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return text.getvalue()
