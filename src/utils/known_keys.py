"""Keys of configuration files that something reads; a file with another key is refused, as it is a slip of the pen."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from utils.errors import ConfigError, nearest
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


def check_known(files: Mapping[str, Mapping[str, Any]], declared: Collection[str], learner: str, source: Path) -> None:
    """Check that something reads every key of the configuration's files.

    files: their keys, by name. declared: keys that the learner declares. learner: its name. source: folder of all code,
    which is searched where a key is declared nowhere: learners written for stock EPyMARL declare none.
    Raises ConfigError, with the nearest key that is read, for the first key that nothing reads.
    """
    known = {*RUN_KEYS, *STOCK_KEYS, *declared}
    unknown = [(name, key) for name, keys in files.items() for key in keys if key not in known]
    if not unknown:
        return
    known |= keys_in_code(source, learner)
    for name, key in unknown:
        if key not in known:
            raise ConfigError(
                f"{name}: nothing reads the key '{key}'; {nearest(key, known)} (a learner declares its keys in KEYS)"
            )


def keys_in_code(source: Path, learner: str) -> set[str]:
    """Names that the code reads as keys, and every word in the learner's own file."""
    found: set[str] = set()
    for file in source.rglob("*.py"):
        text = file.read_text(encoding="utf-8", errors="replace")
        found |= {name for groups in _READ.findall(text) for name in groups if name}
        if file.stem == learner:
            found |= set(re.findall(r"\w+", text))
    return found
