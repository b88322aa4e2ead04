"""Our classes can be called wherever stock's are: same parameters in the same order, more only with defaults."""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path
from typing import Any

import pytest

from stock import plug
from tests.compat.ours_in_stock.stand_in import HERE
from tests.compat.stock_checkout import stock_checkout

BATCH = "scheme groups batch_size max_seq_length data preprocess device"
MAC = {
    "__init__": "scheme groups args",
    "select_actions": "ep_batch t_ep t_env bs test_mode",
    "forward": "ep_batch t test_mode",
    "init_hidden": "batch_size",
    "parameters": "",
    "load_state": "other_mac",
    "cuda": "",
    "save_models": "path",
    "load_models": "path",
    "_build_inputs": "batch t",
    "_get_input_shape": "scheme",
}
RUNNER = {
    "__init__": "args logger",
    "setup": "scheme groups preprocess mac",
    "get_env_info": "",
    "save_replay": "",
    "close_env": "",
    "run": "test_mode",
}
LEARNER = {
    "__init__": "mac scheme logger args",
    "train": "batch t_env episode_num",
    "cuda": "",
    "save_models": "path",
    "load_models": "path",
}
AGENT = {"__init__": "input_shape args", "init_hidden": "", "forward": "inputs hidden_state"}
SELECTOR = {"__init__": "args", "select_action": "agent_inputs avail_actions t_env test_mode"}

# Module and class -> method -> parameters after self, as stock (cbc38c0) has them.
STOCK: dict[str, dict[str, str]] = {
    "components.episode_buffer EpisodeBatch": {
        "__init__": BATCH,
        "to": "device",
        "update": "data bs ts mark_filled",
        "max_t_filled": "",
    },
    "components.episode_buffer ReplayBuffer": {
        "__init__": "scheme groups buffer_size max_seq_length preprocess device",
        "insert_episode_batch": "ep_batch",
        "can_sample": "batch_size",
        "sample": "batch_size",
    },
    "components.transforms OneHot": {
        "__init__": "out_dim",
        "transform": "tensor",
        "infer_output_info": "vshape_in dtype_in",
    },
    "components.epsilon_schedules DecayThenFlatSchedule": {
        "__init__": "start finish time_length decay",
        "eval": "T",
    },
    "components.standarize_stream RunningMeanStd": {"__init__": "epsilon shape device", "update": "arr"},
    "components.action_selectors MultinomialActionSelector": SELECTOR,
    "components.action_selectors EpsilonGreedyActionSelector": SELECTOR,
    "components.action_selectors SoftPoliciesSelector": SELECTOR,
    "controllers.basic_controller BasicMAC": MAC,
    "controllers.non_shared_controller NonSharedMAC": MAC,
    "runners.episode_runner EpisodeRunner": RUNNER,
    "runners.parallel_runner ParallelRunner": {name: RUNNER[name] for name in RUNNER if name != "save_replay"},
    "learners.q_learner QLearner": LEARNER,
    "modules.agents.rnn_agent RNNAgent": AGENT,
    "modules.agents.rnn_ns_agent RNNNSAgent": AGENT,
    "modules.mixers.qmix QMixer": {"__init__": "args", "forward": "agent_qs states"},
    "envs.multiagentenv MultiAgentEnv": {
        "step": "actions",
        "reset": "seed options",
        **dict.fromkeys(("get_obs", "get_obs_size", "get_state", "get_state_size", "get_avail_actions"), ""),
        **dict.fromkeys(("get_total_actions", "get_env_info", "get_stats", "render", "close", "save_replay"), ""),
    },
    "utils.logging Logger": {
        "__init__": "console_logger",
        "setup_tb": "directory_name",
        "log_stat": "key value t to_sacred",
        "print_recent_stats": "",
        "finish": "",
    },
}
# What the stand-in does without, for nothing that is run in it asks for them.
STAND_IN_LACKS: dict[str, set[str]] = {
    "components.standarize_stream RunningMeanStd": {"__init__", "update"},
    "components.action_selectors SoftPoliciesSelector": {"__init__", "select_action"},
    "envs.multiagentenv MultiAgentEnv": set(STOCK["envs.multiagentenv MultiAgentEnv"]),
    "utils.logging Logger": {"setup_tb"},
}
# Classes of ours that take a place of stock's under a name of their own.
OURS: dict[str, dict[str, str]] = {
    "stock.batched_controller BatchedMAC": MAC,
    "stock.batched_controller BatchedNonSharedMAC": MAC,
    "learners.base_learner BaseLearner": LEARNER,
    **{f"stock.learners {cls}": LEARNER for _, cls in plug.ENTRIES["learners"].values()},
    "stock.mixers SumMixer": {"forward": "agent_qs states"},
    "modules.agents.mlp_agent MLPAgent": AGENT,
    "modules.agents.mlp_ns_agent MLPNSAgent": AGENT,
    "modules.critics.ensemble_critic EnsembleCritic": {"__init__": "scheme args"},
    "stock.offline_runner OfflineRunner": RUNNER,
}


@pytest.mark.parametrize("name", [*STOCK, *OURS])
def test_ours_take_what_stocks_take(name: str) -> None:
    module, _, cls = name.partition(" ")
    owner: Any = getattr(importlib.import_module(module), cls)
    for method, wanted in (STOCK | OURS)[name].items():
        parameters = list(inspect.signature(getattr(owner, method)).parameters.values())[1:]
        names, expected = [parameter.name for parameter in parameters], wanted.split()
        assert names[: len(expected)] == expected, f"{name}.{method}"
        assert all(more.default is not more.empty for more in parameters[len(expected) :]), f"{name}.{method}"


@pytest.mark.parametrize("name", STOCK)
def test_the_table_is_stocks(name: str, kind: str) -> None:
    """And the stand-in's: what runs there runs in stock."""
    source = (HERE / "stand_in" if kind == "stand_in" else stock_checkout()) / "src"
    lacks = STAND_IN_LACKS.get(name, set()) if kind == "stand_in" else set()
    module, _, cls = name.partition(" ")
    methods = methods_of(source / f"{module.replace('.', '/')}.py", cls)
    found = {method: methods[method] for method in STOCK[name] if method in methods}
    assert found == {method: wanted.split() for method, wanted in STOCK[name].items() if method not in lacks}


def methods_of(path: Path, cls: str) -> dict[str, list[str]]:
    """The methods of a class, none where it is not there, and their parameters, read without importing it.

    Base classes are those of the same folder.
    """
    definition = classes_in(path).get(cls)
    if definition is None:
        return {}
    found: dict[str, list[str]] = {}
    for base in definition.bases:
        if isinstance(base, ast.Name) and base.id != cls:
            for file in path.parent.glob("*.py"):
                found |= methods_of(file, base.id)
    for node in definition.body:
        if isinstance(node, ast.FunctionDef):
            given = node.args
            every = [*given.posonlyargs, *given.args, *filter(None, (given.vararg, given.kwarg)), *given.kwonlyargs]
            found[node.name] = [argument.arg for argument in every][1:]
    return found


def classes_in(path: Path) -> dict[str, ast.ClassDef]:
    """The classes that a file defines, none where there is no file."""
    tree = ast.parse(path.read_text() if path.exists() else "")
    return {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
