"""What implicit Q-learning, OMIGA, ICQ and B3C share: values of single agents, a mixer, and cloning by weights."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from torch import Tensor

from components.episode_buffer import EpisodeBatch
from learners.base_learner import BaseLearner, Context, Logger, Stats
from learners.checks import check_team_reward
from learners.imitation import Imitation
from learners.losses import NOW, masked_mean, rows_of, td_target, transition_mask
from learners.optimisation import MIXER_KEYS, TARGET_KEYS, LossSpec, of_every_run, rate
from learners.svn import check_svn, normalised, spread
from modules.critics.local_ensemble import LOCAL_KEYS, LocalEnsemble
from modules.layers.normaliser import Normaliser
from modules.mixers import REGISTRY as mixer_REGISTRY
from modules.mixers import build_mixer
from modules.mixers.hypernet import state_size
from utils.errors import ConfigError
from utils.keys import Key

# Of methods whose mixer is a sum with one weight per agent; `check_linear_mixer` sees to its layers.
LINEAR_KEYS = {"mixer": Key("mixer of the agents' values", ("monotone",))}


class LocalValuesLearner(BaseLearner):
    """q_i(o_i, a_i) of logged actions, v_i(o_i), and policies that clone the logged actions with weights.

    M stands for the number of values that are learned: 1, the team's, where there is a mixer; else N, one of each
    agent, on the team's reward or on its own. Mixers are monotone, so the team's value rises with every agent's; a
    subclass that looks at other actions, or takes other mixers, says so.
    MEMBERS: the key that says how many critics q there are, None for one. STATE_VALUES: whether there are v_i.
    """

    action_types = frozenset({"continuous", "discrete"})
    KEYS = {
        **TARGET_KEYS,
        **MIXER_KEYS,
        **LOCAL_KEYS,
        **of_every_run("hidden_dim"),
        "mixer": Key("mixer of the agents' values", (*mixer_REGISTRY, None)),
        "q_lr": rate("q and the mixer"),
        "actor_lr": rate("the policies"),
    }
    CRITICS = "per agent, mixed"
    MEMBERS: str | None = None
    STATE_VALUES = True
    ACTOR_SPEC = LossSpec("actor", ("agent",), lr="actor_lr", clip="member")
    value: LocalEnsemble
    target_q: LocalEnsemble

    def __init__(self, mac: Any, scheme: dict[str, Any], logger: Logger, args: SimpleNamespace) -> None:
        super().__init__(mac, scheme, logger, args)
        check_svn(args)
        self.imitation = Imitation(scheme, args)
        members: int = 1 if self.MEMBERS is None else getattr(args, self.MEMBERS)
        self.q = LocalEnsemble(scheme, args, members, with_actions=True, shared=args.shared_critics)
        if self.STATE_VALUES:
            self.value = LocalEnsemble(scheme, args, 1, with_actions=False, shared=args.shared_critics)
        self.mixer: Any = build_mixer(args.mixer, args)
        q_modules: tuple[str, ...] = ("q",)
        if self.mixer is not None:
            check_team_reward(scheme, f"mixer={args.mixer}")
            self.normaliser = Normaliser(state_size(args), field="state")  # no parameters; saved with the mixer
            q_modules = ("q", "mixer", "normaliser")
        self.q_spec = LossSpec("q", q_modules, lr="q_lr")

    @classmethod
    def critics(cls, config: Mapping[str, Any]) -> str:
        return "per agent" if config["mixer"] is None else cls.CRITICS

    def batch_context(self, name: str, batch: EpisodeBatch) -> Context:
        """What `svn` divides the TD errors of q's loss by, (E, 1, 1)."""
        if name != "q" or not self.args.svn:
            return {}
        values = self.mixed(self.local_q(batch, NOW), batch, NOW).squeeze(-1)  # (E, R)
        return {"spread": spread(values, transition_mask(batch).flatten()).view(-1, 1, 1)}

    # -- values ------------------------------------------------------------------------------------------------------

    def local_q(self, batch: EpisodeBatch, steps: slice, prefix: str = "") -> Tensor:
        """q_i(o_i, a_i) of logged actions, (E, R, N); prefix `target_` for the targets'."""
        q: LocalEnsemble = getattr(self, f"{prefix}q")
        return q.taken(rows_of(batch, "obs", steps), rows_of(batch, "actions_onehot", steps))

    def local_v(self, batch: EpisodeBatch, steps: slice, prefix: str = "") -> Tensor:
        """v_i(o_i), (1, R, N)."""
        values: Tensor = getattr(self, f"{prefix}value")(rows_of(batch, "obs", steps))
        return values

    def mixed(self, local: Tensor, batch: EpisodeBatch, steps: slice, prefix: str = "") -> Tensor:
        """What a mixer makes of the agents' values, (E, R, N) -> (E, R, M)."""
        if self.mixer is None:
            return local
        states = self.normaliser(rows_of(batch, "state", steps)).expand(len(local), -1, -1)  # (E, R, S)
        total: Tensor = getattr(self, f"{prefix}mixer")(local, states)
        return total

    def backup(self, batch: EpisodeBatch, next_value: Tensor) -> Tensor:
        """r + gamma V(s'), without the second term after a terminal, of values (R, M): (R, M)."""
        reward, terminated = rows_of(batch, "reward", NOW), rows_of(batch, "terminated", NOW)  # (R, 1 or N), (R, 1)
        return td_target(reward, terminated, next_value, self.args.gamma)

    def q_error(self, batch: EpisodeBatch, target: Tensor, context: Context) -> tuple[Tensor, Stats]:
        """sum_j (M[q_j] - y)^2, a mean over the M values: of targets (R, M) the rows (R,), and statistics.

        context: with the `spread` of the values where `svn` is set.
        """
        values = self.mixed(self.local_q(batch, NOW), batch, NOW)  # (E, R, M)
        error = values - target
        stats = {"q_taken": values.detach().mean((0, -1)), "td_error_abs": error.detach().abs().mean((0, -1))}
        return normalised(error, context).square().mean(-1).sum(0), stats | {"target": target.mean(-1)}

    # -- policies ----------------------------------------------------------------------------------------------------

    def cloning(self, outputs: Tensor, batch: EpisodeBatch, weight: Tensor) -> Tensor:
        """-w log pi_i(a_i | o_i) of the logged actions, a mean over agents.

        outputs: the policies', (B, T-1, N, P); weights (R, M or N) -> (R,).
        """
        cost: Tensor = self.imitation(outputs, batch)  # (R, N)
        return (weight * cost).mean(-1)

    def mean(self, rows: Tensor, batch: EpisodeBatch) -> Tensor:
        """The mean over valid rows, (R,) -> ()."""
        return masked_mean(rows, transition_mask(batch).flatten())


def check_linear_mixer(args: SimpleNamespace, learner: str) -> None:
    """Raise ConfigError unless the monotone mixer is a sum of the agents' values with one weight k_i(s) each."""
    if args.mixer_layers != 1:
        raise ConfigError(f"mixer_layers={args.mixer_layers}: {learner} needs one weight per agent; set mixer_layers=1")
