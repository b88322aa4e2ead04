"""Other losses for ComaDICE's values than the dual: a semi-gradient, the released code's, and the printed one.

Each is a number per row to be minimised, of the learner's parts (`comadice_learner.py`): nu, q, the mixer M and f*.
docs/learners/comadice.md says what each optimises and what was measured.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch as th
from torch import Tensor

from components.episode_buffer import EpisodeBatch
from learners.losses import NOW, first_of, of_each_row

LARGEST_DISCRETE_WEIGHT = 2.0  # of one agent, in the released code


def semi_dataset(learner: Any, batch: EpisodeBatch) -> tuple[Tensor, Tensor]:
    """nu(s) + alpha f*(M[q - nu] / alpha) at the dataset's states, q and the mixer fixed: E[w | s] = 1.

    The dataset's states stand for the initial states. So actions are regularised state by state, not occupancies.
    """
    local = learner.local_nu(batch, NOW)  # (B, T-1, N)
    nu = learner.mixed_nu(local, batch["state"][:, NOW]).flatten()  # (R,)
    with th.no_grad():
        start = learner.start_nu(batch)  # (R,), watched only
    return nu + learner.penalty(learner.mixed_advantage(batch, local)), start


def poster(learner: Any, batch: EpisodeBatch) -> tuple[Tensor, Tensor]:
    """Box "Value Function Loss" as printed: (1 - gamma) M[nu(s_0)] + alpha f*(M[q - nu] / alpha), q fixed.

    Its values rise without bound: a negative control.
    """
    start = learner.start_nu(batch)  # (R,)
    return (1 - learner.args.gamma) * start + learner.penalty(learner.advantage(batch)), start


def official(learner: Any, batch: EpisodeBatch) -> tuple[Tensor, Tensor]:
    """The released code's loss without its multiplier lambda_v.

    That is (1 - gamma) mean_i nu_i(s_0) + mean_i (w_i e_i - alpha f(w_i)).

    e_i = W_i(s) (q_i - nu_i) and w_i = w*(e_i / alpha). No gradient flows through f(w_i) and the factor e_i, so the
    gradient in e_i is x w*'(x) with x = e_i / alpha. The dual's would be w_i.
    """
    local_start = learner.local_start_nu(batch)  # (B, 1, N)
    with th.no_grad():
        start = of_each_row(learner.mixed_nu(local_start, first_of(batch, "state")), batch)  # (R,), watched only
    gaps = learner.gaps(batch, learner.local_nu(batch, NOW))  # (B, T-1, N)
    local = local_advantages(learner, batch, gaps, learner.mixer)  # (R, N)
    weight = learner.weight(local)
    rows = weight * local.detach() - learner.args.alpha * learner.divergence.f(weight).detach()  # (R, N)
    return (1 - learner.args.gamma) * of_each_row(local_start.mean(-1), batch) + rows.mean(-1), start


def official_policy_weight(learner: Any, batch: EpisodeBatch) -> Tensor:
    """The sum of the agents' weights, from the targets of q and mixer, (R,); without the released code's lambda_e."""
    gaps = learner.gaps(batch, learner.local_nu(batch, NOW), "target_")  # (B, T-1, N)
    local = learner.weight(local_advantages(learner, batch, gaps, learner.target_mixer))  # (R, N)
    capped: Tensor = local if learner.continuous else local.clamp_max(LARGEST_DISCRETE_WEIGHT)
    return capped.sum(-1)


def local_advantages(learner: Any, batch: EpisodeBatch, gaps: Tensor, mixer: Any) -> Tensor:
    """e_i = W_i(s) (q_i - nu_i) of `official`, gaps (B, T-1, N) -> (R, N)."""
    weights: Tensor = mixer.weights(learner.normaliser(batch["state"][:, NOW]))  # (B, T-1, N)
    return (weights * gaps).flatten(0, 1)


@dataclass(frozen=True)
class Variant:
    """One loss of the values and what goes with it.

    objective: the rows to be minimised, (R,), and nu(s_0), (R,), to be logged. mixer_follows_q: whether q's loss moves
    the mixer. targets: the modules with target networks. policy_weight: w^tot, where it is not w*(A / alpha).
    """

    objective: Callable[[Any, EpisodeBatch], tuple[Tensor, Tensor]]
    mixer_follows_q: bool
    targets: tuple[str, ...]
    policy_weight: Callable[[Any, EpisodeBatch], Tensor] | None = None


VARIANTS = {
    "semi_dataset": Variant(semi_dataset, mixer_follows_q=True, targets=("value", "mixer")),
    "official": Variant(official, True, ("value", "mixer", "q"), official_policy_weight),
    "poster": Variant(poster, mixer_follows_q=False, targets=("value", "mixer")),
}
