"""Files of settings, YAML and JSON, read without trust: what is not a plain mapping is refused in one sentence."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from utils.errors import ConfigError, cause, one_line, shown
from utils.files import output_error, writing_file
from utils.plain_values import key_name, plain
from utils.redact import redacted

MOST_BYTES = 200_000  # of a file of settings; the largest here has 10 000
MOST_NODES = 50_000  # values in a YAML file after its aliases are followed
LONG_TEXT = 100  # characters that count as one more value: an alias may stand for a long text, too
MERGE = "tag:yaml.org,2002:merge"
TEXT = "tag:yaml.org,2002:str"
CONFIGURATION = "a configuration must be a mapping of keys to values, such as `t_max: 1000`"
TOO_DEEP = "lists and mappings are nested too deeply; make it flatter"


class Loader(yaml.SafeLoader):
    """PyYAML's safe loader for settings: `1e-4` is a number, as in YAML 1.2, and dates stay text."""


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9]+)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping. Raises ConfigError for whatever else a file may hold, and where it cannot be read."""
    return parsed_yaml(read_text(path), path)


def read_dotted_yaml(path: Path, form: str) -> dict[str, Any]:
    """As `read_yaml`, for a file whose keys may have dots, at any depth; who uses them checks keys and values.

    form: what the file must be, for the refusal of an empty one.
    """
    text = read_text(path)
    return _mapping(lambda: _construct(text, path), path, "YAML", check=False, form=form)


def parsed_yaml(text: str, path: Path) -> dict[str, Any]:
    """The mapping that the text of a YAML file holds. Raises ConfigError as `read_yaml` does."""
    return _mapping(lambda: _construct(text, path), path, "YAML")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON mapping. Raises ConfigError for whatever else a file may hold, and where it cannot be read."""
    text = read_text(path)

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            _add(found, key, value, path)
        return found

    return _mapping(lambda: json.loads(text, object_pairs_hook=unique), path, "JSON")


def read_text(path: Path) -> str:
    """The text of a file of settings. Raises ConfigError where it is no file, too large, unreadable or not UTF-8."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # opening a pipe would wait for its writer
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ConfigError(f"{path}: this is no file but a folder, a pipe or a device; name a file of settings")
            content = os.read(descriptor, MOST_BYTES + 1)
        finally:
            os.close(descriptor)
        if len(content) > MOST_BYTES:
            raise ConfigError(f"{path}: a file of settings has at most {MOST_BYTES // 1000} kB; name another file")
        return content.decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: it cannot be read: {cause(error)}; name a file that can be read") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: byte {error.start} is not UTF-8 text; save the file as UTF-8") from error


def write_settings(path: Path, settings: Mapping[str, Any]) -> None:
    """Write settings, without credentials, as JSON or YAML by the path's suffix. Raises OutputError."""
    content = redacted(settings)
    text = json.dumps(content, indent=2, sort_keys=True) if path.suffix == ".json" else yaml.safe_dump(content)
    try:
        with writing_file(path) as file:
            file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise output_error(path, error) from error


def _mapping(
    load: Callable[[], Any], path: Path, language: str, check: bool = True, form: str = CONFIGURATION
) -> dict[str, Any]:
    try:
        content = load()
    except (yaml.YAMLError, ValueError, OverflowError, AttributeError, KeyError, IndexError) as error:
        # the last three: of the loader, for `!!timestamp x`, `!!bool x` and `!!int ''`
        raise ConfigError(f"{path}: not valid {language}: {one_line(error)}") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: {TOO_DEEP}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: {form}")
    if not check:
        return content
    try:
        return {key_name(key): plain(value, key) for key, value in content.items()}
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def _construct(text: str, path: Path) -> Any:
    loader = Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        if _expanded(node, path, {}, set()) > MOST_NODES:
            raise ConfigError(f"{path}: its aliases stand for more than {MOST_NODES} values; write what is meant")
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _expanded(node: yaml.Node, path: Path, sizes: dict[int, int], above: set[int]) -> int:
    """Number of values that a node stands for once its aliases are followed; refuses what cannot be a setting.

    Every `LONG_TEXT` characters of a text count as one more.
    """
    if id(node) in sizes:
        return sizes[id(node)]
    if id(node) in above:
        raise ConfigError(f"{path}: an alias refers to what it is in; write the value in its place")
    size = 1
    if isinstance(node, yaml.ScalarNode):
        size += len(node.value) // LONG_TEXT
    else:
        above.add(id(node))
        if isinstance(node, yaml.MappingNode):
            seen: dict[str, Any] = {}
            for key, value in node.value:
                if key.tag != MERGE:
                    text = key.value if isinstance(key, yaml.ScalarNode) else type(key).__name__
                    if key.tag != TEXT:
                        raise ConfigError(f"{path}: the key {shown(text)} is not text; write it in quotes")
                    _add(seen, text, (value.tag, value.value), path)
                    size += len(text) // LONG_TEXT
                size += _expanded(value, path, sizes, above)
        else:
            size += sum(_expanded(value, path, sizes, above) for value in node.value)
        above.discard(id(node))
    sizes[id(node)] = size
    return size


def _add(found: dict[str, Any], key: str, value: Any, path: Path) -> None:
    """Add an entry. A key may occur twice with one value, as `use_rnn` does in stock EPyMARL's vdn.yaml."""
    if key in found and found[key] != value:
        raise ConfigError(f"{path}: the key '{shown(key)}' occurs twice with two values; give it once")
    found[key] = value
