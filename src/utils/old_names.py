"""Old names of keys: what a learner's keys were called before (`ALIASES`), and which are gone (`REMOVED`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from utils.errors import ConfigError
from utils.keys import inherited

Say = Callable[[str], None]


def _say_nothing(line: str) -> None:
    """For those who need not know."""


@dataclass(frozen=True)
class OldNames:
    """The old names that one learner understands.

    aliases: old name -> today's name. removed: key -> why it has no effect any more. say: takes a line about each old
    name that a layer has.
    """

    aliases: Mapping[str, str] = field(default_factory=dict)
    removed: Mapping[str, str] = field(default_factory=dict)
    say: Say = _say_nothing

    def today(self, layer: Mapping[str, Any], source: str) -> dict[str, Any]:
        """One layer of a configuration under today's names, without what is gone.

        source: where the layer is from. Raises ConfigError where it gives a key two values, one under each name.
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
        """Settings, such as a checkpoint's, under today's names, without what is gone."""
        return renamed({key: value for key, value in settings.items() if key not in self.removed}, self.aliases)

    def completed(self, config: dict[str, Any]) -> dict[str, Any]:
        """A whole configuration, with the new name beside every old one that it has without the new one."""
        missing = {new: config[old] for old, new in self.aliases.items() if old in config and new not in config}
        return config | missing


def renamed(settings: Mapping[str, Any], aliases: Mapping[str, str]) -> dict[str, Any]:
    """Settings under today's names: an old name's value goes to the new one, unless that has a value already."""
    today = {key: value for key, value in settings.items() if key not in aliases}
    return {new: settings[old] for old, new in aliases.items() if old in settings} | today


def old_names(learner: Any, say: Say = _say_nothing) -> OldNames:
    """What a learner's class declares. None, and classes that declare nothing, such as stock EPyMARL's, have none."""
    return OldNames(inherited(learner, "ALIASES"), inherited(learner, "REMOVED"), say)
