"""Whether the environment that scores a policy is the one that its data, or its own run, came from."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from datasets.dataset import OfflineDataset
from datasets.loading import ADVICE, HOW, check_dimensions, not_compared, short, stated_differences
from datasets.outline import Outline
from envs.defaults import is_default
from utils.errors import DatasetError
from utils.redact import redacted


def environment_mismatch(
    args: SimpleNamespace, card: dict[str, Any], env_info: Mapping[str, Any] | None = None
) -> str | None:
    """Differences between the configured environment and the dataset card's, as text; None where they agree.

    What the card leaves out must be the environment's default here. env_info: as in `stated_differences`.
    """
    environment, left_out = card["environment"], not_compared(card, env_info)
    different = stated_differences(args, card, env_info)
    if environment["env"] == args.env:  # else the arguments are those of another environment
        different += [
            f"env_args.{short(name)} is not stated there and {short(here)} here"
            for name, here in redacted(args.env_args).items()
            if name not in environment["env_args"] and name not in left_out and not is_default(args.env, name, here)
        ]
    return "; ".join(different) or None


def check_environment(args: SimpleNamespace, dataset: OfflineDataset | Outline, env_info: dict[str, Any]) -> None:
    """Raise DatasetError unless the environment that scores the policy is the one that the data came from."""
    if dataset.card["environment"]["env"] is None:
        raise DatasetError(
            f"dataset {args.dataset} states that it has no environment (env: null), so nothing can be scored in "
            f"{args.env}; train with --env-config=none, or state the environment in its card ({HOW})"
        )
    different = environment_mismatch(args, dataset.card, env_info)
    if different:
        raise DatasetError(f"dataset {args.dataset} was made in another environment ({different}); {ADVICE}")
    check_dimensions(args, dataset, env_info, ADVICE)
