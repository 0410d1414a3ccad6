"""EnMAP L2A: orthorectified surface reflectance, GeoTIFF with METADATA.XML.

Format: EnMAP Ground Segment, "Product Specification" (EN-PCV-ICD-2009-2), DLR; the meaning of the quality layers is
that of its tables of QL_QUALITY_* and QL_PIXELMASK.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperfuse.io.encoding.options import ReadOptions
from hyperfuse.io.products.dlr import DlrScene, Layout, is_layout, open_scene, scene_image
from hyperfuse.io.products.image import ProductImage
from hyperfuse.io.products.members import Source
from hyperfuse.io.products.rasters import QualityLayer
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


def open_enmap(source: Source, options: ReadOptions) -> ProductImage:
    """Open an EnMAP L2A scene, all bands in the order of the image, VNIR and SWIR where they overlap too.

    Gaps are the background and saturated pixels: there is one flag per detector, which marks all bands of it. With
    ``quality="clear"`` also clouds, their shadows, haze and cirrus. Bands that the processor did not expect are bad
    bands. Defective pixels (QL_PIXELMASK) stay, as the processor has interpolated them.

    Raises:
        InputError: a missing file, another level, a damaged image.
    """
    scene = open_scene(source, _LAYOUT)
    detectors = {name: _channels(scene, name) for name in _SATURATED}
    known = all(bands.any() for bands in detectors.values())
    layers: list[tuple[str, QualityLayer]] = []
    flags = scene.file("QL_QUALITY_TESTFLAGS")
    if flags is None:
        where = f"{scene.name}: QL_QUALITY_TESTFLAGS is missing in {scene.members.root}"
        warn(f"{where}; saturated pixels are not known")
    else:
        for name, bands in detectors.items():
            concerned = frozenset(np.flatnonzero(bands).tolist()) if known else None
            layers.append(("saturated", QualityLayer(flags, partial(_has_bit, _SATURATED[name]), bands=concerned)))
    for reason, (layer, values) in _NOT_CLEAR.items() if options.quality == "clear" else ():
        file = scene.required_file(f"QL_QUALITY_{layer}")
        layers.append((reason, QualityLayer(file, partial(np.isin, test_elements=values))))
    good = detectors["vnir"] | detectors["swir"] if known else None
    return scene_image(scene, options, layers, good, _names(*detectors.values()) if known else ())


def _names(vnir: NDArray[np.bool_], swir: NDArray[np.bool_]) -> tuple[str, ...]:
    """Return names of the bands that state their detector; none where one is of both."""
    if (vnir & swir).any():
        return ()
    expected, every = np.flatnonzero(vnir | swir), np.arange(vnir.size)
    # Bands that are not expected hold no data: the name of the nearest that is will do.
    nearest = expected[np.abs(every[:, None] - expected).argmin(axis=1)]
    return tuple(f"{'VNIR' if vnir[near] else 'SWIR'} {band + 1}" for band, near in enumerate(nearest))


def _has_bit(bit: int, flags: NDArray[Any]) -> NDArray[np.bool_]:
    return np.asarray((flags.astype(np.int64) & bit) != 0)


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
