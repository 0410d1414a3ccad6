"""Charts of several tables and figures."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

from matplotlib.figure import Figure

OURS = "#1b6ca8"
OTHER = "#8a8a8a"
PUBLISHED = "#b5651d"
# Characters per inch at the size of a caption.
_CHARACTERS_PER_INCH = 16.5
_CAPTION_POINTS = 7.5


def score_chart(
    values: Mapping[str, float],
    title: str,
    *,
    proposed: str | None = None,
    published: Mapping[str, float] | None = None,
    line: tuple[str, float] | None = None,
) -> Figure:
    """Draw PSNR as one dot per row, with its value, first on top.

    The row of ``proposed`` has its own colour, ``published`` rows are hollow; ``line`` is a name and a score to draw as
    a line across.
    """
    shown = {**values, **{f"{name} (published)": number for name, number in (published or {}).items()}}
    figure = Figure(figsize=(7.0, 1.3 + 0.34 * len(shown)), layout="constrained")
    axis = figure.subplots()
    rows = range(len(shown))[::-1]
    for row, (name, number) in zip(rows, shown.items(), strict=True):
        hollow = name not in values
        colour = PUBLISHED if hollow else OURS if name == proposed else OTHER
        axis.plot(number, row, "o", color=colour, markerfacecolor="none" if hollow else colour, markersize=8)
        axis.annotate(
            f"{number:.2f}", (number, row), xytext=(8, 0), textcoords="offset points", va="center", fontsize="small"
        )
    if line is not None:
        axis.axvline(line[1], color=OTHER, linestyle="--", linewidth=0.9, label=f"{line[0]}, {line[1]:.2f}")
        axis.legend(loc="lower right", fontsize="small")
    axis.set_yticks(rows, list(shown))
    axis.set(xlabel="PSNR (dB)", ylim=(-0.7 - 0.6 * (line is not None), len(shown) - 0.3))
    axis.margins(x=0.16)
    axis.grid(axis="x", alpha=0.3)
    axis.set_title(title, fontsize="medium", loc="left")
    return figure


def caption(figure: Figure, text: str) -> None:
    """Write text under a figure, in lines that fit its width."""
    width = figure.get_size_inches()[0]
    columns = max(30, int(_CHARACTERS_PER_INCH * width))
    lines = [line for paragraph in text.splitlines() for line in textwrap.wrap(paragraph, columns)]
    figure.supxlabel("\n".join(lines), fontsize=_CAPTION_POINTS, color="0.25", x=0.01, ha="left", linespacing=1.3)
    height = figure.get_size_inches()[1]
    figure.set_size_inches(width, height + 0.16 * len(lines))
