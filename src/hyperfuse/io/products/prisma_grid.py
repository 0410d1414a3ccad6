"""The grids of PRISMA L2D: of the hyperspectral image and of the panchromatic one."""

from __future__ import annotations

import h5py
import numpy as np
from affine import Affine
from rasterio.warp import transform

from hyperfuse.cube.crs import crs_text, parse_crs
from hyperfuse.cube.header import Grid
from hyperfuse.io.products import hdf5
from hyperfuse.io.products.reflectance import warn

SWATHS = "HDFEOS/SWATHS"
HSI_PIXEL, PAN_PIXEL = 30.0, 5.0
_PCO = f"{SWATHS}/PRS_L2D_PCO/Geolocation Fields"
_PROBES = 5


def hsi_grid(file: h5py.File, size: tuple[int, int], where: str) -> Grid:
    """Return the grid of the hyperspectral image: the corners that the file states are centres of its pixels."""
    rows, cols = size
    west, north, east, south = _corners(file)
    spans = ((east - west) - (cols - 1) * HSI_PIXEL, (north - south) - (rows - 1) * HSI_PIXEL)
    if max(map(abs, spans)) > HSI_PIXEL / 2:
        warn(
            f"{where}: its corners are {east - west:g} x {north - south:g} m apart, which does not fit {cols} x {rows}"
            f" pixels of {HSI_PIXEL:g} m; the upper left one is used"
        )
    edge = HSI_PIXEL / 2
    return Grid(rows, cols, Affine(HSI_PIXEL, 0.0, west - edge, 0.0, -HSI_PIXEL, north + edge), _crs(file))


def pan_grid(file: h5py.File, size: tuple[int, int], where: str) -> Grid:
    """Return the grid of the panchromatic image.

    The file states one set of corners for both images. That they are centres of pixels holds for one of them: either
    the first pixel of the PAN has its centre there, or its edges are those of the hyperspectral image, 12.5 m off.
    Its own latitudes and longitudes decide; without them the former is taken, with a warning.
    """
    rows, cols = size
    west, north, _, _ = _corners(file)
    crs = _crs(file)
    centred = (west - PAN_PIXEL / 2, north + PAN_PIXEL / 2)
    edged = (west - HSI_PIXEL / 2, north + HSI_PIXEL / 2)
    corner = centred
    measured = _measured(file, size, crs)
    offset = (HSI_PIXEL - PAN_PIXEL) / 2
    if measured is None:
        warn(
            f"{where}: the panchromatic image has no latitudes and longitudes, so that it is not known whether its"
            f" first pixel or its edge is at the corner that the file states; it may lie {offset:g} m off"
        )
    else:
        away = [float(np.hypot(measured[0] - x, measured[1] - y)) for x, y in (centred, edged)]
        corner = centred if away[0] <= away[1] else edged
        if min(away) > offset / 2:
            warn(
                f"{where}: the latitudes and longitudes of the panchromatic image lie {min(away):.3g} m from the corner"
                " that the file states, which is used"
            )
    return Grid(rows, cols, Affine(PAN_PIXEL, 0.0, corner[0], 0.0, -PAN_PIXEL, corner[1]), crs)


def _measured(file: h5py.File, size: tuple[int, int], crs: str | None) -> tuple[float, float] | None:
    """Return where the corner of the PAN lies by the latitudes and longitudes of some of its pixels."""
    if crs is None or not hdf5.holds(file, f"{_PCO}/Latitude", f"{_PCO}/Longitude"):
        return None
    latitude, longitude = (hdf5.dataset(file, f"{_PCO}/{name}", 2) for name in ("Latitude", "Longitude"))
    if latitude.shape != size or longitude.shape != size:
        return None
    found = []
    for row in np.linspace(0, size[0] - 1, _PROBES).astype(int):
        cols = np.linspace(0, size[1] - 1, _PROBES).astype(int)
        lat, lon = (hdf5.stored(item, np.s_[row : row + 1])[0, cols].astype(float) for item in (latitude, longitude))
        known = (np.abs(lat) <= 90) & (np.abs(lon) <= 360) & ((lat != 0) | (lon != 0))
        if known.any():
            x, y = transform(parse_crs("EPSG:4326"), parse_crs(crs), lon[known], lat[known])
            found.append(np.stack([x - PAN_PIXEL * (cols[known] + 0.5), y + PAN_PIXEL * (row + 0.5)]))
    if not found:
        return None
    x, y = np.median(np.concatenate(found, axis=1), axis=1).tolist()
    return x, y


def _corners(file: h5py.File) -> tuple[float, float, float, float]:
    """Return west, north, east and south of the corners that a file states."""

    def corners(names: str, axis: str) -> list[float]:
        return [hdf5.number(file, f"Product_{name}corner_{axis}") for name in names.split()]

    west, east = min(corners("UL LL", "easting")), max(corners("UR LR", "easting"))
    return west, max(corners("UL UR", "northing")), east, min(corners("LL LR", "northing"))


def _crs(file: h5py.File) -> str | None:
    return crs_text(parse_crs(f"EPSG:{hdf5.number(file, 'Epsg_Code'):.0f}"))
