"""The table of all learners in docs/choosing-a-learner.md, found by building a run of each on two bundled datasets."""

from __future__ import annotations

from typing import Any

from learners import REGISTRY
from loops.configured import configured
from loops.rehearsal import check_offline
from utils.config import algorithm, config_names, layered_config
from utils.errors import UserError

DATA = {"continuous": "mpe/simple_tag/medium-replay", "discrete": "matrix_game/xor/ab-ba"}
RECURRENT = {"window": None, "batch_size": 32, "buffer_size": 32}
HEAD = (
    "| `--config=` | learns from | actions | recurrent agents | parameters | critics | checked against |\n"
    "|---|---|---|---|---|---|---|"
)
# What a learner's tests hold it against, beside the shared tester. Configurations of one learner share an entry.
CHECKED = {
    "bc_learner": "frequencies of actions on tables",
    "spacql_learner": "the paper's theorems on exact examples; targets, weights and penalties by brute force",
    "alberdice_learner": "the XOR game on four datasets; Bridge, two seeds of four; a continuous game of two modes",
    "omar_learner": "the largest value of known functions; its own CQL, where the search counts nothing",
    "comadice_learner": "the exact solution of the regularised problem",
    "implicit_q_learner": "the best logged action's value on tables, as the expectile approaches 1",
    "omiga_learner": "E[exp z] = 1 in every state on tables; (B, B) in the XOR game",
    "icq_learner": "both softmaxes, targets and losses by brute force; (B, B) in the XOR game",
    "q_learner": "its targets by brute force; learning curves of stock EPyMARL",
    "matd3_learner": "its losses by brute force; returns of Cooperative Navigation",
    "matd3_bc_learner": "cloning, where its weight is infinite; gradients by any chunks",
    "ppo_learner": "advantages, ratios and clipping by brute force",
    "b3c_learner": "a clip at infinity that never acts, at 0 that always does",
    "macql_learner": "a penalised value below the true one on tables",
    "q_cql_learner": "the penalty, summed over all joint actions",
    "optdice_learner": "the exact solution of the regularised problem",
    "bcq_learner": "no action outside of the data on tables",
    "fqe_learner": "exact values of policies on tables",
}


def table() -> str:
    """The Markdown table: a row for each algorithm file that has a learner."""
    rows = [HEAD]
    for name in config_names("algs"):
        if algorithm(name).get("learner") is None:
            continue
        config = layered_config(name, "none", {})
        learner: Any = REGISTRY[config["learner"]]
        actions = [kind for kind, dataset in DATA.items() if trains(name, dataset, {})]
        recurrent = "yes" if any(
            trains(name, DATA[kind], RECURRENT | {"agent": agent}) for kind in actions for agent in ("rnn", "rnn_ns")
        ) else "no"  # fmt: skip
        if not actions:  # it learns from no dataset alone
            actions, recurrent = sorted(learner.action_types), "-"
        source = "data" if config["offline"] else "the environment"
        parameters = "per agent" if config["mac"] == "non_shared_mac" else "shared"
        cells = (f"`{name}`", source, " and ".join(actions), recurrent, parameters,
                 learner.critics(config), CHECKED[config["learner"]])  # fmt: skip
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows) + "\n"


def trains(name: str, dataset: str, updates: dict[str, Any]) -> bool:
    """Whether a configuration with these updates could train on a dataset."""
    given = {"dataset": dataset, "offline": True, "use_cuda": False, "seed": 0, **updates}
    try:
        check_offline(configured(name, "none", given, False, quiet, quiet).final)
    except UserError:
        return False
    return True


def quiet(sentence: str) -> None:
    """Say nothing."""
