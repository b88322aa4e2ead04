"""Fitted Q evaluation ranks policies of Cooperative Navigation as their true returns do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fqe_ranking import ranking, spearman


def test_rank_correlation() -> None:
    assert spearman([1.0, 5.0, 3.0], [10.0, 500.0, 20.0]) == 1.0
    assert spearman([1.0, 5.0, 3.0], [3.0, 1.0, 2.0]) == -1.0
    assert spearman([1.0, 2.0, 3.0, 4.0, 5.0], [1.0, 2.0, 3.0, 5.0, 4.0]) == pytest.approx(0.9)


@pytest.mark.slow
def test_policies_are_ranked_as_they_play(tmp_path: Path) -> None:
    """The page has 1.0 and 0.9; at 0.8, another pair of neighbours may have changed places on another machine."""
    correlation, table = ranking(tmp_path, seed=1)
    assert correlation >= 0.8 - 1e-9, "\n".join(table)
