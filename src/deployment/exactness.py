"""How exactly an exported agent repeats what the policy does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch as th

from deployment.loaded import LoadedPolicy
from deployment.lone_agent import LoneAgent

EPISODES, STEPS = 40, 25  # 1 000 observations per agent, each episode's in a row
SMALLEST_SCALE = 1e-6
TIE = 1e-5  # of the largest value: what rounding may change in the difference of two


@dataclass(frozen=True)
class Trial:
    """A policy's own answers at every step of made-up episodes, one entry per step.

    obs, available: what the agents saw, (B, N, ·). before, after: what they remembered. actions, outputs: what they
    did.
    """

    obs: list[np.ndarray]
    available: list[np.ndarray]
    before: list[dict[str, np.ndarray]]
    after: list[dict[str, np.ndarray]]
    actions: list[np.ndarray]
    outputs: list[np.ndarray]

    @property
    def n_observations(self) -> int:
        """Observations of each agent."""
        return sum(len(obs) for obs in self.obs)


def trial(policy: LoadedPolicy, seed: int = 0) -> Trial:
    """Play the policy on random observations with random actions missing, and keep what it remembers and does."""
    random = np.random.default_rng(seed)
    kept = Trial([], [], [], [], [], [])
    policy.reset()
    for _ in range(STEPS):
        shape = (EPISODES, policy.n_agents, policy.obs_size)
        obs = (policy.obs_mean + policy.obs_std * random.standard_normal(shape)).astype(np.float32)
        available = random.random((*shape[:2], policy.n_actions)) < 0.8
        available |= ~available.any(-1, keepdims=True)  # an agent without any action has them all
        kept.obs.append(obs)
        kept.available.append(available.astype(np.float32))
        kept.outputs.append(policy.outputs(obs, available))
        kept.before.append({name: value.numpy().copy() for name, value in policy.state().items()})
        kept.actions.append(policy.act(obs, available))
        kept.after.append({name: value.numpy().copy() for name, value in policy.state().items()})
    policy.reset()
    return kept


def difference(tried: Trial, index: int, agent: LoneAgent, run: Callable[..., list[np.ndarray]]) -> float:
    """The largest difference of an exported agent's answers, in shares of the policy's largest value of that kind.

    Actions are tanh of outputs that may be large, and move by as much as those are rounded: their largest value counts
    times that of the outputs. It is at least the largest bound, in units of which small actions are rounded too.

    Each step starts from what the policy remembers. Of a discrete action counts how much worse its output is than the
    best available one: where two are equal up to rounding, either will do, and is what is remembered. The same holds of
    an agent that chooses among continuous actions by their values.
    """
    expected = {"outputs": [outputs[:, index] for outputs in tried.outputs]}
    for name in tried.after[0]:
        expected[f"next_{name}"] = [after[name][:, index] for after in tried.after]
    if agent.continuous:
        expected["action"] = [actions[:, index] for actions in tried.actions]
    scale = {name: max(SMALLEST_SCALE, *(abs(value).max() for value in steps)) for name, steps in expected.items()}
    for name in {"action", "next_last_action"} & expected.keys() if agent.continuous else ():
        scale[name] = max(scale[name], _reach(agent)) * max(1.0, scale["outputs"])
    worst = 0.0
    for t, obs in enumerate(tried.obs):
        state = [tried.before[t][name][:, index] for name in tried.before[t]]
        inputs = tuple(np.ascontiguousarray(x) for x in (obs[:, index], tried.available[t][:, index], *state))
        for rows in (slice(None), slice(0, 1)) if t == 0 else (slice(None),):  # a batch of one as well
            answers = dict(zip(agent.outputs(), run(tuple(x[rows] for x in inputs)), strict=True))
            wanted = {name: steps[t][rows] for name, steps in expected.items()}
            gaps = []
            if not agent.continuous:
                shown = tried.outputs[t][rows, index]
                gaps.append(_loss(answers["action"], shown, inputs[1][rows]) / scale["outputs"])
                if "next_last_action" in wanted:
                    wanted["next_last_action"] = np.eye(shown.shape[1])[answers["action"]]
            wanted |= _as_good(agent, inputs[0][rows], inputs[1][rows], answers)
            gaps += [_gap(answers[name], value) / scale[name] for name, value in wanted.items()]
            worst = float(np.max([worst, *gaps]))  # not max(), which drops what is no number
    return worst


def _reach(agent: LoneAgent) -> float:
    """The largest bound of a continuous action."""
    policy: Any = agent.policy
    return max(float(bound.abs().max()) for bound in (policy.low, policy.high))


def _gap(answer: np.ndarray, expected: np.ndarray) -> float:
    if answer.shape != expected.shape:
        return float("inf")
    return float(abs(answer.astype(np.float64) - expected).max())


def _as_good(
    agent: LoneAgent, obs: np.ndarray, available: np.ndarray, answers: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Of the outputs whose value is the best up to rounding those nearest to the answer, and their actions.

    Empty where the agent does not choose, or answers in another shape.
    """
    found = agent.choices(th.from_numpy(obs), th.from_numpy(available))
    if found is None:
        return {}
    outputs, actions, values = (each.numpy() for each in found)  # (B, K, P), (B, K, A), (B, K)
    if answers["outputs"].shape != outputs[:, 0].shape:
        return {}
    worse = values < values.max(-1, keepdims=True) - TIE * abs(values).max()  # (B, K)
    apart = abs(outputs - answers["outputs"][:, None]).max(-1)  # (B, K)
    nearest = np.where(worse, np.inf, apart).argmin(-1)[:, None, None]  # (B, 1, 1)
    chosen = {"outputs": outputs, "action": actions}
    return {name: np.take_along_axis(each, nearest, 1)[:, 0] for name, each in chosen.items()}


def _loss(action: np.ndarray, outputs: np.ndarray, available: np.ndarray) -> float:
    """How much worse the chosen actions' outputs are than the best; infinite where one is not available."""
    if action.shape != outputs.shape[:1] or not ((action >= 0) & (action < outputs.shape[1])).all():
        return float("inf")
    masked = np.where(available > 0, outputs, -np.inf)  # (B, A)
    return float((masked.max(-1) - np.take_along_axis(masked, action[:, None], 1)[:, 0]).max())
