"""DESIS L2A: orthorectified surface reflectance of DESIS on the ISS, GeoTIFF with METADATA.xml.

Format: DLR, "DESIS Product Specification" (PAV-DLR-ICD-003), L2A products and their QL_QUALITY-2 layers.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import Grid
from hyperfuse.io.encoding.options import ReadOptions
from hyperfuse.io.products.dlr import DlrScene, Gaps, Layout, is_layout, open_scene, read_scene
from hyperfuse.io.products.members import Source
from hyperfuse.io.products.rasters import read_bands

_LAYOUT = Layout("DESIS", band="band", width="wavelengthWidthOfBand", gain="gainOfBand", offset="offsetOfBand")
# Bands of QL_QUALITY-2, counted from 1: shadow, land, snow, haze over land and water, cloud over land and water, water.
_NOT_CLEAR = (1, 4, 5, 6, 7)


def is_desis(path: Path) -> bool:
    """Return whether a METADATA.xml, or the one next to an image, is that of DESIS."""
    return is_layout(path, _LAYOUT)


def read_desis(source: Source, options: ReadOptions) -> Cube:
    """Read a DESIS L2A scene, all bands in the order of the image.

    Gaps are the background; with ``quality="clear"`` also shadows, haze and clouds. The flags of single bands in
    QL_QUALITY are not used.

    Raises:
        InputError: a missing file, another level, a damaged image.
    """

    def gaps(scene: DlrScene, grid: Grid) -> Gaps:
        if options.quality != "clear":
            return Gaps((), ())
        stored = read_bands(scene.members, scene.required_file("QL_QUALITY-2"), _NOT_CLEAR, (grid.rows, grid.cols))
        every = np.ones(len(scene.bands), np.bool_)
        return Gaps([(every, (stored == 1).any(axis=0))], ["shadow", "haze", "cloud"])

    return read_scene(open_scene(source, _LAYOUT), _LAYOUT, options, gaps)
