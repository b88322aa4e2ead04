"""Which processor this is, from the file in which Linux says it."""

from pathlib import Path

import pytest

from modules.processor import amd_family

AMD = "processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 26\nmodel name\t: AMD EPYC: a processor\n"


@pytest.mark.parametrize(
    ("text", "family"),
    [
        (AMD, 26),
        (AMD + "\n" + AMD.replace("26", "25"), 26),  # the first of two
        (AMD.replace("AuthenticAMD", "GenuineIntel"), None),
        ("Processor\t: ARMv8\nBogoMIPS\t: 50.00\n", None),
        ("", None),
    ],
)
def test_the_family_of_an_amd_processor(text: str, family: int | None, tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    assert amd_family(tmp_path / "cpuinfo") == family


def test_a_system_without_the_file_has_no_family(tmp_path: Path) -> None:
    assert amd_family(tmp_path / "cpuinfo") is None
