"""Exported agents say what they are, act as the policy does, and are not written where they differ."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch as th
from torch import Tensor, nn

import policy as policy_command
from deployment.exactness import difference, trial
from deployment.export import TOLERANCE, export_policy
from deployment.lone_agent import LoneAgent
from modules.agents import REGISTRY as agent_REGISTRY
from modules.agents.mlp_agent import MLPAgent
from modules.agents.mlp_ns_agent import MLPNSAgent
from tests.deployment.made import EXPERT, KINDS, OWN_BOUNDS, kind_name, make_policy, make_run
from utils.errors import PolicyError
from utils.logging import COLUMNS

Agent = Callable[..., list[np.ndarray]]


def open_torchscript(file: Path) -> tuple[Agent, dict[str, Any]]:
    """As in docs/your-policy.md."""
    about: dict[str, Any] = {"policy.json": ""}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        agent = th.jit.load(str(file), _extra_files=about)
    return lambda *inputs: [out.numpy() for out in agent(*map(th.tensor, inputs))], json.loads(about["policy.json"])


def open_onnx(file: Path) -> tuple[Agent, dict[str, Any]]:
    """As in docs/your-policy.md."""
    session = pytest.importorskip("onnxruntime").InferenceSession(str(file))
    about = json.loads(session.get_modelmeta().custom_metadata_map["policy.json"])
    assert [node.name for node in session.get_inputs()] == list(about["inputs"])
    assert [node.name for node in session.get_outputs()] == list(about["outputs"])
    assert [node.shape for node in session.get_inputs()] == [entry["shape"] for entry in about["inputs"].values()]
    return lambda *inputs: session.run(None, dict(zip(about["inputs"], inputs, strict=True))), about


def play(agent: Agent, about: dict[str, Any], obs: np.ndarray, available: np.ndarray) -> list[np.ndarray]:
    """The actions (B, ·) of an agent at every step, its outputs fed back; obs (T, B, O)."""
    state = {
        name: np.zeros((obs.shape[1], about["inputs"][name]["shape"][1]), np.float32) for name in about["remembered"]
    }
    actions = []
    for seen, own in zip(obs, available, strict=True):
        out = dict(zip(about["outputs"], agent(seen, own, *state.values()), strict=True))
        state = {name: out[result] for name, result in about["remembered"].items()}
        actions.append(out["action"])
    return actions


@pytest.mark.parametrize(("to", "opener"), [("torchscript", open_torchscript), ("onnx", open_onnx)])
@pytest.mark.parametrize("kind", KINDS, ids=kind_name)
def test_agents_act_as_the_policy(tmp_path: Path, kind: dict[str, Any], to: str, opener: Any) -> None:
    if to == "onnx":
        pytest.importorskip("onnx")
    env_info = OWN_BOUNDS if kind["agent_output_type"] == "gaussian" else None
    policy = make_policy(tmp_path / "run", env_info, **kind)
    lines = export_policy(policy, to, tmp_path / "out")
    assert len(lines) == 5 and all("1000 observations" in line for line in lines[:3])
    random = np.random.default_rng(1)
    obs = random.standard_normal((6, 4, 3, 18)).astype(np.float32)  # (T, B, N, O)
    available = np.ones((6, 4, 3, policy.n_actions), np.float32)
    available[2:, :, 1, 1:] = 0
    expected = [policy.act(*step) for step in zip(obs, available, strict=True)]
    for i, file in enumerate(sorted((tmp_path / "out").iterdir())):
        agent, about = opener(file)
        assert about["agent"] == i and about["step"] == 10 and about["environment"]["env"] == "mpe"
        if policy.action_low is not None and policy.action_high is not None:
            assert about["action_low"] == policy.action_low[i].tolist()
            assert about["action_high"] == policy.action_high[i].tolist()
        actions = play(agent, about, obs[:, :, i], available[:, :, i])
        for t, chosen in enumerate(actions):
            assert chosen.dtype == expected[t].dtype and chosen.shape == expected[t][:, i].shape
            np.testing.assert_allclose(chosen, expected[t][:, i], atol=1e-5)


CHOOSING = {"agent": "bcq_ns", "learner": "bcq_learner", "acting_candidates": 100, "perturbation_reach": 0.05}


@pytest.mark.parametrize("to", ["torchscript", "onnx"])
def test_an_agent_that_chooses_by_values_may_choose_either_of_two_equal_ones(tmp_path: Path, to: str) -> None:
    """In one of these 3 000 observations rounding decides between two of BCQ's candidates, in TorchScript at least."""
    if to == "onnx":
        pytest.importorskip("onnx")
    policy = make_policy(tmp_path / "run", **CHOOSING)
    assert len(export_policy(policy, to, tmp_path / "out")) == 5


def test_an_agent_that_chooses_a_worse_one_is_not_written(tmp_path: Path) -> None:
    policy = make_policy(tmp_path / "run", **CHOOSING)
    tried, agent = trial(policy), LoneAgent(policy, 0)

    def answer(rank: int, inputs: tuple[np.ndarray, ...]) -> list[np.ndarray]:
        """The candidate of that rank by its value."""
        found = agent.choices(*map(th.from_numpy, inputs))
        assert found is not None
        outputs, actions, values = (each.numpy() for each in found)
        index = values.argsort(-1)[:, -rank][:, None, None]
        return [np.take_along_axis(each, index, 1)[:, 0] for each in (actions, outputs)]

    assert difference(tried, 0, agent, lambda inputs: answer(1, inputs)) <= TOLERANCE
    assert difference(tried, 0, agent, lambda inputs: answer(2, inputs)) > 1e-3
    assert difference(tried, 0, agent, lambda inputs: [0.5 * each for each in answer(1, inputs)]) > 1e-3


def test_small_actions_are_measured_in_units_of_their_bounds(tmp_path: Path) -> None:
    """A rounding of 1e-7 is 2e-6 of an action of 0.06, which refused whole policies that hardly move."""
    policy = make_policy(tmp_path / "run", agent="mlp_ns", agent_output_type="mean")
    for weight in policy.mac.parameters():
        weight.data.mul_(0.3)
    tried, agent = trial(policy), LoneAgent(policy, 0)
    largest = max(float(abs(actions[:, 0]).max()) for actions in tried.actions)
    assert largest < 0.1

    def answer(inputs: tuple[np.ndarray, ...], error: float) -> list[np.ndarray]:
        action, *others = (each.detach().numpy() for each in agent(*map(th.from_numpy, inputs)))
        return [action + error, *others]

    assert difference(tried, 0, agent, lambda inputs: answer(inputs, 1e-7)) < TOLERANCE
    assert difference(tried, 0, agent, lambda inputs: answer(inputs, 1e-5)) > TOLERANCE


def test_a_file_needs_nothing_of_this_program(tmp_path: Path) -> None:
    policy = make_policy(tmp_path / "run", agent="rnn_ns", agent_output_type="tanh_gaussian")
    export_policy(policy, "torchscript", tmp_path)
    script = (
        "import torch as th; agent = th.jit.load('agent_2.pt')\n"
        "print([tuple(x.shape) for x in agent(th.zeros(5, 18), th.ones(5, 2), th.zeros(5, 16))])"
    )
    command = [sys.executable, "-W", "ignore", "-c", script]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert result.stdout == "[(5, 2), (5, 4), (5, 16)]\n", result.stderr


def test_a_file_holds_its_own_agent_alone(tmp_path: Path) -> None:
    policy = make_policy(tmp_path / "run", agent="mlp_ns", hidden_dim=128)
    export_policy(policy, "torchscript", tmp_path)
    weights = sum(value.numel() for value in policy.mac.agent.state_dict().values()) * 4
    assert (tmp_path / "agent_0.pt").stat().st_size < weights / 2  # of three agents


# -- agents that cannot be exported ------------------------------------------------------------------------------------


class Branching(MLPAgent):
    def forward(self, inputs: Tensor, hidden_state: Tensor) -> tuple[Tensor, Tensor]:
        outputs, hidden_state = super().forward(inputs, hidden_state)
        return (outputs if inputs.sum() > 0 else -outputs), hidden_state


class Talking(MLPAgent):
    """Agents of one team that hear each other: none acts alone."""

    def forward(self, inputs: Tensor, hidden_state: Tensor) -> tuple[Tensor, Tensor]:
        outputs, hidden_state = super().forward(inputs, hidden_state)
        return outputs + inputs.mean(), hidden_state


class OfOneSize(MLPAgent):
    def forward(self, inputs: Tensor, hidden_state: Tensor) -> tuple[Tensor, Tensor]:
        rows = [int(size) for size in inputs.detach().numpy().shape]
        outputs, hidden_state = super().forward(inputs.view(rows), hidden_state)
        return outputs, hidden_state


class Inseparable(nn.Module):
    is_recurrent, unshared = False, True

    def __init__(self, *arguments: Any) -> None:
        super().__init__()
        self.inside = MLPNSAgent(*arguments)
        self.init_hidden = self.inside.init_hidden

    def forward(self, inputs: Tensor, hidden_state: Tensor) -> Any:
        return self.inside(inputs, hidden_state)


@pytest.mark.parametrize("to", ["torchscript", "onnx"])
@pytest.mark.parametrize(
    ("agent", "words"),
    [
        (Branching, "cannot be traced"),
        (Talking, "differs from the policy by"),
        (OfOneSize, "cannot be (run|traced)"),
        (Inseparable, "no method `alone"),
    ],
)
def test_an_agent_that_a_file_cannot_hold_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, agent: Any, words: str, to: str
) -> None:
    if to == "onnx":
        pytest.importorskip("onnxruntime")
    monkeypatch.setitem(agent_REGISTRY, "mine", agent)
    mac = "non_shared_mac" if agent is Inseparable else "basic_mac"
    policy = make_policy(tmp_path / "run", agent="mine", mac=mac)
    with pytest.raises(PolicyError, match=words) as refusal:
        export_policy(policy, to, tmp_path / "out")
    assert "\n" not in str(refusal.value) and not (tmp_path / "out").exists()


def test_a_check_that_fails_at_the_last_agent_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = make_policy(tmp_path / "run", agent="mlp_ns")
    own = policy.mac.agent.alone

    def wrong(index: int) -> Any:
        network = own(index)
        if index == 2:
            network.fc3.bias.data += 1e-4
        return network

    monkeypatch.setattr(policy.mac.agent, "alone", wrong)
    with pytest.raises(PolicyError, match="agent 2 as exported differs"):
        export_policy(policy, "torchscript", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime"])
def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    if missing == "onnxruntime":
        pytest.importorskip("onnx")
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(PolicyError, match=rf"needs the package {missing}, .*'\.\[onnx\]'"):
        export_policy(make_policy(tmp_path / "run", agent="mlp"), "onnx", tmp_path / "out")
    assert not (tmp_path / "out").exists()


# -- the command -----------------------------------------------------------------------------------------------------


def test_the_command_prints_each_difference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / ("long" * 20)
    assert policy_command.main(["export", str(EXPERT), "--to", "torchscript", "-o", str(out)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert all(len(line) <= COLUMNS or len(line.split()) == 1 for line in printed), printed  # a path stays whole
    *lines, takes, gives = re.sub(r"\n    +", " ", "\n".join(printed)).splitlines()
    assert len(lines) == 3
    for i, line in enumerate(lines):
        assert line.startswith(str(out / f"agent_{i}.pt"))
        assert 0 <= float(line.partition("at most ")[2].split()[0]) <= 1e-6
    assert takes == "takes obs (batch, 18), avail_actions (batch, 2)"
    assert gives == "gives action (batch, 2), outputs (batch, 2)"


def test_the_command_refuses_in_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_run(tmp_path / "run", agent="mlp")
    (folder / "run.json").write_text("{")
    for words in (["export", str(folder), "--to", "torchscript"], ["play", str(folder)]):
        assert policy_command.main([*words, "-o", str(tmp_path / "x.gif")]) == 1
        output = capsys.readouterr()
        assert output.err.startswith("error: ") and output.err.count("\n") == 1 and "run.json is damaged" in output.err
        assert not output.out and not (tmp_path / "x.gif").exists()
