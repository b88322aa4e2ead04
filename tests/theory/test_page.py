"""docs/results/theory.md and docs/results/comadice.md say what the tests and the scripts say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks import dice_bias, theory_figures

PAGE = theory_figures.ROOT / "docs" / "results" / "theory.md"


def test_every_test_it_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE.read_text()))
    written = {
        name
        for file in Path(__file__).parent.glob("test_*.py")
        for name in re.findall(r"def (test_\w+)", file.read_text())
    }
    assert len(named) > 20 and named <= written


@pytest.mark.parametrize("rows", [theory_figures.shift_ratios, theory_figures.value_errors])
def test_its_tables_are_what_the_script_prints(rows: theory_figures.Measured) -> None:
    lines = theory_figures.table(rows())
    assert len(lines) == 9 and "\n".join(lines) in PAGE.read_text()


def test_the_table_of_the_sampled_objective_is_what_its_script_prints() -> None:
    lines = dice_bias.table()
    assert len(lines) == 5 and "\n".join(lines) in (dice_bias.ROOT / "docs" / "results" / "comadice.md").read_text()
