"""PRISMA L2D: geocoded surface reflectance, HDF-EOS5 (``.he5``).

Format: ASI, "PRISMA Products Specification Document" (ASI / Planetek, issue 2.3), L2D: the HCO cubes, the error
matrices, and the attributes of the file.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from hyperfuse.cube.crs import crs_text, parse_crs
from hyperfuse.cube.cube import Cube, Transform
from hyperfuse.errors import HyperfuseWarning, InputError
from hyperfuse.io.encoding.coding import Coding
from hyperfuse.io.encoding.damage import damage_told
from hyperfuse.io.encoding.options import ReadOptions
from hyperfuse.io.products import hdf5_parts as parts
from hyperfuse.io.products.registry import Source
from hyperfuse.io.products.values import Values, chosen_bands, history_step, known

_SWATHS = "HDFEOS/SWATHS"
_FIELDS = f"{_SWATHS}/PRS_L2D_HCO/Data Fields"
_PIXEL = 30.0
_LARGEST_CODE = 65535
_ROWS = 64
# Error matrix: 1 invalid in L1, 2 negative after the atmospheric correction (clipped, kept), 3 saturated.
_INVALID, _SATURATED = 1, 3


@dataclass(frozen=True)
class _Band:
    """A band of one of the cubes: its place there, centre and width in nm, and whether it is flagged as good."""

    cube: int
    place: int
    centre: float
    width: float
    good: bool
    name: str


@dataclass(frozen=True)
class _Detector:
    """The cube of a spectrometer, shape (rows, bands, cols), its error matrix, and value = scale * stored + offset."""

    values: h5py.Dataset
    errors: h5py.Dataset | None
    scale: float
    offset: float


def is_prisma(path: Path) -> bool:
    """Return whether a file holds swaths of PRISMA, of any level."""
    if not parts.contains(path, _SWATHS):
        return False
    try:
        with parts.opened(path) as file, damage_told(parts.DAMAGED):
            return any(str(name).startswith("PRS_L") for name in file[_SWATHS])
    except InputError:
        return False


def read_prisma(source: Source, options: ReadOptions) -> Cube:
    """Read a PRISMA L2D file: the bands of VNIR, then those of SWIR, each by rising wavelength, overlap included.

    Bands that were not acquired (centre 0) are left out. Gaps are the pixels outside the swath (0 in all bands), and
    values that the error matrices call invalid or saturated; negative values, which the processor clips to 0, stay.

    Raises:
        InputError: another level, a damaged file, or ``quality="clear"``, as L2D has no cloud mask.
    """
    path = _file(source)
    if options.quality == "clear":
        raise InputError("quality='clear' needs a cloud mask, which PRISMA L2D does not have; leave it out")
    with parts.opened(path) as file:
        _check_level(file)
        cubes = [_detector(file, name) for name in ("Vnir", "Swir")]
        rows, _, cols = cubes[0].values.shape
        if (rows, cols) != (cubes[1].values.shape[0], cubes[1].values.shape[2]):
            raise InputError(f"its cubes are of other sizes: {cubes[0].values.shape} and {cubes[1].values.shape}")
        bands = [band for number, name in enumerate(("Vnir", "Swir")) for band in _bands(file, number, name, cubes)]
        if not bands:
            raise InputError("every band has the wavelength 0, which says that none was acquired")
        index = chosen_bands(options, len(bands))
        chosen = [bands[place] for place in index]
        values = Values((len(chosen), rows, cols), options, path.name)
        acquired = [np.array([band.place for band in bands if band.cube == number], np.intp) for number in (0, 1)]
        for start in range(0, rows, _ROWS):
            window = slice(start, min(start + _ROWS, rows))
            _read_rows(cubes, chosen, acquired, window, values)
        told = ["no data"] + (["invalid", "saturated"] if all(cube.errors is not None for cube in cubes) else [])
        transform, crs = _placement(file, rows, cols, path.name)
        flagged = all(band.good for band in bands)
        return Cube(
            **values.fields(),
            wavelengths=np.array([band.centre for band in chosen]),
            fwhm=np.array([band.width for band in chosen]),
            good_bands=None if flagged else np.array([band.good for band in chosen]),
            band_names=tuple(band.name for band in chosen),
            transform=transform,
            crs=crs,
            attributes=known(
                {
                    "sensor": "PRISMA",
                    "scene": path.stem,
                    "start_time": parts.text(file, "Product_StartTime"),
                    "stop_time": parts.text(file, "Product_StopTime"),
                }
            ),
            history=(history_step("PRISMA L2D", path.stem, told, options),),
        )


def _file(source: Source) -> Path:
    members = source.members
    return members.root / (source.chosen or members.find_one(r"PRS_L\w+\.he5", "PRS_L2D_*.he5"))


def _check_level(file: h5py.File) -> None:
    with damage_told(parts.DAMAGED):
        swaths = sorted(str(name) for name in file[_SWATHS]) if _SWATHS in file else []
    if parts.holds(file, f"{_SWATHS}/PRS_L2D_HCO"):
        return
    found = next((name.split("_")[1] for name in swaths if name.startswith("PRS_L")), None)
    if found is None:
        raise InputError(f"has no {_SWATHS}/PRS_L2D_HCO; it is cut off or of another format")
    raise InputError(f"is PRISMA {found}; order the L2D product, which holds geocoded reflectance")


def _detector(file: h5py.File, name: str) -> _Detector:
    cube = parts.dataset(file, f"{_FIELDS}/{name.upper()}_Cube", 3)
    low, high = (parts.number(file, f"L2Scale{name}{end}") for end in ("Min", "Max"))
    if high <= low:
        raise InputError(f"L2Scale{name}Min is {low:g} and L2Scale{name}Max {high:g}; the one has to be the smaller")
    errors = parts.optional(file, f"{_FIELDS}/{name.upper()}_PIXEL_L2_ERR_MATRIX")
    if errors is None:
        warnings.warn(
            f"{Path(file.filename).name}: {name.upper()}_PIXEL_L2_ERR_MATRIX is missing; saturation is not known",
            HyperfuseWarning,
            stacklevel=2,
        )
    elif errors.shape != cube.shape:
        raise InputError(f"the error matrix of {name.upper()} has the shape {errors.shape}, its cube {cube.shape}")
    return _Detector(cube, errors, (high - low) / _LARGEST_CODE, low)


def _bands(file: h5py.File, number: int, name: str, cubes: list[_Detector]) -> list[_Band]:
    """Return the bands of a cube that were acquired, by rising wavelength (the file has them falling)."""
    count = cubes[number].values.shape[1]
    centres, widths = (parts.numbers(file, f"List_{item}_{name}") for item in ("Cw", "Fwhm"))
    key = f"List_Cw_{name}_Flags"
    with damage_told(parts.DAMAGED):
        flagged = key in file.attrs
    flags = parts.numbers(file, key) if flagged else np.ones(count)
    for values in (centres, widths, flags):
        if values.size != count:
            raise InputError(f"lists {values.size} bands of {name.upper()}, but its cube has {count}")
    found = [
        _Band(number, place, centres[place], widths[place], bool(flags[place]), f"{name.upper()} {place + 1}")
        for place in range(count)
        if centres[place] > 0
    ]
    return sorted(found, key=lambda band: band.centre)


def _read_rows(
    cubes: list[_Detector], chosen: list[_Band], acquired: list[NDArray[np.intp]], rows: slice, values: Values
) -> None:
    blocks = [parts.stored(cube.values, np.s_[rows]) for cube in cubes]
    outside = np.ones((blocks[0].shape[0], blocks[0].shape[2]), np.bool_)
    for block, places in zip(blocks, acquired, strict=True):
        outside &= ~block[:, places].any(axis=1)
    codes = np.stack([blocks[band.cube][:, band.place] for band in chosen])
    masked = np.broadcast_to(outside, codes.shape).copy()
    errors = [None if cube.errors is None else parts.stored(cube.errors, np.s_[rows]) for cube in cubes]
    for place, band in enumerate(chosen):
        flags = errors[band.cube]
        if flags is not None:
            masked[place] |= np.isin(flags[:, band.place], (_INVALID, _SATURATED))
    coding = Coding(
        [cubes[band.cube].scale for band in chosen], [cubes[band.cube].offset for band in chosen], (None,), masked
    )
    values.put(np.s_[:, rows], *values.decode(codes, coding))


def _placement(file: h5py.File, rows: int, cols: int, where: str) -> tuple[Transform, str | None]:
    """Return transform and CRS; the corners that the file states are centres of pixels."""

    def corners(names: str, axis: str) -> list[float]:
        return [parts.number(file, f"Product_{name}corner_{axis}") for name in names.split()]

    west, east = min(corners("UL LL", "easting")), max(corners("UR LR", "easting"))
    north, south = max(corners("UL UR", "northing")), min(corners("LL LR", "northing"))
    spans = ((east - west) - (cols - 1) * _PIXEL, (north - south) - (rows - 1) * _PIXEL)
    if max(map(abs, spans)) > _PIXEL / 2:
        warnings.warn(
            f"{where}: its corners are {east - west:g} x {north - south:g} m apart, which does not fit {cols} x {rows}"
            f" pixels of {_PIXEL:g} m; it is placed by the upper left one",
            HyperfuseWarning,
            stacklevel=3,
        )
    code = parts.number(file, "Epsg_Code")
    crs = crs_text(parse_crs(f"EPSG:{code:.0f}"))
    return (_PIXEL, 0.0, west - _PIXEL / 2, 0.0, -_PIXEL, north + _PIXEL / 2), crs
