"""What it takes that agents respond to each other in turn: a loss per agent, and the others as a part of what it meets.

While agent i learns, the others' policies are held fixed and belong to its environment. How they act there is known by
comparison with the data: what they do now against what they did when agent i took the logged action.
"""

import functools
import math
from types import SimpleNamespace
from typing import Any

import torch as th
from torch import Tensor

from components.episode_buffer import EpisodeBatch
from learners.base_learner import BaseLearner, Context, Logger, Noise, Stats
from learners.checks import check_team_reward
from learners.losses import NOW, available, masked_mean, rows_of, transition_mask
from learners.optimisation import LossSpec, rate
from learners.turn_actions import BoxActions, ListedActions
from modules.policies import build_policy
from utils.errors import ConfigError
from utils.keys import COUNT, POSITIVE, Key, Range

SAMPLED = "actions drawn per row, of the policy in its loss and of the penalty `conservative`"
POINTS = "points that the others' divergence is a mean over"


class BestResponseLearner(BaseLearner):
    """Models of the behaviour pi^D, and policies of which one moves at a time; discrete or continuous actions.

    `turn` makes losses of single agents from methods `<kind>_loss(i, batch, noise, context)`. Policies are one stack of
    networks; each actor loss has an optimiser of its own, which only ever sees gradients of its own agent's network.
    """

    action_types = frozenset({"continuous", "discrete"})
    KEYS = {
        "largest_ratio": Key("largest ratio of the others' policies to their behaviour", POSITIVE),
        "sampled_actions": Key(SAMPLED, COUNT, actions="continuous"),
        "divergence_points": Key(POINTS, Range(2, whole=True), actions="continuous"),
        "behaviour_lr": rate("the behaviour models"),
        "actor_lr": rate("the policies"),
    }
    CRITICS = "per agent"
    BEHAVIOUR = LossSpec("behaviour", ("behaviour",), lr="behaviour_lr")
    points: Tensor  # where actions are continuous: what the others' divergence is a mean over, (K, A)

    def __init__(self, mac: Any, scheme: dict[str, Any], logger: Logger, args: SimpleNamespace) -> None:
        super().__init__(mac, scheme, logger, args)
        check_turns(scheme, mac, args)
        self.policy = build_policy(args, self.continuous, kinds=("pi_logits", "tanh_gaussian"))
        self.actions: ListedActions | BoxActions = (BoxActions if self.continuous else ListedActions)(self)
        self.behaviour: Any = self.actions.behaviour(scheme, args)  # pi^D_i(a_i | o_i) and pi^D_-i(a_-i | s, a_i)

    def turn(self, i: int, modules: dict[str, tuple[str, ...]]) -> tuple[LossSpec, ...]:
        """The losses of agent i, in order: of each kind its own modules, and its policy last."""
        for kind in (*modules, "actor"):
            setattr(self, f"{kind}_{i}_loss", functools.partial(getattr(self, f"{kind}_loss"), i))
        own = (LossSpec(f"{kind}_{i}", names, lr="value_lr") for kind, names in modules.items())
        return (*own, LossSpec(f"actor_{i}", ("agent",), lr="actor_lr", clip="member"))

    def behaviour_loss(self, batch: EpisodeBatch, noise: Noise, context: Context) -> tuple[Tensor, Stats]:
        """-log pi^D_i(a_i | o_i) - sum_(j != i) log pi^D_j(a_j | s, a_i, a_<j), a sum over agents i."""
        rows = -self.behaviour.log_likelihood(*self.logged(batch))  # (R,)
        return masked_mean(rows, transition_mask(batch).flatten()), {}

    def logged(self, batch: EpisodeBatch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Observations (R, N, O), states (R, S), actions (R, N, A) and what is available (R, N, A)."""
        obs, state, actions = (rows_of(batch, key, NOW) for key in ("obs", "state", "actions_onehot"))
        return obs, state, actions, available(batch, NOW)

    def policies(self, batch: EpisodeBatch) -> Tensor:
        """pi_i(. | o_i) of all agents: probabilities (R, N, A), or means and widths (R, N, 2A)."""
        outputs = self.unroll(self.mac, batch, NOW).flatten(0, 1)  # (R, N, P)
        read: Tensor = self.policy.read(outputs, available(batch, NOW))
        return read

    @th.no_grad()
    def environment(self, i: int, batch: EpisodeBatch) -> tuple[Tensor, Tensor]:
        """log rho_i and sum_(j != i) KL(pi_j || pi^D_j(. | s, a_i, a_<j)), (R,) each.

        rho_i = pi_-i(a_-i | s) / pi^D_-i(a_-i | s, a_i) of the logged actions. In the divergence the actions before j's
        are logged ones too. Weighed by rho_i they are as the policies choose them, so that its mean is
        KL(pi_-i || pi^D_-i(. | s, a_i)); of two agents each row has it exactly.
        """
        log_rho, divergence = self.actions.others(i, batch)  # (R,) each
        largest = math.log(self.args.largest_ratio)
        return log_rho.clamp(-largest if self.continuous else None, largest), divergence


def check_turns(scheme: dict[str, Any], mac: Any, args: SimpleNamespace) -> None:
    """Raise ConfigError, one sentence, where agents cannot take turns."""
    if not getattr(mac.agent, "unshared", False) or getattr(mac.agent, "is_recurrent", True):
        raise ConfigError(
            f"agent={args.agent}: {args.learner} moves one policy at a time and weighs states, not histories; "
            "set mac=non_shared_mac agent=mlp_ns"
        )
    if args.n_agents < 2:
        raise ConfigError(f"{args.learner} needs two agents or more that respond to each other: choose --config=bc")
    check_team_reward(scheme, args.learner)
