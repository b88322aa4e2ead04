"""Every fuzz target, by name."""

from __future__ import annotations

from tests.robustness.checkpoints import CHECKPOINTS
from tests.robustness.dataset_cards import CARDS
from tests.robustness.dataset_files import FILES
from tests.robustness.foreign import BUFFERS, RECORDS
from tests.robustness.harness import Target
from tests.robustness.imports import IMPORTS
from tests.robustness.other_uses import POLICIES, WEIGHTS
from tests.robustness.records import RUNS
from tests.robustness.settings import SETTINGS

ALL = (FILES, CARDS, CHECKPOINTS, WEIGHTS, POLICIES, SETTINGS, BUFFERS, RECORDS, RUNS, IMPORTS)
TARGETS: dict[str, Target] = {target.name: target for target in ALL}
