"""The table of all learners is found by building runs: what it says of a few whose keys decide."""

from __future__ import annotations

import pytest

from tests import learner_table
from utils.config import layered_config
from utils.errors import UserError


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("bcq", "per agent"), ("bc", "per agent or shared"), ("iql", "shared or per agent"), ("fqe", "-")],
)
def test_whose_parameters_policies_are(name: str, parameters: str) -> None:
    assert learner_table.parameters(name, layered_config(name, "none", {})) == parameters


def test_learners_of_the_environment_alone_are_tried_in_one() -> None:
    assert not any(learner_table.trains("ippo", dataset, {}) for dataset in learner_table.DATA.values())
    assert learner_table.parameters("ippo", layered_config("ippo", "none", {})) == "per agent or shared"
    assert not learner_table.runs("ippo", {"mac": "non_shared_mac", "agent": "mlp"})


@pytest.mark.parametrize(
    ("name", "critics"),
    [
        ("implicit_q", "per agent; with `mixer=qmix` per agent, mixed; shared or not"),
        ("omar", "per agent; shared or not"),
        ("matd3_bc", "central"),
    ],
)
def test_whose_values_judge_actions(name: str, critics: str) -> None:
    assert learner_table.critics(name, layered_config(name, "none", {})) == critics


def test_a_learner_without_an_entry_is_one_sentence() -> None:
    assert learner_table.checked("iql_cql", "q_cql_learner") != learner_table.checked("qmix_cql", "q_cql_learner")
    assert learner_table.checked("vdn", "q_learner") == learner_table.checked("iql", "q_learner")
    with pytest.raises(UserError, match="<!-- checked mine_learner: its losses"):
        learner_table.checked("mine", "mine_learner")
