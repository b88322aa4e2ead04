"""What a run must say of itself so that its score may stand beside another one's: from the code's own declarations."""

from __future__ import annotations

from typing import Any

from datasets.names import dataset_name
from loops.build import Parts
from utils.config import tuned_files


def declarations(parts: Parts) -> dict[str, Any]:
    """Who sees and shares what, None where a part declares nothing, as stock EPyMARL's do not.

    execution: what actions depend on when policies are played (`BasicMAC.EXECUTION`). observations: local or full
    (`MultiAgentEnv.OBSERVATIONS`). critics: whose values judge actions (`BaseLearner.critics`). parameters: whether
    agents share a network. hyperparameters: where their values come from, below what `with` overrides.
    """
    unshared = getattr(parts.mac, "unshared", None)
    return {
        "execution": getattr(parts.mac, "EXECUTION", None),
        "observations": getattr(getattr(parts.runner, "env", None), "OBSERVATIONS", None),
        "critics": parts.learner.critics(vars(parts.args)) if hasattr(parts.learner, "critics") else None,
        "parameters": None if unshared is None else "not shared" if unshared else "shared",
        "hyperparameters": origin_of(parts.args.name, parts.args.tuned, parts.args.dataset),
    }


def origin_of(algorithm: str, tuned: str, dataset: str | None) -> str:
    """Whose values the configuration's files hold: a paper's for this dataset, or the algorithm file's for all."""
    owner = algorithm if tuned == "own" else tuned
    known = None if dataset is None or owner == "none" else dataset_name(dataset) or dataset
    return "tuned file" if known is not None and tuned_files(owner, known) else "algorithm file"
