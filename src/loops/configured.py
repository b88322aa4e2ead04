"""The whole configuration of a run, from what a command line says: layers, an earlier run's, overrides, all checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from datasets.names import dataset_name, dataset_path
from envs.arguments import check_run_arguments
from learners import REGISTRY as learner_REGISTRY
from loops.earlier import check_same, described_layers, earlier_run, weights_before
from utils.checkpoint import checkpoint_seed
from utils.config import Config, layered_config, merge
from utils.known_keys import keys_of_learner
from utils.old_names import OldNames, old_names
from utils.overrides import as_declared, check_updates
from utils.validation import check_paths, check_values, keys_of

Say = Callable[[str], None]


@dataclass(frozen=True)
class Configured:
    """A configuration and where it comes from.

    layers: what lies below the overrides. updates: the overrides, by the names of today. final: both, checked.
    described: the algorithm's name.
    """

    layers: Config
    updates: Config
    final: Config
    described: str | None


def configured(alg: str | None, env: str | None, given: Config, force: bool, say: Say, warn: Say) -> Configured:
    """Read the layers and check the overrides.

    alg, env: what --config and --env-config give, None where they are not. given: the overrides. force: unknown keys
    are allowed. say, warn: called with sentences for the log. Raises UserError for whatever is wrong.
    """

    def names_of(learner: Any) -> OldNames:
        return old_names(learner_class(learner), say)

    known = None if force else lambda learner: keys_of_learner(learner_class(learner))
    earlier, by_flags = earlier_run(given, alg), alg is not None and env is not None
    if earlier is not None and not by_flags:
        config = described_layers(earlier, alg, env, given, names_of)
    else:
        config = layered_config(alg, env, given, lambda dataset: dataset_name(dataset) or dataset, names_of, known)
    updates = as_declared(config, names_of(merge(config, given)["learner"]).today(given, "with"))
    if not force:
        check_updates(config, updates)
    final = merge(config, updates)
    # An unknown learner is refused when it is built; the keys beside it are those of the file's.
    final = check_values(final, keys_of(learner_class(final["learner"]) or learner_class(config["learner"])))
    check_run_arguments(final["env_args"], final.get("seed"))
    check_paths(final)
    if earlier is not None:
        check_same(earlier, final, updates, by_flags, warn)
    for key in ("dataset", "collect_to", "replay_to"):
        if final[key] is not None:
            dataset_path(final[key], key)
    continues = final["checkpoint_path"] and not final["evaluate"] and not final["collect"]
    if continues:
        final["load_weights"] = weights_before(earlier, updates)
    if continues and "seed" not in updates:
        final["seed"] = checkpoint_seed(final["checkpoint_path"], final["load_step"])
    described = alg if earlier is None or by_flags else earlier.content["algorithm"]
    return Configured(config, updates, final, described)


def learner_class(name: Any) -> Any:
    """The class of a configuration's learner, None where there is none or none of that name, as building it says."""
    return learner_REGISTRY.get(name) if isinstance(name, str) else None
