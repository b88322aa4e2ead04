"""What a configuration's values may be: what JSON can record, within what 64 bits hold."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from utils.errors import ConfigError, shown
from utils.paths import is_unicode

LARGEST = 2**63  # whole numbers lie below this, as in the arrays and files that they end in
DEEPEST = 20  # lists and mappings in one another
_NUMBER = re.compile(r"[+-]?(?:\d[\d_]*(?:\.[\d_]*)?|\.\d[\d_]*)(?:e[+-]?\d{1,4})?", re.IGNORECASE | re.ASCII)
_NAME = re.compile(r"[^$.\x00-\x1f\x7f][^.\x00-\x1f\x7f]*")


def plain(value: Any, name: str, depth: int = 0) -> Any:
    """A copy of a value of `name`: None, True, False, numbers, text, and lists and mappings of these; tuples are lists.

    Raises ConfigError for a value of another kind, for a number that no record can hold, for text that is not Unicode,
    and for a mapping's key that is no plain name, as Sacred, JSON and MongoDB need it.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        if not -LARGEST <= value < LARGEST:
            raise ConfigError(f"{name}={shown(value)}: this number needs more than 64 bits; give a smaller one")
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ConfigError(f"{name}={value}: this is no finite number; give one, such as 1e9 for a very large one")
        return value
    if isinstance(value, str):
        if "\0" in value or not is_unicode(value):
            raise ConfigError(f"{name}={shown(value)}: this text holds characters that no record can; leave them out")
        return value
    if depth >= DEEPEST:
        raise ConfigError(f"{name}: lists and mappings are nested more than {DEEPEST} deep; make it flatter")
    if isinstance(value, list | tuple):
        return [plain(each, f"{name}[{place}]" if depth < 2 else name, depth + 1) for place, each in enumerate(value)]
    if isinstance(value, Mapping):
        return {key_name(key, name): plain(each, f"{name}.{key}", depth + 1) for key, each in value.items()}
    raise ConfigError(
        f"{name}={shown(value)}: a value of the type {type(value).__name__} cannot be recorded; give a number, text, "
        "True, False, None, a list or a mapping"
    )


def key_name(key: Any, owner: str = "") -> str:
    """Return a configuration's key, or one of the mapping `owner`. Raises ConfigError for what cannot be one."""
    where = f"{owner}: " if owner else ""
    if not isinstance(key, str):
        raise ConfigError(f"{where}the key {shown(key)} is not text; write it in quotes")
    # Sacred gives a meaning of its own to `__doc__`, and its serialiser to py/ and json://
    if not _NAME.fullmatch(key) or key.startswith(("py/", "json://", "__")) or not is_unicode(key):
        raise ConfigError(
            f"{where}'{shown(key)}' cannot be a key; a key is a name such as env_args, without a dot in it"
        )
    return key


def spelled(value: Any) -> Any:
    """The number that a text spells as Python does (`12`, `1e3`, `1_000`); any other value as it is."""
    if not isinstance(value, str) or len(value) > 400 or not _NUMBER.fullmatch(value.strip()):
        return value
    try:
        return int(value)
    except ValueError:
        pass
    try:
        return float(value)
    except ValueError:  # underscores where Python takes none
        return value


def whole(value: Any) -> Any:
    """A float without a fraction as the integer that it is; any other value as it is."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < LARGEST else value
