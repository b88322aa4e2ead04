"""What tells runs apart: names and the entries for a table of runs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from datasets.names import DATA_ROOT
from loops import tracking
from tests.loops.test_resolve import configuration


@pytest.mark.parametrize(
    ("alg", "updates", "name"),
    [
        ("spacql", {}, "spacql on mpe/simple_spread/random-100k"),
        ("spacql", {"dataset": str(DATA_ROOT / "mpe/simple_spread/random-100k.h5")},
         "spacql on mpe/simple_spread/random-100k"),
        ("bc", {"dataset": "/home/me/secret/robots.h5"}, "bc on robots"),
        ("matd3", {}, "matd3 in simple_spread"),
        ("random", {"collect": True}, "random in simple_spread"),
        ("qmix", {"env_args": {"map_name": "3m"}}, "qmix in 3m"),
    ],
)  # fmt: skip
def test_a_run_is_named_by_algorithm_and_dataset_or_environment(alg: str, updates: dict[str, Any], name: str) -> None:
    assert tracking.run_name(configuration(alg, **updates)) == name


@pytest.mark.parametrize(
    ("figures", "final", "told"),
    [
        ({"final_return": 5.5, "best_return": 7.125, "final_normalised_score": 66.6667, "best_normalised_score": 70.0},
         66.6667, (66.67, 70.0, "normalised score")),
        ({"final_return": 5.5, "best_return": 7.125, "validation_loss": 1.0}, 5.5, (5.5, 7.12, "return per agent")),
        ({"fqe_value": 3.0, "fqe_spread": 0.1}, 3.0, (3.0, None, "estimated value")),
        ({"return_mean": 2.0, "return_std": 1.0}, 2.0, (2.0, None, "return of the collected episodes")),
        ({"validation_loss": 1.0}, None, (None, None, None)),
        ({}, None, (None, None, None)),
    ],
)  # fmt: skip
def test_a_run_has_one_score(figures: dict[str, float], final: float | None, told: tuple[Any, ...]) -> None:
    run: Any = SimpleNamespace(info={"run": dict.fromkeys(("score", "best", "score_is"))})
    assert tracking.score(run, figures) == final
    assert tuple(run.info["run"][key] for key in ("score", "best", "score_is")) == told


def test_commits_fit_a_column() -> None:
    assert tracking.short("0123456789abcdef+changes") == "0123456789+changes"
    assert tracking.short("0123456789abcdef") == "0123456789" and tracking.short(None) == "unknown"
