"""What a command line gives and its run does not read: named in one line as the run begins."""

from __future__ import annotations

from collections.abc import Iterable

from loops.configured import learner_class
from loops.rehearsal import resolved_choices
from loops.resolve import resolved_outputs
from utils.config import Config
from utils.errors import UserError, shown
from utils.keys import Keys, inherited
from utils.old_names import old_names
from utils.overrides import overrides
from utils.shown_config import unread


def unread_warning(config: Config, words: Iterable[str], run: str) -> str | None:
    """A sentence that names the keys which the words give and the run does not read, None where it reads all.

    config: the run's, checked. words: those after `with`; files of overrides are not looked at, for one may serve many
    runs. run: how the run is called, such as its algorithm.
    """
    learner = learner_class(config["learner"])
    typed = old_names(learner).stored(overrides(word for word in words if "=" in word))
    # None asks for nothing: `dataset=None` says that there is none.
    left = [key for key in unread_keys(config, inherited(learner, "KEYS"), typed) if config.get(key) is not None]
    if not left:
        return None
    entries = [f"{key}={shown(config[key])}" for key in left]
    named = " and ".join([", ".join(entries[:-1]), entries[-1]] if entries[1:] else entries)
    return f"{named} {'are' if entries[1:] else 'is'} given and not read by this run of {run}"


def unread_keys(config: Config, own: Keys, typed: Config) -> list[str]:
    """As `utils.shown_config.unread`; the run's kind of actions is looked up only where it makes a difference."""
    types = config["agent_output_type"], config["action_selector"]
    first, second = (unread({**config, **resolved_outputs(*types, kind)}, own, typed) for kind in (True, False))
    if first == second:
        return first
    try:
        return unread({**config, **resolved_choices(config)}, own, typed)
    except UserError:  # of an environment that cannot be built, on which the run will stumble
        return [key for key in first if key in second]
