"""Gaofen and Ziyuan as delivered: images in sensor geometry, placed by rational polynomials (RPC) alone: refused.

The hyperspectral AHSI of GF5, GF5B, ZY1E and ZY1F, and the cameras of GF1 and GF6. Once orthorectified, such a file
has a CRS and is read as any other GeoTIFF.
"""

from __future__ import annotations

from pathlib import Path

from hyperfuse.cube.crs import ORTHORECTIFIED
from hyperfuse.errors import InputError
from hyperfuse.io.encoding.options import ReadOptions
from hyperfuse.io.formats.gdal import open_raster
from hyperfuse.io.products.image import ProductImage
from hyperfuse.io.products.members import Source


def is_gaofen(path: Path) -> bool:
    """Return whether an image has no CRS, which its name lets expect; damage is reported where it is read."""
    try:
        with open_raster(path) as raster:
            return raster.crs is None
    except InputError:
        return False


def open_gaofen(source: Source, _options: ReadOptions) -> ProductImage:
    """Refuse an image in sensor geometry.

    Raises:
        InputError: always; what has to be done first.
    """
    raise InputError(
        f"{source.chosen or 'it'} is in sensor geometry, placed by its RPCs (.rpb) alone; {ORTHORECTIFIED}, VN and SW"
        " apart, apply the calibration of its sidecar files, which is not read, and pass the result"
    )
