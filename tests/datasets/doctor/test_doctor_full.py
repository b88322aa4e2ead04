"""The whole examination by the command, on games whose kappa is known."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest

import dataset
from dataset import main


@pytest.mark.slow
@pytest.mark.parametrize(
    ("joint_actions", "kappa", "first"), [("AB,BA", 0.5, "bc_discrete"), ("random", 0.0, "spacql_discrete")]
)
def test_the_full_examination_of_the_xor_game(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], joint_actions: str, kappa: float, first: str
) -> None:
    """AB or BA by a shared coin: the joint behaviour is half away from independent agents."""
    path = str(tmp_path / "xor.h5")
    assert main(["generate-xor", joint_actions, "-o", path]) == 0
    capsys.readouterr()
    assert main(["inspect", path, "--full", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["findings"]
    assert found["kappa"]["mean"] == pytest.approx(kappa, abs=0.05)
    assert found["recommendation"]["first"][0] == first  # AB and BA pay the same
    assert found["recommendation"]["tied"] == (kappa > 0)
    assert found["refusals"]["spacql_discrete"] is None and found["coverage"]["joint_saco"]["4"] < 0.01


def test_what_sacred_imports_is_not_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def examine(*given: object) -> list[object]:
        warnings.warn("pkg_resources is deprecated as an API. See https://...", UserWarning, stacklevel=1)
        return []

    monkeypatch.setattr(dataset, "full_findings", examine)
    path = str(tmp_path / "xor.h5")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert main(["generate-xor", "AB,BA", "-o", path]) == 0
        assert main(["inspect", path, "--full", "--json"]) == 0
    assert not [warning for warning in caught if "pkg_resources" in str(warning.message)]
