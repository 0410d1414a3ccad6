"""What a report shows of the inputs: both images, the result, and their footprints."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from hyperfuse.cube.crs import crs_units, parse_crs, same_crs
from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import CubeHeader, six_numbers
from hyperfuse.errors import InputError
from hyperfuse.reports.fusion.content import ReportContent
from hyperfuse.reports.fusion.plots import FUSED, LR, MSI, draw
from hyperfuse.reports.numbers import counted, exact
from hyperfuse.tables import Column, Table

Corners = NDArray[np.float64]
Image = Cube | CubeHeader


def inputs(content: ReportContent) -> dict[str, Any]:
    """Return the inputs and the result in a table, what was cut of the inputs, and the footprints."""
    hsi, msi = content.whole_hsi or content.hsi, content.whole_msi or content.msi
    images = {
        "LR-HSI": (content.hsi_name, hsi),
        "HR-MSI": (content.msi_name, msi),
        "result": (content.fused_name, content.fused),
    }
    if content.reference is not None:
        images["reference"] = (content.reference_name, content.reference)
    described = {kind: {"file": name} | _describe(cube) for kind, (name, cube) in images.items()}
    rows = [
        {"": row, **{kind: values[row] for kind, values in described.items()}} for row in next(iter(described.values()))
    ]
    cut = [
        (name, used, whole)
        for name, used, whole in (("HSI", content.hsi, hsi), ("MSI", content.msi, msi))
        if (used.rows, used.cols) != (whole.rows, whole.cols)
    ]
    table = Table([Column("", ""), *(Column(kind, kind) for kind in images)], rows)
    return {"table": table, "cut": cut, "footprints": _footprints(content, hsi, msi)}


def _describe(image: Image) -> dict[str, str]:
    header = image.header if isinstance(image, Cube) else image
    return {
        "size": f"{header.rows} × {header.cols} pixels",
        "pixel": _pixel(header),
        "bands": _bands(image),
        "range of wavelengths": _range(header),
        "values": header.coding.units or "units not stated",
        "without data": _missing(image) if isinstance(image, Cube) else "not counted: a large image",
        "coordinate system": _crs_name(header),
    }


def _pixel(cube: CubeHeader) -> str:
    if cube.resolution is None:
        return "size not stated"
    along_y, along_x = cube.resolution
    size = exact(along_x) if math.isclose(along_x, along_y, rel_tol=1e-6) else f"{exact(along_x)} × {exact(along_y)}"
    return f"{size} {_unit(cube.crs)}".strip()


def _bands(cube: Image) -> str:
    usable = cube.usable_bands if isinstance(cube, Cube) else cube.good_bands
    unusable = 0 if usable is None else cube.bands - int(np.count_nonzero(usable))
    return counted(cube.bands, "band") + (f", {unusable} of them bad or empty" if unusable else "")


def _range(cube: CubeHeader) -> str:
    if cube.wavelengths is None or not np.isfinite(cube.wavelengths).any():
        return "not stated"
    centres = cube.wavelengths[np.isfinite(cube.wavelengths)]
    return f"{centres.min():.0f} to {centres.max():.0f} nm"


def _missing(cube: Cube) -> str:
    fraction = float(np.mean(~cube.valid_pixels))
    return "no pixel" if fraction == 0 else f"{fraction:.1%} of the pixels in one band or more"


def _crs_name(cube: CubeHeader) -> str:
    if cube.crs is None:
        return "none"
    try:
        known = parse_crs(cube.crs)
    except InputError:
        return f"{cube.crs[:60]} (not readable)"
    code = known.to_epsg()
    return f"EPSG:{code}" if code else str(known.to_string())[:60]


def _unit(crs: str | None) -> str:
    if crs is None:
        return ""
    try:
        return crs_units(parse_crs(crs))
    except InputError:
        return ""


def _footprints(content: ReportContent, hsi: Image, msi: Image) -> Markup:
    footprints, xlabel, ylabel, downwards = _corners_of_all(content, hsi, msi)

    def build(drawing: Figure) -> None:
        axes = drawing.add_subplot()
        # Wider lines below, so that lines that coincide stay visible.
        styles = (("LR-HSI", LR, 6.0), ("HR-MSI", MSI, 3.5), ("result", FUSED, 1.4))
        for corners, (_, colour, width) in zip(footprints, styles, strict=True):
            shape = Polygon(corners, closed=True, fill=False, edgecolor=colour, linewidth=width)
            axes.add_patch(shape)
        axes.autoscale_view()
        axes.margins(0.05)
        axes.set_aspect("equal")
        axes.ticklabel_format(useOffset=False, style="plain")
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.set(xlabel=xlabel, ylabel=ylabel)
        if downwards:
            axes.invert_yaxis()
        axes.grid(False)
        handles = [Line2D([], [], color=colour, linewidth=width) for _, colour, width in styles]
        axes.legend(handles, [name for name, _, _ in styles], loc="upper left", bbox_to_anchor=(1.02, 1))

    return draw(build, (6.4, 3.4), "footprints", "borders of the images on the ground")


def _corners_of_all(content: ReportContent, hsi: Image, msi: Image) -> tuple[Sequence[Corners], str, str, bool]:
    """Return the corners of HSI, MSI and result, the names of both axes, and whether y counts downwards."""
    corners = [_corners(cube, msi.crs) for cube in (hsi, msi, content.fused)]
    known = [one for one in corners if one is not None]
    if len(known) == len(corners):
        unit = _unit(msi.crs)
        names = ("longitude", "latitude") if unit == "degree" else ("x", "y")
        suffix = f" ({unit})" if unit else ""
        return known, f"{names[0]}{suffix}", f"{names[1]}{suffix}", False
    sensor = content.sensor
    edges = [
        np.array([phase + 0.5 - ratio / 2, ratio]) for phase, ratio in zip(sensor.offset, sensor.ratio, strict=True)
    ]
    rows, cols = (
        start + step * np.array([0, size])
        for (start, step), size in zip(edges, (content.hsi.rows, content.hsi.cols), strict=True)
    )
    low = _box(rows[0], rows[1], cols[0], cols[1])
    high = _box(0, content.fused.rows, 0, content.fused.cols)
    return [low, high, high], "column (HR pixels)", "row (HR pixels)", True


def _box(top: float, bottom: float, left: float, right: float) -> Corners:
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float64)


def _corners(cube: Image, crs: str | None) -> Corners | None:
    """Return the corners (4, 2) of an image as (x, y) in ``crs``, or None where they are unknown."""
    if cube.transform is None:
        return None
    a, b, c, d, e, f = six_numbers(cube.transform)
    box = _box(0, cube.rows, 0, cube.cols)
    x, y = a * box[:, 0] + b * box[:, 1] + c, d * box[:, 0] + e * box[:, 1] + f
    try:
        if cube.crs is not None and crs is not None and not same_crs(cube.crs, crs):
            from rasterio.warp import transform

            x, y = (np.asarray(values) for values in transform(parse_crs(cube.crs), parse_crs(crs), x, y))
    except InputError:
        return None
    corners = np.stack([x, y], axis=1)
    return corners if np.isfinite(corners).all() else None
