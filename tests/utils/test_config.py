from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from learners import REGISTRY
from utils import config
from utils.errors import ConfigError

KEYS = st.text("abc", min_size=1, max_size=2)
NESTED = st.recursive(st.integers(), lambda inner: st.dictionaries(KEYS, inner, max_size=3), max_leaves=8)
MAPPINGS = st.dictionaries(KEYS, NESTED, max_size=4)


@given(base=MAPPINGS, update=MAPPINGS)
def test_merging_keeps_what_is_not_overridden(base: dict[str, Any], update: dict[str, Any]) -> None:
    merged = config.merge(base, update)
    assert merged.keys() == base.keys() | update.keys()
    for key, value in merged.items():
        if key not in update:
            assert value == base[key]
        elif not isinstance(update[key], dict) or not isinstance(base.get(key), dict):
            assert value == update[key]
        else:
            assert value == config.merge(base[key], update[key])


def test_layers_override_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "default.yaml": {"a": 0, "b": 0, "c": 0, "d": 0, "args": {"x": 0, "y": 0}, "dataset": None, "offline": True},
        "envs/e.yaml": {"b": 1, "c": 1, "d": 1, "args": {"x": 1}, "dataset": "mine/data"},
        "algs/s.yaml": {"c": 2, "d": 2, "args": {"y": 2}},
        "tuned/s/mine/data.yaml": {"d": 3},
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(yaml.safe_dump(content))
    monkeypatch.setattr(config, "CONFIG", tmp_path)
    layered = config.layered_config("s", "e", {})
    assert [layered[key] for key in "abcd"] == [0, 1, 2, 3] and layered["args"] == {"x": 1, "y": 2}
    assert config.layered_config("s", "e", {"dataset": "other"})["d"] == 2
    (tmp_path / "algs" / "relative.yaml").write_text(yaml.safe_dump({"c": 4, "d": 4, "tuned": "s"}))
    assert [config.layered_config("relative", "e", {})[key] for key in "cd"] == [4, 3]
    assert [config.layered_config("relative", "e", {"tuned": name})["d"] for name in ("own", "none")] == [4, 4]
    assert [config.layered_config("s", "e", {"tuned": name})["d"] for name in ("own", "none")] == [3, 2]
    assert config.layered_config("s", "e", {"offline": False})["d"] == 2  # which learns from no dataset
    with pytest.raises(ConfigError, match="tuned=r: no algorithm"):
        config.layered_config("s", "e", {"tuned": "r"})
    with pytest.raises(ConfigError, match="did you mean 's'"):
        config.layered_config("ss", "e", {})
    (tmp_path / "tuned" / "s" / "mine.yaml").write_text(yaml.safe_dump({"c": 5, "d": 5}))  # for all sets of the folder
    assert [config.layered_config("s", "e", {})[key] for key in "cd"] == [5, 3]
    assert [config.layered_config("s", "e", {"dataset": "mine/other"})[key] for key in "cd"] == [5, 5]
    assert [config.layered_config("s", "e", {"dataset": f"{tmp_path}/mine/data"})[key] for key in "cd"] == [2, 2]


ALL_YAML = sorted(config.CONFIG.rglob("*.yaml"))


@pytest.mark.parametrize("path", ALL_YAML, ids=lambda path: str(path.relative_to(config.CONFIG)))
def test_every_key_has_a_comment(path: Path) -> None:
    for line in path.read_text().splitlines():
        if re.match(r"\s*\w+:", line) and not line.rstrip().endswith(":"):
            assert "#" in line, f"{path.name}: {line.strip()}"


def test_every_key_a_learner_reads_is_in_its_yaml() -> None:
    """Stock's default.yaml lacks our keys, so an algorithm's own file must hold what its code reads."""
    stock = {"gamma", "lr", "batch_size", "grad_norm_clip", "hidden_dim", "learner_log_interval", "seed", "device",
             "n_agents", "n_actions", "state_shape"}  # fmt: skip
    for name in config.config_names("algs"):
        declared = config.algorithm(name)
        if not declared["learner"]:
            continue
        sources = ["learners/base_learner.py", f"learners/{declared['learner']}.py"]
        read = set()
        for source in sources:
            read |= set(re.findall(r"\bargs\.([a-z_0-9]+)", (config.SOURCE / source).read_text()))
        read -= {"input_norm"}  # of use_statistics, which an adapter replaces in a stock checkout
        if not REGISTRY[declared["learner"]].TARGETS:
            read -= {"tau", "target_update_interval"}  # the base learner reads them for learners with targets
        assert read - stock <= declared.keys(), f"{name}.yaml lacks {sorted(read - stock - declared.keys())}"
