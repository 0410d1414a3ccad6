"""Figure: quality against size and against time, one point for each method and network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from hyperfuse.runtime.optional import require

require("matplotlib", "drawing figures")

from matplotlib.axes import Axes  # noqa: E402  (after the check)
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.text import Annotation  # noqa: E402
from matplotlib.transforms import Bbox  # noqa: E402

from hyperfuse.benchmark.entries import Kind  # noqa: E402
from hyperfuse.benchmark.summary import Point  # noqa: E402

_COLOURS: dict[Kind, str] = {
    "classical": "#8a8a8a",
    "network fitted to the pair": "#1b6ca8",
    "trained network": "#2e7d4f",
    "published": "#b5651d",
}
# Distances of labels from their points to try in this order, in points, with the alignment that goes with each.
_RINGS = (5, 13, 24, 37)
_DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1))
_ALIGN_X, _ALIGN_Y = {1: "left", 0: "center", -1: "right"}, {1: "bottom", 0: "center", -1: "top"}


def tradeoff_figure(points: Sequence[Point], title: str) -> Figure:
    """Draw PSNR against trained parameters and against seconds; published scores are hollow.

    Methods without trained parameters are at the left of the first panel, on a tick of their own.
    """
    figure = Figure(figsize=(12.5, 5.2), layout="constrained")
    by_size, by_time = figure.subplots(1, 2, sharey=True)
    sizes = [point.parameters for point in points if point.parameters]
    none = min(sizes, default=10_000) / 6
    _draw(by_size, [(point, float(point.parameters or none)) for point in points])
    _draw(by_time, [(point, point.seconds) for point in points if point.seconds is not None])
    by_size.set(xlabel="trained parameters", ylabel="PSNR (dB)")
    by_time.set_xlabel("seconds per fusion")
    if any(point.parameters is None for point in points):
        by_size.axvline(2 * none, color="0.8", linewidth=0.8)
        by_size.text(none, 0.01, "none", ha="center", fontsize="small", color="0.4",
                     transform=by_size.get_xaxis_transform())  # fmt: skip
    drawn = [kind for kind in _COLOURS if any(point.kind == kind for point in points)]
    handles = [by_size.plot([], [], "o", color=_COLOURS[kind], fillstyle=_fill(kind), label=kind)[0] for kind in drawn]
    figure.legend(handles=handles, loc="outside upper right", ncols=len(drawn), frameon=False, fontsize="small")
    figure.suptitle(title, fontsize="medium", x=0.01, ha="left")
    figure.draw_without_rendering()  # positions of points, which labels keep clear of
    for axis in (by_size, by_time):
        _separate(axis)
    return figure


def _draw(axis: Axes, placed: Sequence[tuple[Point, float]]) -> None:
    for point, x in placed:
        colour = _COLOURS[point.kind]
        axis.plot(x, point.psnr_db, "o", color=colour, fillstyle=_fill(point.kind), markersize=6.5)
        axis.annotate(point.name, (x, point.psnr_db), (0, 0), textcoords="offset points", fontsize=7.5, color=colour)
    axis.set_xscale("log")
    axis.margins(x=0.18, y=0.08)
    axis.grid(alpha=0.3)


def _fill(kind: Kind) -> Literal["none", "full"]:
    return "none" if kind == "published" else "full"


def _separate(axis: Axes) -> None:
    """Move each label to where it covers no point and no other label, as near to its point as that allows."""
    labels = [text for text in axis.texts if isinstance(text, Annotation)]
    taken = [
        Bbox.from_extents(x - 5, y - 5, x + 5, y + 5) for x, y in (axis.transData.transform(one.xy) for one in labels)
    ]
    for label in labels:
        boxes: list[tuple[float, int, tuple[float, float, str, str], Bbox]] = []
        for x, y, across, up in _positions():
            label.set(position=(x, y), horizontalalignment=across, verticalalignment=up)
            box = label.get_window_extent()
            boxes.append((sum(_overlap(box, other) for other in taken), len(boxes), (x, y, across, up), box))
            if boxes[-1][0] == 0:
                break
        _, _, (x, y, across, up), box = min(boxes)
        label.set(position=(x, y), horizontalalignment=across, verticalalignment=up)
        taken.append(box)


def _positions() -> Iterator[tuple[float, float, str, str]]:
    for ring in _RINGS:
        for right, up in _DIRECTIONS:
            yield ring * right, ring * up, _ALIGN_X[right], _ALIGN_Y[up]


def _overlap(one: Bbox, other: Bbox) -> float:
    shared = Bbox.intersection(one, other)
    return 0.0 if shared is None else float(shared.width * shared.height)
