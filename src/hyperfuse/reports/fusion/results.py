"""The middle of a report: the scene before and after, close-ups, and spectra."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from hyperfuse.cube.cube import Cube
from hyperfuse.reports.colours import Display, match_display, render_rgb, stretch_limits
from hyperfuse.reports.fusion.close_ups import Point, Window
from hyperfuse.reports.fusion.content import ReportContent
from hyperfuse.reports.fusion.images import (
    View,
    display_step,
    lr_index,
    picture,
    small_cube,
    view,
)
from hyperfuse.reports.fusion.markup import Markup, figure, join, section, tag
from hyperfuse.reports.fusion.plots import FUSED, HALF, LR, MSI, REFERENCE, lines_figure
from hyperfuse.sensor.srf.coverage import true_runs

_LETTERS = "ABCDEFGH"
_THREE = (0, 1, 2)
_HOW_TO_SWIPE = "Drag the line, or focus it and use the arrow keys."


def views_section(content: ReportContent, shown: list[Display]) -> tuple[Markup, View]:
    """Return the section with a swipe for each display, and the first view, which places are marked in."""
    views = [view(content.hsi, content.fused, content.sensor, display) for display in shown]
    step = display_step((content.fused.rows, content.fused.cols))
    size = f" Shown at 1/{step} of its size, averaged over {step} × {step} pixels." if step > 1 else ""
    chooser = [
        join(
            [
                tag("input", type="radio", name="view", id=f"view-{index}", checked=index == 0),
                tag("label", one.display.name, for_=f"view-{index}"),
            ]
        )
        for index, one in enumerate(views)
    ]
    figures = [
        figure(
            _swipe(one),
            join(
                [
                    tag("b", f"{one.display.name.capitalize()}{_nanometres(one.display)}. "),
                    _swipe_caption(),
                    tag("span", _HOW_TO_SWIPE, class_="on-screen"),
                    size,
                ]
            ),
            class_=f"view view-{index}",
        )
        for index, one in enumerate(views)
    ]
    body = tag("div", *(chooser if len(views) > 1 else []), *figures, class_="views")
    return section("views", "Before and after", body), views[0]


def close_ups_section(content: ReportContent, display: Display, windows: list[Window]) -> Markup | None:
    """Return the section with close-ups of HSI, MSI, result and reference; None where the scene shows no detail."""
    if not windows:
        return None
    rows = [_close_up(content, display, window, letter) for window, letter in zip(windows, _LETTERS, strict=False)]
    caption = (
        "Places where the MSI shows most detail, pixel by pixel, each in one stretch; the MSI has its own. Edges "
        " of the result should lie where the MSI has them, without halos, and its colours be those of the HSI. "
        "Where the places lie is marked in the overview of the spectra."
    )
    return section("close-ups", "Close-ups", *rows, tag("p", caption, class_="hint"))


def spectra_section(
    content: ReportContent, overview: View, windows: list[Window], points: list[Point]
) -> Markup | None:
    """Return the section with an overview of the places and the spectra at points; None where there are no points."""
    if not points:
        return None
    plots = tag("div", *(_spectrum(content, point, index + 1) for index, point in enumerate(points)), class_="grid")
    return section(
        "spectra",
        "Spectra",
        _overview(content, overview, windows, points),
        _legend(content),
        plots,
        tag("p", _spectra_hint(content), class_="hint"),
    )


def _swipe(one: View) -> Markup:
    rows, cols = one.after.shape[:2]
    return tag(
        "div",
        tag("div", picture(one.before, "the HSI, interpolated"), class_="before"),
        tag("div", picture(one.after, "the fused image"), class_="after"),
        tag("span", "HSI, interpolated", class_="badge left"),
        tag("span", "fused", class_="badge right"),
        tag("div", class_="bar"),
        tag(
            "input",
            type="range",
            min=0,
            max=100,
            step=0.5,
            value=50,
            aria_label="share of the image that shows the HSI",
        ),
        class_="swipe",
        style=f"--rows:{rows};--cols:{cols}",
    )


def _swipe_caption() -> str:
    return (
        "On the left the HSI, interpolated (cubic) to the pixels of the result; on the right the result. Both are in "
        "one stretch, percentiles 1 and 99 of the result. "
    )


def _nanometres(display: Display) -> str:
    return "" if display.wavelengths is None else f" ({', '.join(f'{value:.0f}' for value in display.wavelengths)} nm)"


def _close_up(content: ReportContent, display: Display, window: Window, letter: str) -> Markup:
    row, col, rows, cols = window
    part = np.s_[row : row + rows, col : col + cols]
    fused = small_cube([content.fused.data[band][part] for band in display.bands])
    three = Display(_THREE, display.wavelengths, display.name)
    limits = stretch_limits(fused, three)
    index = np.ix_(
        lr_index(content.sensor, 0, rows, content.hsi.rows, first=row),
        lr_index(content.sensor, 1, cols, content.hsi.cols, first=col),
    )
    msi_display = match_display(content.msi, display)
    msi = small_cube([content.msi.data[band][part] for band in msi_display.bands])
    panels = [
        ("LR-HSI", render_rgb(small_cube([content.hsi.data[band][index] for band in display.bands]), three, limits)),
        ("HR-MSI", render_rgb(msi, three, stretch_limits(msi, three))),
        ("fused", render_rgb(fused, three, limits)),
    ]
    if content.reference is not None:
        truth = small_cube([content.reference.data[band][part] for band in display.bands])
        panels.append(("reference", render_rgb(truth, three, limits)))
    where = f"rows {row + 1} to {row + rows}, columns {col + 1} to {col + cols}"
    images = [
        tag("div", picture(image, f"{name} at place {letter}"), tag("span", name, class_="panel"), class_="close-up")
        for name, image in panels
    ]
    shown = tag("div", *images, class_="panels", style=f"--panels:{len(panels)}")
    return figure(shown, join([tag("b", letter), f": {where}"]), class_="row")


def _overview(content: ReportContent, overview: View, windows: list[Window], points: list[Point]) -> Markup:
    rows, cols = content.fused.rows, content.fused.cols
    unit = max(rows, cols) / 100
    marks = [
        join(
            [
                tag("rect", x=window.col, y=window.row, width=window.cols, height=window.rows, class_="place"),
                tag("text", letter, x=window.col + unit, y=window.row + 4.5 * unit),
            ]
        )
        for window, letter in zip(windows, _LETTERS, strict=False)
    ]
    for index, (row, col) in enumerate(points):
        beside = -1 if col > 0.9 * cols else 1
        marks.append(
            join(
                [
                    tag("circle", cx=col + 0.5, cy=row + 0.5, r=f"{1.3 * unit:g}", class_="place"),
                    tag(
                        "text",
                        index + 1,
                        x=f"{col + 0.5 + beside * 2 * unit:g}",
                        y=f"{row + 0.5 + 1.5 * unit:g}",
                        text_anchor="end" if beside < 0 else "start",
                    ),
                ]
            )
        )
    drawing = tag(
        "svg",
        *marks,
        viewBox=f"0 0 {cols} {rows}",
        class_="marks",
        style=f"font-size:{4.5 * unit:g}px",
        aria_hidden="true",
    )
    image = tag(
        "div",
        picture(overview.after, "the fused image with the places of close-ups and spectra"),
        drawing,
        class_="overview",
        style=f"--rows:{rows};--cols:{cols}",
    )
    caption = "Where the close-ups (letters) and the spectra (numbers) are; " + (
        "the points are those that were asked for."
        if content.points
        else "the points lie on uniform ground of unlike spectra, the last where the scene shows most detail."
    )
    return figure(image, caption)


def _legend(content: ReportContent) -> Markup:
    entries = [("line lr", "LR-HSI, the pixel around the point"), ("line fused", "fused")]
    if content.reference is not None:
        entries.append(("line reference", "reference"))
    if content.msi_positions is not None:
        same = content.msi_gain is None and content.msi_offset is None
        entries.append(("dot msi", "HR-MSI" if same else "HR-MSI, at the levels of the HSI"))
        if content.response is not None:
            entries.append(("ring fused", "fused, seen through the MSI's responses"))
    return tag("p", *(tag("span", tag("i", class_=f"key {key}"), text) for key, text in entries), class_="legend")


def _spectra_hint(content: ReportContent) -> str:
    text = (
        "On uniform ground the fused spectrum should run along that of the HSI; where the ground is detailed it "
        "differs in level and shape. "
    )
    if content.response is not None:
        text += "The rings should lie on the dots: a ring off its dot is a disagreement with the measured MSI. "
    else:
        text += "Without spectral responses the result cannot be shown as the MSI would see it. "
    if content.msi_positions is None:
        text += "No wavelengths are known, so that the MSI's own values have no place along the bands. "
    if content.uncovered is not None and content.uncovered.any():
        text += "Shaded: bands outside the spectral coverage of the MSI, where detail is inferred from the other bands."
    return text


def _spectrum(content: ReportContent, point: Point, label: int) -> Markup:
    row, col = point
    order, usable = content.order, content.usable
    lr_row, lr_col = (
        int(lr_index(content.sensor, axis, 1, size, first=place)[0])
        for axis, size, place in ((0, content.hsi.rows, row), (1, content.hsi.cols, col))
    )

    def ordered(cube: Cube, r: int, c: int) -> NDArray[np.float64]:
        return np.where(usable, cube.data[:, r, c], np.nan)[order].astype(np.float64)

    curves: list[tuple[NDArray[np.float64], dict[str, Any]]] = [
        (ordered(content.hsi, lr_row, lr_col), {"color": LR, "drawstyle": "steps-mid", "linewidth": 1.0}),
        (ordered(content.fused, row, col), {"color": FUSED}),
    ]
    if content.reference is not None:
        curves.append((ordered(content.reference, row, col), {"color": REFERENCE, "linestyle": ":"}))
    measured = content.at_hsi_levels(content.msi.data[:, row, col])
    projected = content.project(content.fused.data[:, row, col])
    places = content.msi_positions

    def finish(axes: Axes) -> None:
        if places is None:
            return
        axes.plot(places, measured, "o", color=MSI, markersize=5, linestyle="none")
        if projected is not None:
            axes.plot(places, projected, "o", color=FUSED, markersize=9, markerfacecolor="none", linestyle="none")

    return lines_figure(
        curves,
        content.positions[order],
        name=f"spectrum-{label}",
        description=f"spectra at point {label}, row {row + 1}, column {col + 1}",
        xlabel=content.axis_label,
        ylabel=content.labelled("value"),
        title=f"{label}: row {row + 1}, column {col + 1}",
        shaded=uncovered_intervals(content),
        size=HALF,
        finish=finish,
    )


def uncovered_intervals(content: ReportContent) -> list[tuple[float, float]]:
    """Return the stretches along the plots that lie outside the spectral coverage of the MSI."""
    if content.uncovered is None:
        return []
    order = content.order[content.usable[content.order]]
    flags, positions = content.uncovered[order], content.positions[order]
    # Each band stands for the ground up to the middle between it and its neighbours.
    middles = (positions[1:] + positions[:-1]) / 2
    edges = np.concatenate([positions[:1], middles, positions[-1:]])
    return [(float(edges[first]), float(edges[last + 1])) for first, last in true_runs(flags)]
