"""Fitted Q evaluation (Le et al. 2019): the value of one fixed policy, from data of any behaviour."""

from types import SimpleNamespace
from typing import Any

import torch as th
from torch import Tensor

from components.episode_buffer import EpisodeBatch
from components.offline_buffer import OfflineBuffer
from components.statistics import DataStatistics
from learners.base_learner import BaseLearner, Context, Logger, Noise, Stats
from learners.checks import check_team_reward
from learners.losses import FIRST, NEXT, NOW, available, masked_mean, rows_of, td_target, transition_mask
from learners.optimisation import TARGET_KEYS, LossSpec, of_every_run, rate
from modules.critics.ensemble_critic import CRITIC_KEYS, EnsembleCritic
from modules.layers.normaliser import fill_normalisers
from modules.policies import build_policy
from utils.errors import CheckpointError, ConfigError
from utils.keys import INDEX, Key

# Selectors by what evaluations take of the policy: its mode, its mode or samples as `test_greedy` says, or samples.
ALWAYS_GREEDY = ("epsilon_greedy", "deterministic", "gaussian")
AS_CONFIGURED = ("multinomial", "gaussian_policy", "tanh_gaussian_policy")
NEVER_GREEDY = ("soft_policies",)


class FQELearner(BaseLearner):
    """E centralised critics Q_j(s, a_1..a_N), each fitted to its own target under the policies of `policy_path`.

    The critics share nothing but the data, so their spread tells how far the data determine the value. The policies
    are never trained: the run's controller is that of the checkpoint, with the statistics of its own data.

    The networks' outputs are values in units of the data's: Q_j = m + s f_j, where m and s are mean and standard
    deviation of the discounted returns to go in the data. So learning rates suit rewards of any size.
    """

    action_types = frozenset({"continuous", "discrete"})
    KEYS = {
        **TARGET_KEYS,
        **CRITIC_KEYS,
        **of_every_run("hidden_dim", "test_greedy", "reward_scaling"),
        "policy_path": Key("directory of the run whose policy is valued", str),
        "policy_step": Key("step of its checkpoint; 0: the newest", INDEX),
        "critic_lr": rate("the critics"),
    }
    CONFIGS = ("fqe", "fqe")
    CRITICS = "central"
    LOSSES = (LossSpec("critic", modules=("critic",), lr="critic_lr", clip="member"),)
    TARGETS = ("critic",)
    FIXED_POLICY = True
    NEEDS_DATA = "values a policy from a dataset"
    target_critic: EnsembleCritic
    centre: Tensor
    scale: Tensor

    def __init__(self, mac: Any, scheme: dict[str, Any], logger: Logger, args: SimpleNamespace) -> None:
        super().__init__(mac, scheme, logger, args)
        check_team_reward(scheme, "fqe_learner")
        if args.reward_scaling != "none":
            raise ConfigError(
                f"reward_scaling={args.reward_scaling}: fqe_learner's values are in units of the reward; set it to none"
            )
        self.greedy = is_greedy(args)
        self.agent.requires_grad_(False)
        self.critic = EnsembleCritic(scheme, args)
        self.policy = build_policy(args, self.continuous)
        self.register_buffer("centre", th.zeros(()), persistent=False)
        self.register_buffer("scale", th.ones(()), persistent=False)
        self.prepare()

    def use_statistics(self, statistics: DataStatistics) -> None:
        """Take over the units of values, and standardise the critics' inputs; the policies keep what they have."""
        self.centre.fill_(statistics.to_go_mean)
        self.scale.fill_(statistics.to_go_std)
        if self.args.input_norm == "dataset":
            for critic in (self.critic, self.target_critic):
                fill_normalisers(critic, statistics.inputs)

    def noise(self, name: str, batch: EpisodeBatch) -> Noise:
        """The noise of stochastic policies' next actions, (B, T-1, N, A); none where they act greedily."""
        if self.greedy:
            return {}
        lead = (batch.batch_size, batch.max_seq_length - 1, self.args.n_agents)
        return {"next": self.policy.make_noise(lead, self.generator, self.args.device)}

    def critic_loss(self, batch: EpisodeBatch, noise: Noise, context: Context) -> tuple[Tensor, Stats]:
        """sum_j (Q_j(s, a) - y_j)^2 / s^2 with y_j = r + gamma (1 - terminated) Q'_j(s', pi(o'))."""
        mask = transition_mask(batch).flatten()  # (R,)
        reward, terminated = batch["reward"][:, NOW].flatten(), batch["terminated"][:, NOW].flatten()  # (R,) each
        with th.no_grad():
            actions = self.actions(batch, NEXT, noise.get("next"))  # (R, N, A)
            following = self.values(self.target_critic, batch, NEXT, actions)  # (E, R)
            target = td_target(reward, terminated, following, self.args.gamma)  # (E, R)
        values = self.values(self.critic, batch, NOW, rows_of(batch, "actions_onehot", NOW))  # (E, R)
        error = values - target
        stats = {"q_taken": values.detach().mean(0), "td_error_abs": error.detach().abs().mean(0)}
        return masked_mean((error / self.scale).square(), mask).sum(), stats

    def values(self, critic: EnsembleCritic, batch: EpisodeBatch, steps: slice, actions: Tensor) -> Tensor:
        """Q_j of joint actions (R, N, A) in units of the reward, (E, R)."""
        outputs: Tensor = critic(rows_of(batch, "state", steps), actions)  # (E, R)
        return self.centre + self.scale * outputs

    def actions(self, batch: EpisodeBatch, steps: slice, noise: Tensor | None) -> Tensor:
        """What the policies do, greedily without `noise`, one-hot where discrete: (R, N, A)."""
        outputs = self.unroll(self.mac, batch, steps).flatten(0, 1)  # (R, N, P)
        if noise is None:
            return self.policy.mode(outputs, available(batch, steps))
        return self.policy.sample(outputs, available(batch, steps), noise.flatten(0, 1))

    @th.no_grad()
    def assess(self, buffer: OfflineBuffer) -> dict[str, float]:
        """The policy's value at the first rows of the buffer's episodes: mean over critics, and their spread.

        fqe_value: discounted return in units of the reward. fqe_spread: standard deviation over the critics' values.
        """
        generator = th.Generator(self.args.device).manual_seed(self.args.evaluation_seed)
        numbers = buffer.first_windows()
        total = th.zeros(self.args.ensemble_size, dtype=th.float64)
        for drawn in numbers.split(self.args.batch_size):
            batch = buffer.batch(drawn)[:, FIRST]
            batch.to(self.args.device)
            lead = (batch.batch_size, 1, self.args.n_agents)
            noise = None if self.greedy else self.policy.make_noise(lead, generator, self.args.device)
            actions = self.actions(batch, FIRST, noise)  # (B, N, A)
            total += self.values(self.critic, batch, FIRST, actions).double().sum(-1).cpu()  # (E,)
        values = total / len(numbers)
        return {"fqe_value": float(values.mean()), "fqe_spread": float(values.std(correction=0))}

    def load_models(self, path: str) -> None:
        """Read critics and optimisers. Raises CheckpointError where they were fitted to another policy."""
        given = {key: value.clone() for key, value in self.agent.state_dict().items()}
        super().load_models(path)
        fitted = self.agent.state_dict()
        if given.keys() != fitted.keys() or not all(th.equal(given[key], fitted[key]) for key in given):
            raise CheckpointError(
                f"{path} values another policy than policy_path={self.args.policy_path}; set policy_path and "
                "policy_step to those of its run.json"
            )


def is_greedy(args: SimpleNamespace) -> bool:
    """Whether evaluations of the policies take their modes.

    Raises ConfigError for an action selector of which this is not known, and where evaluations mix random actions in.
    """
    known = (*ALWAYS_GREEDY, *AS_CONFIGURED, *NEVER_GREEDY)
    if args.action_selector not in known:
        raise ConfigError(
            f"policy_path={args.policy_path}: its run acts by action_selector={args.action_selector}, whose actions "
            f"fqe_learner cannot tell from the networks' outputs; it can for {', '.join(known)}"
        )
    if args.action_selector == "epsilon_greedy" and args.evaluation_epsilon > 0:
        raise ConfigError(
            f"evaluation_epsilon={args.evaluation_epsilon}: fqe_learner values the policy without random actions; set "
            "it to 0"
        )
    return args.action_selector in ALWAYS_GREEDY or (args.action_selector in AS_CONFIGURED and args.test_greedy)
