"""EnMAP L2A: orthorectified surface reflectance, GeoTIFF with METADATA.XML.

Format: EnMAP Ground Segment, "Product Specification" (EN-PCV-ICD-2009-2), DLR; the meaning of the quality layers is
that of its tables of QL_QUALITY_* and QL_PIXELMASK.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hyperfuse.cube.cube import Cube
from hyperfuse.io.encoding.options import ReadOptions
from hyperfuse.io.products.dlr import DlrScene, Gap, Layout, is_layout, open_scene, read_scene
from hyperfuse.io.products.members import Source
from hyperfuse.io.products.rasters import read_layer
from hyperfuse.io.products.reflectance import warn

_LAYOUT = Layout("EnMAP", band="bandID", width="FWHMOfBand", gain="GainOfBand", offset="OffsetOfBand")
# Bits of QL_QUALITY_TESTFLAGS: saturated, by detector.
_SATURATED = {"vnir": 1 << 5, "swir": 1 << 4}
# Layers that are not clear, and the values that say so (cirrus: thin, medium, thick).
_NOT_CLEAR = {
    "cloud": ("CLOUD", (1,)), "cloud shadow": ("CLOUDSHADOW", (1,)), "haze": ("HAZE", (1,)),
    "cirrus": ("CIRRUS", (1, 2, 3)),
}  # fmt: skip


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
    detectors = {name: _channels(scene, name) for name in _SATURATED}
    known = all(bands.any() for bands in detectors.values())

    def gaps(scene: DlrScene, size: tuple[int, int]) -> Iterator[Gap]:
        flags = scene.file("QL_QUALITY_TESTFLAGS")
        if flags is None:
            where = f"{scene.name}: QL_QUALITY_TESTFLAGS is missing in {scene.members.root}"
            warn(f"{where}; saturated pixels are not known")
        else:
            stored = read_layer(scene.members, flags, size).astype(np.int64)
            for name, bands in detectors.items():
                yield "saturated", bands if known else np.s_[:], (stored & _SATURATED[name]) != 0
        for reason, (layer, values) in _NOT_CLEAR.items() if options.quality == "clear" else ():
            stored = read_layer(scene.members, scene.required_file(f"QL_QUALITY_{layer}"), size)
            yield reason, np.s_[:], np.isin(stored, values)

    return read_scene(scene, options, gaps, detectors["vnir"] | detectors["swir"] if known else None)


def _channels(scene: DlrScene, detector: str) -> NDArray[np.bool_]:
    """Return which bands of the image are of a detector and expected to hold data; none if that is not stated."""
    text = scene.metadata.elements(f"{{*}}{detector}ProductQuality/{{*}}expectedChannelsList")
    bands = np.zeros(len(scene.bands), np.bool_)
    for number in (text[0].text or "").split(",") if text else ():
        index = scene.metadata.number(number, "expectedChannelsList") - 1
        if index not in range(bands.size):
            return np.zeros_like(bands)
        bands[int(index)] = True
    return bands
