"""DESIS L2A: orthorectified surface reflectance of DESIS on the ISS, GeoTIFF with METADATA.xml.

Format: DLR, "DESIS Product Specification" (PAV-DLR-ICD-003), L2A products and their QL_QUALITY-2 layers.
"""

from __future__ import annotations

from pathlib import Path

from hyperfuse.io.encoding.options import ReadOptions
from hyperfuse.io.products.dlr import Layout, is_layout, open_scene, scene_image
from hyperfuse.io.products.image import ProductImage
from hyperfuse.io.products.members import Source
from hyperfuse.io.products.rasters import QualityLayer

_LAYOUT = Layout("DESIS", band="band", width="wavelengthWidthOfBand", gain="gainOfBand", offset="offsetOfBand")
# Bands of QL_QUALITY-2, counted from 1; haze and cloud: over land, over water (2 is land, 3 snow, 8 water).
_NOT_CLEAR = {"shadow": (1,), "haze": (4, 5), "cloud": (6, 7)}


def is_desis(path: Path) -> bool:
    """Return whether a METADATA.xml, or the one next to an image, is that of DESIS."""
    return is_layout(path, _LAYOUT)


def open_desis(source: Source, options: ReadOptions) -> ProductImage:
    """Open a DESIS L2A scene, all bands in the order of the image.

    Gaps are the background; with ``quality="clear"`` also shadows, haze and clouds. The flags of single bands in
    QL_QUALITY are not used.

    Raises:
        InputError: a missing file, another level, a damaged image.
    """
    scene = open_scene(source, _LAYOUT)
    layers: list[tuple[str, QualityLayer]] = []
    if options.quality == "clear":
        file = scene.required_file("QL_QUALITY-2")
        layers = [
            (reason, QualityLayer(file, lambda flags: flags == 1, number))
            for reason, numbers in _NOT_CLEAR.items()
            for number in numbers
        ]
    return scene_image(scene, options, layers)
