"""Stock's own learners, controllers, agents, critics, mixers and YAMLs, from a checkout, in this host.

They run where EPYMARL_CHECKOUT names a checkout of uoe-agents/epymarl:
`EPYMARL_CHECKOUT=/path/to/epymarl pytest -n 0 tests/compat/stock_in_ours`.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
from pathlib import Path

import pytest

from tests.compat.stock_checkout import stock_checkout
from tests.compat.stock_in_ours.overlay import RUNNERS, SHORT, Copy, copy_of_ours, overlaid, register

pytestmark = pytest.mark.slow
ALGORITHMS = ("coma", "ia2c", "ippo", "iql", "maa2c", "maddpg", "mappo", "qmix", "vdn")
CONFIGS = [f"{name}{sharing}" for name in ALGORITHMS for sharing in ("", "_ns")]
LBF = "env_args.key=lbforaging:Foraging-8x8-2p-3f-v3"
OFF_POLICY = ("iql", "maddpg", "qmix", "vdn")
LEARNERS = ("q_learner", "coma_learner", "qtran_learner", "actor_critic_learner", "maddpg_learner", "ppo_learner",
            "pac_learner", "pac_dcg_learner")  # fmt: skip


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our `src` with all of stock's files over it."""
    return overlaid(tmp_path_factory.mktemp("everything"), stock_checkout() / "src")


@pytest.fixture
def stock(everything: Path, tmp_path: Path) -> Copy:
    return Copy(everything, tmp_path / "results")


def sizes(config: str, runner: str) -> tuple[str, ...]:
    """A buffer of what is learned from: on-policy algorithms of one rollout, as their YAMLs have it."""
    batch = 4 if config.removesuffix("_ns") in OFF_POLICY or runner == "parallel" else 1
    buffer = 50 if config.removesuffix("_ns") in OFF_POLICY else batch
    return (f"batch_size={batch}", f"buffer_size={buffer}", *RUNNERS[runner])


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("config", CONFIGS)
def test_every_configuration_trains_on_both_runners(config: str, runner: str, stock: Copy) -> None:
    pytest.importorskip("lbforaging")
    result = stock.run(config, "gymma", *SHORT, LBF, *sizes(config, runner))
    logged = stock.check_trained(result)
    assert "target_mean" in logged or "q_taken_mean" in logged or "critic_loss" in logged


@pytest.mark.parametrize("config", ["qmix", "mappo"])
def test_a_yaml_runs_as_it_is(config: str, stock: Copy) -> None:
    """The command of stock's README: the YAML's own runner and sizes, and nothing that our environment's file adds."""
    pytest.importorskip("lbforaging")
    result = stock.run(config, "gymma", LBF, "t_max=600", "env_args.time_limit=10", "test_nepisode=10", "seed=1")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("config", ["iql", "vdn", "coma"])
def test_standardised_returns_run(config: str, stock: Copy) -> None:
    """Not maddpg: its learner gives its statistics one column and reads N, which fails in stock as well."""
    pytest.importorskip("lbforaging")
    result = stock.run(config, "gymma", *SHORT, LBF, *sizes(config, "episode"), "standardise_returns=True")
    stock.check_trained(result)


@pytest.mark.parametrize("learner", LEARNERS)
def test_continuous_actions_are_refused(learner: str, stock: Copy) -> None:
    sentence = stock.check_refused(stock.run("qmix", "mpe", f"learner={learner}"))
    assert sentence.startswith(f"error: learner={learner} handles discrete actions, this environment")


def test_every_learner_of_the_checkout_is_among_those() -> None:
    registered = re.findall(r'REGISTRY\["(\w+)"\]', (stock_checkout() / "src/learners/__init__.py").read_text())
    assert sorted(registered) == sorted(LEARNERS)


def test_team_learners_refuse_individual_rewards(stock: Copy) -> None:
    pytest.importorskip("lbforaging")
    sentence = stock.check_refused(stock.run("vdn", "gymma", *SHORT, LBF, "common_reward=False"))
    assert "VDN only supports common reward setting" in sentence


@pytest.mark.parametrize(("config", "package"), [("pac_ns", "einops"), ("pac_dcg_ns", "torch_scatter")])
def test_pac_without_its_packages_is_refused(config: str, package: str, stock: Copy) -> None:
    pytest.importorskip("lbforaging")
    if importlib.util.find_spec("einops") or importlib.util.find_spec("torch_scatter"):
        pytest.skip("a package of PAC's is installed here")
    result = stock.run(config, "gymma", *SHORT, LBF, *sizes(config, "parallel"))
    assert "which is not installed" in stock.check_refused(result)


def test_a_trained_policy_is_continued_evaluated_and_collected_from(stock: Copy, tmp_path: Path) -> None:
    """Stock's learners have no training state: weights and optimisers continue, targets start as copies."""
    pytest.importorskip("lbforaging")
    own = (*SHORT, LBF, *sizes("vdn", "parallel"))
    stock.check_trained(stock.run("vdn", "gymma", *own))
    (trained,) = stock.results.glob("models/*")
    collecting = ("collect=True", "collect_episodes=3", f"collect_to={tmp_path}/x.h5")
    for mode in (("t_max=400",), ("evaluate=True",), collecting):
        result = stock.run("vdn", "gymma", *own, f"checkpoint_path={trained}", *mode)
        assert result.returncode == 0, result.stderr
    assert (tmp_path / "x.h5").exists()


# single files: those copied in, and what our other registries get: package, key, module, class (learners are found)
SINGLE = {
    "coma": (
        ("learners/coma_learner.py", "modules/critics/coma.py"),
        (("modules/critics", "coma_critic", "coma", "COMACritic"),),
    ),
    "maddpg": (
        ("learners/maddpg_learner.py", "modules/critics/maddpg.py", "controllers/maddpg_controller.py"),
        (("controllers", "maddpg_mac", "maddpg_controller", "MADDPGMAC"),
         ("modules/critics", "maddpg_critic", "maddpg", "MADDPGCritic")),
    ),
    "qmix": (("learners/q_learner.py",), ()),
    "vdn": (("controllers/basic_controller.py", "modules/agents/rnn_agent.py", "modules/mixers/vdn.py"), ()),
}  # fmt: skip


@pytest.mark.parametrize("config", SINGLE)
def test_single_files_run_beside_ours(config: str, tmp_path: Path) -> None:
    """Each among our controllers, agents, critics and mixers, registered by two lines or in the place of ours."""
    pytest.importorskip("lbforaging")
    source = stock_checkout() / "src"
    files, registrations = SINGLE[config]
    directory = copy_of_ours(tmp_path / "copy")
    for name in (*files, f"config/algs/{config}.yaml"):
        shutil.copy(source / name, directory / "src" / name)
    for registration in registrations:
        register(directory, *registration)
    copy = Copy(directory, tmp_path / "results")
    copy.check_trained(copy.run(config, "gymma", *SHORT, LBF, *sizes(config, "parallel")))
