"""What `plug_into.py` copies into a checkout: modules of ours alone with all that they import, and algorithm files."""

from __future__ import annotations

import ast

import pytest
import yaml

from stock import plug
from utils.config import algorithm


def test_the_closure_is_ours_alone() -> None:
    """Nothing that is copied lies where stock has a file, and everything imported is copied or stock's."""
    stock = {f"{folder}.{name}" for folder, names in plug.STOCKS_OWN.items() for name in names.split()}
    closure = plug.import_closure(plug.roots())
    assert not closure & stock and not closure & plug.STOCK_PACKAGES
    assert stock >= plug.STOCK_MODULES
    for module in closure:
        for name in plug.imported_names(module):
            if plug.module_file(name) is not None:
                assert name in closure | plug.STOCK_MODULES | plug.STOCK_PACKAGES, f"{module} imports {name}"
    assert {"learners.base_learner", "datasets", "modules.layers", "components.offline_buffer"} <= closure
    assert {"stock.learners", "stock.mixers", "modules.mixers.monotone"} <= closure


@pytest.mark.parametrize("name", plug.CONFIGS)
def test_stocks_yaml_has_every_key_once_with_a_comment(name: str) -> None:
    text = plug.stock_config(name)
    keys = [plug.key_of(line) for line in text.splitlines() if plug.key_of(line)]
    assert len(keys) == len(set(keys)) and not set(plug.LEFT_OUT) & set(keys)
    assert all("#" in line for line in text.splitlines() if plug.key_of(line))
    config = yaml.safe_load(text)
    assert config["runner"] == "offline" and config["batch_size"] == config["buffer_size"]
    ours = algorithm(name)
    assert "base" not in config
    same = set(ours) - set(plug.LEFT_OUT) - set(plug.REPLACED)
    kinds = {key for key in same if ours[key] in ("auto", "stochastic")}  # stock has discrete actions alone
    assert {key: config[key] for key in same - kinds} == {key: ours[key] for key in same - kinds}
    assert {key: config[key] for key in kinds}.items() <= {
        "agent_output_type": "pi_logits",
        "action_selector": "multinomial",
    }.items()


def test_copied_files_import_absolutely() -> None:
    for name, content in plug.planned_files().items():
        if name.endswith(".py"):
            imports = [node for node in ast.walk(ast.parse(content)) if isinstance(node, ast.ImportFrom)]
            assert all(node.level == 0 for node in imports), name
