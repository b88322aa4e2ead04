"""A replay of what any importer reads, where its card names one of our particle tasks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from datasets.importers.omar_files import TASKS as OMARS
from datasets.importers.replay import NEXT_START, Transitions, replayed, too_many, wrong_observations, wrong_rewards
from datasets.importers.source import Episode
from envs.mpe.tasks import TASKS
from utils.errors import DatasetError, printable

_SAMPLE = 500
_PER_EPISODE = 8


@dataclass(frozen=True)
class _Step:
    """A logged step and the actions (3, N, A) before it, on it and after it."""

    obs: np.ndarray
    actions: np.ndarray
    reward: np.ndarray
    next_obs: np.ndarray
    row: int
    origin: str


@dataclass
class _Sample:
    """Steps drawn from a stream, all with the same chance: those between two others, or each episode's last."""

    last: bool
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))
    steps: list[_Step] = field(default_factory=list)
    offered: int = 0

    def offer(self, episode: Episode) -> None:
        arrays = episode.arrays
        n_steps = len(arrays["reward"]) - 1
        rows = np.arange(max(1, n_steps - 1), n_steps) if self.last else np.arange(1, n_steps - 1)
        for row in self.rng.permutation(rows)[:_PER_EPISODE].tolist():
            self.offered += 1
            place = len(self.steps) if len(self.steps) < _SAMPLE else int(self.rng.integers(self.offered))
            if place < _SAMPLE:
                step = _Step(
                    arrays["obs"][row].copy(), arrays["actions"][row - 1 : row + 2].copy(),
                    arrays["reward"][row].copy(), arrays["obs"][row + 1].copy(), row, episode.origin,
                )  # fmt: skip
                self.steps[place : place + 1] = [step]

    def transitions(self, shift: int = 0) -> Transitions:
        """The steps with their own actions, or with those of the step before (-1) or after (1) each."""
        stacked = [np.stack([getattr(step, key) for step in self.steps]) for key in ("obs", "reward", "next_obs")]
        actions = np.stack([step.actions[1 + shift] for step in self.steps])  # (R, N, A)
        return Transitions(stacked[0], actions, stacked[1], stacked[2], np.array([step.row for step in self.steps]))


def checked_stream(
    episodes: Iterator[Episode], card: Mapping[str, Any], path: Path, notes: list[str]
) -> Iterator[Episode]:
    """The same episodes; after the last one a sample of their steps is replayed, and the notes say so.

    Nothing is replayed where the card is of another environment. Where it is of `mpe` and names no task of ours, or the
    rows are not those of its learning agents, which choose continuous actions, a note says why nothing was.
    Raises DatasetError where steps lead to other observations, pay otherwise, or end in terminals, which no such task
    has.
    """
    environment = card.get("environment") or {}
    arguments = environment.get("env_args") or {}
    key, prey = arguments.get("key"), arguments.get("prey")
    if environment.get("env") != "mpe":
        yield from episodes
        return
    unknown = _unknown(arguments)
    if unknown is not None:
        notes.append(f"nothing was replayed, as {unknown}")
        yield from episodes
        return
    sample, last = _Sample(last=False), _Sample(last=True)
    doubt = None if card.get("action_space") == "continuous" else "its actions are discrete"
    for episode in episodes:
        doubt = doubt or _unlike(episode, str(key))
        if doubt is None:
            flags = episode.arrays["terminated"]
            if flags.any():
                raise DatasetError(
                    f"{episode.origin or path}: terminated is 1 on row {int(np.argmax(flags))}, and {key} has no "
                    "terminals, so the column is shifted or of other data"
                )
            sample.offer(episode)
            last.offer(episode)
        yield episode
    if doubt is None and not sample.steps:
        doubt = "a step is judged by those before and after it, and no episode has three"
    if doubt is not None:
        notes.append(f"nothing was replayed, as {doubt}")
        return
    if prey is not None and not Path(prey).is_file():
        notes.append(f"nothing was replayed, as the prey's file {prey} is not here")
        return
    _judge(sample, str(key), prey, path)
    _judge_last(last, str(key), prey, path)
    count = len(sample.steps) + len(last.steps)
    notes.append(f"{count} transitions were replayed in the simulator and lead to the logged ones")


def _unknown(arguments: Mapping[str, Any]) -> str | None:
    """Why the arguments of `mpe` are of no task that can be replayed; None where they are of one."""
    key, control = arguments.get("key"), arguments.get("control", "predators")
    if key not in TASKS:
        named = "env_args name no key" if key is None else f"the key {printable(str(key))[:40]} is another task's"
        return f"{named}; those of {', '.join(TASKS)} are replayed"
    return (
        None if control == "predators" else f"control is {printable(str(control))[:40]}, where predators are replayed"
    )


def _unlike(episode: Episode, key: str) -> str | None:
    """Why an episode's observations are not what the task's learning agents see; None where they may be."""
    n_agents, width = episode.arrays["obs"].shape[1:]
    wanted = next((task.n_agents, task.obs) for task in OMARS if task.key == key)
    if (n_agents, width) == wanted:
        return None
    return f"observations are {width} numbers of {n_agents} agents, and {key} shows {wanted[1]} to {wanted[0]}"


def _judge(sample: _Sample, key: str, prey: str | None, path: Path) -> None:
    """Raise DatasetError where too many of the steps differ from what the simulator makes of them."""
    own = sample.transitions()
    found, paid = replayed(key, own, prey)
    forests = len(TASKS[key].forests)
    wrong = wrong_observations(found, own.next_obs, forests)
    if too_many(wrong):
        step = sample.steps[int(np.argmax(wrong))]
        head = f"{step.origin or path}: obs on row {step.row + 1} is not what obs and actions lead to in {key}"
        for shift, how in ((1, "late"), (-1, "early")):
            moved = sample.transitions(shift)
            if not too_many(wrong_observations(replayed(key, moved, prey)[0], own.next_obs, forests)):
                raise DatasetError(f"{head}; those of row {step.row + shift} do, so actions stand one row too {how}")
        share = f"{int(wrong.sum())} of {len(wrong)} replayed rows differ"
        more = "" if key == "simple_spread" else ", or another prey was chased: name it as prey in --env-args"
        raise DatasetError(f"{head} ({share}), so a column is shifted or of other data{more}")
    team = own.reward == own.reward[:, :1]
    choices = [paid]
    if team.all():  # of the team: the mean over agents, their sum, or the first one's
        choices += [np.repeat(each[:, None], 3, axis=1) for each in (paid.mean(1), paid.sum(1), paid[:, 0])]
    unpaid = min((wrong_rewards(each, own.reward) for each in choices), key=np.sum)
    if too_many(unpaid):
        index = int(np.argmax(unpaid))
        agent = int(np.argmax(np.abs(paid - own.reward)[index]))
        step = sample.steps[index]
        raise DatasetError(
            f"{step.origin or path}: reward of agent {agent} is {own.reward[index, agent]:g} on row {step.row}, and "
            f"{key} pays {paid[index, agent]:g} there ({int(unpaid.sum())} of {len(unpaid)} rows differ), so the "
            "column is shifted or of other data"
        )


def _judge_last(last: _Sample, key: str, prey: str | None, path: Path) -> None:
    """Raise DatasetError where too many of the episodes' last steps do not lead to their final rows."""
    logged = last.transitions()
    wrong = wrong_observations(replayed(key, logged, prey)[0], logged.next_obs, len(TASKS[key].forests))
    if too_many(wrong):
        step = last.steps[int(np.argmax(wrong))]
        raise DatasetError(
            f"{step.origin or path}: obs on row {step.row + 1}, the episode's final row, is not what its last step "
            f"leads to in {key} ({int(wrong.sum())} of {len(wrong)} such rows differ); {NEXT_START}"
        )
