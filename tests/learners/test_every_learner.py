from pathlib import Path

import pytest
import torch as th
import yaml

from learners import REGISTRY
from tests.learners.learner_tester import ALGS, check_device, check_learns, check_resumes

# Every algorithm file whose learner is registered.
ALGORITHMS = sorted(
    path.stem for path in ALGS.glob("*.yaml") if yaml.safe_load(path.read_text()).get("learner") in REGISTRY
)


def test_every_registered_learner_has_an_algorithm_file() -> None:
    used = {yaml.safe_load((ALGS / f"{alg}.yaml").read_text())["learner"] for alg in ALGORITHMS}
    assert used == set(REGISTRY)


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_learns(alg: str) -> None:
    check_learns(alg)


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_resumes_bit_exactly(alg: str, tmp_path: Path) -> None:
    check_resumes(alg, tmp_path)


@pytest.mark.skipif(not th.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("alg", ALGORITHMS)
def test_trains_on_a_gpu(alg: str) -> None:
    check_device(alg)
