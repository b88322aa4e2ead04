"""The whole report as one HTML page that needs no other file: tables, pictures, and each run's command."""

from __future__ import annotations

import base64
import shlex
from collections.abc import Iterable
from html import escape

from reporting.assembled import Report
from reporting.tables import Table
from utils.errors import printable

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: .5rem 0 1rem; display: block; overflow-x: auto; }
th, td { border-bottom: 1px solid #ddd; padding: .25rem .7rem; text-align: left; white-space: nowrap; }
th { border-bottom: 2px solid #888; }
img { max-width: 100%; }
code { user-select: all; background: #f4f4f4; padding: .1rem .3rem; white-space: pre-wrap; }
.note { color: #555; }
"""
CAPTIONS = {
    "scores": "Scores by update: mean and range over seeds",
    "seconds": "Scores by time: mean and range over seeds",
    "targets": "How far critics disagree on the target (u_target)",
    "uncertainty": "Uncertainty by number of replaced agents (SPaCQL, Figure 2)",
    "weights": "Weights by number of replaced agents (SPaCQL, Figure 3)",
    "histogram": "ComaDICE's weights w* of logged actions",
    "heat": "Final scores",
    "profiles": "Performance profiles, with 95 % intervals",
    "budget": "Scores by online evaluations spent on choosing",
}


def page(report: Report, pictures: dict[str, bytes], title: str = "Report") -> str:
    """The page's text; everything that a run's record says is escaped."""
    parts = [f"<h1>{_text(title)}</h1>"]
    parts += [_table(table) for table in report.tables]
    for name, picture in pictures.items():
        caption = escape(CAPTIONS[name])
        source = base64.b64encode(picture).decode("ascii")
        parts.append(f'<h2>{caption}</h2>\n<img alt="{caption}" src="data:image/png;base64,{source}">')
    if report.notes:
        parts.append("<h2>Notes</h2>\n" + _notes(report.notes))
    parts.append(_runs(report))
    head = f'<meta charset="utf-8"><title>{_text(title)}</title><style>{STYLE}</style>'
    body = "\n".join(parts)
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'


def _text(text: str) -> str:
    return escape(printable(text))


def _table(table: Table) -> str:
    head = "".join(f"<th>{_text(cell)}</th>" for cell in table.head)
    rows = "\n".join("<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>" for row in table.rows)
    return f"<h2>{_text(table.title)}</h2>\n<table><tr>{head}</tr>\n{rows}</table>\n{_notes(table.notes)}"


def _notes(notes: Iterable[str]) -> str:
    return "\n".join(f'<p class="note">{_text(note)}</p>' for note in notes)


def _runs(report: Report) -> str:
    """Every run that counts, with the command to copy: a click on it selects all of it. Some have no score."""
    rows = []
    for group in (*report.groups, *report.by_data):
        for seed, run in group.by_seed().items():
            command = "not recorded" if run.command is None else f"<code>{_text(with_seed(run.command, seed))}</code>"
            score = f"{run.final[report.units[group.task]]:.1f}" if run.final else ""
            cells = "".join(
                f"<td>{_text(c)}</td>" for c in (group.task.name(), group.method, str(seed), score, run.source)
            )
            rows.append(f"<tr>{cells}<td>{command}</td></tr>")
    head = "".join(f"<th>{name}</th>" for name in ("data", "method", "seed", "final", "record", "command"))
    return f"<h2>Runs</h2>\n<table><tr>{head}</tr>\n" + "\n".join(rows) + "</table>"


def with_seed(command: str, seed: int) -> str:
    """The command of one seed: with the seed that its run drew, where it gave none or several to train together."""
    words = shlex.split(command)
    if any(word.startswith("seeds=") for word in words):
        command = shlex.join(word for word in words if not word.startswith("seeds=")).removesuffix(" with")
    if f"seed={seed}" in words:
        return command
    return f"{command} seed={seed}" if " with " in command else f"{command} with seed={seed}"
