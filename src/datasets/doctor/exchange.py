"""Exchanges of actions between rows that keep every agent's own behaviour and break what ties agents together.

The conditional permutation test of Berrett, Wang, Barber and Samworth (2020): pairs of rows exchange one agent's action
with the probability that its marginal density gives to the exchanged pair. Where the marginals are right, the rows
become a sample of the product of the marginals in the same states, made of the same actions.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch as th
from torch import Tensor

from datasets.doctor.densities import JointDensity


def exchanged(
    density: JointDensity, situation: Tensor, actions: Tensor, first: int, between: int, generator: th.Generator
) -> Iterator[Tensor]:
    """Yield action tables (R, N, A) without end: after `first` rounds of exchanges, then every `between` rounds.

    situation, actions: of R rows. The first agent keeps its actions, as only those of agents beside each other matter.
    """
    table = actions.clone()
    own = [density.log_marginal(situation, table[:, agent], agent) for agent in range(actions.shape[1])]
    places = [density.place(situation, agent) for agent in range(actions.shape[1])]
    rounds, due = 0, first
    while True:
        for agent in range(1, actions.shape[1]):
            near = None if rounds % 2 else places[agent]
            one, other = _pairs(len(table), near, generator)
            _exchange(density, situation, table, own[agent], agent, th.cat([one, other]), generator)
        rounds += 1
        if rounds == due:
            yield table.clone()
            due += between


def _pairs(n_rows: int, places: Tensor | None, generator: th.Generator) -> tuple[Tensor, Tensor]:
    """Two tensors of row numbers, (R // 2,) each. places: (R, m), by which rows that are alike are paired; or None.

    Places depend on states only, so that an exchange and its way back are equally likely.
    """
    if places is None:
        order = th.randperm(n_rows, generator=generator)  # (R,)
    else:
        direction = th.randn(places.shape[1], 1, generator=generator)
        along = ((places - places.mean(0)) / (places.std(0) + 1e-6) @ direction)[:, 0]  # (R,)
        jitter = 0.05 * along.std() * th.randn(n_rows, generator=generator)
        order = (along + jitter).argsort()  # (R,)
    half = n_rows // 2
    return order[0 : 2 * half : 2], order[1 : 2 * half : 2]


def _exchange(
    density: JointDensity,
    situation: Tensor,
    table: Tensor,
    own: Tensor,
    agent: int,
    rows: Tensor,
    generator: th.Generator,
) -> None:
    """Exchange some actions of an agent, in `table`, between the first and the second half of `rows`, pair by pair.

    own: (R,) the log marginal of each row's action, kept up to date.
    """
    half = len(rows) // 2
    offered = table[rows, agent].roll(half, 0)  # (2 half, A) each row's partner's action
    moved = density.log_marginal(situation[rows], offered, agent)  # (2 half,)
    gain = (moved - own[rows]).view(2, half).sum(0)  # (half,)
    takes = (th.rand(half, generator=generator) < gain.sigmoid()).repeat(2)  # (2 half,)
    table[rows[takes], agent] = offered[takes]
    own[rows[takes]] = moved[takes]
