"""Proximal policy optimisation for teams: MAPPO (Yu et al. 2022) and IPPO (de Witt et al. 2020)."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import torch as th
from torch import Tensor, nn

from components.episode_buffer import EpisodeBatch
from components.standarize_stream import RunningMeanStd
from learners.advantages import advantages, discounted_so_far, standardised, transitions
from learners.base_learner import BaseLearner, Context, Logger, Noise, Stats
from learners.losses import NOW, available, masked_mean, rows_of, transition_mask
from learners.optimisation import LossSpec, of_every_run, rate
from modules.critics.local_critic import LocalCritic
from modules.critics.state_critic import StateCritic
from modules.layers.normaliser import fill_normalisers
from modules.layers.orthogonal import orthogonal_
from modules.layers.sizes import field_size
from modules.policies import build_policy
from modules.policies.base_policy import Policy
from modules.policies.noisy_policy import NoisyPolicy
from utils.errors import ConfigError
from utils.keys import COUNT, POSITIVE, SHARE, WEIGHT, Key, Range

POLICY_GAIN, VALUE_GAIN = 0.01, 1.0  # of the last layers' first weights: policies start near the middle of the range
LEAST_STD = 0.01  # of an input to divide by: rare ones, such as contact forces, would become huge
LARGEST_REWARD = 10.0  # after scaling
ADDED = ("old_log_prob", "advantage", "value_target")  # what a rollout is judged by


class PPOLearner(BaseLearner):
    """On-policy, online: each rollout is learned from in `epochs` passes and forgotten.

    critic: `central` for V(s) (MAPPO), `local` for V_i(o_i) (IPPO). Advantages are generalised ones, standardised over
    the rollout. ratio: `agent` limits each agent's own probability ratio, `team` that of the joint action.

    Continuous policies are tanh means with noise of a learned size (`NoisyPolicy`), discrete ones `pi_logits`.
    input_norm: `running` standardises inputs by statistics of all rollouts so far. They change after a rollout was
    learned from: the policy that is improved is exactly the one that played.
    """

    action_types = frozenset({"continuous", "discrete"})
    ON_POLICY = True
    KEYS = {
        **of_every_run("gamma", "hidden_dim"),
        "input_norm": Key("standardisation of inputs", ("none", "running")),
        "actor_lr": rate("the policies"),
        "critic_lr": rate("the critic"),
        "critic": Key("what values are of", ("central", "local")),
        "gae_lambda": Key("lambda of the advantages", SHARE),
        "epochs": Key("passes over each rollout", COUNT),
        "minibatch": Key("transitions per minibatch, about", COUNT),
        "eps_clip": Key("how far from 1 a probability ratio still counts", Range(0, 1, above=True)),
        "ratio": Key("whose probability ratio is limited", ("agent", "team")),
        "entropy_coef": Key("weight of the policies' entropy", WEIGHT),
        "scale_rewards": Key("divide rewards by the running standard deviation of the discounted return", bool),
        "initial_std": Key(
            "standard deviation of the exploration noise at the start, in half action ranges", POSITIVE,
            actions="continuous",
        ),
    }  # fmt: skip
    CONFIGS = ("mappo", "mappo")
    ALIASES = {"lr": "actor_lr"}
    critic: nn.Module
    policy: Policy

    @classmethod
    def critics(cls, config: Mapping[str, Any]) -> str:
        return "central" if config["critic"] == "central" else "per agent"

    def __init__(self, mac: Any, scheme: dict[str, Any], logger: Logger, args: SimpleNamespace) -> None:
        super().__init__(mac, scheme, logger, args)
        n_rewards = field_size(scheme, "reward")
        check_config(args, self.continuous, n_rewards)
        if self.continuous:
            self.policy = mac.action_selector.policy = NoisyPolicy(args, args.initial_std)
        else:
            self.policy = build_policy(args, self.continuous, kinds=("pi_logits",))
        if args.critic == "central":
            self.critic = StateCritic(scheme, args, n_outputs=n_rewards)
        else:
            self.critic = LocalCritic(scheme, args, with_actions=False, recurrent=False)
        orthogonal_(self.agent, POLICY_GAIN)
        orthogonal_(self.critic, VALUE_GAIN)
        moved = ("agent", "policy") if self.continuous else ("agent",)
        self.LOSSES = (
            LossSpec("actor", modules=moved, lr="actor_lr"),
            LossSpec("critic", modules=("critic",), lr="critic_lr"),
        )
        self.by_episode = getattr(self.agent, "is_recurrent", True)  # what minibatches are made of
        if args.scale_rewards:
            self.return_ms = RunningMeanStd(shape=(n_rewards,), device=args.device)
            self.STATISTICS += ("return_ms",)
        if args.input_norm == "running":
            shapes = {"obs": (args.n_agents, field_size(scheme, "obs")), "state": (field_size(scheme, "state"),)}
            for field, shape in shapes.items():
                self.add_module(f"{field}_ms", RunningMeanStd(shape=shape, device=args.device))
                self.STATISTICS += (f"{field}_ms",)
        self.prepare()

    # -- the losses --------------------------------------------------------------------------------------------------

    def actor_loss(self, batch: EpisodeBatch, noise: Noise, context: Context) -> tuple[Tensor, Stats]:
        """-E[min(rho A, clip(rho, 1 - eps, 1 + eps) A)] - c H, a mean over agents; rho = pi(a | o) / pi_old(a | o)."""
        mask = transition_mask(batch).flatten()  # (R,)
        outputs, mine = self.outputs(batch), available(batch, NOW)  # (R, N, P), (R, N, A)
        new = self.policy.log_prob(outputs, rows_of(batch, "actions_onehot", NOW), mine)  # (R, N)
        change = new - rows_of(batch, "old_log_prob", NOW).squeeze(-1)  # (R, N)
        if self.args.ratio == "team":
            change = change.sum(-1, keepdim=True)  # (R, 1)
        ratio, eps = change.exp(), self.args.eps_clip
        advantage = rows_of(batch, "advantage", NOW)  # (R, 1) or (R, N)
        gain = th.minimum(ratio * advantage, ratio.clamp(1 - eps, 1 + eps) * advantage).mean(-1)  # (R,)
        entropy = self.policy.entropy(outputs, mine).mean(-1)  # (R,)
        stats = {
            "clip_fraction": ((ratio - 1).abs() > eps).to(ratio.dtype).detach().mean(-1),
            "approx_kl": (ratio - 1 - change).detach().mean(-1),
            "entropy": entropy.detach(),
            **self.policy.statistics(outputs, mine),
        }
        return masked_mean(-gain - self.args.entropy_coef * entropy, mask), stats

    def critic_loss(self, batch: EpisodeBatch, noise: Noise, context: Context) -> tuple[Tensor, Stats]:
        """(V - (A + V_old))^2, a mean over agents where each has its own."""
        values = self.values(batch)[:, NOW].flatten(0, 1)  # (R, M)
        target = rows_of(batch, "value_target", NOW)  # (R, M)
        error = values - target
        stats = {"value": values.detach().mean(-1), "value_target": target.mean(-1)}
        return masked_mean(error.square().mean(-1), transition_mask(batch).flatten()), stats

    def outputs(self, batch: EpisodeBatch) -> Tensor:
        """The policies' outputs at transitions, (R, N, P)."""
        return self.policy.read(self.unroll(self.mac, batch, NOW).flatten(0, 1), available(batch, NOW))

    def values(self, batch: EpisodeBatch) -> Tensor:
        """Values of all rows, (B, T, M): M is 1 for a team, N where agents have values of their own."""
        if self.args.critic == "local":
            own: Tensor = self.critic(batch["obs"])  # (B, T, N)
            return own
        values: Tensor = self.critic(batch["state"].flatten(0, 1))[0]  # (B*T) or (B*T, M)
        return values.view(*batch["state"].shape[:2], -1)

    # -- one rollout -------------------------------------------------------------------------------------------------

    @th.no_grad()
    def judged(self, batch: EpisodeBatch) -> EpisodeBatch:
        """The batch with log-probabilities of its actions (N), advantages (M) and targets of values (M) in each row."""
        valid, lead = transition_mask(batch), batch["reward"][:, NOW].shape[:2]
        log_prob = self.policy.log_prob(
            self.outputs(batch), rows_of(batch, "actions_onehot", NOW), available(batch, NOW)
        ).view(*lead, -1, 1)  # (B, T-1, N, 1)
        values = self.values(batch)  # (B, T, M)
        found = advantages(
            self.scaled(batch["reward"][:, NOW]), batch["terminated"][:, NOW], valid, values,
            self.args.gamma, self.args.gae_lambda,
        )  # fmt: skip
        added = {
            "old_log_prob": log_prob,
            "advantage": standardised(found, valid),
            "value_target": found + values[:, NOW],
        }
        scheme, data = dict(batch.scheme), dict(batch.data.transition_data)
        for key in ADDED:
            last = th.zeros_like(added[key][:, :1])  # the final row holds no step
            data[key] = th.cat([added[key], last], dim=1)
            scheme[key] = {"vshape": tuple(data[key].shape[2:])}
        wrapped = SimpleNamespace(transition_data=data, episode_data={})
        n_rows, n_steps = batch.batch_size, batch.max_seq_length
        return EpisodeBatch(scheme, batch.groups, n_rows, n_steps, data=wrapped, device=batch.device)

    def scaled(self, reward: Tensor) -> Tensor:
        """Rewards as values are learned from, (B, T-1, 1 or N)."""
        if not self.args.scale_rewards:
            return reward
        return (reward / (self.return_ms.var.sqrt() + 1e-8)).clamp(-LARGEST_REWARD, LARGEST_REWARD)

    def train(self, batch: EpisodeBatch, t_env: int, episode_num: int) -> None:  # type: ignore[override]
        """Learn from one rollout: `epochs` passes, in each of which every transition is in one minibatch."""
        self.training_steps += 1
        valid = transition_mask(batch)  # (B, T-1, 1)
        if self.args.scale_rewards:
            self.return_ms.update(discounted_so_far(batch["reward"][:, NOW], valid, self.args.gamma), valid)
        whole = self.judged(batch)
        rows = whole if self.by_episode else transitions(whole, valid)
        n_parts = max(1, round(int(valid.sum()) / self.args.minibatch))
        for epoch in range(self.args.epochs):
            if epoch == self.args.epochs - 1 and t_env - self.log_stats_t >= self.args.learner_log_interval:
                self._pending = {spec.name: None for spec in self.LOSSES}
                self.log_stats_t = t_env
            order = th.randperm(rows.batch_size, generator=self.generator, device=self.args.device)
            for part in order.tensor_split(min(n_parts, rows.batch_size)):
                for index in range(len(self.LOSSES)):
                    self.update(index, rows[part])
        if self.args.input_norm == "running":
            self.take_in(batch)
        if self._pending:
            self._log(t_env)

    @th.no_grad()
    def take_in(self, batch: EpisodeBatch) -> None:
        """Add a rollout's observations and states to the running statistics, and standardise by them from now on."""
        statistics = {}
        for field in ("obs", "state"):
            running: Any = getattr(self, f"{field}_ms")
            running.update(batch[field], batch["filled"])
            statistics[field] = (running.mean, running.var.sqrt().clamp_min(LEAST_STD))
        fill_normalisers(self, statistics)


def check_config(args: SimpleNamespace, continuous: bool, n_rewards: int) -> None:
    """Raise ConfigError, one sentence, where keys do not go together."""
    kind, selectors = ("mean", ("gaussian",)) if continuous else ("pi_logits", ("multinomial", "soft_policies"))
    if args.agent_output_type != kind or args.action_selector not in selectors:
        raise ConfigError(
            f"ppo_learner acts by what it learns: for {'continuous' if continuous else 'discrete'} actions set "
            f"agent_output_type={kind} action_selector={selectors[0]}"
        )
    if args.ratio == "team" and (n_rewards > 1 or args.critic == "local"):
        raise ConfigError("ratio=team needs one value for the team: set common_reward=True critic=central")
