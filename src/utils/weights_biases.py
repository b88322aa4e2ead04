"""Weights & Biases: a further copy of a run's statistics, on its server or, offline, in a folder to upload later."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from utils.errors import ConfigError, shown

CLOCK = "t"  # what curves are drawn over: updates offline, environment steps online
LONGEST, FORBIDDEN = 128, ":/\\#?%"  # of a project's name


def check_wandb(project: str) -> None:
    """Raise ConfigError where Weights & Biases is not installed, and for a project that it would refuse."""
    if importlib.util.find_spec("wandb") is None:
        raise ConfigError(
            "use_wandb=True needs Weights & Biases: pip install -c constraints.txt -e '.[wandb]', or set "
            "use_wandb=False"
        )
    if len(project) > LONGEST or any(char in FORBIDDEN for char in project):
        raise ConfigError(
            f"wandb_project={shown(project)}: Weights & Biases takes at most {LONGEST} characters and none of "
            f"{' '.join(FORBIDDEN)}; choose another name"
        )


class WeightsAndBiases:
    """One run of Weights & Biases.

    Its own account of the process (command line, console output, code) is left out: it may hold passwords.
    """

    def __init__(self, settings: SimpleNamespace, config: dict[str, Any], name: str) -> None:
        """Begin the run. settings: the run's. config: what is recorded of it. name: what its seeds share.

        Raises ConfigError where the package is missing, and where the server does not take the run.
        """
        check_wandb(settings.wandb_project)
        import wandb

        folder = Path(settings.results)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            self._run = wandb.init(
                project=settings.wandb_project, entity=settings.wandb_team, mode=settings.wandb_mode,
                name=f"{name}, seed {settings.seed}", group=name, config=config, dir=str(folder),
                settings=wandb.Settings(console="off", silent=True, init_timeout=30, x_disable_meta=True,
                                        x_disable_stats=True, save_code=False, disable_git=True),
            )  # fmt: skip
        except wandb.errors.Error as error:
            remedy = "log in by `wandb login`, or set wandb_mode=offline and upload the run later"
            remedy = "set use_wandb=False" if settings.wandb_mode == "offline" else remedy
            raise ConfigError(f"Weights & Biases does not take the run ({type(error).__name__}); {remedy}") from error
        self._teardown = wandb.teardown
        self._run.define_metric("*", step_metric=CLOCK)
        self.directory = str(Path(self._run.dir).parent)

    def log(self, key: str, value: float, t: int) -> None:
        """Record one value at step `t`; steps of different keys may come in any order."""
        self._run.log({key: value, CLOCK: t})

    def finish(self, well: bool = True) -> None:
        """Send, or write, what is left; end the package's own process, for whose output Sacred would wait.

        well: whether the run came to its end; one that did not is called failed there.
        """
        self._run.finish(exit_code=0 if well else 1)
        self._teardown()
