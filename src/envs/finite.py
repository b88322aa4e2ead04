"""Watch over what environments say: a number that is not finite is named where it appears."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from utils.errors import EnvError


def check_finite(what: str, values: Any, axes: Sequence[str], environment: str, step: int) -> None:
    """Raise `EnvError` for the first of `values` that is not finite as float32, with which runs compute.

    what: observation, state or reward. axes: what each axis counts, such as ("episode", "agent", "component").
    """
    with np.errstate(over="ignore"):
        finite = np.isfinite(np.asarray(values, dtype=np.float32))
    if finite.all():
        return
    index = tuple(int(i) for i in np.argwhere(~finite)[0])
    place = ", ".join([*(f"{axis} {i}" for axis, i in zip(axes, index, strict=True)), f"step {step}"])
    raise EnvError(
        f"{environment} gives {np.asarray(values)[index]} as {what} ({place}): mend the environment, or wrap it to "
        "clip what it gives; the policy is not at fault"
    )
