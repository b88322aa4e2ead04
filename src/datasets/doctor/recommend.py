"""Which learner to begin with, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from datasets.doctor.finding import Finding
from utils.config import algorithm

TIED = 0.1  # mean kappa above which agents' actions belong together; errors of the fit reach about half of it
WIDE = 0.3  # freedom of an action given the state from which on the data try alternatives; 1 is uniform
GOOD = 75.0  # mean normalised score of the data from which on cloning is hard to beat (docs/results/pursuit.md)


def recommend(values: Mapping[str, Any], discrete: bool) -> Finding:
    """The recommendation from the values of the other findings, `returns`, `kappa` and `rewards` among them.

    Values: `first`, configurations in the order in which to try them; `reason`; `tied`, `wide` and `good`, what it
    rests on, None where it is not known.
    """
    kappa = values["kappa"]
    partial = "spacql_discrete" if discrete else "spacql"
    clone = "bc_discrete" if discrete else "bc"
    weighted = "comadice_discrete" if discrete else "comadice"
    tied: bool | None = None
    wide: bool | None = None
    score = values["returns"]["score"]
    good = None if score is None else score >= GOOD
    if "mean" in kappa:
        # what may be an error of the fit is not taken for a tie
        tied = kappa["interval"][0] > TIED or kappa["top_interval"][0] > 2 * TIED
        tied = tied and not kappa["doubtful"]
        wide = kappa["freedom"] >= WIDE
    if values["rewards"]["constant"]:
        first, reason = [clone], "all rewards are equal, so there is nothing to learn but the behaviour itself"
    elif tied is None or wide is None:
        first, reason = [clone, partial], f"kappa is not known, as {kappa['reason']}: compare both"
    else:
        first, reason = _choice(tied, wide, partial, clone, weighted)
        if good and first[0] != clone:
            first = [clone, *(name for name in first if name != clone)]
            reason = (
                f"the data's mean normalised score is {score:.0f}, which cloning keeps and other learners must first "
                "reach"
            )
    line = f"begin with --config={first[0]}" + "".join(f", then --config={name}" for name in first[1:]) + f": {reason}"
    found = {"first": first, "reason": reason, "tied": tied, "wide": wide, "good": good}
    return Finding("recommendation", found, (line,))


def _choice(tied: bool, wide: bool, partial: str, clone: str, weighted: str) -> tuple[list[str], str]:
    if wide and not tied:
        return [partial, clone], (
            "agents act independently of each other and try many actions, so replacing some agents' actions (partial "
            "action replacement) stays near the data"
        )
    if tied and not wide:
        return [clone, weighted], (
            "agents' actions belong together and few alternatives are tried: an action replaced alone leaves the data, "
            "and cloning says what the data are worth. A policy without communication cannot hold all of the tie"
        )
    if tied:
        return [weighted, partial], (
            "many actions are tried, but agents' actions belong together: a learner that evaluates no action outside "
            "the data comes first, as the error bound of partial replacement grows with kappa"
        )
    return [clone, partial], (
        "agents act independently of each other but hardly vary: values of other actions are guesses, and an offline "
        "learner must first beat cloning"
    )


def find_refusals(refusals: Mapping[str, str | None]) -> Finding:
    """What each algorithm's configuration would refuse this dataset for; None: it would train, with offline=True."""
    able = [name for name, reason in refusals.items() if reason is None]
    offline = [name for name in able if algorithm(name).get("offline")]
    online = [name for name in able if name not in offline]  # without the key they ask for an environment
    lines = [f"would train on it: {', '.join(offline) or 'none'}"]
    lines += [f"would train on it with offline=True: {', '.join(online)}"] if online else []
    lines += [f"{name} would not: {reason}" for name, reason in refusals.items() if reason is not None]
    return Finding("refusals", dict(refusals), tuple(lines))
