"""Tables of declared keys in the documentation: `python tests/key_tables.py --write` brings them up to date.

A page holds `<!-- keys: NAME -->` and `<!-- end -->`; what stands between them is replaced. NAME: an algorithm's
configuration, for the keys that its learner declares; `run`, for those of every run; `learners`, for all learners.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from learners import REGISTRY
from tests import learner_table
from utils.config import CONFIG, algorithm, flattened_yaml, read_yaml
from utils.errors import UserError
from utils.keys import Keys, inherited
from utils.run_keys import RUN_KEYS

ROOT = Path(__file__).resolve().parents[1]
MARKED = re.compile(r"(<!-- keys: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)
HEAD = "| key | values | default | meaning |\n|---|---|---|---|"


def comments(text: str) -> dict[str, str]:
    """The comment behind each top-level key of a YAML file."""
    return dict(re.findall(r"^(\w+):.*? # (.*)$", text, re.MULTILINE))


def begins_with(comment: str, meaning: str) -> bool:
    """Whether a comment is the meaning, or the meaning and then what is special in its file."""
    return comment.startswith(meaning) and re.match(r"$|;|:| \(", comment[len(meaning) :]) is not None


def declared(name: str) -> tuple[Keys, dict[str, Any], dict[str, str]]:
    """The declarations that a table shows, with the values and the comments of their configuration file."""
    if name == "run":
        return RUN_KEYS, read_yaml(CONFIG / "default.yaml"), comments((CONFIG / "default.yaml").read_text())
    config = algorithm(name)
    return inherited(REGISTRY[config["learner"]], "KEYS"), config, comments(flattened_yaml(name))


def table(name: str) -> str:
    """The Markdown table of an algorithm's keys, of those of every run, or of all learners."""
    if name == "learners":
        return learner_table.table()
    keys, values, remarks = declared(name)
    rows = [HEAD]
    for key, declaration in keys.items():
        default = f"`{values[key]}`" if values.get(key, "") != "" else ""
        cells = [f"`{key}`", str(declaration), default, remarks.get(key, declaration.meaning)]
        rows.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def rewritten(page: str) -> str:
    """A page's text with its tables up to date."""
    return MARKED.sub(lambda found: f"{found[1]}\n{table(found[2])}\n{found[3]}", page)


def pages() -> list[Path]:
    """Every page of the documentation that has a table."""
    return [path for path in sorted((ROOT / "docs").rglob("*.md")) if MARKED.search(path.read_text())]


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit("usage: python tests/key_tables.py --write")
    try:
        texts = {path: rewritten(path.read_text()) for path in pages()}
    except UserError as error:
        sys.exit(str(error))
    for path, text in texts.items():
        path.write_text(text)
        print(path.relative_to(ROOT))
