from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch as th
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.mixers import NOT_MONOTONE, REGISTRY, build_mixer
from utils.errors import ConfigError

B, T, N, S = 4, 3, 3, 5


def make(name: str, **keys: Any) -> Any:
    args = SimpleNamespace(n_agents=N, state_shape=(S,), mixing_embed_dim=8, hypernet_layers=1, hypernet_embed=16)
    vars(args).update(keys)
    mixer = build_mixer(name, args)
    assert isinstance(mixer, {**REGISTRY, **NOT_MONOTONE}[name])
    return mixer


def slopes(mixer: Any, seed: int, scale: float) -> th.Tensor:
    """Derivatives of the team's value by each agent's, (B, T, N)."""
    generator = th.Generator().manual_seed(seed)
    qs = (scale * th.randn(B, T, N, generator=generator)).requires_grad_()
    total = mixer(qs, scale * th.randn(B, T, S, generator=generator))
    assert total.shape == (B, T, 1)
    return th.autograd.grad(total.sum(), qs)[0]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), scale=st.floats(0.01, 100), layers=st.integers(1, 2))
def test_the_team_never_loses_by_an_agents_gain(seed: int, scale: float, layers: int) -> None:
    th.manual_seed(seed)
    assert (slopes(make("qmix", hypernet_layers=layers), seed, scale) >= 0).all()
    assert slopes(make("vdn"), seed, scale).eq(1).all()


def test_the_check_above_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same derivatives catch a mixer whose weights keep their sign."""
    th.manual_seed(0)
    mixer = make("qmix")
    monkeypatch.setattr(th.Tensor, "abs", lambda weights: weights)
    assert (slopes(mixer, 0, 1.0) < 0).any()


def test_qmix_equals_its_formula_row_by_row() -> None:
    th.manual_seed(1)
    mixer = make("qmix")
    qs, states = th.randn(B, T, N), th.randn(B, T, S)
    total = mixer(qs, states)
    for b in range(B):
        for t in range(T):
            w_1 = mixer.hyper_w_1(states[b, t]).abs().view(N, 8)
            hidden = F.elu(qs[b, t] @ w_1 + mixer.hyper_b_1(states[b, t]))
            expected = hidden @ mixer.hyper_w_final(states[b, t]).abs() + mixer.V(states[b, t])[0]
            th.testing.assert_close(total[b, t, 0], expected)


@pytest.mark.parametrize("layers", [1, 2])
def test_the_free_mixer_is_qmix_without_its_signs(layers: int) -> None:
    """The same function where weights are positive; elsewhere the team may lose by an agent's gain."""
    th.manual_seed(1)
    mixer = make("free", hypernet_layers=layers)
    assert (slopes(mixer, 0, 1.0) < 0).any() and (slopes(mixer, 0, 1.0) > 0).any()
    qs, states = th.randn(B, T, N), th.randn(B, T, S)
    total, bare = mixer(qs, states), mixer(qs, states, with_bias=False)
    for b in range(B):
        for t in range(T):
            w_1 = mixer.hyper_w_1(states[b, t]).view(N, 8)
            hidden = F.elu(qs[b, t] @ w_1 + mixer.hyper_b_1(states[b, t]))
            without = hidden @ mixer.hyper_w_final(states[b, t])
            th.testing.assert_close(bare[b, t, 0], without)
            th.testing.assert_close(total[b, t, 0], without + mixer.V(states[b, t])[0])
    qmix = make("qmix", hypernet_layers=layers)
    same = mixer.state_dict()
    qmix.load_state_dict({key: value.abs() if key.startswith("hyper_w") else value for key, value in same.items()})
    mixer.load_state_dict(qmix.state_dict())
    th.testing.assert_close(mixer(qs, states.abs()), qmix(qs, states.abs()))


def test_other_depths_are_refused() -> None:
    with pytest.raises(ConfigError, match="hypernet_layers=3"):
        make("qmix", hypernet_layers=3)
