"""Agents that join, come back or end before the others, in both libraries' conventions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from envs import MultiAgentEnv
from envs.process_env import ProcessVectorEnv
from tests.envs.test_own_limits import make
from utils.errors import EnvError

JOINS, ENDS = "tests.envs.toy_joins", "tests.envs.toy_ends"


def played(env: MultiAgentEnv, steps: int) -> list[tuple[Any, Any, Any, bool, bool]]:
    """After the reset and after each step: first numbers of the observations, available actions, rewards, ends."""
    env.reset()
    log: list[Any] = [([float(row[0]) for row in env.get_obs()], env.get_avail_actions(), [0, 0], False, False)]
    for _ in range(steps):
        avail = env.get_avail_actions()
        obs, rewards, terminated, truncated, _ = env.step(np.array([np.flatnonzero(row)[-1] for row in avail]))
        log.append(([float(row[0]) for row in obs], env.get_avail_actions(), rewards, terminated, truncated))
    return log


ALL, NONE = [1, 1, 1], [1, 0, 0]


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize(
    ("times", "acts"),
    [
        ([(2, 4)], {2, 3}),  # joins
        ([(0, 2), (4, 6)], {0, 1, 4, 5}),  # comes back
        ([(1, 2), (3, 4), (5, 6)], {1, 3, 5}),  # comes back twice
        ([(3, 6)], {3, 4, 5}),  # stays to the end
    ],
)
def test_an_agent_is_seen_while_it_acts(times: Any, acts: set[int], kept: bool) -> None:
    """kept: the simulator lists agents that are not there, and flags them as terminated."""
    env = make(JOINS, plan={"a0": [(0, 6)], "a1": times}, kept=kept and times[0][0] == 0, time_limit=9)
    log = played(env, 6)
    for t, (seen, avail, _, _, _) in enumerate(log[:6]):
        ending = t in {end for _, end in times}  # its last observation
        assert seen == [t + 1, 11 + t if t in acts or ending else 0.0]
        assert avail == [ALL, ALL if t in acts else NONE]
    assert [entry[2] for entry in log[1:]] == [[1.0, float(t in acts)] for t in range(6)]
    assert log[6][3:] == (True, False)
    assert [set(actions) for actions in env._simulator.env.taken] == [  # type: ignore[attr-defined]
        {"a0", "a1"} if t in acts else {"a0"} for t in range(6)
    ]


@pytest.mark.parametrize("times", [[(0, 2)], [(0, 2), (3, 6)], [(1, 3)]])
def test_an_agent_that_was_cut_and_is_not_back_makes_the_episode_cut(times: Any) -> None:
    log = played(make(JOINS, plan={"a0": [(0, 6)], "a1": times}, cut=("a1",), time_limit=9), 6)
    assert log[6][3:] == (False, True)


def test_an_agent_that_was_cut_and_came_back_counts_by_its_last_end() -> None:
    env = make(JOINS, plan={"a0": [(0, 6)], "a1": [(0, 2), (3, 5)]}, cut=(), time_limit=9)
    env.reset()
    simulator = env._simulator.env  # type: ignore[attr-defined]
    for t in range(6):
        simulator.cut = ("a1",) if t == 1 else ()
        _, _, terminated, truncated, _ = env.step(np.zeros(2, dtype=np.int64))
    assert terminated and not truncated


@pytest.mark.parametrize(
    ("env_args", "sentence"),
    [
        ({"stranger": True}, r"agent a1 of tests.envs.toy_joins joins and is not in possible_agents \(a0\)"),
        ({"silent": True}, "agent a1 of tests.envs.toy_joins is to act after step 2 and has no observation"),
        ({"silent": True, "plan": {"a0": [(0, 6)], "a1": [(0, 6)]}}, "agent a1 .* is to act after step 0 and has no"),
    ],
)
def test_an_agent_that_cannot_be_seen_is_refused_by_name(env_args: dict[str, Any], sentence: str) -> None:
    env = make(JOINS, time_limit=9, **env_args)
    with pytest.raises(EnvError, match=sentence):
        played(env, 4)


SEEN = {"a0": [0.0, 0.0], "a1": [0.0, 0.0]}
WRONG_KINDS = {
    "no observations": (None, {}, {}, {}, {}),
    "a joining agent's observation is too wide": ({"a1": [0.0] * 5}, {}, {}, {}, {}),
    "a joining agent's observation is too narrow": ({"a1": [0.0]}, {}, {}, {}, {}),
    "a joining agent's observation is text": ({"a1": "xy"}, {}, {}, {}, {}),
    "a list of rewards": (SEEN, [1.0, 1.0], {}, {}, {}),
    "a reward of None": (SEEN, {"a0": None}, {}, {}, {}),
    "no flags": (SEEN, {}, None, None, {}),
    "no infos": (SEEN, {}, {}, {}, None),
    "four parts": (SEEN, {}, {}, {}),
}


@pytest.mark.parametrize("case", WRONG_KINDS)
def test_what_pettingzoo_does_not_allow_is_one_sentence(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    env = make(JOINS, plan={"a0": [(0, 6)], "a1": [(1, 6)]}, time_limit=9)
    env.reset()
    simulator = env._simulator.env  # type: ignore[attr-defined]
    monkeypatch.setattr(simulator, "step", lambda actions: WRONG_KINDS[case])
    simulator.agents = ["a0", "a1"]
    with pytest.raises(EnvError, match=r"step of tests.envs.toy_joins gives what|agent a1 of tests.envs.toy_joins is"):
        env.step(np.zeros(2, dtype=np.int64))


def test_an_error_of_the_environment_itself_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    env = make(JOINS, time_limit=9)
    env.reset()
    monkeypatch.setattr(env._simulator.env, "step", lambda actions: {}["mine"])  # type: ignore[attr-defined]
    with pytest.raises(KeyError, match="mine"):
        env.step(np.zeros(2, dtype=np.int64))


def test_an_agent_may_join_in_the_step_in_which_the_last_one_leaves() -> None:
    env = make(JOINS, plan={"a0": [(0, 3)], "a1": [(3, 6)]}, time_limit=9)
    log = played(env, 6)
    assert [entry[0] for entry in log] == [[t + 1, 0] for t in range(3)] + [[4, 14]] + [[0, t + 11] for t in (4, 5, 6)]
    assert [entry[2] for entry in log[1:]] == [[1, 0]] * 3 + [[0, 1]] * 3
    assert [entry[3] for entry in log] == [False] * 6 + [True]


# ----------------------------------------------------------------------------------------------------- Gymnasium lists


@pytest.mark.parametrize("once", [False, True])
@pytest.mark.parametrize("gone", ["number", None, float("nan")])
@pytest.mark.parametrize("ends", [(5, 2), (1, 4), (3, 3)])
def test_an_agent_of_a_list_that_ends_early_gets_zeros_and_does_nothing(ends: Any, gone: Any, once: bool) -> None:
    """once: its flag is not repeated. gone: what the environment gives for it afterwards."""
    env = make(f"{ENDS}:Leaving-v0", ends=ends, once=once, gone=gone, time_limit=9)
    last = max(ends)
    log = played(env, last)
    for t, (seen, avail, rewards, terminated, truncated) in enumerate(log):
        shown = [t <= end for end in ends]  # its last observation is that of the step which ends it
        assert seen == [float(t + 1) if there else 0.0 for there in shown]
        if t:
            assert rewards == [(1.0 + i) * (t <= end) for i, end in enumerate(ends)]
        for i, end in enumerate(ends):
            if 0 < t < last:
                assert avail[i] == ([1, 0, 0] if t >= end else [[0, 1, 1], [0, 1, 0]][i])
        assert (terminated, truncated) == (t == last, False)
    taken = env._simulator.env.unwrapped.taken  # type: ignore[attr-defined]
    for t, actions in enumerate(taken):
        # each one's last action, 2; number 0 once it has ended, which agent 1's space counts from 1
        assert [int(action) for action in actions] == [2 if t < end else i for i, end in enumerate(ends)]


@pytest.mark.parametrize(("cut", "terminal"), [((), True), ((1,), False), ((0,), False), ((0, 1), False)])
def test_a_list_in_which_one_agent_was_cut_is_cut(cut: Any, terminal: bool) -> None:
    log = played(make(f"{ENDS}:Leaving-v0", cut=cut, once=True, time_limit=9), 5)
    assert log[5][3:] == (terminal, not terminal)


def test_processes_do_the_same() -> None:
    for key in (f"{ENDS}:Leaving-v0", JOINS):
        vector = ProcessVectorEnv(1, "gymma", {"key": key, "time_limit": 9})
        vector.reset([0])
        single = make(key, time_limit=9)
        single.reset(seed=0)
        for _ in range(4):
            actions = np.zeros((1, 2), dtype=np.int64)
            reward = vector.step(actions)[0]
            assert single.step(actions[0])[1] == reward[0].tolist()
            np.testing.assert_array_equal(vector.get_obs()[0], np.stack(single.get_obs()))
            assert vector.get_avail_actions()[0].tolist() == single.get_avail_actions()
        vector.close()


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [([True], None), ([False] * 3, "for 2 agents"), ({0: True, 1: False}, "one flag"), ("no", "one flag")],
)
def test_flags_that_fit_no_agents_are_one_sentence(flags: Any, sentence: str | None, monkeypatch: Any) -> None:
    from tests.envs.toy_ends import Team

    monkeypatch.setattr(Team, "step", lambda self, actions: (self.see(), [0.0, 0.0], flags, False, {}))
    env = make(f"{ENDS}:Nameless-v0", time_limit=9)
    env.reset()
    if sentence is None:
        assert env.step(np.zeros(2, dtype=np.int64))[2]
        return
    with pytest.raises(EnvError, match=sentence):
        env.step(np.zeros(2, dtype=np.int64))


ROWS, PAID = [[0.0, 0.0]] * 2, [0.0, 0.0]
WRONG_LISTS = {
    "observations by agent": ({0: ROWS[0], 1: ROWS[1]}, PAID, False, False, {}),
    "no observations": (None, PAID, False, False, {}),
    "an observation is too wide": ([[0.0, 0.0], [0.0] * 3], PAID, False, False, {}),
    "ragged rewards": (ROWS, [1.0, [2.0]], False, False, {}),
    "rewards of text": (ROWS, ["1", "x"], False, False, {}),
    "a mask is missing": (ROWS, PAID, False, False, {"action_mask": [[1, 1, 1]]}),
    "no info": (ROWS, PAID, False, False, None),
    "four parts": (ROWS, PAID, False, {}),
}


@pytest.mark.parametrize("case", WRONG_LISTS)
def test_what_a_list_of_agents_does_not_allow_is_one_sentence(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.envs.toy_ends import Team

    monkeypatch.setattr(Team, "step", lambda self, actions: WRONG_LISTS[case])
    env = make(f"{ENDS}:Nameless-v0", time_limit=9)
    env.reset()
    with pytest.raises(EnvError, match=r"Nameless-v0 gives (what Gymnasium|a dict of 2)|agent 1 of .* is to observe"):
        env.step(np.zeros(2, dtype=np.int64))
