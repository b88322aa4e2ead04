"""The doctor's page: one file, with pictures, in which nothing that a dataset says is markup."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest

from dataset import main
from datasets.dataset import write_dataset
from datasets.doctor.examine import quick_findings
from datasets.doctor.finding import Finding
from datasets.doctor.page import HEADINGS, page
from datasets.report import inspection
from tests.datasets.samples import continuous_arrays, continuous_card

KAPPA = {"mean": 0.2, "interval": [0.1, 0.3], "top": 0.4, "top_interval": [0.3, 0.5]}


def test_the_page_is_one_file_with_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arrays, offsets = continuous_arrays([5, 7, 6])
    card = continuous_card() | {"behaviour": "<script>alert(1)</script>"}
    write_dataset(tmp_path / "a.h5", arrays, offsets, card)
    assert main(["inspect", str(tmp_path / "a.h5"), "--html", str(tmp_path / "a.html")]) == 0
    assert "a.html" in capsys.readouterr().out
    text = (tmp_path / "a.html").read_text()
    found = re.findall(r'src="data:image/png;base64,([^"]+)"', text)
    assert len(found) == 3 and all(base64.b64decode(each).startswith(b"\x89PNG") for each in found)
    assert "<script" not in text and "&lt;script&gt;" in text
    assert not re.findall(r'(?:src|href)="(?!data:)', text)
    assert "duplicated episodes: none" in text and "checksum" in text


def test_full_findings_have_pictures_and_the_recommendation_comes_first(tmp_path: Path) -> None:
    arrays, offsets = continuous_arrays([5, 5, 5])
    write_dataset(tmp_path / "a.h5", arrays, offsets, continuous_card())
    findings = [
        *quick_findings(inspection(tmp_path / "a.h5").dataset),
        Finding("coverage", {"joint_saco": {"4": 1.0, "0": 0.5}}, ("covered",)),
        Finding("kappa", KAPPA, ("tied",)),
        Finding("recommendation", {}, ("begin with cloning",)),
        Finding("refusals", {}, ("none",)),
    ]
    assert {finding.name for finding in findings} == set(HEADINGS)
    text = page("set", findings, ["line"])
    assert text.count("<img") == 4  # all lengths are the same
    assert text.index("begin with cloning") < text.index("quantiles of the returns")


def test_a_page_that_cannot_be_written_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arrays, offsets = continuous_arrays([5, 7, 6])
    write_dataset(tmp_path / "a.h5", arrays, offsets, continuous_card())
    (tmp_path / "file").write_text("")
    assert main(["inspect", str(tmp_path / "a.h5"), "--html", str(tmp_path / "file" / "a.html")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1


def test_a_page_does_not_replace_a_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arrays, offsets = continuous_arrays([5, 7, 6])
    write_dataset(tmp_path / "a.h5", arrays, offsets, continuous_card())
    assert main(["inspect", str(tmp_path / "a.h5"), "--html", str(tmp_path / "a.h5")]) == 1
    assert "ends in .html" in capsys.readouterr().err and inspection(tmp_path / "a.h5").sound
