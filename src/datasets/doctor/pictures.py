"""Pictures of findings, as PNGs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from io import BytesIO
from typing import Any

Values = Mapping[str, Any]
_MOST_AGENTS = 16  # whose actions are drawn


def pictures(values: Values) -> Iterator[tuple[str, bytes]]:
    """Captions and PNGs of what findings' values, by name, have to show."""
    returns = values["returns"]["histogram"]
    yield "Returns of the episodes", _histogram(returns, "return per agent")
    lengths = values["lengths"]["histogram"]
    if values["lengths"]["quantiles"]["0"] < values["lengths"]["quantiles"]["1"]:
        yield "Lengths of the episodes", _histogram(lengths, "steps")
    yield "Actions by agent", _actions(values["actions"])
    if "coverage" in values:
        yield "Joint SACo", _coverage(values["coverage"])
    if "mean" in values.get("kappa", {}):
        yield "Excess correlation kappa, with 95 % intervals", _kappa(values["kappa"])


def _drawn(width: float = 6.0) -> tuple[Any, Any]:
    """A figure and its axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _png(figure: Any) -> bytes:
    buffer = BytesIO()
    figure.savefig(buffer, dpi=110, format="png")
    return buffer.getvalue()


def _histogram(histogram: Values, label: str) -> bytes:
    figure, axes = _drawn()
    axes.stairs(histogram["counts"], histogram["edges"], fill=True, color="tab:blue")
    axes.set(xlabel=label, ylabel="episodes")
    return _png(figure)


def _actions(actions: Values) -> bytes:
    """Shares of bins of a continuous action's range, dimensions joined, or of discrete actions; a row per agent."""
    figure, axes = _drawn(8.0)
    if "shares" in actions:
        rows, label = actions["shares"], "action"
    else:
        rows = [[share for dimension in agent for share in dimension] for agent in actions["histograms"]]
        label = "bin of the range, one dimension after the other"
    picture = axes.imshow(rows[:_MOST_AGENTS], aspect="auto", cmap="Blues", vmin=0)
    axes.set(xlabel=label, ylabel="agent", yticks=range(len(rows[:_MOST_AGENTS])))
    figure.colorbar(picture, ax=axes, label="share")
    return _png(figure)


def _coverage(coverage: Values) -> bytes:
    figure, axes = _drawn()
    saco = coverage["joint_saco"]
    axes.bar(list(saco), list(saco.values()), color="tab:blue")
    axes.set(xlabel="decimals", ylabel="share of distinct rows", ylim=(0, 1))
    return _png(figure)


def _kappa(kappa: Values) -> bytes:
    figure, axes = _drawn()
    names, levels = ("mean over states", "tenth of states with the largest"), (kappa["mean"], kappa["top"])
    for place, (level, interval) in enumerate(zip(levels, (kappa["interval"], kappa["top_interval"]), strict=True)):
        axes.plot([place, place], interval, color="tab:blue", linewidth=3)
        axes.plot([place], [level], "o", color="tab:blue")
    axes.axhline(0, color="dimgrey", linewidth=1)
    axes.set(xticks=(0, 1), xticklabels=names, xlim=(-0.5, 1.5), ylabel="kappa")
    axes.set_ylim(min(-0.05, *kappa["interval"], *kappa["top_interval"]), 1)
    return _png(figure)
