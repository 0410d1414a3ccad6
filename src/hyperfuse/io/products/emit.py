"""EMIT L2A RFL: surface reflectance of EMIT on the ISS in sensor geometry, netCDF-4, put on its map grid.

Format: NASA LP DAAC / JPL, "EMIT L2A Estimated Surface Reflectance and Uncertainty and Masks 60 m" (EMITL2ARFL) User
Guide, with the geometry lookup table (GLT) of its group ``location``; the MASK file is of the same product.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from affine import Affine
from numpy.typing import NDArray

from hyperfuse.cube.crs import crs_text, parse_crs
from hyperfuse.cube.cube import Cube
from hyperfuse.cube.wavelengths import to_nanometres
from hyperfuse.errors import InputError
from hyperfuse.io.encoding.coding import BandCoding
from hyperfuse.io.encoding.damage import damage_reported
from hyperfuse.io.encoding.options import ReadOptions
from hyperfuse.io.products import hdf5
from hyperfuse.io.products.members import Source, match
from hyperfuse.io.products.names import EMIT_RADIANCE, EMIT_REFLECTANCE
from hyperfuse.io.products.reflectance import Reflectance, check_size, in_blocks, selected_bands

_VALUES = "reflectance"
_LOCATION = "location"
_BANDS = "sensor_band_parameters"
_FILL = -9999.0
_NOT_CLEAR = ("cloud flag", "cirrus flag")


def is_emit(path: Path) -> bool:
    """Return whether a file is EMIT reflectance with its lookup table."""
    return hdf5.recognised(path, lambda file: hdf5.holds(file, _VALUES, f"{_LOCATION}/glt_x", f"{_BANDS}/wavelengths"))


def read_emit(source: Source, options: ReadOptions) -> Cube:
    """Read an EMIT L2A reflectance file and take each pixel of its map grid from the nearest one of the sensor.

    Gaps are the pixels of the grid outside the swath, and the fill value; with ``quality="clear"`` also what the MASK
    file next to it flags as cloud, dilated cloud or cirrus. ``good_wavelengths`` are the good bands.

    Raises:
        InputError: another level, a damaged file, a lookup table that leaves the image, or no MASK file where needed.
    """
    path = _file(source)
    with hdf5.opened(path) as file:
        if not hdf5.holds(file, _VALUES) and hdf5.holds(file, "radiance"):
            raise InputError("is EMIT L1B (radiance at the sensor); take EMIT_L2A_RFL, which holds reflectance")
        item = hdf5.dataset(file, _VALUES, 3)
        columns, lines = (_lookup(file, name) for name in ("glt_x", "glt_y"))
        if columns.shape != lines.shape:
            raise InputError(f"its lookup tables have other shapes: {columns.shape} and {lines.shape}")
        covered = (columns > 0) & (lines > 0)
        if not covered.any():
            raise InputError("its lookup table (location/glt_x, glt_y) places no pixel")
        if columns.max() > item.shape[1] or lines.max() > item.shape[0] or min(columns.min(), lines.min()) < 0:
            raise InputError(f"its lookup table leaves the image of {item.shape[0]} x {item.shape[1]} pixels")
        pixels = (lines[covered] - 1, columns[covered] - 1)
        masked = ~covered
        gaps = ["no data"]
        if options.quality == "clear":
            masked[covered] = _clouds(path, source, item.shape[:2])[pixels]
            gaps += ["cloud", "cirrus"]
        index = selected_bands(options, item.shape[2])
        reflectance = Reflectance((len(index), *covered.shape), options, path.name)
        fill = _fill_value(item)
        for window, block in in_blocks(index):
            grid = np.full((len(block), *covered.shape), fill, item.dtype)
            grid[:, covered] = np.moveaxis(_read_bands(item, block)[pixels], 1, 0)
            reflectance.put(window, grid, BandCoding(nodata=(fill,), masked=masked))
        transform, crs = _placement(file)
        return reflectance.cube(
            "EMIT L2A",
            path.stem,
            gaps,
            {
                "sensor": "EMIT",
                "start_time": hdf5.text(file, "time_coverage_start"),
                "stop_time": hdf5.text(file, "time_coverage_end"),
            },
            steps={"orthorectified": "GLT, nearest pixel"},
            transform=transform,
            crs=crs,
            **_spectral(file, index, item.shape[2], path.name),
        )


def _file(source: Source) -> Path:
    radiance = source.members.find(EMIT_RADIANCE)
    if source.chosen is None and radiance and not source.members.find(EMIT_REFLECTANCE):
        return source.members.root / radiance[0]
    return source.path(EMIT_REFLECTANCE, "EMIT_L2A_RFL_*.nc")


def _lookup(file: h5py.File, name: str) -> NDArray[np.int64]:
    item = hdf5.dataset(file, f"{_LOCATION}/{name}", 2)
    check_size(*item.shape)
    if item.dtype.kind not in "iu":
        raise InputError(f"{_LOCATION}/{name} holds {item.dtype}, not whole numbers")
    return hdf5.stored(item).astype(np.int64)


def _fill_value(item: h5py.Dataset) -> float:
    stated = np.asarray(hdf5.attribute(item, "_FillValue")).ravel()
    return float(stated[0]) if stated.size and stated.dtype.kind in "fiu" else _FILL


def _read_bands(item: h5py.Dataset, bands: list[int]) -> NDArray[Any]:
    """Return bands in the given order, shape (downtrack, crosstrack, len(bands))."""
    chosen, order = np.unique(bands, return_inverse=True)
    low, high = int(chosen[0]), int(chosen[-1]) + 1
    # h5py is much faster with slices than with lists.
    bands_read = np.s_[low:high] if high - low == chosen.size else chosen
    return hdf5.stored(item, np.s_[:, :, bands_read])[:, :, order]


def _spectral(file: h5py.File, index: list[int], count: int, where: str) -> dict[str, Any]:
    def column(name: str) -> NDArray[Any] | None:
        if not hdf5.holds(file, f"{_BANDS}/{name}"):
            return None
        values = hdf5.stored(hdf5.dataset(file, f"{_BANDS}/{name}", 1))
        if values.size != count:
            raise InputError(f"{_BANDS}/{name} has {values.size} entries for {count} bands")
        return values[index]

    unit = hdf5.attribute(hdf5.dataset(file, f"{_BANDS}/wavelengths", 1), "units")
    centres, widths = to_nanometres(
        column("wavelengths"), hdf5.plain_text("nm" if unit is None else unit), column("fwhm"), where=where
    )
    good = column("good_wavelengths")
    return {"wavelengths": centres, "fwhm": widths, "good_bands": None if good is None else good != 0}


def _placement(file: h5py.File) -> tuple[Affine, str | None]:
    values = hdf5.numbers(file, "geotransform")
    if values.size != 6 or values[1] * values[5] == values[2] * values[4]:
        raise InputError(f"its attribute geotransform holds {values.tolist()}, not the six numbers of a grid")
    c, a, b, f, d, e = (float(value) for value in values)
    crs = hdf5.text(file, "spatial_ref")
    return Affine(a, b, c, d, e, f), crs_text(parse_crs(crs or "EPSG:4326"))


def _clouds(path: Path, source: Source, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return where the MASK file next to a reflectance file flags clouds or cirrus, in sensor geometry."""
    named = match(EMIT_REFLECTANCE, path.name)
    scene = named["scene"] if named else None
    pattern = rf"EMIT_L2A_MASK_\d+_{'.+' if scene is None else re.escape(scene)}\.nc"
    mask = source.members.find_one(pattern, f"EMIT_L2A_MASK_*_{scene or '*'}.nc (quality='clear' needs it)")
    with hdf5.opened(source.members.root / mask) as file:
        item = hdf5.dataset(file, "mask", 3)
        labels = hdf5.optional(file, f"{_BANDS}/mask_bands")
        with damage_reported(f"{mask} {hdf5.DAMAGED}"):
            texts = [] if labels is None else [hdf5.plain_text(text) for text in np.asarray(labels[()]).ravel()]
        flags = [index for index, text in enumerate(texts) if any(flag in text.lower() for flag in _NOT_CLEAR)]
        if not flags or max(flags) >= item.shape[2]:
            raise InputError(f"{mask} names no flags of clouds ({_BANDS}/mask_bands)")
        if item.shape[:2] != size:
            raise InputError(f"{mask} has {item.shape[0]} x {item.shape[1]} pixels, not {size[0]} x {size[1]}")
        return np.asarray((_read_bands(item, flags) == 1).any(axis=2))
