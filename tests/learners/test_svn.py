"""SVN: the normalised TD error of every learner with a mixer against plain loops, and what it leaves as it was."""

from __future__ import annotations

from typing import Any

import pytest
import torch as th
from torch import Tensor

from components.episode_buffer import EpisodeBatch
from learners import REGISTRY
from learners.losses import NEXT, NOW, transition_mask
from learners.svn import spread
from tests.learners.learner_tester import ALGORITHMS, F64, is_recurrent, make_batch, make_learner
from utils.errors import ConfigError
from utils.keys import inherited

CASES: list[tuple[str, dict[str, Any]]] = [
    ("qmix", {}),
    ("vdn", {}),
    ("implicit_q", {"discrete": False, "mixer": "monotone"}),
    ("implicit_q", {"discrete": True, "mixer": "qmix"}),
    ("omiga", {"discrete": False}),
    ("icq", {"discrete": True}),
    ("qmix_cql", {"alpha_cql": 0.0}),
    ("bcq", {"discrete": False}),
    ("bcq", {"discrete": True}),
    ("b3c", {"mixer": "free"}),
    ("b3c", {"mixer": "vdn", "target_clip": "none"}),
    ("comadice", {"discrete": False, "advantage": "mixed"}),
    ("comadice", {"discrete": True, "value_loss": "semi_dataset", "mixer": "qmix"}),
]
every_case = pytest.mark.parametrize(("alg", "updates"), CASES)


def setting(alg: str, **updates: Any) -> tuple[Any, EpisodeBatch, dict[str, Tensor]]:
    """A float64 learner whose targets differ from its networks, a batch with an end and padding, and noise."""
    learner = make_learner(alg, dtype=F64, **updates)
    th.manual_seed(11)
    with th.no_grad():
        for name, parameter in learner.named_parameters():
            if name.startswith("target_"):
                parameter.add_(0.2 * th.randn_like(parameter))
    batch = make_batch(learner.args, steps=4 if is_recurrent(learner.args) else 3, dtype=F64)
    batch["terminated"][4, 0] = 1
    batch["filled"][2, 1:] = 0
    return learner, batch, {name: value.double() for name, value in learner.noise("q", batch).items()}


def values_and_targets(learner: Any, batch: EpisodeBatch, noise: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """The team's Q of each critic and y, as the plain loss has them: (E, R), (R,)."""
    if hasattr(learner, "mixed_q"):
        after = learner.nu(batch, NEXT, "target_" if "value" in learner.TARGETS else "")
        return learner.mixed_q(batch).unsqueeze(0), learner.backup(batch, after).detach()
    _, stats = learner("q", batch, noise)
    if hasattr(learner, "local_q"):
        return learner.mixed(learner.local_q(batch, NOW), batch, NOW).squeeze(-1), stats["target"]
    return learner.taken(learner.unroll(learner.mac, batch, NOW), batch).view(1, -1), stats["target_mean"]


def gradients(learner: Any, batch: EpisodeBatch, noise: dict[str, Tensor], chunk: int | None) -> list[Tensor]:
    learner.args.loss_chunk, learner.noise = chunk, lambda name, part: noise
    return list(learner.gradients(q_spec(learner), batch, False)[1])


def q_spec(learner: Any) -> Any:
    return next(spec for spec in learner.LOSSES if spec.name == "q")


@every_case
def test_the_error_is_normalised_by_brute_force(alg: str, updates: dict[str, Any]) -> None:
    """((Q - mu) / m - (y - mu) / m)^2, critic by critic and row by row; mu and m are numbers, not functions of Q."""
    learner, batch, noise = setting(alg, svn=True, **updates)
    values, targets = values_and_targets(learner, batch, noise)
    valid = [row for row, counts in enumerate(transition_mask(batch).flatten().tolist()) if counts]
    assert 0 < len(valid) < len(targets)
    expected = th.zeros((), dtype=F64)
    for critic in values:
        numbers = [float(critic[row].detach()) for row in valid]
        mu = sum(numbers) / len(numbers)
        m = sum(abs(number - mu) for number in numbers) / len(numbers) + 1e-6
        rows = [((critic[row] - mu) / m - (targets[row] - mu) / m) ** 2 for row in valid]
        expected = expected + sum(rows) / len(rows)
    loss, _ = learner("q", batch, noise)
    th.testing.assert_close(loss, expected, rtol=1e-9, atol=0)
    parameters = learner.parameters_of(q_spec(learner))
    for a, b in zip(*(th.autograd.grad(each, parameters) for each in (loss, expected)), strict=True):
        th.testing.assert_close(a, b, rtol=1e-7, atol=1e-10)
    plain, _, _ = setting(alg, svn=False, **updates)
    plain.load_state_dict(learner.state_dict())
    unscaled, _ = plain("q", batch, noise)
    assert abs(float(unscaled / loss) - 1) > 0.01


@every_case
def test_gradients_do_not_depend_on_chunks(alg: str, updates: dict[str, Any]) -> None:
    learner, batch, noise = setting(alg, svn=True, **updates)
    for a, b in zip(*(gradients(learner, batch, noise, chunk) for chunk in (None, 2)), strict=True):
        th.testing.assert_close(a, b, rtol=1e-8, atol=1e-11)


@every_case
def test_other_losses_are_as_before(alg: str, updates: dict[str, Any]) -> None:
    with_svn, batch, _ = setting(alg, svn=True, **updates)
    without, _, _ = setting(alg, svn=False, **updates)
    for name in {spec.name for spec in with_svn.LOSSES} - {"q"}:
        noise = {key: value.double() for key, value in with_svn.noise(name, batch).items()}
        assert th.equal(with_svn(name, batch, noise)[0], without(name, batch, noise)[0]), name


def test_every_learner_with_a_mixer_is_among_the_cases() -> None:
    mixing = {name for name, kind in REGISTRY.items() if "mixer" in inherited(kind, "KEYS")}
    assert mixing == {ALGORITHMS[alg]["learner"] for alg, _ in CASES}
    assert all("svn" in inherited(REGISTRY[name], "KEYS") for name in mixing)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
@pytest.mark.parametrize("shift", [0.0, 50.0])
def test_it_does_not_depend_on_the_scale_of_values(scale: float, shift: float) -> None:
    values, mask = th.tensor([1.0, 4.0, -2.0, 99.0], dtype=F64), th.tensor([1.0, 1.0, 1.0, 0.0])
    th.testing.assert_close(spread(scale * values + shift, mask), th.tensor(scale * 2.0 + 1e-6, dtype=F64))


def test_equal_values_are_finite() -> None:
    assert 0 < float(spread(th.full((3,), 2.0), th.ones(3))) < 1e-5
    assert float(spread(th.ones(2), th.zeros(2))) > 0


REFUSED = [
    ("iql", "^svn=True mixer=None: only TD errors of mixed values are normalised; set a mixer$"),
    ("implicit_q", "^svn=True mixer=None: "),
    ("comadice", "^svn=True needs the TD error of M.q - nu.: set advantage=mixed, not sample$"),
]


@pytest.mark.parametrize(("alg", "sentence"), REFUSED)
def test_where_no_value_is_mixed_it_is_refused(alg: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        make_learner(alg, discrete=alg == "iql", svn=True)
