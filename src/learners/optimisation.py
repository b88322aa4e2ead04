"""What the base learner's updates are made of: loss declarations, rates and rhythms, masks, clipping."""

from dataclasses import dataclass
from types import SimpleNamespace

import torch as th
from torch import Tensor, nn

from components.episode_buffer import EpisodeBatch
from modules.layers.stacked_linear import StackedLinear
from utils.errors import ConfigError

NOW, NEXT = slice(None, -1), slice(1, None)  # rows t and t+1 of a batch
STOCK_RHYTHM = "target_update_interval_or_tau"


@dataclass(frozen=True)
class LossSpec:
    """One loss of an algorithm: the method `<name>_loss` and the parameters it moves.

    modules: attributes holding the parameter group; lr: the config key of its learning rate; interval: the config key
    of its period in `train` calls, or None for every call; clip: `group` clips the group's joint gradient norm,
    `member` that of each network in stacked modules (and the group's where they are not stacked).
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
    lr = getattr(args, spec.lr if hasattr(args, spec.lr) else "lr")
    if not isinstance(lr, int | float) or lr <= 0:
        raise ConfigError(f"{spec.lr} must be a positive number, not {lr!r}")
    return float(lr)


def target_rhythm(args: SimpleNamespace) -> tuple[int, float]:
    """Every how many updates targets move, and by which share of the way (1 copies).

    Read from `target_update_interval` and `tau` where either is set, else from stock's `target_update_interval_or_tau`:
    above 1 a copy every so many updates, else a Polyak step every update; stock's 200 where none of them is set.
    Raises ConfigError for a value of stock's key that is neither.
    """
    interval, tau = getattr(args, "target_update_interval", None), getattr(args, "tau", None)
    if interval is not None or tau is not None:
        return 1 if interval is None else int(interval), 1.0 if tau is None else float(tau)
    either = getattr(args, STOCK_RHYTHM, 200)
    if isinstance(either, int | float) and not isinstance(either, bool):
        if 0 < either <= 1:
            return 1, float(either)
        if either > 1 and float(either).is_integer():
            return int(either), 1.0
    raise ConfigError(
        f"{STOCK_RHYTHM}={either}: this must be a whole number of updates above 1, or a share above 0 and at most 1"
    )


def transition_mask(batch: EpisodeBatch) -> Tensor:
    """1 on the rows that hold a transition, (B, T-1, 1) float: stock's mask, filled and not past a terminal.

    The final row of an episode that was cut is no transition; the buffers leave it out of `filled` where the batch goes
    on after it. Rows that only warm up a recurrent state (`learned` 0, from windows with a burn-in) do not count.
    """
    terminated = batch["terminated"][:, :-1].float()
    alive = th.cat([th.ones_like(terminated[:, :1]), 1 - terminated[:, :-1]], dim=1)
    mask = batch["filled"][:, :-1].float() * alive
    return mask * batch["learned"][:, :-1] if "learned" in batch.scheme else mask


def available(batch: EpisodeBatch, rows: slice) -> Tensor:
    """1 where an agent has the action, or the action dimension, on the time steps `rows`, else 0: (R, N, A)."""
    return batch["avail_actions"][:, rows].flatten(0, 1)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the valid rows. values (..., R), mask (R,) -> (...); zero where no row is valid."""
    return (values * mask).sum(-1) / mask.sum().clamp_min(1)


@th.no_grad()
def clip_gradients(gradients: list[Tensor], limit: float, by_member: bool) -> Tensor:
    """Scale gradients in place so that their joint norm is `limit` at most; returns the norm before, ().

    by_member: every gradient leads with the members of a stacked module, (members, ...); each member's norm is limited
    alone and the norms are (members,).
    """
    if by_member:
        squares = [gradient.flatten(1).square().sum(1) for gradient in gradients]  # (members,) each
        norm = th.stack(squares).sum(0).sqrt()  # (members,)
        scale = (limit / (norm + 1e-6)).clamp_max(1.0)
        for gradient in gradients:
            gradient.mul_(scale.view(-1, *[1] * (gradient.dim() - 1)))
        return norm
    norm = th.linalg.vector_norm(th.stack(th._foreach_norm(gradients)))
    th._foreach_mul_(gradients, (limit / (norm + 1e-6)).clamp_max(1.0))
    return norm


def keep_freed_memory() -> None:
    """Let glibc keep memory that updates free and soon ask for again.

    Its allocator gives freed memory back to the kernel above a threshold that follows the largest block freed so far;
    getting it again costs a page fault every 4 KiB, about a third of an update at the paper's settings. One block of
    nearly 32 MiB (the largest that counts; it is never touched, so it costs nothing) sets the threshold. Other
    allocators do not mind.
    """
    th.empty(31 * 2**20, dtype=th.uint8)


def is_stacked(module: nn.Module) -> bool:
    """Whether all of a module's parameters are stacked networks with one leading member dimension."""
    owners = [m for m in module.modules() if any(True for _ in m.parameters(recurse=False))]
    return all(isinstance(owner, StackedLinear) for owner in owners)
