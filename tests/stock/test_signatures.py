"""Our classes can be called wherever stock's are: same parameters in the same order, more only with defaults."""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path
from typing import Any

import pytest

from tests.stock.stand_in import REAL

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
# Classes of ours that take a place of stock's under a name of their own.
OURS: dict[str, dict[str, str]] = {
    "controllers.batched_controller BatchedMAC": MAC,
    "controllers.batched_controller BatchedNonSharedMAC": MAC,
    "learners.base_learner BaseLearner": LEARNER,
    "learners.bc_learner BCLearner": LEARNER,
    "learners.comadice_learner ComaDICELearner": LEARNER,
    "learners.spacql_learner SPaCQLLearner": LEARNER,
    "modules.agents.mlp_agent MLPAgent": AGENT,
    "modules.agents.mlp_ns_agent MLPNSAgent": AGENT,
    "modules.critics.ensemble_critic EnsembleCritic": {"__init__": "scheme args"},
    "runners.offline_runner OfflineRunner": RUNNER,
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


@pytest.mark.skipif(REAL is None, reason="EPYMARL_CHECKOUT names no checkout of EPyMARL")
@pytest.mark.parametrize("name", STOCK)
def test_the_table_is_stocks(name: str) -> None:
    module, _, cls = name.partition(" ")
    methods = methods_of(Path(str(REAL)) / "src" / f"{module.replace('.', '/')}.py", cls)
    for method, wanted in STOCK[name].items():
        if method in methods:  # else inherited
            assert methods[method] == wanted.split(), f"{name}.{method}"


def methods_of(path: Path, cls: str) -> dict[str, list[str]]:
    """The methods that a class defines and their parameters, read without importing it."""
    found = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ClassDef)]
    (definition,) = [node for node in found if node.name == cls]
    return {
        node.name: [argument.arg for argument in node.args.args][1:]
        for node in definition.body
        if isinstance(node, ast.FunctionDef)
    }
