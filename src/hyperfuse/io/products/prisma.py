"""PRISMA L2D: geocoded surface reflectance, HDF-EOS5 (``.he5``).

Format: ASI, "PRISMA Products Specification Document" (ASI / Planetek, issue 2.3), L2D: the HCO cubes, the error
matrices, and the attributes of the file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from affine import Affine
from numpy.typing import NDArray

from hyperfuse.cube.crs import crs_text, parse_crs
from hyperfuse.cube.cube import Cube
from hyperfuse.errors import InputError
from hyperfuse.io.encoding.coding import BandCoding
from hyperfuse.io.encoding.damage import damage_reported
from hyperfuse.io.encoding.options import ReadOptions
from hyperfuse.io.products import hdf5
from hyperfuse.io.products.members import Source
from hyperfuse.io.products.names import PRISMA_FILE
from hyperfuse.io.products.reflectance import Reflectance, decimated_index, decimated_size, selected_bands, warn

_SWATHS = "HDFEOS/SWATHS"
_FIELDS = f"{_SWATHS}/PRS_L2D_HCO/Data Fields"
_PIXEL = 30.0
_MAX_CODE = 65535
_ROWS = 64
# Error matrix: 1 invalid in L1, 2 negative after the atmospheric correction (clipped, kept), 3 saturated.
_INVALID, _SATURATED = 1, 3


@dataclass(frozen=True)
class _Band:
    """A band of one of the cubes: its index there, centre and width in nm, and whether it is flagged as good."""

    cube: int
    index: int
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
    return hdf5.recognised(path, lambda file: bool(_levels(file)))


def read_prisma(source: Source, options: ReadOptions) -> Cube:
    """Read a PRISMA L2D file: the bands of VNIR, then those of SWIR, each by rising wavelength, overlap included.

    Bands that were not acquired (centre 0) are left out. Gaps are the pixels outside the swath (0 in all bands), and
    values that the error matrices call invalid or saturated; negative values, which the processor clips to 0, stay.

    Raises:
        InputError: another level, a damaged file, or ``quality="clear"``, as L2D has no cloud mask.
    """
    path = source.path(PRISMA_FILE, "PRS_L2D_*.he5")
    if options.quality == "clear":
        raise InputError("quality='clear' needs a cloud mask, which PRISMA L2D does not have; leave it out")
    with hdf5.opened(path) as file:
        _check_level(file)
        cubes = [_detector(file, name) for name in ("Vnir", "Swir")]
        rows, _, cols = cubes[0].values.shape
        if (rows, cols) != (cubes[1].values.shape[0], cubes[1].values.shape[2]):
            raise InputError(f"its cubes are of other sizes: {cubes[0].values.shape} and {cubes[1].values.shape}")
        bands = [band for number, name in enumerate(("Vnir", "Swir")) for band in _bands(file, number, name, cubes)]
        if not bands:
            raise InputError("every band has the wavelength 0, which says that none was acquired")
        selected = [bands[number] for number in selected_bands(options, len(bands))]
        reflectance = Reflectance((len(selected), rows, cols), options, path.name)
        acquired = [np.array([band.index for band in bands if band.cube == number], np.intp) for number in (0, 1)]
        low_rows, low_cols = decimated_size((rows, cols), reflectance.step)
        at_rows, at_cols = decimated_index(rows, low_rows), decimated_index(cols, low_cols)
        for start in range(0, low_rows, _ROWS):
            window = slice(start, min(start + _ROWS, low_rows))
            _read_rows(cubes, selected, acquired, (window, at_rows[window], at_cols), reflectance)
        flagged = all(cube.errors is not None for cube in cubes)
        transform, crs = _placement(file, rows, cols, path.name)
        return reflectance.cube(
            "PRISMA L2D",
            path.stem,
            ["no data", "invalid", "saturated"] if flagged else ["no data"],
            {
                "sensor": "PRISMA",
                "start_time": hdf5.text(file, "Product_StartTime"),
                "stop_time": hdf5.text(file, "Product_StopTime"),
            },
            wavelengths=np.array([band.centre for band in selected]),
            fwhm=np.array([band.width for band in selected]),
            good_bands=None if all(band.good for band in bands) else np.array([band.good for band in selected]),
            band_names=tuple(band.name for band in selected),
            transform=transform,
            crs=crs,
        )


def _levels(file: h5py.File) -> list[str]:
    """Return the levels of the swaths of PRISMA in a file, such as ``L2D``."""
    with damage_reported(hdf5.DAMAGED):
        swaths = sorted(str(name) for name in file[_SWATHS]) if _SWATHS in file else []
    return [name.split("_")[1] for name in swaths if name.startswith("PRS_L")]


def _check_level(file: h5py.File) -> None:
    if hdf5.holds(file, f"{_SWATHS}/PRS_L2D_HCO"):
        return
    found = next(iter(_levels(file)), None)
    if found is None:
        raise InputError(f"has no {_SWATHS}/PRS_L2D_HCO; it is cut off or of another format")
    raise InputError(f"is PRISMA {found}; order the L2D product, which holds geocoded reflectance")


def _detector(file: h5py.File, name: str) -> _Detector:
    cube = hdf5.dataset(file, f"{_FIELDS}/{name.upper()}_Cube", 3)
    low, high = (hdf5.number(file, f"L2Scale{name}{end}") for end in ("Min", "Max"))
    if high <= low:
        raise InputError(f"L2Scale{name}Min is {low:g} and L2Scale{name}Max {high:g}; the one has to be the smaller")
    errors = hdf5.optional(file, f"{_FIELDS}/{name.upper()}_PIXEL_L2_ERR_MATRIX")
    if errors is None:
        where = Path(file.filename).name
        warn(f"{where}: {name.upper()}_PIXEL_L2_ERR_MATRIX is missing; saturation is not known")
    elif errors.shape != cube.shape:
        raise InputError(f"the error matrix of {name.upper()} has the shape {errors.shape}, its cube {cube.shape}")
    return _Detector(cube, errors, (high - low) / _MAX_CODE, low)


def _bands(file: h5py.File, number: int, name: str, cubes: list[_Detector]) -> list[_Band]:
    """Return the bands of a cube that were acquired, by rising wavelength (the file has them falling)."""
    count = cubes[number].values.shape[1]
    centres, widths = (hdf5.numbers(file, f"List_{item}_{name}") for item in ("Cw", "Fwhm"))
    key = f"List_Cw_{name}_Flags"
    flags = np.ones(count) if hdf5.attribute(file, key) is None else hdf5.numbers(file, key)
    for values in (centres, widths, flags):
        if values.size != count:
            raise InputError(f"lists {values.size} bands of {name.upper()}, but its cube has {count}")
    return [
        _Band(number, index, centres[index], widths[index], bool(flags[index]), f"{name.upper()} {index + 1}")
        for index in map(int, np.argsort(centres, kind="stable"))
        if centres[index] > 0
    ]


def _pixels(item: h5py.Dataset, rows: NDArray[np.intp], cols: NDArray[np.intp]) -> NDArray[np.uint16]:
    """Return the given rows and columns of a cube (rows, bands, cols)."""
    if len(rows) == rows[-1] - rows[0] + 1:
        block = hdf5.stored(item, np.s_[int(rows[0]) : int(rows[-1]) + 1])
    else:
        block = np.concatenate([hdf5.stored(item, np.s_[row : row + 1]) for row in rows.tolist()])
    return block if len(cols) == block.shape[2] else block[:, :, cols]


def _read_rows(
    cubes: list[_Detector],
    selected: list[_Band],
    acquired: list[NDArray[np.intp]],
    window: tuple[slice, NDArray[np.intp], NDArray[np.intp]],
    target: Reflectance,
) -> None:
    """Read a window: its rows in the target, and its rows and columns in the file."""
    rows, *pixels = window
    blocks = [_pixels(cube.values, *pixels) for cube in cubes]
    outside = np.ones((blocks[0].shape[0], blocks[0].shape[2]), np.bool_)
    for block, index in zip(blocks, acquired, strict=True):
        outside &= ~block[:, index].any(axis=1)
    codes = np.stack([blocks[band.cube][:, band.index] for band in selected])
    masked = np.broadcast_to(outside, codes.shape).copy()
    errors = [None if cube.errors is None else _pixels(cube.errors, *pixels) for cube in cubes]
    for number, band in enumerate(selected):
        flags = errors[band.cube]
        if flags is not None:
            masked[number] |= np.isin(flags[:, band.index], (_INVALID, _SATURATED))
    scales, offsets = ([getattr(cubes[band.cube], name) for band in selected] for name in ("scale", "offset"))
    target.put(np.s_[:, rows], codes, BandCoding(scales, offsets, (None,), masked))


def _placement(file: h5py.File, rows: int, cols: int, where: str) -> tuple[Affine, str | None]:
    """Return transform and CRS; the corners that the file states are centres of pixels."""

    def corners(names: str, axis: str) -> list[float]:
        return [hdf5.number(file, f"Product_{name}corner_{axis}") for name in names.split()]

    west, east = min(corners("UL LL", "easting")), max(corners("UR LR", "easting"))
    north, south = max(corners("UL UR", "northing")), min(corners("LL LR", "northing"))
    spans = ((east - west) - (cols - 1) * _PIXEL, (north - south) - (rows - 1) * _PIXEL)
    if max(map(abs, spans)) > _PIXEL / 2:
        warn(
            f"{where}: its corners are {east - west:g} x {north - south:g} m apart, which does not fit {cols} x {rows}"
            f" pixels of {_PIXEL:g} m; the upper left one is used"
        )
    crs = crs_text(parse_crs(f"EPSG:{hdf5.number(file, 'Epsg_Code'):.0f}"))
    return Affine(_PIXEL, 0.0, west - _PIXEL / 2, 0.0, -_PIXEL, north + _PIXEL / 2), crs
