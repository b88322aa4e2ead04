"""Keys of configuration files that something reads; a file with another key is refused, as it is a slip of the pen."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from utils.errors import ConfigError, nearest
from utils.keys import inherited
from utils.old_names import old_names
from utils.run_keys import RUN_KEYS

# Keys of stock EPyMARL's own files that not every run here reads, so that such files load as they are.
STOCK_KEYS = frozenset({
    "cg_edges", "cg_payoff_rank", "cg_payoffs_hidden_dim", "cg_utilities_hidden_dim", "critic_baseline_fn",
    "critic_q_fn", "critic_train_mode", "critic_train_reps", "critic_type", "double_q", "duelling", "entropy_coef",
    "entropy_end_ratio", "epochs", "eps_clip", "final_entropy_coef", "initial_entropy_coef", "mixer", "msg_anytime",
    "msg_iterations", "msg_normalized", "obs_individual_obs", "optim_alpha", "optim_eps", "q_nstep", "reg",
    "save_replay", "standardise_returns", "standardise_rewards", "state_value_type", "target_update_interval_or_tau",
    "use_wandb", "wandb_mode", "wandb_project", "wandb_save_model", "wandb_team",
})  # fmt: skip
# How code reads or declares a key: args.X, getattr(args, "X"), args["X"], "X": Key(...), lr="X" of a loss.
_READ = re.compile(
    r"\b(?:args|settings|config)\.([a-z]\w*)|getattr\(\s*(?:self\.)?args,\s*['\"](\w+)"
    r"|\b(?:args|config)\[['\"](\w+)|['\"](\w+)['\"]\s*:\s*Key\(|\b(?:lr|interval)=['\"](\w+)['\"]"
)


def check_known(files: Mapping[str, Mapping[str, Any]], declared: Collection[str], source: Path) -> None:
    """Check that something reads every key of the configuration's files.

    files: their keys, by name. declared: keys that the learner may read. source: folder of all code, which is searched
    where a key is declared nowhere.
    Raises ConfigError, with the nearest key that is read, for the first key that nothing reads.
    """
    known = {*RUN_KEYS, *STOCK_KEYS, *declared}
    unknown = [(name, key) for name, keys in files.items() for key in keys if key not in known]
    if not unknown:
        return
    known |= keys_in_code(source)
    for name, key in unknown:
        if key not in known:
            raise ConfigError(
                f"{name}: nothing reads the key '{key}'; {nearest(key, known)} (a learner declares its keys in KEYS)"
            )


def keys_in_code(source: Path) -> set[str]:
    """Names that the code reads as keys."""
    texts = (file.read_text(encoding="utf-8", errors="replace") for file in source.rglob("*.py"))
    return {name for text in texts for groups in _READ.findall(text) for name in groups if name}


def keys_of_learner(learner: Any) -> set[str]:
    """Keys that a learner's class may read, under today's names and old ones; None: none.

    A class written for stock EPyMARL declares no keys: every word of its file may be one.
    """
    names = old_names(learner)
    keys = {*inherited(learner, "KEYS"), *names.aliases, *names.removed}
    if learner is None or keys:
        return keys
    file = getattr(sys.modules.get(learner.__module__), "__file__", None)
    return keys if file is None else set(re.findall(r"\w+", Path(file).read_text(encoding="utf-8", errors="replace")))
