"""EnMAP L2A: orthorectified surface reflectance, GeoTIFF with METADATA.XML.

Format: EnMAP Ground Segment, "Product Specification" (EN-PCV-ICD-2009-2), DLR; the meaning of the quality layers is
that of its tables of QL_QUALITY_* and QL_PIXELMASK.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import Grid
from hyperfuse.errors import HyperfuseWarning
from hyperfuse.io.encoding.options import ReadOptions
from hyperfuse.io.products.dlr import DlrScene, Gaps, Layout, is_layout, open_scene, read_scene
from hyperfuse.io.products.members import Source
from hyperfuse.io.products.rasters import read_bands

_LAYOUT = Layout("EnMAP", band="bandID", width="FWHMOfBand", gain="GainOfBand", offset="OffsetOfBand")
# Bits of QL_QUALITY_TESTFLAGS.
_SATURATED_SWIR, _SATURATED_VNIR = 1 << 4, 1 << 5
# Layers that are not clear, and the values that say so (cirrus: thin, medium, thick).
_NOT_CLEAR = {"CLOUD": (1,), "CLOUDSHADOW": (1,), "HAZE": (1,), "CIRRUS": (1, 2, 3)}


def is_enmap(path: Path) -> bool:
    """Return whether a METADATA.XML, or the one next to an image, is that of EnMAP."""
    return is_layout(path, _LAYOUT)


def read_enmap(source: Source, options: ReadOptions) -> Cube:
    """Read an EnMAP L2A scene, all bands in the order of the image, VNIR and SWIR where they overlap too.

    Gaps are the background and saturated pixels: there is one flag per detector, which marks all bands of it. With
    ``quality="clear"`` also clouds, their shadows, haze and cirrus. Bands that the processor did not expect are bad
    bands. Defective pixels (QL_PIXELMASK) stay, as the processor has interpolated them.

    Raises:
        InputError: a missing file, another level, a damaged image.
    """
    scene = open_scene(source, _LAYOUT)
    vnir, swir = (_channels(scene, detector) for detector in ("vnir", "swir"))
    expected = vnir | swir if vnir is not None and swir is not None else None

    def gaps(scene: DlrScene, grid: Grid) -> Gaps:
        every = np.ones(len(scene.bands), np.bool_)
        detectors = (every, every) if vnir is None or swir is None else (vnir, swir)
        return _gaps(scene, grid, detectors, options.quality == "clear")

    return read_scene(scene, _LAYOUT, options, gaps, expected)


def _channels(scene: DlrScene, detector: str) -> NDArray[np.bool_] | None:
    """Return which bands of the image are of a detector and expected to hold data, or None if that is not stated."""
    text = scene.metadata.elements(f"{{*}}{detector}ProductQuality/{{*}}expectedChannelsList")
    numbers = (text[0].text or "").split(",") if text else []
    bands = np.zeros(len(scene.bands), np.bool_)
    for number in numbers:
        index = scene.metadata.number(number, "expectedChannelsList") - 1
        if index not in range(bands.size):
            return None
        bands[int(index)] = True
    return bands if bands.any() else None


def _gaps(scene: DlrScene, grid: Grid, detectors: tuple[NDArray[np.bool_], NDArray[np.bool_]], clear: bool) -> Gaps:
    masks, reasons = [], []
    size = (grid.rows, grid.cols)
    flags = scene.file("QL_QUALITY_TESTFLAGS")
    if flags is None:
        warnings.warn(
            f"{scene.name}: QL_QUALITY_TESTFLAGS is missing in {scene.members.root}; saturated pixels are not known",
            HyperfuseWarning,
            stacklevel=2,
        )
    else:
        stored = read_bands(scene.members, flags, [1], size)[0]
        for bands, bit in zip(detectors, (_SATURATED_VNIR, _SATURATED_SWIR), strict=True):
            masks.append((bands, (stored.astype(np.int64) & bit) != 0))
        reasons.append("saturated")
    if clear:
        every = np.ones(len(scene.bands), np.bool_)
        for layer, values in _NOT_CLEAR.items():
            stored = read_bands(scene.members, scene.required_file(f"QL_QUALITY_{layer}"), [1], size)[0]
            masks.append((every, np.isin(stored, values)))
        reasons += ["cloud", "cloud shadow", "haze", "cirrus"]
    return Gaps(masks, reasons)
