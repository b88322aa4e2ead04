"""Old names of keys: former names of a learner's keys (`ALIASES`), and keys that were removed (`REMOVED`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from utils.errors import ConfigError
from utils.keys import inherited

Say = Callable[[str], None]


def _say_nothing(line: str) -> None:
    """Ignore a message."""


@dataclass(frozen=True)
class OldNames:
    """The old names that one learner understands.

    aliases: old name -> current name. removed: key -> why it has no effect any more. say: called with a message about
    each old name in a layer.
    """

    aliases: Mapping[str, str] = field(default_factory=dict)
    removed: Mapping[str, str] = field(default_factory=dict)
    say: Say = _say_nothing

    def today(self, layer: Mapping[str, Any], source: str) -> dict[str, Any]:
        """Return a layer of a configuration with current names and without removed keys.

        source: the layer's name, for messages. Raises ConfigError where a key has two values, one under each name.
        """
        for old, new in self.aliases.items():
            if old in layer and new in layer and layer[old] != layer[new]:
                raise ConfigError(
                    f"{source}: {old}={layer[old]} and {new}={layer[new]} are one key with two values; give {new} only"
                )
            if old in layer:
                self.say(f"{source}: {old}={layer[old]} sets {new}, which is what this learner calls the key")
        for key, reason in self.removed.items():
            if key in layer:
                self.say(f"{source}: {key}={layer[key]} has no effect: {reason}")
        return self.stored(layer)

    def stored(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return settings, such as a checkpoint's, with current names and without removed keys."""
        return renamed({key: value for key, value in settings.items() if key not in self.removed}, self.aliases)

    def completed(self, config: dict[str, Any]) -> dict[str, Any]:
        """Return a whole configuration with the current name added where it has only the old one."""
        missing = {new: config[old] for old, new in self.aliases.items() if old in config and new not in config}
        return config | missing


def renamed(settings: Mapping[str, Any], aliases: Mapping[str, str]) -> dict[str, Any]:
    """Return settings with current names; a value under the current name takes precedence."""
    today = {key: value for key, value in settings.items() if key not in aliases}
    return {new: settings[old] for old, new in aliases.items() if old in settings} | today


def old_names(learner: Any, say: Say = _say_nothing) -> OldNames:
    """Old names that a learner's class declares; none for None and for a class without them, such as a stock one."""
    return OldNames(inherited(learner, "ALIASES"), inherited(learner, "REMOVED"), say)
