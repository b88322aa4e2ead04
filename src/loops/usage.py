"""What `main.py --help` says: how to call the program, worked examples, algorithms by kind of actions."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from learners import REGISTRY as learner_REGISTRY
from utils.config import algorithm, config_names
from utils.errors import ConfigError

WIDTH = 100
EXAMPLES = (
    (
        "train on a bundled dataset, with another seed and length than the file's",
        "python src/main.py --config=spacql --env-config=mpe with dataset=mpe/simple_spread/medium-100k \\\n"
        "        t_max=1000 seed=1",
    ),
    (
        "score the policy that a run has saved, and draw an episode",
        "python src/main.py with evaluate=True render=True checkpoint_path=results/models/RUN",
    ),
    (
        "write a dataset of random behaviour",
        "python src/main.py --config=random --env-config=mpe with collect=True collect_episodes=1000 \\\n"
        "        collect_to=mpe/simple_spread/mine",
    ),
)
KINDS = (("continuous", "discrete"), ("continuous",), ("discrete",))


def usage() -> str:
    """The text of `--help`."""
    return "\n".join(_lines())


def action_types(alg: str) -> tuple[str, ...]:
    """Which kinds of actions an algorithm file is for, in the order of `KINDS`."""
    config = algorithm(alg)
    if config.get("learner") is None:
        return KINDS[0]
    able = getattr(learner_REGISTRY.get(config["learner"]), "action_types", frozenset({"discrete"}))
    if config.get("agent_output_type") in ("q", "pi_logits"):
        able = able & {"discrete"}
    return tuple(sorted(able))


def _lines() -> Iterator[str]:
    yield "usage: main.py [VERB] --config=ALG --env-config=ENV [with key=value ...]"
    yield ""
    for what, command in EXAMPLES:
        yield f"  {what}:"
        yield f"    {command}"
    yield ""
    yield from _algorithms()
    yield from _wrapped("ENV:", config_names("envs"))
    yield ""
    yield "  every key, its value and its meaning: print_config --config=ALG --env-config=ENV"
    yield "  datasets and how to make them: python src/dataset.py list"
    yield "  Sacred's verbs and flags: --config=ALG --env-config=ENV --help"


def _algorithms() -> Iterator[str]:
    """ALG by what is learned from and by kind of actions."""
    groups: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for alg in config_names("algs"):
        try:
            config = algorithm(alg)
            where = "learn from a dataset (offline)" if config.get("offline") else "learn in an environment (online)"
            where = where if config.get("learner") is not None else "learn nothing, with collect=True"
            groups.setdefault((where, action_types(alg)), []).append(alg)
        except ConfigError:  # a file of a user's that is no configuration, of which running it says more
            groups.setdefault(("cannot be read", ()), []).append(alg)
    before = ""
    for (where, kinds), names in sorted(groups.items(), key=lambda item: (item[0][0], -len(item[0][1]), item[0][1])):
        if where != before:
            yield f"  ALG that {where}:"
            before = where
        yield from _wrapped(f"  {' and '.join(kinds) or 'any'} actions:", names)


def _wrapped(head: str, names: list[str]) -> list[str]:
    return textwrap.wrap(f"{head} {', '.join(names)}", WIDTH, initial_indent="  ", subsequent_indent="      ")
