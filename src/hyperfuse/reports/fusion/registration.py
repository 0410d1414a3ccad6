"""What a report shows of the registration: the displacement of the HSI's pixels, and what tie points say of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hyperfuse.cube.display import choose_display, render_rgb, stretch_limits
from hyperfuse.reports.fusion.content import ReportContent
from hyperfuse.reports.fusion.images import RGB, averaged, display_step, small_cube
from hyperfuse.reports.fusion.plots import FAINT, FUSED, HALF, INK, LR, SERIES, draw
from hyperfuse.reports.numbers import number
from hyperfuse.scenes.matching.evidence import Evidence
from hyperfuse.tables import Column, Table

Array = NDArray[np.float64]

_UNITS = {"lr_pixels": "HSI pixels", "hr_pixels": "MSI pixels", "metres": "m"}
_MODELS = {
    "none": "none: the images lie where their headers say",
    "shift": "one shift",
    "scale": "a shift, and another ratio of the pixels",
    "affine": "an affine map",
    "field": "a smooth field",
}
# Arrows along the longer side; the side of the MSI below them, and of the map, in pixels.
_ARROWS, _MSI_SIDE, _MAP_SIDE = 22, 450, 300
_BINS = 30
# The longest arrow of the residuals has the length of this many distances between arrows.
_RESIDUAL = 1.5


def registration(content: ReportContent) -> dict[str, Any] | None:
    """Return model, errors and figures of the registration; None where nothing was estimated or stated of it."""
    found = content.evidence
    known = found is not None and (found.points is not None or found.explained is not None or bool(found.detectors))
    if found is None or (found.model == "none" and not known):
        return None
    tried, reliable, kept = found.counts
    facts = [
        ("model", _MODELS[found.model]),
        ("not accepted", found.doubt),
        (
            "tie points",
            f"{kept} kept of {reliable} reliable and {tried} tried; they cover {found.coverage:.0%} of the HSI"
            if tried
            else "",
        ),
        (
            "MSI explained by the HSI",
            ""
            if found.explained is None
            else f"{found.explained[0]:.2%} before, {found.explained[1]:.2%} after (held out)",
        ),
        *_detectors(found),
    ]
    points = found.points if kept else None
    moves = found.model != "none"
    return {
        "facts": facts,
        "table": _table(found) if moves or points is not None else None,
        "arrows": _arrows_figure(content, found) if moves else None,
        "size": _size_figure(found) if moves else None,
        "histogram": None if points is None else _histogram(found),
        "residuals": None if points is None else _residuals_figure(found),
        "profiles": _profiles_figure(found) if moves else None,
        "unit": _unit(found)[0],
    }


def _detectors(found: Evidence) -> list[tuple[str, str]]:
    """Return how far the bands of each detector lie from the position of the HSI."""
    unit, length = _unit(found)
    facts = []
    for one in found.detectors:
        y, x = np.array(one.shift) / found.displacement.ratio
        far = f"{y:+.3f} (y), {x:+.3f} (x) HSI pixels; {y * length[0]:+.3g}, {x * length[1]:+.3g} {unit}"
        facts.append((f"{one.name}, bands {one.to_dict()['bands']}", f"lies {far.replace('-', '−')} from there"))
    return facts


def _unit(found: Evidence) -> tuple[str, Array]:
    """Return the unit of the figures, and the length of an LR pixel in it along (y, x)."""
    key = "metres" if "metres" in found.units else "hr_pixels"
    return _UNITS[key], np.array(found.units[key])


def _table(found: Evidence) -> Table:
    values = found.to_dict()
    rows = []
    for key, label in (
        ("displacement", "displacement"),
        ("before", "tie points, before"),
        ("after", "tie points, after"),
    ):
        for unit, sizes in (values[key] or {}).items():
            rows.append(
                {"what": label, "unit": _UNITS[unit], **{name: number(size, 3) for name, size in sizes.items()}}
            )
    titles = {"median": "median", "rmse": "RMSE", "ce90": "CE90", "max": "largest"}
    titles |= {"mean_y": "mean (y)", "mean_x": "mean (x)"}
    columns = (
        Column("what", "length of"),
        Column("unit", "in"),
        *(Column(key, title, format="s") for key, title in titles.items()),
    )
    return Table(columns, rows)


def _arrows_figure(content: ReportContent, found: Evidence) -> Markup:
    grid = found.displacement.grid
    rows, cols = (
        _lines(grid.rows, _ARROWS, max(grid.rows, grid.cols)),
        _lines(grid.cols, _ARROWS, max(grid.rows, grid.cols)),
    )
    vectors = found.displacement.at(rows, cols)
    _, length = _unit(found)
    sizes = np.hypot(*(vectors / np.reshape(found.displacement.ratio, (2, 1, 1)) * length[:, None, None]))
    longest = max(float(np.hypot(*(vectors / np.reshape(found.displacement.ratio, (2, 1, 1)))).max()), 1e-9)
    times = _magnification(1.4 * max(grid.rows, grid.cols) / _ARROWS / longest)

    def build(drawing: Figure) -> None:
        axes = drawing.add_subplot()
        _show_msi(axes, content, grid)
        y, x = vectors / np.reshape(found.displacement.ratio, (2, 1, 1)) * times
        arrows = axes.quiver(
            cols, rows, x, y, sizes, angles="xy", scale_units="xy", scale=1, cmap="plasma", width=0.004,
            path_effects=[patheffects.withStroke(linewidth=1.6, foreground="#000000aa")],
        )  # fmt: skip
        _frame(axes, grid.rows, grid.cols)
        times_text = "" if times == 1 else f", drawn {times:g} times as long"
        axes.set_title(f"where the HSI's pixels lie{times_text}")
        bar = drawing.colorbar(arrows, ax=axes, label=_unit(found)[0], fraction=0.05, pad=0.03)
        if bar.solids is not None:
            bar.solids.set_rasterized(True)
        bar.outline.set_visible(False)

    return draw(build, _map_size(grid.rows, grid.cols), "registration-arrows", "displacement as arrows over the MSI")


def _size_figure(found: Evidence) -> Markup:
    """Draw the size of the displacement, with hatches where no tie point is."""
    grid = found.displacement.grid
    step = max(1, max(grid.rows, grid.cols) // _MAP_SIDE)
    rows, cols = np.arange(0, grid.rows, step), np.arange(0, grid.cols, step)
    unit, length = _unit(found)
    scale = np.reshape(length / np.array(found.displacement.ratio), (2, 1, 1))
    sizes = np.hypot(*(found.displacement.at(rows, cols) * scale))
    covered = None if found.points is None else found.points.covered((grid.rows, grid.cols))[::step, ::step]

    def build(drawing: Figure) -> None:
        axes = drawing.add_subplot()
        image = axes.imshow(
            sizes, cmap="viridis", vmin=0, extent=(-0.5, grid.cols - 0.5, grid.rows - 0.5, -0.5), interpolation="none"
        )
        if covered is not None and not covered.all():
            axes.contourf(cols, rows, covered.astype(float), levels=[-0.5, 0.5], colors="none", hatches=["////"])
        _frame(axes, grid.rows, grid.cols)
        axes.set_title("size of the displacement")
        bar = drawing.colorbar(image, ax=axes, label=unit, fraction=0.05, pad=0.03)
        if bar.solids is not None:
            bar.solids.set_rasterized(True)
        bar.outline.set_visible(False)

    return draw(build, _map_size(grid.rows, grid.cols), "registration-size", "map of the size of the displacement")


def _histogram(found: Evidence) -> Markup:
    unit, length = _unit(found)
    assert found.points is not None  # asked before
    errors = {"before": (found.points.before, LR), "after": (found.points.after, FUSED)}
    lengths = {name: np.hypot(*(vectors * length).T) for name, (vectors, _) in errors.items()}
    top = max(float(values.max()) for values in lengths.values()) or 1.0
    edges = np.linspace(0, top, _BINS + 1).tolist()

    def build(drawing: Figure) -> None:
        axes = drawing.add_subplot()
        for name, values in lengths.items():
            shown = f"{name}: CE90 {number(float(np.quantile(values, 0.9)), 3, unit)}"
            axes.hist(values, edges, histtype="stepfilled", alpha=0.55, color=errors[name][1], label=shown)
        axes.set(xlabel=f"how far tie points lie off ({unit})", ylabel="tie points", title="errors of tie points")
        axes.legend()

    return draw(build, HALF, "registration-histogram", "histogram of the errors of tie points before and after")


def _residuals_figure(found: Evidence) -> Markup:
    grid, points = found.displacement.grid, found.points
    assert points is not None  # asked before
    unit, length = _unit(found)
    longest = max(float(np.hypot(*points.after.T).max()), 1e-9)
    apart = max(grid.rows, grid.cols) / max(np.sqrt(len(points.positions)), 4)
    times = _magnification(_RESIDUAL * apart / longest)

    def build(drawing: Figure) -> None:
        axes = drawing.add_subplot()
        y, x = points.positions.T
        axes.plot(x, y, ".", color=FAINT, markersize=3)
        dy, dx = points.after.T * times
        axes.quiver(x, y, dx, dy, angles="xy", scale_units="xy", scale=1, color=FUSED, width=0.004)
        _frame(axes, grid.rows, grid.cols)
        root = float(np.sqrt(np.mean(np.square(points.after * length).sum(axis=1))))
        axes.set_title(f"residuals, {times:g} times as long; RMSE {number(root, 3, unit)}")

    return draw(build, _map_size(grid.rows, grid.cols), "registration-residuals", "residuals of tie points as arrows")


def _profiles_figure(found: Evidence) -> Markup:
    """Draw the mean displacement along each axis against row and column: drift and wobble."""
    grid = found.displacement.grid
    unit, length = _unit(found)
    rows, cols = _lines(grid.rows, _MAP_SIDE), _lines(grid.cols, _MAP_SIDE)
    scale = np.reshape(length / np.array(found.displacement.ratio), (2, 1, 1))
    vectors = found.displacement.at(rows, cols) * scale

    def build(drawing: Figure) -> None:
        for number_, (along, lines, label) in enumerate(((2, rows, "row of the HSI"), (1, cols, "column of the HSI"))):
            axes = drawing.add_subplot(1, 2, number_ + 1)
            means = vectors.mean(axis=along)
            axes.plot(lines, means[0], color=INK, label="along rows (y)")
            axes.plot(lines, means[1], color=SERIES[1], linestyle="--", label="along columns (x)")
            axes.set(xlabel=label, ylabel=f"mean displacement ({unit})" if number_ == 0 else "")
            axes.margins(x=0.01)
            if number_ == 0:
                axes.legend()

    return draw(build, (9.6, 2.9), "registration-profiles", "mean displacement against row and column")


def _show_msi(axes: Axes, content: ReportContent, grid: Any) -> None:
    """Show the MSI below arrows, in LR pixels of the HSI, where its place on it is known."""
    first = _first_pixel(content, grid)
    if first is None:
        return
    msi, sensor = content.msi, content.sensor
    step = display_step((msi.rows, msi.cols), _MSI_SIDE)
    display = choose_display(msi)
    small = small_cube([averaged(msi.data[band], step) for band in display.bands])
    (y, x), (ratio_y, ratio_x) = sensor.offset, sensor.ratio
    top, left = first[0] - (0.5 + y) / ratio_y, first[1] - (0.5 + x) / ratio_x
    bottom, right = top + step * small.rows / ratio_y, left + step * small.cols / ratio_x
    shown = render_rgb(small, RGB, stretch_limits(small, RGB))
    axes.imshow(shown, extent=(left, right, bottom, top), interpolation="none", alpha=0.8)


def _first_pixel(content: ReportContent, grid: Any) -> tuple[float, float] | None:
    """Return the LR position of the first pixel of the HSI that is shown, in the whole HSI."""
    if grid.transform is not None and content.hsi.transform is not None:
        col, row = ~grid.transform @ (content.hsi.transform.c, content.hsi.transform.f)
        return round(row), round(col)
    return (0.0, 0.0) if (content.hsi.rows, content.hsi.cols) == (grid.rows, grid.cols) else None


def _magnification(times: float) -> float:
    """Return the nearest smaller of 1, 2, 5, 10, ... and their parts."""
    power = 10.0 ** np.floor(np.log10(times))
    return float(max(step for step in (1, 2, 5) if step * power <= times) * power)


def _lines(size: int, count: int, longer: int | None = None) -> Array:
    """Return positions at the centre of equal parts of an axis."""
    parts = max(2, min(size, round(count * size / (longer or size))))
    return (np.arange(parts) + 0.5) * size / parts - 0.5


def _frame(axes: Axes, rows: int, cols: int) -> None:
    axes.set(xlim=(-0.5, cols - 0.5), ylim=(rows - 0.5, -0.5))
    axes.set_aspect("equal")
    axes.grid(False)
    axes.set_xticks([])
    axes.set_yticks([])


def _map_size(rows: int, cols: int) -> tuple[float, float]:
    return HALF[0], float(np.clip((HALF[0] - 0.9) * rows / cols, 1.6, 5.6)) + 0.35
