"""Fitted Q evaluation (Le et al. 2019): the value of one fixed policy, from data of any behaviour."""

from types import SimpleNamespace
from typing import Any

import torch as th
from torch import Tensor

from components.episode_buffer import EpisodeBatch
from components.offline_buffer import OfflineBuffer
from learners.base_learner import BaseLearner, Context, Logger, Noise, Stats
from learners.checks import check_team_reward
from learners.losses import FIRST, NEXT, NOW, available, masked_mean, rows_of, td_target, transition_mask
from learners.optimisation import TARGET_KEYS, LossSpec, of_every_run, rate
from modules.critics.ensemble_critic import CRITIC_KEYS, EnsembleCritic
from modules.policies import build_policy
from utils.keys import INDEX, Key


class FQELearner(BaseLearner):
    """E centralised critics Q_j(s, a_1..a_N), each fitted to its own target under the policies of `policy_path`.

    The critics share nothing but the data, so their spread tells how far the data determine the value. The policies
    are never trained: the run's controller is that of the checkpoint.
    """

    action_types = frozenset({"continuous", "discrete"})
    KEYS = {
        **TARGET_KEYS,
        **CRITIC_KEYS,
        **of_every_run("hidden_dim", "test_greedy"),
        "policy_path": Key("directory of the run whose policy is valued", str),
        "policy_step": Key("step of its checkpoint; 0: the newest", INDEX),
        "critic_lr": rate("the critics"),
    }
    CONFIGS = ("fqe", "fqe")
    LOSSES = (LossSpec("critic", modules=("critic",), lr="critic_lr", clip="member"),)
    TARGETS = ("critic",)
    FIXED_POLICY = True
    target_critic: EnsembleCritic

    def __init__(self, mac: Any, scheme: dict[str, Any], logger: Logger, args: SimpleNamespace) -> None:
        super().__init__(mac, scheme, logger, args)
        check_team_reward(scheme, "fqe_learner")
        self.agent.requires_grad_(False)
        self.critic = EnsembleCritic(scheme, args)
        self.policy = build_policy(args, self.continuous)
        self.prepare()

    def noise(self, name: str, batch: EpisodeBatch) -> Noise:
        """The noise of stochastic policies' next actions, (B, T-1, N, A); none where they act greedily."""
        if self.args.test_greedy:
            return {}
        lead = (batch.batch_size, batch.max_seq_length - 1, self.args.n_agents)
        return {"next": self.policy.make_noise(lead, self.generator, self.args.device)}

    def critic_loss(self, batch: EpisodeBatch, noise: Noise, context: Context) -> tuple[Tensor, Stats]:
        """sum_j (Q_j(s, a) - y_j)^2 with y_j = r + gamma (1 - terminated) Q'_j(s', pi(o'))."""
        mask = transition_mask(batch).flatten()  # (R,)
        reward, terminated = batch["reward"][:, NOW].flatten(), batch["terminated"][:, NOW].flatten()  # (R,) each
        with th.no_grad():
            actions = self.actions(batch, NEXT, noise.get("next"))  # (R, N, A)
            following = self.target_critic(rows_of(batch, "state", NEXT), actions)  # (E, R)
            target = td_target(reward, terminated, following, self.args.gamma)  # (E, R)
        values = self.critic(rows_of(batch, "state", NOW), rows_of(batch, "actions_onehot", NOW))  # (E, R)
        error = values - target
        stats = {"q_taken": values.detach().mean(0), "td_error_abs": error.detach().abs().mean(0)}
        return masked_mean(error.square(), mask).sum(), stats

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
            batch = buffer.batch(drawn)
            batch.to(self.args.device)
            lead = (batch.batch_size, 1, self.args.n_agents)
            noise = None if self.args.test_greedy else self.policy.make_noise(lead, generator, self.args.device)
            actions = self.actions(batch, FIRST, noise)  # (B, N, A)
            total += self.critic(rows_of(batch, "state", FIRST), actions).double().sum(-1).cpu()  # (E,)
        values = total / len(numbers)
        return {"fqe_value": float(values.mean()), "fqe_spread": float(values.std(correction=0))}
