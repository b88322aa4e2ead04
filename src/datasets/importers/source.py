"""What every importer gives: a dataset card's entries and a stream of episodes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np


@dataclass(frozen=True)
class Episode:
    """One episode of L steps, L + 1 rows; docs/reference/dataset-format.md says what rows mean.

    arrays: obs (L+1, N, O); actions (L+1, N, A) continuous or (L+1, N, 1) whole numbers; reward (L+1, N), 0 on the
    final row; terminated (L+1,), 1 on a step into a terminal state, never where a time limit cut the episode; where
    they exist state (L+1, S) and avail_actions (L+1, N, n_actions).
    last_action_known: whether the final row's action is what the behaviour would have done there.
    origin: where it lies, for messages, such as "obs_0.npy, rows 25 to 49".
    """

    arrays: Mapping[str, np.ndarray]
    last_action_known: bool = False
    origin: str = ""


@dataclass(frozen=True)
class Source:
    """A foreign dataset that an importer has opened and checked as far as its headers tell.

    card: entries for `datasets.card.start_card`; `made_by.command` is added by the caller.
    episodes: read one after another, as the file allows. Raises DatasetError, naming file, key and row, at the first
    that is no sound episode.
    notes: what the import keeps in another form, corrects or loses, one sentence each.
    exact: whether every value must be kept bit by bit, so that no column is left out.
    """

    card: dict[str, Any]
    episodes: Iterator[Episode]
    notes: list[str] = field(default_factory=list)
    exact: bool = False


class Importer(Protocol):
    """A format. One file in this folder defines one, as its `IMPORTER`, and `importers.FORMATS` names it."""

    def recognise(self, path: Path) -> str | None:
        """One sentence on what `path` holds where it is of this format, else None. Reads headers only."""

    def open(self, path: Path, options: Mapping[str, Any]) -> Source:
        """Open `path` with the command line's options. Raises DatasetError where it is not sound."""
