"""Learners by the name of their file: every class in `*_learner.py` that is a `BaseLearner`, found by itself."""

import importlib
import pkgutil

from learners.base_learner import BaseLearner


def find_learners() -> dict[str, type[BaseLearner]]:
    """The learner of each file of this package. Raises TypeError where a file has several."""
    found: dict[str, type[BaseLearner]] = {}
    for info in pkgutil.iter_modules(__path__):
        if not info.name.endswith("_learner") or info.name == "base_learner":
            continue
        module = importlib.import_module(f"{__name__}.{info.name}")
        own = [item for item in vars(module).values() if isinstance(item, type) and item.__module__ == module.__name__]
        learners = [item for item in own if issubclass(item, BaseLearner)]
        if len(learners) > 1:
            raise TypeError(f"{info.name}.py has {len(learners)} learners; give each a file of its own")
        if learners:
            found[info.name] = learners[0]
    return found


REGISTRY = find_learners()
