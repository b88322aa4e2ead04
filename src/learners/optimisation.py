"""How parameters move: loss declarations, learning rates, gradient clipping, target updates, memory."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType, SimpleNamespace

import torch as th
from torch import Tensor, nn

from modules.layers.stacked_linear import StackedLinear
from utils.errors import ConfigError
from utils.keys import COUNT, POSITIVE, POSITIVE_OR_NULL, Key, Range, Where
from utils.run_keys import RUN_KEYS

EITHER = "target_update_interval_or_tau"
HARD_OR_SOFT = "updates per hard copy to the targets; at most 1: Polyak coefficient of every update"
TARGET_NOISE = "standard deviation of the noise on target policies' actions, in half action ranges"


def of_every_run(*names: str) -> dict[str, Key]:
    """Declarations of keys that every run has, for learners that read them."""
    return {name: RUN_KEYS[name] for name in names}


SHARED_KEYS = {
    # Stock EPyMARL's learners hand it to torch, which takes no None; these need no limit.
    "grad_norm_clip": replace(RUN_KEYS["grad_norm_clip"], allowed=POSITIVE_OR_NULL),
    **of_every_run("loss_chunk", "compile", "learner_log_interval", "input_norm"),
}
# Of learners with bootstrapped targets, and of those with a mixer.
TARGET_KEYS = {
    **of_every_run("gamma"),
    "target_update_interval": Key("target update interval", COUNT, optional=True),
    "tau": Key("Polyak coefficient of the targets", Range(0, 1, above=True), optional=True),
}
MIXER_KEYS = of_every_run(
    "mixing_embed_dim", "hypernet_layers", "hypernet_embed", "mixer_layers", "mixer_nonneg", "mixer_activation",
    "mixer_elu_alpha", "svn",
)  # fmt: skip


def rate(whose: str, actions: str | None = None, where: Where = MappingProxyType({})) -> Key:
    """The declaration of a learning rate. actions, where: as of `Key`."""
    return Key(f"learning rate of {whose}", POSITIVE, fallback="lr", actions=actions, where=where)


@dataclass(frozen=True)
class LossSpec:
    """One loss of an algorithm: the method `<name>_loss` and the parameters it moves.

    modules: the attributes whose parameters move. lr: the key of the learning rate. interval: the key that says after
    how many `train` calls the loss has its turn; None for every call. clip: `group` limits the gradient norm of all
    modules together, `member` that of each network in stacked modules (of all together where they are not stacked).
    """

    name: str
    modules: tuple[str, ...]
    lr: str
    interval: str | None = None
    clip: str = "group"


def learning_rate(args: SimpleNamespace, spec: LossSpec) -> float:
    """The loss's learning rate: its own key's, or that of `lr` where a configuration was made for another learner.

    Raises ConfigError where it is no positive number.
    """
    key = spec.lr if hasattr(args, spec.lr) else "lr"
    return float(rate(spec.name).check(key, getattr(args, key)))


def target_schedule(args: SimpleNamespace) -> tuple[int, float]:
    """Target update interval and Polyak coefficient (1: hard copy).

    Read from `target_update_interval` and `tau` where either is set, else from EPyMARL's
    `target_update_interval_or_tau`: above 1 it is the interval of hard copies, else the coefficient of an update on
    every step; 200 where none of the three is set. Raises ConfigError for a value that is neither.
    """
    interval, tau = getattr(args, "target_update_interval", None), getattr(args, "tau", None)
    if interval is not None or tau is not None:
        return 1 if interval is None else int(interval), 1.0 if tau is None else float(tau)
    either = getattr(args, EITHER, 200)
    if isinstance(either, int | float) and not isinstance(either, bool):
        if 0 < either <= 1:
            return 1, float(either)
        if either > 1 and float(either).is_integer():
            return int(either), 1.0
    raise ConfigError(
        f"{EITHER}={either}: this must be a whole number of updates above 1, or a coefficient above 0 and at most 1"
    )


@th.no_grad()
def clip_gradients(gradients: list[Tensor], limit: float | None, by_member: bool) -> Tensor:
    """Scale gradients in place so that their joint norm is `limit` at most; returns the norm before, ().

    limit: None leaves them as they are. by_member: every gradient leads with the members of a stacked module,
    (members, ...); each member's norm is limited alone and the norms are (members,).
    """
    if by_member:
        squares = [gradient.flatten(1).square().sum(1) for gradient in gradients]  # (members,) each
        norm = th.stack(squares).sum(0).sqrt()  # (members,)
    else:
        norm = nn.utils.get_total_norm(gradients)  # ()
    if limit is None:
        return norm
    scale = scale_to(limit, norm)  # () or (members,)
    for gradient in gradients:
        gradient.mul_(scale.view(-1, *[1] * (gradient.dim() - 1)) if by_member else scale)
    return norm


def mean_norm(norm: Tensor) -> Tensor:
    """The mean of what `clip_gradients` returns, over the members that the loss moves: () or (members,) -> ()."""
    return norm.sum() / (norm > 0).sum().clamp_min(1)


def scale_to(limit: float, norm: Tensor) -> Tensor:
    """The factor that brings gradients with this norm to `limit` at most; any shape."""
    return (limit / (norm + 1e-6)).clamp_max(1.0)


def step(optimiser: th.optim.Optimizer, parameters: Iterable[Tensor], gradients: Iterable[Tensor]) -> None:
    """One step of the optimiser along these gradients, none of which is kept."""
    for parameter, gradient in zip(parameters, gradients, strict=True):
        # Fused Adam pairs numbers by their place in memory; `grad`, unlike `backward`, may order them otherwise.
        same = gradient.stride() == parameter.stride()
        parameter.grad = gradient if same else th.empty_like(parameter).copy_(gradient)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)


def keep_freed_memory() -> None:
    """Let glibc keep memory that updates free and soon ask for again.

    Its allocator gives freed memory back to the kernel above a threshold that follows the largest block freed so far;
    getting it again costs a page fault every 4 KiB: without this, SPaCQL's critic update at the paper's settings takes
    1.1 to 1.2 times as long (`python benchmarks/operators.py`). One block of nearly 32 MiB (the largest that counts; it
    is never touched, so it costs nothing) sets the threshold. Other allocators do not mind.
    """
    th.empty(31 * 2**20, dtype=th.uint8)


def is_stacked(module: nn.Module) -> bool:
    """Whether all of a module's parameters are stacked networks with one leading member dimension."""
    owners = [m for m in module.modules() if any(True for _ in m.parameters(recurse=False))]
    return all(isinstance(owner, StackedLinear) for owner in owners)


def due(losses: Sequence[LossSpec], args: SimpleNamespace, update: int) -> list[int]:
    """Numbers of the losses whose turn it is at an update, the first of which is 1."""
    intervals = [1 if spec.interval is None else getattr(args, spec.interval) for spec in losses]
    return [index for index, interval in enumerate(intervals) if update % interval == 0]


def chunks(batch_size: int, chunk: int | None) -> Iterator[slice | None]:
    """Slices of at most `chunk` of the batch's rows; None, once, for all of them."""
    if chunk is None or chunk >= batch_size:
        yield None
        return
    for start in range(0, batch_size, chunk):
        yield slice(start, min(start + chunk, batch_size))
