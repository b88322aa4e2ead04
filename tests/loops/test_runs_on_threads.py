"""A run on several threads is the same run, and may be continued on another number of them."""

from __future__ import annotations

import torch as th

from tests.command_line import CommandLine


def weights(cli: CommandLine, run: int) -> dict[str, th.Tensor]:
    found: dict[str, th.Tensor] = th.load(cli.checkpoints()[run] / "20" / "critic.th", weights_only=True)
    return found


def test_a_run_on_two_threads_is_the_run_on_one(cli: CommandLine) -> None:
    assert cli.run("threads=2", "loss_chunk=16", "t_max=10").returncode == 0
    continued = cli.run("threads=1", "loss_chunk=16", f"checkpoint_path={cli.checkpoints()[0]}")
    assert continued.returncode == 0 and "threads was" not in continued.stdout + continued.stderr
    assert cli.run("threads=1", "loss_chunk=16").returncode == 0
    one, other = weights(cli, -2), weights(cli, -1)
    assert all(th.equal(value, other[name]) for name, value in one.items())
