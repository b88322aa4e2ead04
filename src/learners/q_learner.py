"""Q-learning on discrete actions: independent (IQL), VDN (Sunehag et al. 2018), QMIX (Rashid et al. 2018)."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import torch as th
from torch import Tensor, nn

from components.episode_buffer import EpisodeBatch
from components.standarize_stream import RunningMeanStd
from learners.base_learner import BaseLearner, Context, Logger, Noise, Stats
from learners.losses import EVERY, NEXT, NOW, masked_mean, td_target, transition_mask
from learners.optimisation import EITHER, HARD_OR_SOFT, MIXER_KEYS, TARGET_KEYS, LossSpec, rate
from learners.svn import check_svn, normalised, spread
from modules.layers.normaliser import Normaliser
from modules.layers.sizes import field_size
from modules.mixers import REGISTRY as mixer_REGISTRY
from modules.mixers import build_mixer
from modules.mixers.hypernet import state_size
from utils.errors import ConfigError
from utils.keys import POSITIVE, Key


class QLearner(BaseLearner):
    """One-step Q-learning of each agent's own value, or of the team's value that a mixer makes of them.

    mixer: None (IQL: one error per agent, on the team's reward or on rewards of its own), or any of the registry.
    double_q: the online values choose the next action, the targets judge it (van Hasselt et al. 2016).
    standardise_rewards, standardise_returns: learn in standard deviations from running means over valid transitions.
    """

    action_types = frozenset({"discrete"})
    KEYS = {
        **TARGET_KEYS,
        EITHER: Key(HARD_OR_SOFT, POSITIVE, optional=True),
        **MIXER_KEYS,
        "mixer": Key("mixer of the agents' values", (*mixer_REGISTRY, None), optional=True),
        "double_q": Key("let online values choose the next action, and target values judge it", bool, optional=True),
        "standardise_rewards": Key(
            "standardise rewards by their running mean and standard deviation", bool, optional=True
        ),
        "standardise_returns": Key(
            "standardise values by the targets' running mean and standard deviation", bool, optional=True
        ),
        "q_lr": rate("the action values"),
    }
    CONFIGS = ("qmix", "qmix")
    CRITICS = "per agent"
    ALIASES = {"lr": "q_lr"}
    LOSSES = (LossSpec("q", modules=("agent",), lr="q_lr"),)
    TARGETS: tuple[str, ...] = ("agent",)
    STANDARDISES_STATES = False  # whether mixers see states as `input_norm` says; stock's see them as they are
    mixer: nn.Module | None
    target_mixer: nn.Module

    def __init__(self, mac: Any, scheme: dict[str, Any], logger: Logger, args: SimpleNamespace) -> None:
        super().__init__(mac, scheme, logger, args)
        name = getattr(args, "mixer", None)
        check_config(scheme, args, name)
        self.mixer = build_mixer(name, args)
        if self.mixer is not None:
            modules: tuple[str, ...] = ("agent", "mixer")
            if self.STANDARDISES_STATES:
                self.normaliser = Normaliser(state_size(args), field="state")  # no parameters; saved with the mixer
                modules += ("normaliser",)
            self.LOSSES = (LossSpec("q", modules, lr="q_lr"),)
            self.TARGETS = ("agent", "mixer")
        self.double_q: bool = getattr(args, "double_q", True)
        self.rew_ms = self.ret_ms = None
        if getattr(args, "standardise_rewards", False):
            self.rew_ms = RunningMeanStd(shape=(field_size(scheme, "reward"),), device=args.device)
            self.STATISTICS += ("rew_ms",)
        if getattr(args, "standardise_returns", False):
            n_values = args.n_agents if self.mixer is None else 1
            self.ret_ms = RunningMeanStd(shape=(n_values,), device=args.device)
            self.STATISTICS += ("ret_ms",)
        self.prepare()

    @classmethod
    def critics(cls, config: Mapping[str, Any]) -> str:
        return cls.CRITICS if config.get("mixer") is None else f"{cls.CRITICS}, mixed"

    def train(self, batch: EpisodeBatch, t_env: int, episode_num: int) -> None:  # type: ignore[override]
        """Take the batch into the running statistics, which the loss only reads, then update."""
        with th.no_grad():
            mask = transition_mask(batch)  # (B, T-1, 1)
            if self.rew_ms is not None:
                self.rew_ms.update(batch["reward"][:, NOW], mask)
            if self.ret_ms is not None:
                online = self.unroll(self.mac, batch, NEXT)  # (B, T-1, N, A)
                self.ret_ms.update(self.target_value(batch, online), mask)
        super().train(batch, t_env, episode_num)

    def q_loss(self, batch: EpisodeBatch, noise: Noise, context: Context) -> tuple[Tensor, Stats]:
        """Mean of (Q - y)^2 over valid transitions, and over agents where there is no mixer (M = N, else 1)."""
        error, stats = self.squared_error(self.unroll(self.mac, batch, EVERY), batch, context)  # (R,)
        return masked_mean(error, transition_mask(batch).flatten()), stats

    def squared_error(self, values: Tensor, batch: EpisodeBatch, context: Context) -> tuple[Tensor, Stats]:
        """(Q - y)^2 of the learned values (B, T, N, A), a mean over the M values: (R,), and statistics."""
        taken = self.taken(values[:, NOW], batch)  # (B, T-1, M)
        with th.no_grad():
            target = self.target_value(batch, values[:, NEXT].detach())  # (B, T-1, M)
            if self.ret_ms is not None:
                target = self.ret_ms.standardise(target)
        taken, target = taken.flatten(0, 1), target.flatten(0, 1)  # (R, M)
        error = taken - target
        stats = {
            "td_error_abs": error.detach().abs().mean(-1),
            "q_taken_mean": taken.detach().mean(-1),
            "target_mean": target.mean(-1),
        }
        return normalised(error, context).square().mean(-1), stats

    def batch_context(self, name: str, batch: EpisodeBatch) -> Context:
        """What `svn` divides the TD errors by, ()."""
        if not self.args.svn:
            return {}
        values = self.taken(self.unroll(self.mac, batch, NOW), batch).flatten()  # (R,)
        return {"spread": spread(values, transition_mask(batch).flatten())}

    def taken(self, values: Tensor, batch: EpisodeBatch) -> Tensor:
        """Q(s, a) of the logged actions, mixed where there is a mixer: (B, T-1, N, A) -> (B, T-1, M)."""
        chosen = values.gather(-1, batch["actions"][:, NOW]).squeeze(-1)  # (B, T-1, N)
        if self.mixer is None:
            return chosen
        mixed: Tensor = self.mixer(chosen, self.states(batch, NOW))  # (B, T-1, 1)
        return mixed

    def states(self, batch: EpisodeBatch, steps: slice) -> Tensor:
        """States as the mixer sees them, (B, T', S)."""
        states: Tensor = batch["state"][:, steps]  # (B, T', S)
        if self.STANDARDISES_STATES:
            states = self.normaliser(states)
        return states

    def target_value(self, batch: EpisodeBatch, online: Tensor) -> Tensor:
        """y = r + gamma (1 - terminated) Q'(t+1), (B, T-1, M). online: the learned values of rows t+1, (B, T-1, N, A).

        With standardised returns Q' is turned back into units of the reward, and y is in these units.
        """
        targets = self.unroll(self.target_mac, batch, NEXT)  # (B, T-1, N, A)
        chooser = online if self.double_q else targets
        available = batch["avail_actions"][:, NEXT] > 0  # (B, T-1, N, A)
        best = chooser.masked_fill(~available, -th.inf).argmax(-1, keepdim=True)  # (B, T-1, N, 1)
        value = targets.gather(-1, best).squeeze(-1)  # (B, T-1, N)
        if self.mixer is not None:
            value = self.target_mixer(value, self.states(batch, NEXT))  # (B, T-1, 1)
        if self.ret_ms is not None:
            value = self.ret_ms.restore(value)
        reward = batch["reward"][:, NOW]  # (B, T-1, 1) or (B, T-1, N)
        if self.rew_ms is not None:
            reward = self.rew_ms.standardise(reward)
        terminated = batch["terminated"][:, NOW]  # (B, T-1, 1)
        return td_target(reward, terminated, value, self.args.gamma)  # one team reward is every agent's


def check_config(scheme: dict[str, Any], args: SimpleNamespace, mixer: str | None) -> None:
    """Raise ConfigError, one sentence, where a key has no meaning here."""
    if scheme["actions"].get("dtype", th.long).is_floating_point:
        raise ConfigError("q_learner handles discrete actions only: choose an environment with Discrete actions")
    if args.agent_output_type != "q":
        raise ConfigError(
            f"q_learner needs agents whose outputs are action values, not agent_output_type={args.agent_output_type}: "
            "set agent_output_type=q action_selector=epsilon_greedy"
        )
    check_svn(args)
    if mixer is not None and field_size(scheme, "reward") != 1:
        raise ConfigError(f"mixer={mixer} needs one team reward: set common_reward=True, or mixer=None")
