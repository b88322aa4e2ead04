"""BCQ (Fujimoto, Meger & Precup 2019; Fujimoto et al. 2019) for teams: values of actions like the data's, offline.

A model of the behaviour says which actions are like the data's. Discrete: those whose probability is a large enough
share of the likeliest one's. Continuous: those that a variational autoencoder makes, changed by Phi at most. The
networks are `modules/agents/bcq_ns_agent.py`, for acting needs them all.
"""

from types import SimpleNamespace
from typing import Any

import torch as th
from torch import Tensor, nn

from components.episode_buffer import EpisodeBatch
from learners.base_learner import Context, Logger, Noise, Stats
from learners.losses import NEXT, NOW, available, rows_of
from learners.mixed_values import MixedValuesLearner
from learners.optimisation import LossSpec, rate
from modules.agents.bcq_ns_agent import LATENT_REACH, NOT_ALLOWED, BCQNSAgent
from modules.layers.squash import action_bounds, half_range
from utils.errors import ConfigError
from utils.keys import COUNT, SHARE, WEIGHT, Key


class BCQLearner(MixedValuesLearner):
    """q_i(o_i, a_i) of each agent, alone or mixed into the team's (M values: N, or 1 with a mixer)."""

    KEYS = {
        "behaviour_threshold": Key(
            "share of the likeliest action's probability that others need", SHARE, actions="discrete", acts=True
        ),
        "perturbation_reach": Key(
            "largest change of a decoded action, in half action ranges", WEIGHT, actions="continuous", acts=True
        ),
        "target_candidates": Key("decoded actions among which the target chooses", COUNT, actions="continuous"),
        "acting_candidates": Key(
            "decoded actions among which an agent chooses when it acts", COUNT, actions="continuous", acts=True
        ),
        "smallest_share": Key(
            "weight of the smaller critic in the target, the larger having the rest", SHARE, actions="continuous"
        ),
        "behaviour_lr": rate("the behaviour's model"),
        "actor_lr": rate("the perturbation", actions="continuous"),
    }
    CONFIGS = ("bcq", "bcq")
    ALIASES = {"lr": "q_lr"}
    agent: BCQNSAgent
    target_agent: BCQNSAgent

    def __init__(self, mac: Any, scheme: dict[str, Any], logger: Logger, args: SimpleNamespace) -> None:
        super().__init__(mac, scheme, logger, args)
        check_config(mac, args)
        self.build_team_value(scheme)
        self.TARGETS = ("agent",) if self.mixer is None else ("agent", "mixer")
        self.LOSSES = (LossSpec("behaviour", ("behaviour",), lr="behaviour_lr"), self.q_spec)
        if self.continuous:
            self.low, self.high = action_bounds(args)  # (A,) or (N, A)
            self.LOSSES = (*self.LOSSES, LossSpec("actor", ("perturbation",), lr="actor_lr", clip="member"))
        self.prepare()

    @property
    def q(self) -> nn.ModuleList:
        return self.agent.q

    @property
    def behaviour(self) -> nn.ModuleList:
        return self.agent.behaviour

    @property
    def perturbation(self) -> nn.Module:
        return self.agent.perturbation

    def noise(self, name: str, batch: EpisodeBatch) -> Noise:
        """Latents, standard normal: of the encoder, or clipped as candidates are, (B, T-1, ..., N, L)."""
        if not self.continuous:
            return {}
        count = {"behaviour": 1, "q": self.args.target_candidates, "actor": 1}[name]
        shape = (batch.batch_size, batch.max_seq_length - 1, count, self.args.n_agents, self.agent.n_latents)
        latents = th.randn(shape, generator=self.generator, device=self.generator.device)
        return {"latents": latents if name == "behaviour" else latents.clamp(-LATENT_REACH, LATENT_REACH)}

    def over_time(self, agent: BCQNSAgent, name: str, batch: EpisodeBatch, steps: slice) -> Tensor:
        """Of discrete actions the values `q` or the logits `behaviour` on the time steps `steps`, (N, R, A)."""
        learned = batch["learned"] if "learned" in batch.scheme else None  # (B, T, 1)
        return agent.over_time(getattr(agent, name), batch["obs"], learned, steps)

    # -- the behaviour's model ---------------------------------------------------------------------------------------

    def behaviour_loss(self, batch: EpisodeBatch, noise: Noise, context: Context) -> tuple[Tensor, Stats]:
        """The model of the behaviour in BCQ, means over agents.

        Discrete actions (Fujimoto et al. 2019): -log mu_i(a_i | o_i). Continuous (Fujimoto, Meger & Precup 2019): the
        autoencoder's |decode(z) - x|^2 + KL(N(m, s^2) || N(0, 1)) / 2.
        """
        rows = self.autoencoding(batch, noise) if self.continuous else self.surprise(batch)  # (N, R)
        return self.mean(rows.mean(0), batch), {}

    def surprise(self, batch: EpisodeBatch) -> Tensor:
        """-log mu_i(a_i | o_i), mu over all actions: (N, R).

        Those that use mu compare it among the available actions only (`often`).
        """
        log_mu = self.over_time(self.agent, "behaviour", batch, NOW).log_softmax(-1)  # (N, R, A)
        return -(log_mu * rows_of(batch, "actions_onehot", NOW).transpose(0, 1)).sum(-1)

    def autoencoding(self, batch: EpisodeBatch, noise: Noise) -> Tensor:
        """mean_d (decode(o, z) - x)_d^2 + KL(N(m, s^2) || N(0, 1)) / 2, z = m + s noise, KL a mean over z: (N, R)."""
        seen, own = self.agent.see(rows_of(batch, "obs", NOW)), self.owned(batch, NOW)  # (N, R, O), (N, R, A)
        logged = self.logged(batch)  # (N, R, A)
        mean, log_std = self.agent.encode(seen, logged)  # (N, R, L) each
        latents = mean + log_std.exp() * noise["latents"].flatten(0, 1).squeeze(1).transpose(0, 1)
        decoded = self.agent.decode(seen, latents.unsqueeze(2), own).squeeze(2)  # (N, R, A)
        error = (decoded - logged).square().sum(-1) / own.sum(-1).clamp_min(1)  # (N, R)
        kl = 0.5 * (mean.square() + (2 * log_std).exp() - 1 - 2 * log_std).mean(-1)  # (N, R)
        return error + 0.5 * kl

    def logged(self, batch: EpisodeBatch, steps: slice = NOW) -> Tensor:
        """Logged continuous actions in half action ranges, 0 in dimensions that an agent lacks, (N, R, A)."""
        low, high = (bound.to(batch["actions"]) for bound in (self.low, self.high))
        unit = (rows_of(batch, "actions", steps) - low) / half_range(low, high) - 1  # (R, N, A)
        return unit.transpose(0, 1) * self.owned(batch, steps)

    def owned(self, batch: EpisodeBatch, steps: slice) -> Tensor:
        """1 in continuous dimensions in which an agent has a choice, 0 in those that it lacks, (N, R, A)."""
        own: Tensor = self.agent.owned(available(batch, steps))
        return own

    # -- values ------------------------------------------------------------------------------------------------------

    def q_loss(self, batch: EpisodeBatch, noise: Noise, context: Context) -> tuple[Tensor, Stats]:
        """BCQ's loss of the critics: sum_j (M[q_j(o, a)] - y)^2, y = r + gamma (1 - terminated) M'[next value].

        What the papers have for one agent, M mixes; the next value is that of `next_values`.
        """
        with th.no_grad():
            after = self.next_values(batch, noise).T.unsqueeze(0)  # (1, R, N)
            future = self.mixed(after, batch, NEXT, "target_").squeeze(0)  # (R, M)
            target = self.backup(batch, future)  # (R, M)
        rows, stats = self.q_error(batch, target, context)
        return self.mean(rows, batch), stats

    def local_q(self, batch: EpisodeBatch, steps: slice, prefix: str = "") -> Tensor:
        """q_ij(o_i, a_i) of logged actions: (E, R, N), E = 2 for continuous actions, else 1."""
        if self.continuous:
            seen = self.agent.see(rows_of(batch, "obs", steps))  # (N, R, O)
            logged = self.logged(batch, steps).unsqueeze(2)  # (N, R, 1, A)
            return th.stack([self.agent.values(j, seen, logged).squeeze(2).T for j in range(2)])
        values = self.over_time(self.agent, "q", batch, steps)  # (N, R, A)
        picked: Tensor = values * rows_of(batch, "actions_onehot", steps).transpose(0, 1)  # (N, R, A)
        return picked.sum(-1).T.unsqueeze(0)

    def next_values(self, batch: EpisodeBatch, noise: Noise) -> Tensor:
        """q'_i(o'_i, argmax of q_i over allowed actions), or max_k of the two critics' weighted values: (N, R).

        These weights are `smallest_share` of the smaller value and the rest of the larger. Candidates are decoded
        from new latents and changed by the target's perturbation.
        """
        if not self.continuous:
            logits = self.over_time(self.agent, "behaviour", batch, NEXT)  # (N, R, A)
            can = self.agent.often(logits, available(batch, NEXT).transpose(0, 1))  # (N, R, A)
            values = self.over_time(self.agent, "q", batch, NEXT)  # (N, R, A)
            best = values.masked_fill(~can, NOT_ALLOWED).argmax(-1, keepdim=True)  # (N, R, 1)
            judged = self.over_time(self.target_agent, "q", batch, NEXT)  # (N, R, A)
            return judged.gather(-1, best).squeeze(-1)
        seen = self.agent.see(rows_of(batch, "obs", NEXT))  # (N, R, O)
        latents = noise["latents"].flatten(0, 1).permute(2, 0, 1, 3)  # (N, R, K, L)
        own = self.owned(batch, NEXT)  # (N, R, A)
        candidates = self.target_agent.perturb(seen, self.agent.decode(seen, latents, own), own)  # (N, R, K, A)
        values = th.stack([self.target_agent.values(j, seen, candidates) for j in range(2)])  # (2, N, R, K)
        share: float = self.args.smallest_share
        return (share * values.amin(0) + (1 - share) * values.amax(0)).amax(-1)

    # -- the perturbation --------------------------------------------------------------------------------------------

    def actor_loss(self, batch: EpisodeBatch, noise: Noise, context: Context) -> tuple[Tensor, Stats]:
        """BCQ's loss of the perturbation (Fujimoto, Meger & Precup 2019): -q_1(o_i, perturb(decode(z))).

        It is a mean over agents, for a mixer rises with every agent's value.
        """
        seen = self.agent.see(rows_of(batch, "obs", NOW))  # (N, R, O)
        latents = noise["latents"].flatten(0, 1).permute(2, 0, 1, 3)  # (N, R, 1, L)
        own = self.owned(batch, NOW)  # (N, R, A)
        changed = self.agent.perturb(seen, self.agent.decode(seen, latents, own).detach(), own)  # (N, R, 1, A)
        value = self.agent.values(0, seen, changed).squeeze(2).mean(0)  # (R,)
        return -self.mean(value, batch), {"q_policy": value.detach()}


def check_config(mac: Any, args: SimpleNamespace) -> None:
    """Raise ConfigError, one sentence, where a key does not suit the learner."""
    if not isinstance(mac.agent, BCQNSAgent):
        raise ConfigError(
            "bcq_learner needs agents that hold its networks: set agent=bcq_ns, or for discrete actions bcq_rnn_ns, "
            f"which has a memory, not {args.agent}"
        )
    if args.obs_last_action or args.obs_agent_id:
        raise ConfigError(
            "bcq_learner's networks read observations alone: set obs_last_action=False obs_agent_id=False"
        )
