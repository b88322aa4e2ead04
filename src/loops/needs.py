"""What a run's sizes need in memory, refused before anything is allocated; each refusal names key, need and room."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from types import SimpleNamespace
from typing import Any

import torch as th
from torch.utils._python_dispatch import TorchDispatchMode

from components.needs import row_bytes
from components.scheme import Groups, Preprocess, Scheme, extend_scheme
from learners.conservative_penalty import REGISTRY as penalty_REGISTRY
from utils.keys import COUNT, Keys, inherited
from utils.memory import memory_errors, require_memory
from utils.shown_config import keys_read

# The least that anything of the kind takes: an environment that is stepped in this process, one in its own, and one
# episode's return. A process of its own is a Python with NumPy: 16 MB that it shares with none, without a simulator.
_EPISODE, _PROCESS, _RETURN = 1000, 16_000_000, 50
_SHORTEST = 2  # rows of an episode of one step
_MERGE = (
    "lower collect_episodes and merge several datasets (python src/dataset.py merge), whose seeds are at least "
    "batch_size_run apart"
)
_COPIES = 2  # collected episodes are joined into one dataset, beside their parts
_TRAINED = 3  # weights in training have a gradient and at least one average of it beside them
_MATTERS = 1 << 24  # bytes of a tensor from which on it is worth a look at the free memory
_CONTROLLERS = ("hidden_dim",)  # widths of networks
_LEARNERS = (*_CONTROLLERS, "mixing_embed_dim", "hypernet_embed")  # beside their own counts
_BY_SIZE = {"empty", "zeros", "ones", "full", "rand", "randn", "empty_strided"}  # torch's factories, size first
_BY_LIKENESS = {"clone", "empty_like", "zeros_like", "ones_like", "full_like", "rand_like", "randn_like"}


def check_environments(settings: SimpleNamespace) -> None:
    """Raise MemoryShortage where so many environments cannot be there at once, or so many returns be kept.

    Evaluations have environments of their own beside the others, and only a collection has no evaluations.
    """
    each = _PROCESS if settings.runner == "parallel" else _EPISODE
    what, sets = f"batch_size_run={settings.batch_size_run} environments at once", 1
    if not settings.collect:
        what, sets = f"{what}, and as many for evaluations,", 2
    require_memory(settings.batch_size_run * each * sets, what, "lower batch_size_run")
    what = f"test_nepisode={settings.test_nepisode} episodes per evaluation"
    require_memory(settings.test_nepisode * _RETURN, what, "lower test_nepisode")


def check_play(args: SimpleNamespace, env_info: dict[str, Any], scheme: Scheme, groups: Groups) -> None:
    """Raise MemoryShortage where the episodes that are played at once do not fit, or those to be collected."""
    check_width(args)
    row, rows = row_bytes(scheme, groups), int(env_info["episode_limit"]) + 1
    what = f"batch_size_run={args.batch_size_run} episodes at once, of up to {rows - 1} steps,"
    remedy = "lower batch_size_run or the environment's time limit"
    require_memory(args.batch_size_run * rows * row, what, remedy, args.device)
    if args.collect:
        what = f"collect_episodes={args.collect_episodes}, of one step each,"
        need = args.collect_episodes * _SHORTEST * row * _COPIES
        require_memory(need, what, _MERGE)


def check_projected(args: SimpleNamespace, done: int, size: int) -> None:
    """Raise MemoryShortage where the episodes to collect are as long as the first `done`, of `size` bytes, and do not
    fit."""
    what = f"collect_episodes={args.collect_episodes}, as long as the first {done},"
    need = (args.collect_episodes * _COPIES - done) * size // done
    require_memory(need, what, _MERGE)


def check_online(
    args: SimpleNamespace, env_info: dict[str, Any], scheme: Scheme, groups: Groups, preprocess: Preprocess
) -> None:
    """Raise MemoryShortage where the replay buffer, a rollout, a batch or the recording does not fit."""
    full = extend_scheme(scheme, preprocess)
    check_play(args, env_info, full, groups)
    row, rows = row_bytes(full, groups), int(env_info["episode_limit"]) + 1
    what = f"buffer_size={args.buffer_size} episodes of up to {rows - 1} steps"
    home = "cpu" if args.buffer_cpu_only else args.device
    require_memory(args.buffer_size * rows * row, what, "lower buffer_size", home)
    if args.replay_to:
        what = f"replay_to={args.replay_to}, which keeps t_max={args.t_max} steps,"
        require_memory(args.t_max * row_bytes(scheme, groups) * _COPIES, what, "lower t_max")
    check_batch(args, batch_rows(args, rows - 1), full, groups)


def batch_rows(args: SimpleNamespace, longest: int) -> int:
    """Time steps of a training batch: of a window with its burn-in, or of the `longest` episode, and the final one."""
    return (longest if args.window is None else args.burn_in + args.window) + 1


def check_batch(args: SimpleNamespace, rows: int, scheme: Scheme, groups: Groups) -> None:
    """Raise MemoryShortage where a training batch of `rows` time steps, and one hidden layer's values, do not fit."""
    check_width(args)
    at_once = min(args.batch_size, getattr(args, "loss_chunk", None) or args.batch_size)
    hidden = at_once * rows * groups["agents"] * getattr(args, "hidden_dim", 0) * 4
    sizes = [f"batch_size={args.batch_size}", f"hidden_dim={getattr(args, 'hidden_dim', None)}"]
    if args.window is not None:
        sizes.insert(1, f"window={args.window}")
    if args.burn_in:
        sizes.insert(1, f"burn_in={args.burn_in}")
    drawn = 0
    penalty = penalty_REGISTRY.get(getattr(args, "cql_penalty", ""))
    if penalty is not None and penalty.kinds and scheme["actions"]["dtype"].is_floating_point:
        samples = penalty.kinds * args.n_penalty_samples * groups["agents"]
        drawn = args.batch_size * samples * args.n_actions * 4  # for all rows at once
    if drawn > hidden:  # else it is not at fault
        sizes.append(f"n_penalty_samples={args.n_penalty_samples}")
    need = args.batch_size * rows * row_bytes(scheme, groups) + hidden + drawn
    names = ", ".join(size.partition("=")[0] for size in sizes)
    require_memory(need, f"a training batch with {', '.join(sizes)}", f"lower one of {names}", args.device)


def check_width(args: SimpleNamespace) -> None:
    """Raise MemoryShortage where the weights between two hidden layers do not fit: to fill the layer before, which may
    fit, takes long."""
    width = getattr(args, "hidden_dim", 0)
    require_memory(width * width * 4, f"a network with hidden_dim={width}", "lower hidden_dim")


@contextmanager
def checked_networks(args: SimpleNamespace, learner: Any) -> Iterator[None]:
    """Refuse a network that does not fit in memory while it is built in the block, before its tensor is made.

    learner: the learner's class, whose keys may be the cause; None where only a controller is built. Raises
    MemoryShortage, naming the key that makes the tensor so large.
    """
    with memory_errors("lower hidden_dim"), _Allocations(args, learner):
        yield


def check_optimiser(args: SimpleNamespace, learner: Any) -> None:
    """Raise MemoryShortage where gradients and Adam's two averages of a learner's networks do not fit."""
    if not isinstance(learner, th.nn.Module):  # a stock learner
        return
    size = sum(value.numel() * value.element_size() for value in learner.parameters() if value.requires_grad)
    what = f"training networks of hidden_dim={getattr(args, 'hidden_dim', None)}"
    require_memory(3 * size, what, "lower hidden_dim", args.device)


class _Allocations(TorchDispatchMode):
    """Looks at every tensor that torch is about to make."""

    def __init__(self, args: SimpleNamespace, learner: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kept = 1 if learner is None else _TRAINED
        names = _CONTROLLERS if learner is None else _widths(args, inherited(learner, "KEYS"))
        self.sizes = {name: getattr(args, name) for name in names if isinstance(getattr(args, name, None), int)}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        shape: Any = ()
        if name in _BY_SIZE and args:
            shape = args[0]
        elif name in _BY_LIKENESS and args:
            shape = args[0].shape
        kind = kwargs.get("dtype") or th.get_default_dtype()
        size = prod(shape) * kind.itemsize
        if size > _MATTERS and th.device(kwargs.get("device") or "cpu").type == "cpu":
            key, value = self._cause(shape)
            kept = self.kept if kind.is_floating_point else 1  # others are no weights
            require_memory(size * kept, f"a network with {key}={value}", f"lower {key}")
        return func(*args, **kwargs)

    def _cause(self, shape: Any) -> tuple[str, int]:
        """The largest setting that one of the tensor's sizes is a multiple of."""
        fitting = [(value, key) for key, value in self.sizes.items() if any(n % value == 0 for n in shape)]
        value, key = max(fitting, default=(max(shape), "an observation or state of"))
        return key, value


def _widths(args: SimpleNamespace, own: Keys) -> list[str]:
    """The keys that size a learner's networks. own: what it declares; a key that it does not read makes no tensor."""
    counts = [name for name, key in own.items() if key.allowed is COUNT and not name.endswith("_interval")]
    read = set(keys_read(vars(args), own))
    return [name for name in (*_LEARNERS, *counts) if name in read]
