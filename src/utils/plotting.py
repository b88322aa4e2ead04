"""Picture of the learning curve of one run."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from utils.errors import cause, printable
from utils.files import writing_file

LONGEST_TITLE = 80  # characters that fit above the axes


@contextmanager
def drawing(what: str, log: logging.Logger) -> Iterator[None]:
    """A context in which a picture is drawn: whatever fails in it is one warning, as no run depends on a picture.

    What the drawing library warns of, such as characters that its fonts lack, is one warning too.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", UserWarning)
        try:
            yield
        except Exception as error:
            reason = cause(error) if isinstance(error, OSError) else str(error)
            place = f" at {error.filename}" if isinstance(error, OSError) and error.filename else ""
            log.warning(
                f"No {what} is drawn ({printable(f'{type(error).__name__}: {reason}{place}')}); the run goes on"
            )
            return
    if caught:
        log.warning(f"The {what} is drawn, but: {printable(str(caught[0].message))}")


def plot_learning_curve(
    series: list[tuple[int, float]], file: Path, title: str, clock: str, levels: dict[str, float]
) -> None:
    """Write a PNG of (t, return) points, with `clock` as the label of t and horizontal lines at `levels`."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    steps, returns = zip(*series, strict=True)
    # A user's text is drawn as it is; Matplotlib would read `$` as the begin of a formula, and LaTeX much more.
    with rc_context({"text.usetex": False, "text.parse_math": False}):
        figure = Figure(figsize=(7, 4.2), layout="constrained")
        axes = figure.subplots()
        axes.plot(
            steps,
            returns,
            marker="o",
            markersize=3,
            color="tab:blue",
            label="test return per agent (mean over episodes)",
        )
        for (name, level), style in zip(levels.items(), ("--", ":", "-."), strict=False):
            axes.axhline(level, linestyle=style, color="dimgrey", linewidth=1.2, label=f"{name} {level:.1f}")
        axes.set(xlabel=clock, ylabel="episode return per agent", title=shortened(title))
        axes.legend(loc="best", fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        with writing_file(file) as temporary:
            figure.savefig(temporary, dpi=130, format="png")


def shortened(text: str) -> str:
    """A title in one line, without its middle where it is too long: a path's end says more than that."""
    line = printable(text)
    if len(line) <= LONGEST_TITLE:
        return line
    half = (LONGEST_TITLE - 3) // 2
    return f"{line[:half]}...{line[-half:]}"
