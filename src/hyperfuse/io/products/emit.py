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
from numpy.typing import NDArray

from hyperfuse.cube.crs import crs_text, parse_crs
from hyperfuse.cube.cube import Cube, Transform
from hyperfuse.cube.wavelengths import to_nanometres
from hyperfuse.errors import InputError
from hyperfuse.io.encoding.coding import Coding
from hyperfuse.io.encoding.damage import damage_told
from hyperfuse.io.encoding.options import ReadOptions
from hyperfuse.io.products import hdf5_parts as parts
from hyperfuse.io.products.registry import Source
from hyperfuse.io.products.values import Values, check_size, chosen_bands, history_step, known

_VALUES = "reflectance"
_LOCATION = "location"
_BANDS = "sensor_band_parameters"
_FILL = -9999.0
_BLOCK = 16
_NOT_CLEAR = re.compile(r"cloud flag|cirrus flag", re.IGNORECASE)


def is_emit(path: Path) -> bool:
    """Return whether a file is EMIT reflectance with its lookup table."""
    return parts.contains(path, _VALUES, f"{_LOCATION}/glt_x", f"{_BANDS}/wavelengths")


def read_emit(source: Source, options: ReadOptions) -> Cube:
    """Read an EMIT L2A reflectance file and put each pixel of its map grid from the nearest one of the sensor.

    Gaps are the cells of the grid that the sensor did not see, and the fill value; with ``quality="clear"`` also what
    the MASK file beside it flags as cloud, dilated cloud or cirrus. ``good_wavelengths`` are the good bands.

    Raises:
        InputError: another level, a damaged file, a lookup table that leaves the image, or no MASK file where needed.
    """
    path = _file(source)
    with parts.opened(path) as file:
        if not parts.holds(file, _VALUES) and parts.holds(file, "radiance"):
            raise InputError("is EMIT L1B (radiance at the sensor); take EMIT_L2A_RFL, which holds reflectance")
        item = parts.dataset(file, _VALUES, 3)
        columns, lines = (_lookup(file, name) for name in ("glt_x", "glt_y"))
        if columns.shape != lines.shape:
            raise InputError(f"its lookup tables have other shapes: {columns.shape} and {lines.shape}")
        seen = (columns > 0) & (lines > 0)
        if not seen.any():
            raise InputError("its lookup table (location/glt_x, glt_y) places no pixel")
        if columns.max() > item.shape[1] or lines.max() > item.shape[0] or min(columns.min(), lines.min()) < 0:
            raise InputError(f"its lookup table leaves the image of {item.shape[0]} x {item.shape[1]} pixels")
        picked = (lines[seen] - 1, columns[seen] - 1)
        masked = ~seen
        told = ["no data"]
        if options.quality == "clear":
            masked[seen] = _clouds(path, source, item.shape[:2])[picked]
            told += ["cloud", "cirrus"]
        index = chosen_bands(options, item.shape[2])
        values = Values((len(index), *seen.shape), options, path.name)
        fill = _fill_value(item)
        for start in range(0, len(index), _BLOCK):
            part = index[start : start + _BLOCK]
            grid = np.full((len(part), *seen.shape), fill, item.dtype)
            grid[:, seen] = np.moveaxis(_read_bands(item, part)[picked], 1, 0)
            coding = Coding(nodata=(fill,), masked=masked)
            values.put(np.s_[start : start + len(part)], *values.decode(grid, coding))
        transform, crs = _placement(file)
        return Cube(
            **values.fields(),
            **_spectral(file, index, item.shape[2], path.name),
            transform=transform,
            crs=crs,
            attributes=known(
                {
                    "sensor": "EMIT",
                    "scene": path.stem,
                    "start_time": parts.text(file, "time_coverage_start"),
                    "stop_time": parts.text(file, "time_coverage_end"),
                }
            ),
            history=(history_step("EMIT L2A", path.stem, told, options, orthorectified="GLT, nearest pixel"),),
        )


def _file(source: Source) -> Path:
    members = source.members
    if source.chosen is not None:
        return members.root / source.chosen
    reflectance = members.find(r"EMIT_L2A_RFL_.*\.nc")
    others = members.find(r"EMIT_L1B_RAD_.*\.nc")
    if not reflectance and others:
        return members.root / others[0]
    return members.root / members.find_one(r"EMIT_L2A_RFL_.*\.nc", "EMIT_L2A_RFL_*.nc")


def _lookup(file: h5py.File, name: str) -> NDArray[np.int64]:
    item = parts.dataset(file, f"{_LOCATION}/{name}", 2)
    check_size(*item.shape)
    if item.dtype.kind not in "iu":
        raise InputError(f"{_LOCATION}/{name} holds {item.dtype}, not whole numbers")
    return parts.stored(item).astype(np.int64)


def _fill_value(item: h5py.Dataset) -> float:
    with damage_told(parts.DAMAGED):
        stated = np.asarray(item.attrs.get("_FillValue", _FILL)).ravel()
    return float(stated[0]) if stated.size and stated.dtype.kind in "fiu" else _FILL


def _read_bands(item: h5py.Dataset, bands: list[int]) -> NDArray[Any]:
    """Return bands in the given order, shape (downtrack, crosstrack, len(bands))."""
    chosen, order = np.unique(bands, return_inverse=True)
    low, high = int(chosen[0]), int(chosen[-1]) + 1
    if high - low == chosen.size:
        return parts.stored(item, np.s_[:, :, low:high])[:, :, order]
    return parts.stored(item, np.s_[:, :, chosen])[:, :, order]


def _spectral(file: h5py.File, index: list[int], count: int, where: str) -> dict[str, Any]:
    def column(name: str) -> NDArray[Any] | None:
        if not parts.holds(file, f"{_BANDS}/{name}"):
            return None
        values = parts.stored(parts.dataset(file, f"{_BANDS}/{name}", 1))
        if values.size != count:
            raise InputError(f"{_BANDS}/{name} has {values.size} entries for {count} bands")
        return values[index]

    with damage_told(parts.DAMAGED):
        wavelengths = parts.dataset(file, f"{_BANDS}/wavelengths", 1)
        unit = wavelengths.attrs.get("units", "nm")
    centres, widths = to_nanometres(column("wavelengths"), parts.plain_text(unit), column("fwhm"), where=where)
    good = column("good_wavelengths")
    return {"wavelengths": centres, "fwhm": widths, "good_bands": None if good is None else good != 0}


def _placement(file: h5py.File) -> tuple[Transform, str | None]:
    c, a, b, f, d, e = _six(parts.numbers(file, "geotransform"))
    crs = parts.text(file, "spatial_ref")
    return (a, b, c, d, e, f), crs_text(parse_crs(crs or "EPSG:4326"))


def _six(values: NDArray[np.float64]) -> tuple[float, float, float, float, float, float]:
    if values.size != 6 or values[1] * values[5] == values[2] * values[4]:
        raise InputError(f"its attribute geotransform holds {values.tolist()}, not the six numbers of a grid")
    c, a, b, f, d, e = (float(value) for value in values)
    return c, a, b, f, d, e


def _clouds(path: Path, source: Source, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return where the MASK file beside a reflectance file flags clouds or cirrus, in sensor geometry."""
    name = re.fullmatch(r"EMIT_L2A_RFL_\d+_(.+)\.nc", path.name, re.IGNORECASE)
    scene = "*" if name is None else name[1]
    pattern = rf"EMIT_L2A_MASK_\d+_{'.+' if name is None else re.escape(scene)}\.nc"
    mask = source.members.find_one(pattern, f"EMIT_L2A_MASK_*_{scene}.nc (quality='clear' needs it)")
    with parts.opened(source.members.root / mask) as file:
        item = parts.dataset(file, "mask", 3)
        labels = parts.optional(file, f"{_BANDS}/mask_bands")
        with damage_told(f"{mask} {parts.DAMAGED}"):
            named = [] if labels is None else [parts.plain_text(text) for text in np.asarray(labels[()]).ravel()]
        flags = [place for place, text in enumerate(named) if _NOT_CLEAR.search(text)]
        if not flags or max(flags) >= item.shape[2]:
            raise InputError(f"{mask} names no flags of clouds ({_BANDS}/mask_bands)")
        if item.shape[:2] != size:
            raise InputError(f"{mask} has {item.shape[0]} x {item.shape[1]} pixels, not {size[0]} x {size[1]}")
        return np.asarray((_read_bands(item, flags) == 1).any(axis=2))
