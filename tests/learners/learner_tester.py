"""What every learner must do, and small batches to do it on. `test_every_learner.py` runs it over the registry."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch as th
from torch import Tensor

from components.episode_buffer import EpisodeBatch
from components.scheme import build_scheme, extend_scheme
from components.statistics import DataStatistics
from controllers import REGISTRY as mac_REGISTRY
from learners import REGISTRY as learner_REGISTRY
from learners.base_learner import BaseLearner
from loops.resolve import resolved_outputs
from utils.config import CONFIG, algorithm, config_names, read_yaml

N_AGENTS, OBS, ACTION = 3, 4, 2
F64 = th.float64


# Every algorithm file whose learner is registered.
ALGORITHMS = {alg: keys for alg in config_names("algs") if (keys := algorithm(alg)).get("learner") in learner_REGISTRY}


class Recorder:
    """A logger that keeps what it is told."""

    def __init__(self) -> None:
        self.stats: list[tuple[str, float, int]] = []

    def log_stat(self, key: str, value: float, t: int, /) -> None:
        self.stats.append((key, value, t))


def make_args(alg: str, discrete: bool | None = None, **updates: Any) -> SimpleNamespace:
    """The algorithm file's keys over the defaults, with small networks and short intervals, and what a run adds.

    discrete: the actions of an algorithm file that leaves their type open (`auto`).
    """
    run = {
        "n_agents": N_AGENTS, "n_actions": ACTION, "state_shape": N_AGENTS * OBS, "device": "cpu", "seed": 5,
        "common_reward": True, "learner_log_interval": 2, "action_low": [-1.0, -2.0], "action_high": [1.0, 3.0],
        "hidden_dim": 8, "ensemble_size": 4, "batch_size": 6, "loss_chunk": None,
    }  # fmt: skip
    args = SimpleNamespace(**{**read_yaml(CONFIG / "default.yaml"), **algorithm(alg), **run, **updates})
    for key in ("target_update_interval", "target_update_interval_or_tau"):
        if key not in updates and getattr(args, key, 0) > 1:
            setattr(args, key, 5)
    if discrete is None:
        discrete = args.agent_output_type in ("pi_logits", "q")
    vars(args).update(resolved_outputs(args.agent_output_type, args.action_selector, continuous=not discrete))
    return args


def is_discrete(args: SimpleNamespace) -> bool:
    """Whether a configuration is for discrete actions."""
    return args.agent_output_type in ("pi_logits", "q")


def is_recurrent(args: SimpleNamespace) -> bool:
    return "rnn" in args.agent and args.use_rnn


def env_info(args: SimpleNamespace) -> dict[str, Any]:
    """What an environment of the algorithm's action type would say of itself."""
    sizes = {"state_shape": args.state_shape, "obs_shape": OBS, "n_actions": args.n_actions, "n_agents": args.n_agents}
    return {**sizes, "episode_limit": 9, "action_space": "discrete" if is_discrete(args) else "continuous"}


def make_learner(
    alg: str = "spacql", dtype: th.dtype = th.float32, discrete: bool | None = None, **updates: Any
) -> Any:
    """A learner on its own small networks; its logger is a `Recorder`."""
    args = make_args(alg, discrete, **updates)
    scheme, groups, preprocess = build_scheme(env_info(args), args)
    th.manual_seed(args.seed)
    scheme = extend_scheme(scheme, preprocess)
    mac = mac_REGISTRY[args.mac](scheme, groups, args)
    learner: BaseLearner = learner_REGISTRY[args.learner](mac, scheme, Recorder(), args)
    if args.input_norm == "dataset":
        learner.use_statistics(statistics(args))
    return learner.to(dtype)


def statistics(args: SimpleNamespace) -> DataStatistics:
    """Means of 0.3 and standard deviations of 1.5, everywhere."""
    shapes = {"obs": (args.n_agents, OBS), "state": (args.state_shape,)}
    inputs = {field: (th.full(shape, 0.3), th.full(shape, 1.5)) for field, shape in shapes.items()}
    return DataStatistics(inputs, max_return=-1.0, max_return_to_go=-0.5)


def make_batch(
    args: SimpleNamespace, rows: int = 6, steps: int = 2, seed: int = 0, dtype: th.dtype = th.float32
) -> EpisodeBatch:
    """Random transitions, (rows, steps) with every row filled and a reward that small actions raise."""
    generator = th.Generator().manual_seed(seed)
    scheme, groups, preprocess = build_scheme(env_info(args), args)
    scheme["next_action_valid"] = {"vshape": (1,)}
    lead = (rows, steps)
    obs = th.randn(*lead, args.n_agents, OBS, generator=generator, dtype=dtype)
    low, high = th.tensor(args.action_low, dtype=dtype), th.tensor(args.action_high, dtype=dtype)
    if is_discrete(args):
        actions = th.randint(args.n_actions, (*lead, args.n_agents, 1), generator=generator)
        encoded = th.nn.functional.one_hot(actions.squeeze(-1), args.n_actions).to(dtype)
        reward = -actions.to(dtype).sum((-2, -1)).unsqueeze(-1)
    else:
        actions = low + (high - low) * th.rand(*lead, args.n_agents, args.n_actions, generator=generator, dtype=dtype)
        encoded = actions.clone()
        reward = -encoded.square().sum((-2, -1)).unsqueeze(-1)
    data = {
        "obs": obs, "state": obs.flatten(2), "actions": actions, "actions_onehot": encoded,
        "avail_actions": th.ones(*lead, args.n_agents, args.n_actions, dtype=th.int),
        "reward": reward if args.common_reward else reward.expand(*lead, args.n_agents).clone(),
        "terminated": th.zeros(*lead, 1, dtype=th.uint8),
        "filled": th.ones(*lead, 1, dtype=th.long), "next_action_valid": th.ones(*lead, 1, dtype=dtype),
    }  # fmt: skip
    wrapped = SimpleNamespace(transition_data=data, episode_data={})
    return EpisodeBatch(extend_scheme(scheme, preprocess), groups, rows, steps, data=wrapped, device="cpu")


def setting(**updates: Any) -> tuple[Any, Any, dict[str, Tensor]]:
    """A float64 learner whose targets differ from its networks, a batch and noise."""
    steps = updates.pop("steps", 2)
    learner = make_learner(updates.pop("alg", "spacql"), dtype=F64, **updates)
    th.manual_seed(11)
    with th.no_grad():
        for name, parameter in learner.named_parameters():
            if name.startswith("target_"):
                parameter.add_(0.1 * th.randn_like(parameter))
    batch = make_batch(learner.args, steps=steps, dtype=F64)
    noise = {k: v.to(F64) if v.is_floating_point() else v for k, v in learner.noise("critic", batch).items()}
    return learner, batch, noise


def parameters_of(learner: BaseLearner) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in learner.state_dict().items()}


def train(learner: BaseLearner, start: int, stop: int) -> None:
    """Updates `start`+1 .. `stop`, each on a batch of its own, of several steps where agents remember."""
    steps = 4 if is_recurrent(learner.args) else 2
    for step in range(start, stop):
        batch = make_batch(learner.args, steps=steps, seed=step)
        batch.to(learner.args.device)
        learner.train(batch, step + 1, 0)


def check_learns(alg: str, **updates: Any) -> None:
    """Training moves every trained parameter and every target."""
    learner = make_learner(alg, **updates)
    before = parameters_of(learner)
    train(learner, 0, 10)
    assert_moved(learner, before)


def assert_moved(learner: BaseLearner, before: dict[str, Tensor]) -> None:
    """Every trained parameter and every target differs from what it was, and is finite."""
    after = parameters_of(learner)
    fixed = "agent." if getattr(learner, "FIXED_POLICY", False) else "no such module"
    assert all(th.equal(before[name], after[name]) for name in before if name.startswith(fixed))
    trained = [name for name in before if "normaliser" not in name and not name.startswith(fixed)]
    still = [name for name in trained if th.equal(before[name], after[name])]
    assert not still, f"these did not move: {still}"
    assert all(th.isfinite(value).all() for value in after.values())


def check_resumes(alg: str, path: Path, **updates: Any) -> None:
    """train(N + M) == train(N) + save + load + train(M), bit for bit, weights, targets, optimisers and log.

    Targets of an interval are copied at 5 and at 10, the log is written after every second update: a counter that began
    again at 7 would be seen. The straight run has to learn, as in `check_learns`.
    """
    straight = make_learner(alg, **updates)
    before = parameters_of(straight)
    train(straight, 0, 11)
    assert_moved(straight, before)
    first = make_learner(alg, **updates)
    train(first, 0, 7)
    first.save_models(str(path))
    th.save(first.training_state(), path / "training.th")
    second = make_learner(alg, seed=99, **updates)
    if getattr(second, "FIXED_POLICY", False):  # both runs are given the same
        second.agent.load_state_dict(first.agent.state_dict())
    second.load_models(str(path))
    second.load_training_state(th.load(path / "training.th", weights_only=True))
    train(second, 7, 11)
    assert_same(straight.state_dict(), second.state_dict())
    assert_same(straight.training_state(), second.training_state())
    assert straight.logger.stats == first.logger.stats + second.logger.stats


def check_device(alg: str, path: Path, device: str = "cuda", **updates: Any) -> None:
    """On a GPU: everything moves there and stays there in training; a run goes on from there, there and on a CPU.

    What a continued run starts from is compared bit for bit. What it computes is not: sums on a GPU may change order.
    """
    first = learner_on(device, alg, **updates)
    train(first, 0, 7)
    assert all(value.device.type == device for value in first.state_dict().values())
    first.save_models(str(path))
    th.save(first.training_state(), path / "training.th")
    state = th.load(path / "training.th", map_location="cpu", weights_only=True)
    for place in (device, "cpu"):
        second = learner_on(place, alg, **updates)
        second.load_models(str(path))
        second.load_training_state(state)
        assert_same(on_cpu(first.state_dict()), on_cpu(second.state_dict()))
        generator = {} if place == device else {"generator": state["generator"]}  # it cannot go on elsewhere
        assert_same(state, on_cpu(second.training_state()) | generator)
        train(second, 7, 14)
        second.check_finite(14)
        assert all(value.device.type == place for value in second.state_dict().values())


def learner_on(device: str, alg: str, **updates: Any) -> Any:
    """A learner as the loops build it for a device."""
    learner = make_learner(alg, device=device, **updates)
    if device == "cuda":
        learner.cuda()
    return learner


def on_cpu(state: dict[str, Any]) -> Any:
    """A state as it comes back from a file."""
    file = io.BytesIO()
    th.save(state, file)
    file.seek(0)
    return th.load(file, map_location="cpu", weights_only=True)


def assert_same(left: Any, right: Any) -> None:
    """Equal containers of equal tensors, bit for bit."""
    assert type(left) is type(right) or isinstance(left, dict)
    if isinstance(left, dict):
        assert left.keys() == right.keys()
        for key in left:
            assert_same(left[key], right[key])
    elif isinstance(left, list | tuple):
        assert len(left) == len(right)
        for a, b in zip(left, right, strict=True):
            assert_same(a, b)
    elif isinstance(left, Tensor):
        assert th.equal(left, right)
    else:
        assert left == right
