"""What a report shows of the result: the scene before and after, close-ups, and spectra."""

from __future__ import annotations

from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from numpy.typing import NDArray

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.display import NOT_STATED, Display, match_display, render_rgb, stretch_limits
from hyperfuse.cube.window import Window
from hyperfuse.reports.fusion.close_ups import Point
from hyperfuse.reports.fusion.content import ReportContent
from hyperfuse.reports.fusion.images import RGB, DisplayedPair, display_step, lr_pixels, picture, show_pair, small_cube
from hyperfuse.reports.fusion.plots import FUSED, LR, MSI, REFERENCE, lines_figure

LETTERS = "ABCDEFGH"


def views(content: ReportContent, displays: list[Display]) -> tuple[dict[str, Any], DisplayedPair]:
    """Return the scene in each display, before and after, and the first of them as an image."""
    pairs = [show_pair(content.hsi, content.fused, content.sensor, display) for display in displays]
    shown = [{"display": one.display, "before": picture(one.before), "after": picture(one.after)} for one in pairs]
    return {"pairs": shown, "step": display_step((content.fused.rows, content.fused.cols))}, pairs[0]


def close_ups(content: ReportContent, display: Display, windows: list[Window]) -> dict[str, Any] | None:
    """Return close-ups of HSI, MSI, result and reference; None where there are none."""
    rows = [
        {"letter": letter, "window": window, "panels": _panels(content, display, window)}
        for letter, window in zip(LETTERS, windows, strict=False)
    ]
    return {"rows": rows} if rows else None


def spectra(
    content: ReportContent, overview: DisplayedPair, windows: list[Window], points: list[Point]
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


def _panels(content: ReportContent, display: Display, window: Window) -> list[tuple[str, Any]]:
    def cut(cube: Cube, bands: tuple[int, ...], where: Any) -> Cube:
        return small_cube([cube.data[band][where] for band in bands])

    held_by = lr_pixels(content.sensor, window, (content.hsi.rows, content.hsi.cols))
    fused = cut(content.fused, display.bands, window.slices)
    positions = None if content.msi_positions is None else (content.bands.positions, content.msi_positions)
    msi_display = match_display(content.msi, display, positions)
    msi = cut(content.msi, msi_display.bands, window.slices)
    limits = stretch_limits(fused, RGB)
    panels = [
        ("LR-HSI", render_rgb(cut(content.hsi, display.bands, held_by), RGB, limits)),
        (
            f"HR-MSI, {NOT_STATED}" if msi_display.name == NOT_STATED else "HR-MSI",
            render_rgb(msi, RGB, stretch_limits(msi, RGB)),
        ),
        ("fused", render_rgb(fused, RGB, limits)),
    ]
    if content.reference is not None:
        panels.append(("reference", render_rgb(cut(content.reference, display.bands, window.slices), RGB, limits)))
    return [(name, picture(image)) for name, image in panels]


def _spectrum(content: ReportContent, point: Point, label: int) -> Markup:
    row, col = point
    at = lr_pixels(content.sensor, Window(row, col, 1, 1), (content.hsi.rows, content.hsi.cols))
    lr_row, lr_col = (int(one.item()) for one in at)
    spectra: list[tuple[NDArray[Any], dict[str, Any]]] = [
        (content.hsi.data[:, lr_row, lr_col], {"color": LR, "drawstyle": "steps-mid", "linewidth": 1.0}),
        (content.fused.data[:, row, col], {"color": FUSED}),
    ]
    if content.reference is not None:
        spectra.append((content.reference.data[:, row, col], {"color": REFERENCE, "linestyle": ":"}))
    curves = [(np.where(content.usable, values, np.nan).astype(np.float64), style) for values, style in spectra]
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
