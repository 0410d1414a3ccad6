"""Styles that QGIS applies when it opens an image: which bands it paints, and from which value to which."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, indent, tostring

import numpy as np
from numpy.typing import NDArray

from hyperfuse.cube.display import choose_display, colour_bands
from hyperfuse.cube.header import CubeHeader
from hyperfuse.cube.window import Window
from hyperfuse.errors import InputError
from hyperfuse.io.encoding.atomic import replacing
from hyperfuse.io.formats.registry import format_of, split_variable
from hyperfuse.io.windows.open import open_windows
from hyperfuse.io.windows.source import WindowSource

_CUT = (0.02, 0.98)  # QGIS's own default of a cumulative cut
# Values are taken from windows of this side, at most this many along each axis.
_SIDE, _WINDOWS = 256, 4
_SUFFIX = ".qml"


def write_qgis_style(image: str | Path) -> Path:
    """Write the style of an image next to it, by which QGIS (3.22 and later) shows it when it is opened.

    Red, green and blue are the bands nearest to 650, 560 and 470 nm, else those that show it best; an image of one or
    two bands is grey. Colours reach from the 2nd to the 98th percentile of the values of each band, taken from up to
    16 windows of a large image. Another style of the same name is replaced.

    Args:
        image: a raster that GDAL opens, such as GeoTIFF or ENVI.

    Returns:
        The style's file, ``image`` with the extension ``.qml``.

    Raises:
        InputError: not such a raster.

    Example:
        >>> import numpy, tempfile
        >>> from hyperfuse.cube.cube import Cube
        >>> from hyperfuse.io import write
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder) / "a.tif"
        ...     write(file, Cube(data=numpy.ones((3, 4, 5)), wavelengths=[470, 560, 650]))
        ...     write_qgis_style(file).name
        'a.qml'
    """
    file, _ = split_variable(image)
    entry = format_of(file)
    if entry is None or not entry.reader.startswith("raster:"):
        raise InputError(f"{file}: QGIS takes a style for GeoTIFF and ENVI; write .tif or .img", "style")
    with closing(open_windows(file)) as source:
        bands = _bands(source)
    with closing(open_windows(file, bands=",".join(str(band + 1) for band in dict.fromkeys(bands)))) as source:
        limits = _limits(source)
    with replacing(path := file.with_suffix(_SUFFIX)) as scratch:
        scratch.write_text(_document(bands, limits), "utf-8")
    return path


def _bands(source: WindowSource) -> tuple[int, ...]:
    """Return the bands for red, green and blue, or the one that is shown grey (indices from 0)."""
    header = source.header
    if header.bands < 3:
        return (0,)
    stated = colour_bands(header.wavelengths, header.good_bands)
    if stated is not None:
        return stated
    side = min(64, header.rows, header.cols)
    centre = Window((header.rows - side) // 2, (header.cols - side) // 2, side, side)
    return choose_display(source.read(centre)).bands


def _limits(source: WindowSource) -> NDArray[np.float64]:
    """Return the values between which each band of a source is stretched, (bands, 2)."""
    parts = [source.read(window).data.reshape(source.header.bands, -1) for window in _windows(source.header)]
    limits = []
    for values in np.concatenate(parts, axis=1).astype(np.float64):
        known = values[np.isfinite(values)]
        low, high = np.quantile(known, _CUT) if known.size else (0.0, 1.0)
        limits.append((low, high if high > low else low + 1.0))
    return np.array(limits)


def _windows(header: CubeHeader) -> list[Window]:
    """Return windows that are spread evenly over an image, all of a small one."""
    rows, cols = _starts(header.rows), _starts(header.cols)
    height, width = min(_SIDE, header.rows), min(_SIDE, header.cols)
    return [
        Window(row, col, min(height, header.rows - row), min(width, header.cols - col)) for row in rows for col in cols
    ]


def _starts(size: int) -> list[int]:
    count = min(_WINDOWS, -(-size // _SIDE))
    if size <= _SIDE * _WINDOWS:
        return [index * _SIDE for index in range(count)]
    return [round(start) for start in np.linspace(0, size - _SIDE, count).tolist()]


def _document(bands: Sequence[int], limits: NDArray[np.float64]) -> str:
    """Return the style as QGIS writes it; elements and attributes that it does not need are left out."""
    root = Element("qgis", version="3.22.0", styleCategories="Symbology")
    pipe = SubElement(root, "pipe")
    coloured = len(bands) == 3
    renderer = SubElement(
        pipe,
        "rasterrenderer",
        {"type": "multibandcolor" if coloured else "singlebandgray", "opacity": "1", "alphaBand": "-1"},
    )
    SubElement(renderer, "rasterTransparency")
    origin = SubElement(renderer, "minMaxOrigin")
    for name, text in (
        ("limits", "CumulativeCut"),
        ("extent", "WholeRaster"),
        ("statAccuracy", "Estimated"),
        ("cumulativeCutLower", f"{_CUT[0]:g}"),
        ("cumulativeCutUpper", f"{_CUT[1]:g}"),
        ("stdDevFactor", "2"),
    ):
        SubElement(origin, name).text = text
    by_band = dict(zip(dict.fromkeys(bands), limits.tolist(), strict=True))
    names = ("red", "green", "blue") if coloured else ("gray",)
    for name, band in zip(names, bands, strict=True):
        renderer.set(f"{name}Band", str(band + 1))
        stretch = SubElement(renderer, f"{name}ContrastEnhancement" if coloured else "contrastEnhancement")
        for key, value in zip(("minValue", "maxValue"), by_band[band], strict=True):
            SubElement(stretch, key).text = f"{value:.9g}"
        SubElement(stretch, "algorithm").text = "StretchToMinimumMaximum"
    if not coloured:
        renderer.set("gradient", "BlackToWhite")
    indent(root)
    return f"<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n{tostring(root, 'unicode')}\n"
