"""The report as one HTML page that needs no other file: findings, pictures, and the text of the command."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from html import escape
from pathlib import Path

from datasets.doctor.examine import as_json
from datasets.doctor.finding import Finding
from datasets.doctor.pictures import pictures
from utils.errors import ConfigError, printable
from utils.files import output_error, writing_file
from utils.paths import user_path

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color: #222; }
li { margin: .2rem 0; }
img { max-width: 100%; }
pre { background: #f4f4f4; padding: .6rem; overflow-x: auto; font-size: 12px; }
"""
HEADINGS = {
    "returns": "Returns", "lengths": "Lengths", "ends": "Ends", "actions": "Actions", "rewards": "Rewards",
    "duplicates": "Duplicates", "columns": "Columns", "agents": "Order of agents", "coverage": "Coverage",
    "kappa": "Excess correlation", "recommendation": "Recommendation", "refusals": "What each learner says",
}  # fmt: skip


def page_path(text: str) -> Path:
    """Where the page goes. Raises ConfigError for what is no file of that kind: a page must not replace a dataset."""
    path = user_path(text, "--html", written=True)
    if path.suffix != ".html":
        raise ConfigError(f"--html={printable(text)}: the page is an HTML file; give a name that ends in .html")
    return path


def write_page(path: Path, title: str, findings: list[Finding], report: Iterable[str]) -> None:
    """Write the page; a file at `path` is replaced. Raises OutputError where it cannot be written."""
    text = page(title, findings, report)
    try:
        with writing_file(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise output_error(path, error) from error


def page(title: str, findings: list[Finding], report: Iterable[str]) -> str:
    """The page's text; everything that a file says is escaped. report: lines of the text report."""
    # what a user wants to know first
    order = sorted(findings, key=lambda finding: finding.name != "recommendation")
    parts = [f"<h1>{_text(title)}</h1>"]
    for finding in order:
        items = "".join(f"<li>{_text(line)}</li>" for line in finding.lines)
        parts.append(f"<h2>{HEADINGS[finding.name]}</h2>\n<ul>{items}</ul>")
    if findings:
        for caption, picture in pictures(as_json(findings)):
            source = base64.b64encode(picture).decode("ascii")
            parts.append(
                f'<h2>{escape(caption)}</h2>\n<img alt="{escape(caption)}" src="data:image/png;base64,{source}">'
            )
    parts.append("<h2>Report</h2>\n<pre>" + "\n".join(_text(line) for line in report) + "</pre>")
    head = f'<meta charset="utf-8"><title>{_text(title)}</title><style>{STYLE}</style>'
    body = "\n".join(parts)
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'


def _text(text: str) -> str:
    return escape(printable(text))
