"""What a dataset says of itself reaches the learner, in an offline run as in its continuation."""

from __future__ import annotations

from pathlib import Path

from tests.command_line import CommandLine

SMALL = ("target_clip=max_return", "t_max=4", "test_interval=4", "learner_log_interval=1", "batch_size=16",
         "hidden_dim=8", "use_cuda=False", "save_model_interval=2")  # fmt: skip


def test_a_run_sets_the_bound_on_targets_whether_or_not_it_standardises_inputs(
    cli: CommandLine, tmp_path: Path
) -> None:
    """A run that left it unset would stop: its targets would be no numbers."""
    result = cli.run(*SMALL, "input_norm=none", config="matd3_bc")
    assert result.returncode == 0, result.stderr
    continued = cli.run(*SMALL, "input_norm=none", f"checkpoint_path={cli.checkpoints()[-1]}", "load_step=2",
                        config="matd3_bc")  # fmt: skip
    assert continued.returncode == 0, continued.stderr
