"""A file for `env_args.prey` from OMAR's file, made up here in the published form; what is none is refused unread."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch as th

from deployment.prey import write_prey
from envs.mpe.prey import load_prey
from tests.command_line import ROOT
from utils.errors import UserError

Policy = dict[str, Any]


def published(path: Path, change: Callable[[Policy], Any] = lambda policy: None, n_agents: int = 4) -> Path:
    """OMAR's file for a prey of Predator-Prey with random weights, saved as torch's earlier releases did."""
    generator = th.Generator().manual_seed(0)
    sizes = {"fc1": (64, 14), "fc2": (64, 64), "fc3": (2, 64)}
    policy: Policy = {}
    for name, size in sizes.items():
        policy[f"{name}.weight"] = th.randn(size, generator=generator) / size[1] ** 0.5
        policy[f"{name}.bias"] = th.randn(size[0], generator=generator)
    for name in ("weight", "bias", "running_mean"):
        policy[f"in_fn.{name}"] = th.randn(14, generator=generator)
    policy["in_fn.running_var"] = th.rand(14, generator=generator) + 0.1
    change(policy)
    content = {"init_dict": {"hidden_dim": 64}, "agent_params": [{"policy": policy}] * n_agents}
    th.save(content, path, _use_new_zipfile_serialization=False)
    return path


def test_omars_file_becomes_the_same_policy(tmp_path: Path) -> None:
    source, out = published(tmp_path / "pretrained_adv_model.pt"), tmp_path / "prey.safetensors"
    (said,) = write_prey(str(source), "simple_tag", str(out))
    prey = load_prey("simple_tag", str(out), 14)
    assert prey.checksum in said
    parts = {
        name: value.double() for name, value in th.load(source, weights_only=True)["agent_params"][3]["policy"].items()
    }
    obs = th.tensor(np.random.default_rng(2).normal(size=(5, 14)))
    moments = [parts[f"in_fn.{name}"] for name in ("running_mean", "running_var", "weight", "bias")]
    x = th.nn.functional.batch_norm(obs, *moments)  # (5, 14)
    for i in (1, 2):
        x = th.relu(x @ parts[f"fc{i}.weight"].T + parts[f"fc{i}.bias"])  # (5, 64)
    expected = th.tanh(x @ parts["fc3.weight"].T + parts["fc3.bias"])  # (5, 2)
    np.testing.assert_allclose(prey.act(obs.numpy()), expected.numpy(), atol=1e-12)
    with pytest.raises(UserError, match="exists; choose another name, or add --force"):
        write_prey(str(source), "simple_tag", str(out))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda policy: policy.pop("fc3.bias"), "damaged or not OMAR's"),
        (lambda policy: policy.update({"fc1.bias": "text"}), "damaged or not OMAR's"),
        (lambda policy: policy.update({"fc2.weight": th.ones(64, 65)}), "holds no prey of simple_tag"),
        (lambda policy: policy.update({"fc3.weight": th.ones(3, 64), "fc3.bias": th.ones(3)}), "holds no prey of"),
        (lambda policy: policy.update({"fc3.bias": th.full((2,), float("nan"))}), "holds no prey of simple_tag"),
    ],
)
def test_other_sizes_are_refused_by_the_sources_name(change: Callable[..., Any], words: str, tmp_path: Path) -> None:
    source, out = published(tmp_path / "model.pt", change), tmp_path / "prey.safetensors"
    with pytest.raises(UserError) as error:
        write_prey(str(source), "simple_tag", str(out))
    assert words in str(error.value) and str(source) in str(error.value) and "\n" not in str(error.value)
    assert not out.exists()


def test_what_holds_no_prey_is_refused(tmp_path: Path) -> None:
    out = str(tmp_path / "prey.safetensors")
    with pytest.raises(UserError, match="holds no prey of simple_world"):
        write_prey(str(published(tmp_path / "tag.pt")), "simple_world", out)
    with pytest.raises(UserError, match="damaged or not OMAR's"):
        write_prey(str(published(tmp_path / "few.pt", n_agents=3)), "simple_tag", out)
    with pytest.raises(UserError, match="was not trained with env_args.key=simple_tag env_args.control=prey"):
        write_prey(str(ROOT / "offline_data/mpe/simple_tag/policies/medium"), "simple_tag", out)


class Payload:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


@pytest.mark.parametrize("kind", ["pickle", "torch"])
def test_no_pickle_is_executed(kind: str, tmp_path: Path) -> None:
    sign, source = tmp_path / "executed", tmp_path / "model.pt"
    payload = Payload(f"touch {sign}")
    if kind == "pickle":
        source.write_bytes(pickle.dumps({"agent_params": payload}))
    else:
        th.save({"agent_params": payload}, source)
    with pytest.raises(UserError, match="damaged or not OMAR's"):
        write_prey(str(source), "simple_tag", str(tmp_path / "prey.safetensors"))
    with pytest.raises(UserError, match="no safetensors file"):
        load_prey("simple_tag", str(source), 14)
    assert not sign.exists()
