"""What a report shows of the inputs: both images, the result, and their footprints."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from affine import Affine
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.patches import Polygon
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from rasterio.crs import CRS

from hyperfuse.cube.crs import crs_units, parse_crs, same_crs
from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import CubeHeader
from hyperfuse.errors import InputError
from hyperfuse.reports.fusion.content import ReportContent
from hyperfuse.reports.fusion.plots import FUSED, LR, MSI, draw
from hyperfuse.reports.numbers import counted, exact
from hyperfuse.scenes.simulate import lr_transform
from hyperfuse.tables import Column, Table

Corners = NDArray[np.float64]
Image = Cube | CubeHeader


def inputs(content: ReportContent) -> dict[str, Any]:
    """Return the inputs and the result in a table, what was cut of the inputs, and the footprints."""
    hsi, msi = content.whole_hsi or content.hsi, content.whole_msi or content.msi
    images = (
        ("LR-HSI", content.hsi_name, hsi),
        ("HR-MSI", content.msi_name, msi),
        ("result", content.fused_name, content.fused),
        ("reference", content.reference_name, content.reference),
    )
    described = {kind: {"file": name} | _describe(cube) for kind, name, cube in images if cube is not None}
    rows = [{"": fact, **{kind: facts[fact] for kind, facts in described.items()}} for fact in described["result"]]
    cut = [
        (name, used, whole)
        for name, used, whole in (("HSI", content.hsi, hsi), ("MSI", content.msi, msi))
        if (used.rows, used.cols) != (whole.rows, whole.cols)
    ]
    table = Table([Column("", ""), *(Column(kind, kind) for kind in described)], rows)
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
    known = _readable(cube.crs)
    if known is None:
        return f"{cube.crs[:60]} (not readable)"
    code = known.to_epsg()
    return f"EPSG:{code}" if code else str(known.to_string())[:60]


def _unit(crs: str | None) -> str:
    known = _readable(crs)
    return "" if known is None else crs_units(known)


def _readable(crs: str | None) -> CRS | None:
    try:
        return None if crs is None else parse_crs(crs)
    except InputError:
        return None


def _footprints(content: ReportContent, hsi: Image, msi: Image) -> Markup:
    footprints, xlabel, ylabel, downwards = _corners_of_all(content, hsi, msi)

    def build(drawing: Figure) -> None:
        axes = drawing.add_subplot()
        # Wider lines below, so that lines that coincide stay visible.
        styles = (("LR-HSI", LR, 6.0), ("HR-MSI", MSI, 3.5), ("result", FUSED, 1.4))
        for corners, (name, colour, width) in zip(footprints, styles, strict=True):
            axes.add_patch(Polygon(corners, closed=True, fill=False, edgecolor=colour, linewidth=width))
            axes.plot([], [], color=colour, linewidth=width, label=name)
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
        axes.legend(loc="upper left", bbox_to_anchor=(1.02, 1))

    return draw(build, (6.4, 3.4), "footprints", "borders of the images on the ground")


def _corners_of_all(content: ReportContent, hsi: Image, msi: Image) -> tuple[Sequence[Corners], str, str, bool]:
    """Return the corners of HSI, MSI and result, the names of both axes, and whether y counts downwards."""
    known = [_corners(cube, cube.transform, msi.crs) for cube in (hsi, msi, content.fused)]
    corners = [one for one in known if one is not None]
    if len(corners) == len(known):
        unit = _unit(msi.crs)
        suffix = f" ({unit})" if unit else ""
        x, y = ("longitude", "latitude") if unit == "degree" else ("x", "y")
        return corners, x + suffix, y + suffix, False
    pixels = Affine.identity()
    low = _corners(content.hsi, lr_transform(pixels, content.sensor))
    high = _corners(content.fused, pixels)
    assert low is not None  # transforms are there
    assert high is not None
    return [low, high, high], "column (HR pixels)", "row (HR pixels)", True


def _corners(cube: Image, to_ground: Affine | None, crs: str | None = None) -> Corners | None:
    """Return the corners (4, 2) of an image as (x, y), in ``crs`` if there is one; None where they are unknown."""
    if to_ground is None:
        return None
    x, y = (np.array(values) for values in zip(*(to_ground @ at for at in _box(cube)), strict=True))
    try:
        if cube.crs is not None and crs is not None and not same_crs(cube.crs, crs):
            from rasterio.warp import transform

            x, y = (np.asarray(values) for values in transform(parse_crs(cube.crs), parse_crs(crs), x, y))
    except InputError:
        return None
    corners = np.stack([x, y], axis=1)
    return corners if np.isfinite(corners).all() else None


def _box(cube: Image) -> list[tuple[int, int]]:
    return [(0, 0), (cube.cols, 0), (cube.cols, cube.rows), (0, cube.rows)]
