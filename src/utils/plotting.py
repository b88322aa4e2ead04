"""Picture of the learning curve of one run."""

from __future__ import annotations

from pathlib import Path


def plot_learning_curve(
    series: list[tuple[int, float]], file: Path, title: str, clock: str, levels: dict[str, float]
) -> None:
    """Write a PNG of (t, return) points, with `clock` as the label of t and horizontal lines at `levels`."""
    from matplotlib.figure import Figure

    steps, returns = zip(*series, strict=True)
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.plot(steps, returns, marker="o", markersize=3, color="tab:blue", label="test return (mean over episodes)")
    for (name, level), style in zip(levels.items(), ("--", ":", "-."), strict=False):
        axes.axhline(level, linestyle=style, color="dimgrey", linewidth=1.2, label=f"{name} {level:.1f}")
    axes.set(xlabel=clock, ylabel="episode return", title=title)
    axes.legend(loc="best", fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=130, format="png")
