"""A loaded policy does what the run's evaluation does, remembers what it must, and refuses what it cannot take."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch as th

from components.scheme import build_scheme
from deployment.export import export_policy
from deployment.loaded import LoadedPolicy, load_policy
from envs.mpe.spread_twin import SpreadTwin
from loops.described import described_policy
from loops.evaluator import Evaluator
from runners import REGISTRY as runner_REGISTRY
from tests.command_line import ROOT, CommandLine
from tests.deployment.made import EXPERT, KINDS, OWN_BOUNDS, kind_name, make_policy, make_run
from utils.description import write_description
from utils.errors import CheckpointError, PolicyError
from utils.logging import Logger

EPISODES = 3


def evaluated(folder: Path, greedy: bool) -> Any:
    """The batch of an evaluation of three episodes, as the runner plays it."""
    made = described_policy(str(folder))
    args = made.args.extended(test_nepisode=EPISODES, batch_size_run=EPISODES, test_greedy=greedy)
    made.mac.action_selector.test_greedy = greedy  # type: ignore[attr-defined]
    runner = runner_REGISTRY["vector"](args, Logger(logging.getLogger("test")))
    runner.setup(*build_scheme(made.description["env_info"], args), made.mac)
    Evaluator(runner, args, None).evaluate(10)
    runner.close_env()
    return runner.batch


def stochastic(kind: dict[str, Any]) -> bool:
    return kind["agent_output_type"] not in ("mean", "q")


@pytest.mark.parametrize(
    ("kind", "greedy"),
    [(kind, True) for kind in KINDS] + [(kind, False) for kind in KINDS if stochastic(kind)],
    ids=lambda value: kind_name(value) if isinstance(value, dict) else {True: "greedy", False: "sampled"}[value],
)
def test_actions_are_those_of_an_evaluation(tmp_path: Path, kind: dict[str, Any], greedy: bool) -> None:
    folder = make_run(tmp_path / "run", **kind)
    batch = evaluated(folder, greedy)
    policy = load_policy(folder, seed=1_000_000)
    for t in range(25):
        actions = policy.act(batch["obs"][:, t], batch["avail_actions"][:, t], sample=not greedy)
        expected = batch["actions"][:, t].numpy()
        assert np.array_equal(actions, expected if policy.continuous else expected[..., 0]), t


def test_a_trained_run_is_loaded_and_exported(cli: CommandLine, tmp_path: Path) -> None:
    """Its inputs are standardised by the dataset, of which the observations of the export's check are, too."""
    result = cli.run("save_model_interval=20", "input_norm=dataset")
    assert result.returncode == 0, result.stderr
    [folder] = cli.checkpoints()
    batch, policy = evaluated(folder, greedy=True), load_policy(folder)
    for t in range(25):
        assert np.array_equal(policy.act(batch["obs"][:, t]), batch["actions"][:, t].numpy())
    assert policy.obs_std.shape == (3, 18) and not (policy.obs_std == 1).any()
    assert len(export_policy(policy, "torchscript", tmp_path / "out")) == 5


def test_the_bundled_expert_scores_what_its_page_says() -> None:
    policy = load_policy("offline_data/mpe/simple_spread/policies/expert")
    env = SpreadTwin(1000)
    env.reset(list(range(1_000_000, 1_001_000)))
    total = 0.0
    for _ in range(25):
        reward, *_ = env.step(policy.act(env.get_obs()))
        total += reward.mean()
    assert total == pytest.approx(557.6, abs=0.05)


@pytest.mark.parametrize("kind", KINDS, ids=kind_name)
def test_one_step_and_a_batch_agree(tmp_path: Path, kind: dict[str, Any]) -> None:
    """Episodes side by side act as each of them alone, and `reset` of one of them begins it anew."""
    policy, alone = (make_policy(tmp_path / name, **kind) for name in ("many", "one"))
    obs = np.random.default_rng(0).standard_normal((6, 4, 3, 18))  # (T, B, N, O)
    many = []
    for t, step in enumerate(obs):
        if t == 3:
            policy.reset([1])
        many.append(policy.act(step))
    for episode, start in ((0, 0), (1, 0), (1, 3)):
        alone.reset()
        for t in range(start, 3 if (episode, start) == (1, 0) else 6):
            single = alone.act(obs[t, episode])
            assert single.shape == many[t][episode].shape
            np.testing.assert_allclose(single, many[t][episode], atol=1e-5)


def test_each_agent_keeps_its_own_bounds(tmp_path: Path) -> None:
    policy = make_policy(tmp_path / "run", OWN_BOUNDS, agent_output_type="tanh_gaussian", agent="mlp_ns")
    actions = policy.act(30 * np.random.default_rng(0).standard_normal((4000, 3, 18)), sample=True)
    assert policy.action_low is not None and policy.action_high is not None
    assert np.array_equal(policy.action_low, OWN_BOUNDS["action_low"])
    assert (actions >= policy.action_low).all() and (actions <= policy.action_high).all()
    reached = (actions.max(0) - actions.min(0)) / (policy.action_high - policy.action_low)
    assert (reached > 0.8).all()


# -- observations ------------------------------------------------------------------------------------------------------


def test_unequal_observations_are_padded_as_in_training(tmp_path: Path) -> None:
    policy = make_policy(tmp_path / "run", agent="mlp_ns", agent_output_type="q")
    obs = np.random.default_rng(0).standard_normal((5, 3, 18)).astype(np.float32)
    obs[:, 0, 10:] = obs[:, 2, 4:] = 0.0
    expected = policy.outputs(obs)
    one_step = [[list(step[0, :10]), step[1], th.from_numpy(step[2, :4])] for step in obs]
    assert np.array_equal(policy.outputs(one_step), expected)  # B lists of one step
    assert np.array_equal(policy.outputs(one_step[3]), policy.outputs(obs[3]))
    assert np.array_equal(policy.outputs([obs[:, 0, :10], obs[:, 1], obs[:, 2, :4]]), expected)  # a batch per agent
    assert np.array_equal(policy.outputs(obs.tolist()), expected)


@pytest.mark.parametrize(
    ("observations", "avail_actions", "words"),
    [
        (np.zeros((3, 17)), None, r"shape \(3, 17\); this policy takes \(3, 18\)"),
        (np.zeros((2, 2, 18)), None, r"takes \(3, 18\) for one step or \(batch, 3, 18\)"),
        (np.zeros(18), None, "this policy takes"),
        (np.zeros((0, 3, 18)), None, "this policy takes"),
        (np.full((3, 18), np.nan), None, "agent 0 is not finite"),
        ([np.zeros(18)] * 2, None, "has 2 entries; this policy has 3 agents"),
        ([np.zeros(17)] * 3, None, "longest observation has 17 numbers; the policy was trained with 18"),
        ([np.zeros(19), np.zeros(18), np.zeros(18)], None, "longest observation has 19"),
        ([np.zeros((2, 18)), np.zeros((3, 18)), np.zeros((2, 18))], None, "as many"),
        ([np.zeros((2, 18)), np.zeros(18), np.zeros(18)], None, "one entry per agent, each"),
        ([], None, "has 0 entries"),
        ("nonsense", None, "must be numbers"),
        ([["a"] * 18] * 3, None, "must be numbers"),
        (np.zeros((3, 18)), np.ones((3, 4)), r"avail_actions has shape \(3, 4\); it must be \(3, 5\)"),
        (np.zeros((3, 18)), np.full((3, 5), 2), "1 for an action that the agent has"),
        (np.zeros((3, 18)), np.zeros((3, 5)), "leaves agent 0 no action"),
    ],
)
def test_what_it_cannot_take_is_refused(tmp_path: Path, observations: Any, avail_actions: Any, words: str) -> None:
    policy = make_policy(tmp_path / "run", agent="mlp_ns", agent_output_type="q")
    with pytest.raises(PolicyError, match=words) as refusal:
        policy.act(observations, avail_actions)
    assert "\n" not in str(refusal.value)


def test_other_episodes_need_a_reset(tmp_path: Path) -> None:
    policy = make_policy(tmp_path / "run", agent="rnn")
    policy.act(np.zeros((2, 3, 18)))
    with pytest.raises(PolicyError, match="remembers 2 episodes and is given 3; call reset"):
        policy.act(np.zeros((3, 3, 18)))
    with pytest.raises(PolicyError, match="episodes 0 to 1"):
        policy.reset([2])
    policy.reset()
    assert policy.act(np.zeros((3, 3, 18))).shape == (3, 3, 2)
    feed_forward = make_policy(tmp_path / "other", agent="mlp")
    assert [len(feed_forward.act(np.zeros((size, 3, 18)))) for size in (2, 3)] == [2, 3]


# -- randomness --------------------------------------------------------------------------------------------------------


def test_samples_are_the_seeds_and_leave_other_streams_alone(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", agent="mlp", agent_output_type="gaussian")

    def drawn(policy: LoadedPolicy) -> list[np.ndarray]:
        return [policy.act(np.zeros((3, 18)), sample=True) for _ in range(3)]

    th.manual_seed(3)
    expected = th.rand(4)
    th.manual_seed(3)  # loading initialises networks, and acting draws
    first, again, other = (drawn(load_policy(folder, seed=seed)) for seed in (5, 5, 6))
    assert th.equal(th.rand(4), expected)
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert not np.array_equal(first[0], first[1])
    policy = load_policy(folder, seed=1)
    policy.seed(5)
    assert np.array_equal(drawn(policy), first)


@pytest.mark.parametrize("selector", ["epsilon_greedy", "soft_policies"])
def test_greedy_is_greedy_whatever_evaluations_do(tmp_path: Path, selector: str) -> None:
    kind = {"epsilon_greedy": "q", "soft_policies": "pi_logits"}[selector]
    policy = make_policy(
        tmp_path / "run", agent="mlp", agent_output_type=kind, action_selector=selector, evaluation_epsilon=1.0,
        epsilon_start=1.0,
    )  # fmt: skip
    obs = np.zeros((200, 3, 18))
    assert np.array_equal(policy.act(obs), policy.outputs(obs).argmax(-1))
    assert len(np.unique(policy.act(obs, sample=True))) == 5


# -- loading -----------------------------------------------------------------------------------------------------------


def test_a_script_of_three_lines_needs_no_sacred(tmp_path: Path) -> None:
    """With what an editable install puts on the path; and from then on as `policy`, as with `src` on the path."""
    script = f"""
import sys; sys.path.insert(0, {str(ROOT / "launcher")!r})
from epymarl_offline import load_policy
policy = load_policy({str(EXPERT)!r})
print(policy.act([[0.0] * 18] * 3).shape, sorted({{"sacred", "gymnasium", "mpe2"}} & sys.modules.keys()))
import policy
print(policy.load_policy is load_policy, sys.path[0] == {str(ROOT / "src")!r})
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert result.stdout == "(3, 2) []\nTrue True\n", result.stderr


def test_a_module_of_the_same_name_is_named(tmp_path: Path) -> None:
    (tmp_path / "utils.py").write_text("")
    script = f"import sys; sys.path.insert(0, {str(ROOT / 'launcher')!r})\nimport utils, epymarl_offline"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert result.returncode == 1 and "has imported a module 'utils'" in result.stderr.splitlines()[-1]


def test_the_nearest_step_is_loaded(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", agent="mlp")
    (folder / "500").mkdir()
    (folder / "500" / "agent.th").write_bytes((folder / "10" / "agent.th").read_bytes())
    assert [load_policy(folder, step).step for step in (0, 20, 400)] == [500, 10, 500]
    assert load_policy(folder / "10").step == 10


@pytest.mark.parametrize("step", [-1, "newest", 1.5, True])
def test_a_step_that_is_none_is_refused(step: Any) -> None:
    with pytest.raises(PolicyError, match=rf"step={step}: this must be a whole number of at least 0; 0 is the newest"):
        load_policy(EXPERT, step)


@pytest.mark.parametrize("seed", [-1, 2**70, "a"])
def test_a_seed_that_is_none_is_not_blamed_on_the_description(seed: Any) -> None:
    with pytest.raises(PolicyError, match=rf"^seed={seed}: this must be a whole number from 0 to 2\*\*63 - 1"):
        load_policy(EXPERT, seed=seed)


def test_tensors_of_every_kind_are_taken_or_refused() -> None:
    policy = load_policy(EXPERT)
    np.testing.assert_array_equal(policy.act(th.zeros(3, 18, dtype=th.bfloat16)), policy.act(np.zeros((3, 18))))
    for given in (th.zeros(3, 18).to_sparse(), th.zeros(3, 18, dtype=th.complex64), np.zeros((3, 18), complex)):
        with pytest.raises(PolicyError, match="observations must be numbers in a regular array"):
            policy.act(given)
    for episodes in (3, [0, 1], ["a"]):
        with pytest.raises(PolicyError, match="give a list of whole numbers; the batch has episodes 0 to 0"):
            policy.reset(episodes)  # type: ignore[arg-type]


def test_a_device_that_is_not_here_is_refused() -> None:
    with pytest.raises(PolicyError, match="device=tpu"):
        load_policy(EXPERT, device="tpu")


DAMAGES: dict[str, Any] = {
    "an agent that is unknown": lambda run: run["config"].update(agent="transformer"),
    "a configuration that is empty": lambda run: run.update(config={}),
    "a key of a wrong type": lambda run: run["config"].update(hidden_dim="wide"),
    "sizes that the weights do not have": lambda run: run["env_info"].update(obs_shape=19),
    "sizes that are no numbers": lambda run: run["env_info"].update(n_agents="three"),
    "a size beyond all memory": lambda run: run["config"].update(hidden_dim=10**15),
    "bounds of other agents": lambda run: run["env_info"].update(action_low=[[0.0, 0.0]] * 2),
    "an environment without a name": lambda run: run.update(environment={}),
    "a card without moments": lambda run: run.update(dataset={"card": {}}),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_description_is_one_sentence(tmp_path: Path, damage: str) -> None:
    folder = make_run(tmp_path / "run", agent="mlp")
    content = json.loads((folder / "run.json").read_text())
    DAMAGES[damage](content)
    write_description(folder, content)
    with pytest.raises(CheckpointError) as refusal:
        load_policy(folder)
    assert "\n" not in str(refusal.value) and str(folder) in str(refusal.value)


def test_a_checkpoint_without_a_description_is_refused(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", agent="mlp")
    (folder / "run.json").unlink()
    with pytest.raises(CheckpointError, match="no run.json"):
        load_policy(folder)
    with pytest.raises(CheckpointError, match="there is no such directory"):
        load_policy(tmp_path / "nowhere")
