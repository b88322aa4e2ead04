from pathlib import Path
from typing import Any

import pytest
import torch as th
from torch import Tensor

from components.episode_buffer import EpisodeBatch
from learners import REGISTRY
from learners.base_learner import Context, Noise, Stats
from learners.bc_learner import BCLearner
from learners.optimisation import LossSpec
from tests.learners.learner_tester import (
    ALGORITHMS,
    F64,
    check_device,
    check_learns,
    check_resumes,
    is_recurrent,
    make_batch,
    make_learner,
)

OPEN = ("auto", "stochastic")
SHARED_MEMORY = {"mac": "basic_mac", "agent": "rnn", "obs_agent_id": True, "obs_last_action": True}
OWN_MEMORY = {"mac": "non_shared_mac", "agent": "rnn_ns"}


def cases() -> list[Any]:
    """Each algorithm file, in both action types where it leaves them open; offline ones with recurrent agents too."""
    listed = []
    for alg, keys in ALGORITHMS.items():
        kinds = [{"discrete": kind} for kind in (False, True)] if keys["agent_output_type"] in OPEN else [{}]
        for kind in kinds:
            listed.append((alg, kind))
            if keys.get("offline"):
                listed += [(alg, kind | SHARED_MEMORY), (alg, kind | OWN_MEMORY)]
    listed += [("bc", {"discrete": False, "agent_output_type": "gaussian"}), ("bc", {"agent_output_type": "q"})]
    listed += [("spacql", {"discrete": kind, "penalty_weights": "density"}) for kind in (False, True)]
    listed += [("comadice", {"discrete": False, "advantage": kind}) for kind in ("joint", "mixed")]
    listed += [("comadice", {"discrete": True, "value_loss": kind}) for kind in ("semi_dataset", "official", "poster")]
    listed += [("comadice", {"discrete": False, "value_loss": "official", "value_memory": True} | SHARED_MEMORY)]
    listed += [("comadice", {"discrete": True, "advantage": "joint"})]
    return [pytest.param(alg, updates, id="-".join([alg, *map(str, updates.values())])) for alg, updates in listed]


def test_every_registered_learner_has_an_algorithm_file() -> None:
    assert {keys["learner"] for keys in ALGORITHMS.values()} == set(REGISTRY)


@pytest.mark.parametrize(("alg", "updates"), cases())
def test_learns(alg: str, updates: dict[str, Any]) -> None:
    check_learns(alg, **updates)


@pytest.mark.parametrize(("alg", "updates"), cases())
def test_resumes_bit_exactly(alg: str, updates: dict[str, Any], tmp_path: Path) -> None:
    check_resumes(alg, tmp_path, **updates)


def chunk_error(learner: Any, chunk: int) -> float:
    """How far gradients over chunks are from those of the whole batch, relative, at worst over losses."""
    batch = make_batch(learner.args, steps=4 if is_recurrent(learner.args) else 2, dtype=F64)
    batch["filled"][0, 1:] = 0  # chunks of unequal numbers of valid rows
    worst = 0.0
    for spec in learner.LOSSES:
        noise = {k: v.to(F64) if v.is_floating_point() else v for k, v in learner.noise(spec.name, batch).items()}
        learner.noise = lambda *_, noise=noise: noise
        found = []
        for rows in (None, chunk):
            learner.args.loss_chunk = rows
            gradients = learner.gradients(spec, batch, False)[1]
            found.append(th.cat([gradient.flatten() for gradient in gradients]))
        del learner.noise
        worst = max(worst, ((found[1] - found[0]).norm() / found[0].norm()).item())
    return worst


@pytest.mark.parametrize("chunk", [1, 4])
@pytest.mark.parametrize(("alg", "updates"), cases())
def test_chunks_of_the_batch_give_its_gradients(alg: str, updates: dict[str, Any], chunk: int) -> None:
    assert chunk_error(make_learner(alg, dtype=F64, **updates), chunk) < 1e-9


def test_a_number_of_the_batch_in_a_loss_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check above fails for a learner that takes a chunk's own mean for the batch's (see `batch_context`)."""
    learner = make_learner("matd3_bc", dtype=F64)

    def wrong(batch: EpisodeBatch, noise: Noise, context: Context) -> tuple[Tensor, Stats]:
        own = learner.batch_context("actor", batch)
        return learner.actor_loss(batch, noise, {key: value.detach() for key, value in own.items()})

    monkeypatch.setitem(learner._functions, "actor", wrong)
    assert chunk_error(learner, 4) > 1e-3


@pytest.mark.skipif(not th.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize(("alg", "updates"), cases())
def test_trains_and_continues_on_a_gpu(alg: str, updates: dict[str, Any], tmp_path: Path) -> None:
    check_device(alg, tmp_path, **updates)


def test_two_losses_of_one_module_resume_bit_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stock's file of the module's optimiser holds one of the two only."""

    class TwoLosses(BCLearner):
        LOSSES = (*BCLearner.LOSSES, LossSpec("again", modules=("agent",), lr="actor_lr"))

        def again_loss(self, batch: EpisodeBatch, noise: Noise, context: Context) -> tuple[Tensor, Stats]:
            return self.bc_loss(batch, noise, context)

    monkeypatch.setitem(REGISTRY, "bc_learner", TwoLosses)
    check_resumes("bc", tmp_path, discrete=True)
