from pathlib import Path
from typing import Any

import pytest
import torch as th
from torch import Tensor
from torch.func import functional_call, vmap

from components.episode_buffer import EpisodeBatch
from learners import REGISTRY
from learners.base_learner import Context, Noise, Stats
from learners.bc_learner import BCLearner
from learners.optimisation import LossSpec
from tests.learners.learner_tester import (
    ALGORITHMS,
    F64,
    check_device,
    check_resumes,
    is_recurrent,
    make_batch,
    make_learner,
)

OPEN = ("auto", "stochastic")
SHARED_MEMORY = {"mac": "basic_mac", "agent": "rnn", "obs_agent_id": True, "obs_last_action": True}
OWN_MEMORY = {"mac": "non_shared_mac", "agent": "rnn_ns"}
WITHOUT_MEMORY = {"alberdice", "bcq"}  # refuse these agents; BCQ has its own


def cases() -> list[Any]:
    """Each algorithm file, in both action types where it leaves them open; offline ones with recurrent agents too.

    Action types and memories are parts of their own. Where a file has both types, continuous actions go with a memory
    per agent and discrete ones with a shared memory; the other two pairs are slow tests.
    """
    listed, slow = [], []
    for alg, keys in ALGORITHMS.items():
        able = REGISTRY[keys["learner"]].action_types
        kinds = [{"discrete": kind} for kind in (False, True) if ("continuous", "discrete")[kind] in able]
        kinds = kinds if keys["agent_output_type"] in OPEN else [{}]
        for kind in kinds:
            listed.append((alg, kind))
            if keys.get("offline") and alg not in WITHOUT_MEMORY:
                memories = [SHARED_MEMORY, OWN_MEMORY] if kind.get("discrete") else [OWN_MEMORY, SHARED_MEMORY]
                listed += [(alg, kind | memories[0])]
                (listed if len(kinds) == 1 else slow).append((alg, kind | memories[1]))
    listed += [("bc", {"discrete": False, "agent_output_type": "gaussian"}), ("bc", {"agent_output_type": "q"})]
    listed += [("spacql", {"discrete": kind, "penalty_weights": "density"}) for kind in (False, True)]
    listed += [("spacql", {"discrete": False, "cql_penalty": "logsumexp_policies"})]
    listed += [("comadice", {"discrete": False, "advantage": kind}) for kind in ("joint", "mixed")]
    listed += [("comadice", {"discrete": True, "value_loss": kind}) for kind in ("semi_dataset", "official", "poster")]
    listed += [("comadice", {"discrete": False, "value_loss": "official", "value_memory": True} | SHARED_MEMORY)]
    listed += [("comadice", {"discrete": True, "advantage": "joint"})]
    listed += [("optdice", {"discrete": kind, "advantage": "joint"}) for kind in (False, True)]
    listed += [("bcq", {"discrete": True, "agent": "bcq_rnn_ns"})]
    listed += [("bcq", {"discrete": kind, "mixer": None, "common_reward": False}) for kind in (False, True)]
    listed += [("implicit_q", {"discrete": kind, "mixer": "monotone"}) for kind in (False, True)]
    listed += [("implicit_q", {"discrete": False, "mixer": "qmix", "agent_output_type": "gaussian"})]
    listed += [
        ("implicit_q", {"discrete": kind, "shared_critics": True, "common_reward": False}) for kind in (False, True)
    ]
    listed += [(alg, {"penalty_samples": "policies"}) for alg in ("macql", "omar")]
    listed += [("iql_cql", {"common_reward": False}), ("qmix_cql", {"mixer": "vdn"})]
    listed += [("omar", {"search_elites": 3, "shared_critics": True, "common_reward": False})]
    listed += [("b3c", {"mixer": mixer}) for mixer in ("vdn", "monotone", "qmix")]
    listed += [("b3c", {"target_clip": "none", "shared_critics": False, "ensemble_size": 1})]
    listed += [(alg, {"svn": True}) for alg in ("qmix", "b3c")]
    listed += [("icq", {"discrete": True, "svn": True})]
    listed += [("comadice", {"discrete": False, "advantage": "mixed", "svn": True})]
    listed += [("mappo", {"discrete": kind, "ratio": "team", "common_reward": True}) for kind in (False, True)]
    listed += [(alg, {"discrete": kind, "common_reward": False}) for alg in ("mappo", "ippo") for kind in (False, True)]
    listed += [("mappo", {"discrete": False, "input_norm": "none", "scale_rewards": False} | SHARED_MEMORY)]
    listed += [("ippo", {"discrete": True} | SHARED_MEMORY | {"obs_last_action": False})]
    both = [(case, ()) for case in listed] + [(case, pytest.mark.slow) for case in slow]
    return [
        pytest.param(alg, updates, id="-".join([alg, *map(str, updates.values())]), marks=marks)
        for (alg, updates), marks in both
    ]


def test_every_registered_learner_has_an_algorithm_file() -> None:
    assert {keys["learner"] for keys in ALGORITHMS.values()} == set(REGISTRY)


@pytest.mark.parametrize(("alg", "updates"), cases())
def test_learns_and_resumes_bit_exactly(alg: str, updates: dict[str, Any], tmp_path: Path) -> None:
    check_resumes(alg, tmp_path, **updates)


@pytest.mark.parametrize(("alg", "updates"), [case for case in cases() if "value_memory" not in case.values[1]])
def test_losses_are_pure(alg: str, updates: dict[str, Any]) -> None:
    """Two stacked parameter sets under functional_call and vmap equal two calls; torch cannot map its GRU."""
    learner = make_learner(alg, dtype=F64, **updates)
    batch = make_batch(learner.args, steps=4 if is_recurrent(learner.args) else 2, dtype=F64)
    batch = learner.judged(batch) if hasattr(learner, "judged") else batch
    sets = [{k: v.detach() for k, v in learner.named_parameters()} for _ in range(2)]
    sets[1] = {k: v + 0.1 * th.randn_like(v) for k, v in sets[1].items()}
    stacked = {k: th.stack([one[k] for one in sets]) for k in sets[0]}
    for spec in learner.LOSSES:
        noise = {k: v.to(F64) if v.is_floating_point() else v for k, v in learner.noise(spec.name, batch).items()}
        call = (spec.name, batch, noise)
        lanes = vmap(lambda p, call=call: functional_call(learner, p, call)[0])(stacked)  # (2,)
        alone = th.stack([functional_call(learner, one, call)[0] for one in sets])
        th.testing.assert_close(lanes, alone, rtol=1e-9, atol=1e-10)
        assert not th.allclose(lanes[0], lanes[1], rtol=1e-9)


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
