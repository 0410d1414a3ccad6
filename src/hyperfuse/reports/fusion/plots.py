"""Plots of a report as SVG elements that follow the page's fonts and its light and dark colours."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hyperfuse.tables.html import escape_html
from hyperfuse.text import single_line

Array = NDArray[np.float64]
Size = tuple[float, float]

# Replaced by the page's colours, so that one plot fits light and dark pages.
INK, FAINT, SHADE = "#010101", "#010102", "#010103"
LR, FUSED, REFERENCE, MSI = "#010104", "#010105", "#010106", "#010107"
SERIES = tuple(f"#0102{index:02x}" for index in range(1, 9))
_COLOURS = {
    INK: "currentColor",
    FAINT: "var(--faint)",
    SHADE: "var(--shade)",
    LR: "var(--lr)",
    FUSED: "var(--fused)",
    REFERENCE: "var(--reference)",
    MSI: "var(--msi)",
    **{colour: f"var(--series-{index})" for index, colour in enumerate(SERIES, 1)},
}

FULL: Size = (9.6, 3.1)  # inches
HALF: Size = (5.2, 3.1)

# Neighbouring bands farther apart than this many usual steps are not joined.
_WIDE = 6.0

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "hyperfuse",  # the same page for the same content
    "svg.image_inline": True,
    "text.parse_math": False,  # band names may hold dollar signs
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.labelsize": 9.0,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.alpha": 0.45,
    "grid.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.3,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "legend.labelcolor": INK,
}


def draw(build: Callable[[Figure], None], size: Size, name: str, description: str) -> Markup:
    """Return what ``build`` draws into an empty figure as an SVG element.

    Args:
        build: draws.
        size: width and height in inches, of 96 pixels.
        name: unique on the page; prefix of the identifiers in the plot.
        description: text alternative.
    """
    buffer = io.StringIO()
    with mpl.rc_context(), warnings.catch_warnings():
        # The browser has the glyphs that matplotlib's font lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        figure = Figure(figsize=size, layout="constrained")
        build(figure)
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return _inlined(buffer.getvalue(), size, name, description)


@dataclass(frozen=True, eq=False)
class BandAxis:
    """How the bands of an image lie along a plot.

    Attributes:
        positions: (bands,), wavelengths in nm or numbers from 1; in the order of the image.
        order: (bands,), indices that sort them.
        label: what the positions are.
        shaded: intervals to mark.
    """

    positions: Array
    order: NDArray[np.intp]
    label: str
    shaded: Sequence[tuple[float, float]] = ()


def lines_figure(
    curves: Sequence[tuple[Array, dict[str, Any]]],
    bands: BandAxis,
    *,
    name: str,
    description: str,
    ylabel: str,
    title: str = "",
    finish: Callable[[Axes], object] | None = None,
) -> Markup:
    """Return curves over bands: values (bands,) in the order of the image, NaN where there is none, with their styles.

    ``finish`` draws further elements; see :func:`draw` for ``name`` and ``description``.
    """

    def build(figure: Figure) -> None:
        axes = figure.add_subplot()
        for low, high in bands.shaded:
            axes.axvspan(low, high, color=SHADE, linewidth=0, zorder=0)
        for values, style in curves:
            lone = "." if np.isfinite(values).sum() < 3 else None
            axes.plot(*_broken(bands.positions[bands.order], values[bands.order]), **({"marker": lone} | style))
        axes.set(xlabel=bands.label, ylabel=ylabel, title=title)
        axes.margins(x=0.01)
        if finish is not None:
            finish(axes)

    return draw(build, HALF, name, description)


def map_figure(values: Array, *, name: str, description: str, label: str) -> Markup:
    """Return a map (rows, cols) from 0 to its 99th percentile, gaps grey, with its scale."""
    known = values[np.isfinite(values)]
    highest = float(np.percentile(known, 99)) if known.size else 0.0
    rows, cols = values.shape
    width = 5.0
    height = float(np.clip((width - 0.9) * rows / cols, 1.6, 5.6)) + 0.15

    def build(figure: Figure) -> None:
        axes = figure.add_subplot()
        colours = mpl.colormaps["inferno"].with_extremes(bad="0.6")
        image = axes.imshow(values, cmap=colours, vmin=0, vmax=highest or 1.0, interpolation="none")
        axes.set_axis_off()
        bar = figure.colorbar(image, ax=axes, label=label, extend="max", fraction=0.05, pad=0.03)
        if bar.solids is not None:  # as an image, not as 256 shapes
            bar.solids.set_rasterized(True)
        bar.outline.set_visible(False)

    return draw(build, (width, height), name, description)


def shorten(text: str, longest: int) -> str:
    """Return text on one line of at most ``longest`` characters."""
    clean = single_line(text)
    return clean if len(clean) <= longest else f"{clean[: longest - 1]}…"


def legend_text(text: str) -> str:
    """Return a name as an entry of a legend, from which matplotlib leaves out those that start with an underscore."""
    short = shorten(text, 28)
    return f"\u2009{short}" if short.startswith("_") else short


def _broken(positions: Array, values: Array) -> tuple[Array, Array]:
    """Return a curve with breaks where bands are missing, such as those of water absorption."""
    known = np.isfinite(positions) & np.isfinite(values)
    where = np.flatnonzero(known)
    if where.size < 3:
        return positions[known], values[known]
    usual = float(np.median(np.diff(positions[np.isfinite(positions)])))
    wide = np.flatnonzero((np.diff(positions[where]) > _WIDE * max(usual, 1e-9)) | (np.diff(where) > 1)) + 1
    return np.insert(positions[where], wide, np.nan), np.insert(values[where], wide, np.nan)


def _inlined(svg: str, size: Size, name: str, description: str) -> Markup:
    opening = re.search(r'<svg\b[^>]*(viewBox="[^"]*")[^>]*>', svg)
    assert opening is not None  # what matplotlib writes
    body = svg[opening.end() : svg.rindex("</svg>")]
    # The style that matplotlib adds would hold for the whole page.
    body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", body, flags=re.DOTALL)
    body = re.sub(r"<[^<>]*>", lambda found: _own_names(found.group(), name), body)
    attributes = f'aria-label="{escape_html(description)}" {opening.group(1)} width="{round(size[0] * 96)}"'
    return Markup(f'<svg class="plot" role="img" {attributes}>{body}</svg>')


def _own_names(element: str, name: str) -> str:
    """Return one tag of an SVG with names that are unique on the page, and the page's colours."""
    element = re.sub(r'(\sid=")', rf"\g<1>{name}-", element).replace("xlink:href", "href")
    element = element.replace('href="#', f'href="#{name}-').replace("url(#", f"url(#{name}-")
    for stand_in, colour in _COLOURS.items():
        element = element.replace(stand_in, colour)
    return element
