"""`print_config` against a run: of the learner's own keys it shows those that a run reads, and no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from learners import REGISTRY as learner_REGISTRY
from tests.loops.in_process import parts_of, train
from utils.config import layered_config
from utils.keys import inherited
from utils.settings import Settings
from utils.shown_config import keys_read


@pytest.mark.parametrize("alg", ["bc", "spacql", "comadice", "matd3_bc", "cfcql"])
def test_the_keys_shown_are_the_keys_read(alg: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = set()

    def noted(settings: Settings, name: str) -> Any:
        read.add(name)
        return object.__getattribute__(settings, name)

    config = layered_config(alg, "mpe", {})
    own = inherited(learner_REGISTRY[config["learner"]], "KEYS")
    monkeypatch.setattr(Settings, "__getattribute__", noted, raising=False)
    train(parts_of(alg, "mpe", tmp_path, batch_size=16), 2)
    shown = set(keys_read(config, own))
    assert own.keys() & shown and shown & own.keys() <= read
    assert read & own.keys() & config.keys() <= shown
