"""Scale-invariant value normalisation (SVN, Lee, Lee & Zhang 2026) of TD errors, for every learner with a mixer.

With mu the batch's mean of Q and m its mean absolute deviation, both without a gradient, the loss is
((Q - mu) / m - (y - mu) / m)^2. As mu cancels, it is the TD error divided by m.
"""

from types import SimpleNamespace

from torch import Tensor

from learners.losses import masked_mean
from utils.errors import ConfigError

SMALLEST = 1e-6  # added to m, as in the published code


def spread(values: Tensor, mask: Tensor) -> Tensor:
    """m = mean |Q - mean Q| over the valid rows; values (..., R), mask (R,) -> (...).

    It is a number of the whole batch: compute it in `batch_context`, never inside a loss.
    """
    mean = masked_mean(values, mask).unsqueeze(-1)  # (..., 1)
    return masked_mean((values - mean).abs(), mask) + SMALLEST


def normalised(error: Tensor, context: dict[str, Tensor]) -> Tensor:
    """The TD error divided by the context's `spread`, of a shape that broadcasts; as it is where there is none."""
    return error / context["spread"] if "spread" in context else error


def check_svn(args: SimpleNamespace) -> None:
    """Raise ConfigError where `svn` is set and there is no mixer whose values it could be of."""
    if args.svn and getattr(args, "mixer", None) is None:
        raise ConfigError("svn=True mixer=None: only TD errors of mixed values are normalised; set a mixer")
