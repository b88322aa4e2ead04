"""What each algorithm's configuration would refuse a dataset for, found by building its run without data."""

from __future__ import annotations

from loops.configured import configured
from loops.rehearsal import check_offline
from utils.config import algorithm, config_names
from utils.errors import UserError


def refusals_of(dataset: str) -> dict[str, str | None]:
    """The first refusal of every algorithm that could learn from a dataset, None where it would train.

    Tried as `main.py --config=NAME --env-config=none with offline=True dataset=...`. dataset: a name or path that can
    be read. The data's values are not checked again.
    """
    found: dict[str, str | None] = {}
    for name in config_names("algs"):
        if algorithm(name).get("learner") is None:  # it only collects
            continue
        try:
            _attempt(name, dataset)
        except UserError as error:
            found[name] = str(error)
        else:
            found[name] = None
    return found


def _attempt(name: str, dataset: str) -> None:
    given = {"dataset": dataset, "offline": True, "use_cuda": False, "seed": 0}
    config = configured(name, "none", given, False, _silent, _silent).final
    check_offline(config)


def _silent(sentence: str) -> None:
    """Say nothing: what a configuration's layers tell is of no concern here."""
