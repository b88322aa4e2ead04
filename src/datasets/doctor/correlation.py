"""The excess correlation kappa of Jin and Montana's Definition 1, estimated from data.

The definition: kappa = sup over s of kappa(s), kappa(s) = 1/2 || mu(. | s) - prod_i mu_i(. | s) ||_1, the total
variation between the joint behaviour and the product of its marginals. It is 0 where agents act independently of each
other given the state, even where each one follows the state closely.

What is estimated here, on episodes that are held out of the fit:

- `mean`: the mean of kappa(s) over the data's states. A joint density p with exact marginals p_i is learned. It gives
  the event A = {p(a | s) > prod_i p_i(a_i | s)}, and the estimate is the share of held-out rows in A less the share
  after agents' actions were exchanged between rows (`datasets.doctor.exchange`). For any event this difference is at
  most the total variation, with equality where p is right about the sign. So a bad fit makes it too small.
- `top`: the same over the tenth of held-out states where p says that kappa(s) is largest. It stands in for the
  supremum, of which no sample can tell, as it may be reached in a state that the data never visit.

Continuous actions get independent noise of 1 % of their range before the fit, without which deterministic actions would
have no density. Noise for each agent alone can only lower kappa (data processing). The state is all that the file
holds: state and observations. Whatever agents share beyond it, such as a memory, an opponent, or which of several
policies acted in an episode, counts as correlation.

Where actions follow from the state nearly without noise, the true kappa may be 0 and errors of the fitted means, which
agents share through the state, look like correlation; `doubtful` says so.

The interval is a bootstrap over held-out episodes, widened where they are few, with the learned density held fixed.
p_value: how often exchanged rows have as large a share in A as the real ones.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch as th
from torch import Tensor

from datasets.doctor.densities import GaussianMixture, JointDensity, ProductMixture
from datasets.doctor.exchange import exchanged
from utils.student import NORMAL, student_quantile

_HELD_OUT, _STOPPING = 0.3, 0.1  # shares of episodes: judged on, and of the others those that end the fit
_SAMPLES = 32  # of the density per state, for its own idea of kappa(s)
_TOP = 0.1
_NOISE = 0.01  # of a dimension's range
FEWEST_EPISODES = 10
_MANY = 12  # agents, beyond which fewer rows are judged
_NARROW = 0.08  # spread of an action given the state, in half ranges, below which fit errors may look like correlation
_BOOTSTRAP = 1000


@dataclass(frozen=True)
class Effort:
    """How much work a fit is. Rows beyond these are left out, drawn by episode."""

    train_rows: int = 40_000
    judged_rows: int = 6_000
    updates: int = 1_200
    batch: int = 256
    permutations: int = 60
    first_rounds: int = 60
    rounds_between: int = 3


@dataclass(frozen=True)
class Behaviour:
    """Rows to estimate from. states (T, S) f32; actions (T, N, A) f32, or (T, N, 1) i64 of `n_actions` discrete ones;
    available (T, N, n_actions) bool or None; episodes (T,) episode numbers; width (N, A) ranges of continuous actions.
    """

    states: np.ndarray
    actions: np.ndarray
    episodes: np.ndarray
    n_actions: int
    available: np.ndarray | None = None
    width: np.ndarray | None = None

    def part(self, rows: np.ndarray) -> Behaviour:
        available = None if self.available is None else self.available[rows]
        return Behaviour(
            self.states[rows], self.actions[rows], self.episodes[rows], self.n_actions, available, self.width
        )

    def tensors(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """States (T, S), actions (T, N, A) and availability (T, N, n) or None."""
        available = None if self.available is None else th.from_numpy(self.available)
        return th.from_numpy(self.states), th.from_numpy(self.actions), available


@dataclass(frozen=True)
class ExcessCorrelation:
    """Estimates of kappa, see this file's docstring. Intervals are of 95 %.

    freedom: how little the state tells of an agent's action, 0 (all) to 1 (uniform among those available).
    spread: median standard deviation of a continuous action given the state, as fitted, in units of half its range;
    dimensions that an agent lacks do not count.
    """

    mean: float
    interval: tuple[float, float]
    top: float
    top_interval: tuple[float, float]
    p_value: float
    freedom: float
    spread: float | None
    held_out_rows: int
    held_out_episodes: int
    train_rows: int

    @property
    def doubtful(self) -> bool:
        """Whether actions follow so closely from the state that errors of the fit may look like correlation."""
        return self.spread is not None and self.spread < _NARROW

    def values(self) -> dict[str, Any]:
        """Plain JSON values."""
        return (
            asdict(self)
            | {"doubtful": self.doubtful}
            | {"interval": list(self.interval), "top_interval": list(self.top_interval)}
        )


def excess_correlation(behaviour: Behaviour, seed: int = 0, effort: Effort | None = None) -> ExcessCorrelation | None:
    """Estimate kappa; None where fewer than 10 episodes or two agents are there."""
    effort = effort or Effort()
    names = np.unique(behaviour.episodes)
    if len(names) < FEWEST_EPISODES or behaviour.actions.shape[1] < 2:
        return None
    rng = np.random.default_rng(seed)
    order = rng.permutation(names)
    held, stop = round(_HELD_OUT * len(names)), max(1, round(_STOPPING * len(names)))
    parts = (order[:held], order[held : held + stop], order[held + stop :])
    most = effort.judged_rows * min(1.0, _MANY / behaviour.actions.shape[1])
    sizes = (int(most), int(most) // 2, effort.train_rows)
    chosen = [_rows(behaviour.episodes, part, size, rng) for part, size in zip(parts, sizes, strict=True)]
    judged, stopping, train = (_prepared(behaviour.part(rows), rng) for rows in chosen)
    mean, std = train.states.mean(0), train.states.std(0)
    judged, stopping, train = (_standardised(part, mean, std) for part in (judged, stopping, train))
    with th.random.fork_rng(devices=[]):
        th.manual_seed(seed)
        density = _fitted(train, stopping, effort)
    with th.no_grad():
        return _judged(density, judged, len(train.states), effort, seed)


def _rows(episodes: np.ndarray, chosen: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """Rows of the chosen episodes; some of them, by chance, where there are more than `most`."""
    rows = np.flatnonzero(np.isin(episodes, chosen))
    return np.sort(rng.choice(rows, most, replace=False)) if len(rows) > most else rows


def _prepared(part: Behaviour, rng: np.random.Generator) -> Behaviour:
    """Continuous actions with noise, in units of half their range."""
    if part.width is None:
        return part
    width = np.where(part.width > 0, part.width, 2.0)  # padded dimensions become noise
    noise = _NOISE * rng.standard_normal(part.actions.shape)
    actions = (2 * (part.actions / width + noise)).astype(np.float32)
    return Behaviour(part.states, actions, part.episodes, part.n_actions, part.available, part.width)


def _standardised(part: Behaviour, mean: np.ndarray, std: np.ndarray) -> Behaviour:
    states = np.clip((part.states - mean) / np.where(std > 1e-6, std, 1.0), -5, 5).astype(np.float32)
    return Behaviour(states, part.actions, part.episodes, part.n_actions, part.available, part.width)


def _fitted(train: Behaviour, stopping: Behaviour, effort: Effort) -> JointDensity:
    """The density with the least loss on episodes that it was not fitted to."""
    states, actions, available = train.tensors()
    n_agents, action_size = actions.shape[1:]
    model: Any
    if actions.is_floating_point():
        model = GaussianMixture(states.shape[1], n_agents, action_size)
    else:
        model = ProductMixture(states.shape[1], n_agents, train.n_actions)
    optimiser = th.optim.Adam(model.parameters(), lr=2e-3)
    schedule = th.optim.lr_scheduler.CosineAnnealingLR(optimiser, effort.updates)
    best, kept = float("inf"), {key: value.clone() for key, value in model.state_dict().items()}
    every = max(1, effort.updates // 20)
    for update in range(1, effort.updates + 1):
        rows = th.randint(len(states), (effort.batch,))
        situation = model.situation(states[rows], None if available is None else available[rows])
        loss = -model.log_joint(situation, actions[rows]).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        th.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()
        schedule.step()
        if update % every == 0:
            with th.no_grad():
                there, then, mask = stopping.tensors()
                value = float(-model.log_joint(model.situation(there, mask), then).mean())
            if value < best:
                best, kept = value, {key: tensor.clone() for key, tensor in model.state_dict().items()}
    model.load_state_dict(kept)
    fitted: JointDensity = model
    return fitted


def _judged(density: JointDensity, judged: Behaviour, n_train: int, effort: Effort, seed: int) -> ExcessCorrelation:
    generator = th.Generator().manual_seed(seed)
    states, actions, available = judged.tensors()
    situation = density.situation(states, available)
    real = _tied(density, situation, actions) > 0  # (R,) the event A
    tables = exchanged(density, situation, actions, effort.first_rounds, effort.rounds_between, generator)
    inside = [(_tied(density, situation, table) > 0).numpy() for table in islice(tables, effort.permutations)]
    shares = np.array([each.mean() for each in inside])  # (permutations,)
    excess = real.numpy() - np.mean(inside, 0)  # (R,)
    samples = th.stack([density.sample(situation, generator) for _ in range(_SAMPLES)])  # (32, R, N, A)
    own = th.zeros(len(states))  # (R,) what the density itself says of kappa(s)
    for sample in samples:
        own += (1 - (-_tied(density, situation, sample)).exp()).clamp_min(0) / _SAMPLES
    spread = _spread(samples, judged.width) if samples.is_floating_point() else None
    top = (own >= own.quantile(1 - _TOP)).numpy()
    rng = np.random.default_rng(seed)
    return ExcessCorrelation(
        mean=float(excess.mean()),
        interval=_interval(excess, judged.episodes, rng),
        top=float(excess[top].mean()),
        top_interval=_interval(excess[top], judged.episodes[top], rng),
        p_value=float((1 + (shares >= float(real.float().mean())).sum()) / (1 + len(shares))),
        freedom=_freedom(density, situation, spread, judged),
        spread=spread,
        held_out_rows=len(states),
        held_out_episodes=len(np.unique(judged.episodes)),
        train_rows=n_train,
    )


def _tied(density: JointDensity, situation: Tensor, actions: Tensor) -> Tensor:
    """Logarithm of joint density over product of marginals, (R,)."""
    product = sum(density.log_marginal(situation, actions[:, agent], agent) for agent in range(actions.shape[1]))
    return density.log_joint(situation, actions) - product - 1e-5  # rounding is no excess


def _spread(samples: Tensor, width: np.ndarray | None) -> float:
    """Median over rows and dimensions of the samples' (S, R, N, A) deviation; of those with a width (N, A) above 0."""
    deviations = samples.std(0)  # (R, N, A)
    if width is not None and (width > 0).any():
        deviations = deviations[:, th.from_numpy(width > 0)]  # (R, dimensions)
    return float(deviations.median())


def _freedom(density: JointDensity, situation: Tensor, spread: float | None, judged: Behaviour) -> float:
    """Spread against a uniform distribution's; for discrete actions the mean entropy of the marginals against its.

    With masks an agent's row counts where it has a choice, against that of the actions available there.
    """
    if spread is not None:
        return min(1.0, spread * 3**0.5)
    chances = th.stack([density.place(situation, agent) for agent in range(judged.actions.shape[1])])  # (N, R, n)
    entropies = th.special.entr(chances).sum(-1)  # (N, R)
    if judged.available is None:
        return float(entropies.mean()) / max(math.log(judged.n_actions), 1e-12)
    counts = th.from_numpy(judged.available.sum(-1).T)  # (N, R)
    free = counts > 1
    return float((entropies[free] / counts[free].log()).mean()) if free.any() else 0.0


def _interval(values: np.ndarray, episodes: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """95 % interval of the mean of `values` (R,), each in [-1, 1], by a bootstrap over episodes.

    The bootstrap of few episodes is too narrow: that of three is their range, which holds the truth in 73 cases of 100.
    So it is widened about the mean to Student's t, and to the spread of a sample and not of all there is.
    """
    _, index = np.unique(episodes, return_inverse=True)
    totals, counts = np.bincount(index, values), np.bincount(index)  # (E,) each
    n = len(counts)
    if n < 2:
        return -1.0, 1.0  # one episode does not tell how much episodes differ
    drawn = rng.multinomial(n, np.full(n, 1 / n), size=_BOOTSTRAP)  # (1000, E)
    means = (drawn @ totals) / np.maximum(drawn @ counts, 1)
    mean = totals.sum() / counts.sum()
    wider = student_quantile(n - 1) / NORMAL * math.sqrt(n / (n - 1))
    low, high = np.clip(mean + wider * (np.quantile(means, (0.025, 0.975)) - mean), -1, 1)
    return float(low), float(high)
