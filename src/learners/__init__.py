"""Learners by the name of their file: the class in `*_learner.py` that is a `BaseLearner`, or one like EPyMARL's."""

import importlib
import pkgutil
from typing import Any

from learners.base_learner import BaseLearner


def find_learners() -> dict[str, type[Any]]:
    """The learner of each file of this package. Raises TypeError where a file has several."""
    found: dict[str, type[Any]] = {}
    for info in pkgutil.iter_modules(__path__):
        if not info.name.endswith("_learner") or info.name == "base_learner":
            continue
        module = importlib.import_module(f"{__name__}.{info.name}")
        own = [item for item in vars(module).values() if isinstance(item, type) and item.__module__ == module.__name__]
        learners = [item for item in own if issubclass(item, BaseLearner)] or [item for item in own if alike(item)]
        if len(learners) > 1:
            raise TypeError(f"{info.name}.py has {len(learners)} learners; give each a file of its own")
        if learners:
            found[info.name] = learners[0]
    return found


def alike(item: type) -> bool:
    """Whether it has what EPyMARL calls a learner by: its own files know no base class."""
    return all(callable(getattr(item, name, None)) for name in ("train", "save_models", "load_models"))


REGISTRY = find_learners()
