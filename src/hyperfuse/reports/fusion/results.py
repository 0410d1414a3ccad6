"""What a report shows of the result: the scene before and after, close-ups, and spectra."""

from __future__ import annotations

from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from numpy.typing import NDArray

from hyperfuse.cube.cube import Cube
from hyperfuse.reports.colours import Display, match_display, render_rgb, stretch_limits
from hyperfuse.reports.fusion.close_ups import CloseUp, Point
from hyperfuse.reports.fusion.content import ReportContent
from hyperfuse.reports.fusion.images import RGB, DisplayedPair, display_step, lr_index, picture, show_pair, small_cube
from hyperfuse.reports.fusion.plots import FUSED, LR, MSI, REFERENCE, lines_figure

LETTERS = "ABCDEFGH"


def views(content: ReportContent, displays: list[Display]) -> tuple[dict[str, Any], DisplayedPair]:
    """Return the scene in each display, before and after, and the first of them as an image."""
    pairs = [show_pair(content.hsi, content.fused, content.sensor, display) for display in displays]
    shown = [
        {"title": _title(one.display), "name": one.display.name}
        | {"before": picture(one.before), "after": picture(one.after)}
        for one in pairs
    ]
    return {"pairs": shown, "step": display_step((content.fused.rows, content.fused.cols))}, pairs[0]


def close_ups(content: ReportContent, display: Display, windows: list[CloseUp]) -> dict[str, Any] | None:
    """Return close-ups of HSI, MSI, result and reference; None where there are none."""
    rows = [
        {"letter": letter, "window": window, "panels": _panels(content, display, window)}
        for letter, window in zip(LETTERS, windows, strict=False)
    ]
    return {"rows": rows} if rows else None


def spectra(
    content: ReportContent, overview: DisplayedPair, windows: list[CloseUp], points: list[Point]
) -> dict[str, Any] | None:
    """Return an overview of the positions and the spectra at points; None where there are no points."""
    if not points:
        return None
    rows, cols = content.fused.rows, content.fused.cols
    return {
        "overview": picture(overview.after),
        "rows": rows,
        "cols": cols,
        "unit": max(rows, cols) / 100,
        "windows": list(zip(LETTERS, windows, strict=False)),
        "points": points,
        "plots": [_spectrum(content, point, label) for label, point in enumerate(points, 1)],
    }


def _title(display: Display) -> str:
    return display.label[:1].upper() + display.label[1:]


def _panels(content: ReportContent, display: Display, window: CloseUp) -> list[tuple[str, Any]]:
    row, col, rows, cols = window
    part = np.s_[row : row + rows, col : col + cols]

    def cut(cube: Cube, bands: tuple[int, ...], where: Any) -> Cube:
        return small_cube([cube.data[band][where] for band in bands])

    lr_pixels = np.ix_(
        lr_index(content.sensor, 0, rows, content.hsi.rows, first=row),
        lr_index(content.sensor, 1, cols, content.hsi.cols, first=col),
    )
    fused = cut(content.fused, display.bands, part)
    msi = cut(content.msi, match_display(content.msi, display).bands, part)
    limits = stretch_limits(fused, RGB)
    panels = [
        ("LR-HSI", render_rgb(cut(content.hsi, display.bands, lr_pixels), RGB, limits)),
        ("HR-MSI", render_rgb(msi, RGB, stretch_limits(msi, RGB))),
        ("fused", render_rgb(fused, RGB, limits)),
    ]
    if content.reference is not None:
        panels.append(("reference", render_rgb(cut(content.reference, display.bands, part), RGB, limits)))
    return [(name, picture(image)) for name, image in panels]


def _spectrum(content: ReportContent, point: Point, label: int) -> Markup:
    row, col = point
    lr_row, lr_col = (
        int(lr_index(content.sensor, axis, 1, size, first=first)[0])
        for axis, size, first in ((0, content.hsi.rows, row), (1, content.hsi.cols, col))
    )

    def spectrum(cube: Cube, r: int, c: int) -> NDArray[np.float64]:
        return np.where(content.usable, cube.data[:, r, c], np.nan).astype(np.float64)

    curves: list[tuple[NDArray[np.float64], dict[str, Any]]] = [
        (spectrum(content.hsi, lr_row, lr_col), {"color": LR, "drawstyle": "steps-mid", "linewidth": 1.0}),
        (spectrum(content.fused, row, col), {"color": FUSED}),
    ]
    if content.reference is not None:
        curves.append((spectrum(content.reference, row, col), {"color": REFERENCE, "linestyle": ":"}))
    measured = content.normalise_msi(content.msi.data[:, row, col])
    projected = content.respond(content.fused.data[:, row, col])
    positions = content.msi_positions

    def finish(axes: Axes) -> None:
        if positions is None:
            return
        axes.plot(positions, measured, "o", color=MSI, markersize=5, linestyle="none")
        if projected is not None:
            axes.plot(positions, projected, "o", color=FUSED, markersize=9, markerfacecolor="none", linestyle="none")

    return lines_figure(
        curves,
        content.bands,
        name=f"spectrum-{label}",
        description=f"spectra at point {label}, row {row + 1}, column {col + 1}",
        ylabel=content.labelled("value"),
        title=f"{label}: row {row + 1}, column {col + 1}",
        finish=finish,
    )
