"""Threads share the pieces of an update: the same bits as one thread, failures that are seen, life after a fork."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

import pytest
import torch as th
from torch import Tensor

from modules.critics import counterfactual_layers
from modules.critics.counterfactual_layers import counterfactual_values
from modules.threads import enough_for_all, number_of_threads, spread, use_threads

E, R, K, N, A, H = 5, 30, 3, 3, 2, 16


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(counterfactual_layers, "WORTH_SHARING", 0)
    yield
    use_threads(1)


def operands() -> list[Tensor]:
    th.manual_seed(0)
    shapes = [(E, R, H), (N, R * K, A), (E, N, A, H), (E, H, H), (E, 1, H), (E, H, 1), (E, 1, 1)]
    return [th.randn(shape, requires_grad=True) for shape in shapes]


def outcome(number: int, with_base: bool, dtype: th.dtype | None) -> list[Tensor]:
    """Values with and without a graph, and all gradients, that of the changes among them."""
    use_threads(number)
    leaves = operands()
    values = counterfactual_values(*leaves[:3], tuple(leaves[3:]), with_base, dtype)  # type: ignore[arg-type]
    with th.no_grad():
        again = counterfactual_values(*leaves[:3], tuple(leaves[3:]), with_base, dtype)  # type: ignore[arg-type]
    assert th.equal(values, again) and not again.requires_grad
    return [values.detach(), *th.autograd.grad(values.square().sum(), leaves)]


@pytest.mark.parametrize("dtype", [None, th.bfloat16])
@pytest.mark.parametrize("with_base", [False, True])
def test_critics_are_the_same_bit_for_bit_on_any_number_of_threads(with_base: bool, dtype: th.dtype | None) -> None:
    one = outcome(1, with_base, dtype)
    for number in (2, 3):
        many = outcome(number, with_base, dtype)
        assert all(th.equal(a, b) for a, b in zip(one, many, strict=True))


def test_only_what_is_worth_it_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    shared: list[int] = []
    monkeypatch.setattr(
        counterfactual_layers, "spread", lambda work, number: (shared.append(number), spread(work, number))
    )
    activations = E * (N * R * K + R) * H
    for least, expected in ((activations + 1, []), (activations, [E, E, E])):  # forward, without a graph, backward
        monkeypatch.setattr(counterfactual_layers, "WORTH_SHARING", least)
        outcome(2, True, None)
        assert shared == expected


def test_several_threads_do_each_piece_once() -> None:
    use_threads(3)
    done: list[tuple[int, int, bool, int]] = []
    meet = threading.Barrier(3, timeout=20)  # breaks unless three threads are at work at the same time

    def work(pieces: Iterator[int]) -> None:
        meet.wait()
        for piece in pieces:
            assert number_of_threads() == 1  # what is shared already is not shared once more
            done.append((piece, threading.get_ident(), th.is_grad_enabled(), th.get_num_threads()))

    with th.no_grad():
        spread(work, 20)
    assert sorted(piece for piece, *_ in done) == list(range(20))
    assert {tuple(rest) for _, _, *rest in done} == {(False, 1)}
    assert number_of_threads() == 3 and th.is_grad_enabled()


@pytest.mark.parametrize("number", [1, 2])
def test_fewer_pieces_than_threads(number: int) -> None:
    use_threads(3)
    done: list[int] = []
    spread(done.extend, number)
    assert sorted(done) == list(range(number)) and not enough_for_all(number) and enough_for_all(3)


@pytest.mark.parametrize("where", ["caller", "other"])
def test_a_failure_in_a_thread_is_seen_and_ends_the_work(where: str) -> None:
    use_threads(2)
    caller = threading.get_ident()
    begun: list[int] = []

    def work(pieces: Iterator[int]) -> None:
        for piece in pieces:
            begun.append(piece)
            if (threading.get_ident() == caller) == (where == "caller"):
                raise ValueError(f"piece {piece}")
            time.sleep(0.02)

    with pytest.raises(ValueError, match="piece"):
        spread(work, 1000)
    assert len(begun) < 1000
    after: list[int] = []
    spread(after.extend, 4)
    assert sorted(after) == [0, 1, 2, 3]


def test_threads_work_in_a_process_that_was_forked() -> None:
    """The pool of the parent has no threads there: without a new one the child would wait for ever."""
    use_threads(2)
    spread(lambda pieces: None if list(pieces) else None, 4)
    one = outcome(1, True, None)
    use_threads(2)
    child = os.fork()
    if child == 0:
        same = all(th.equal(a, b) for a, b in zip(one, outcome(2, True, None), strict=True))
        os._exit(0 if same else 1)
    deadline = time.monotonic() + 60
    while (ended := os.waitpid(child, os.WNOHANG))[0] == 0:
        if time.monotonic() > deadline:
            os.kill(child, 9)
            os.waitpid(child, 0)
            pytest.fail("the forked process hangs")
        time.sleep(0.02)
    assert os.waitstatus_to_exitcode(ended[1]) == 0
