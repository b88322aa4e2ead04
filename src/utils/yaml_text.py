"""Merging of YAML files as text, which keeps comments and sections."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce

HEADING = re.compile(r"# --- .* ---$")
KEY = re.compile(r"([A-Za-z_][\w.-]*):(\s|$)")


@dataclass
class Section:
    """The keys under one heading, in order, each with its lines: comments above it, the key, further lines."""

    heading: str
    entries: dict[str, list[str]] = field(default_factory=dict)


@dataclass
class Document:
    """A configuration file: the comment at the top, and its sections; the first section may have no heading."""

    top: list[str]
    sections: list[Section]


def flattened(texts: Sequence[str]) -> str:
    """Text of the last file, with the keys of earlier files that it does not set, and without the key `base`."""
    document = reduce(_merge, map(_parse, texts))
    blocks = ["\n".join(document.top)] if document.top else []
    for section in document.sections:
        lines = [section.heading] if section.heading else []
        blocks.append("\n".join([*lines, *(line for entry in section.entries.values() for line in entry)]))
    return "\n\n".join(blocks) + "\n"


def _parse(text: str) -> Document:
    lines = text.splitlines()
    end = next((number for number, line in enumerate(lines) if not line.startswith("#")), 0)
    if lines[end].strip() or HEADING.match(lines[0]):
        end = 0  # a comment above a key or a heading, not one about the file
    document = Document(lines[:end], [Section("")])
    above: list[str] = []  # comments that belong to the next key
    last: list[str] = []
    for line in filter(str.strip, lines[end:]):
        if HEADING.match(line):
            document.sections.append(Section(line))
        elif line.startswith("#"):
            above.append(line)
        elif key := KEY.match(line):
            document.sections[-1].entries[key.group(1)] = last = [*above, line]
            above = []
        else:
            last.append(line)  # a value's further line
    last.extend(above)
    for section in document.sections:
        section.entries.pop("base", None)
    document.sections = [section for section in document.sections if section.entries]
    return document


def _merge(base: Document, document: Document) -> Document:
    sections = [Section(section.heading, dict(section.entries)) for section in base.sections]
    for section in document.sections:
        before: str | None = None
        for key, lines in section.entries.items():
            home = next((one for one in sections if key in one.entries), None)
            if home is None:
                home = next((one for one in sections if one.heading == section.heading), None)
            if home is None:
                home = Section(section.heading)
                sections.insert(len(sections) if home.heading else 0, home)
            _set(home, key, lines, before)
            before = key
    return Document(document.top, sections)


def _set(section: Section, key: str, lines: list[str], before: str | None) -> None:
    """Replace a key, or add it: after the key `before` where the section has that, else at the end."""
    keys = list(section.entries)
    if key not in keys and before in keys:
        keys.insert(keys.index(before) + 1, key)
    elif key not in keys:
        keys.append(key)
    section.entries = {each: lines if each == key else section.entries[each] for each in keys}
