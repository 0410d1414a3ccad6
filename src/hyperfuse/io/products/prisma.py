"""PRISMA L2B, L2C and L2D: radiance at the ground or surface reflectance, HDF-EOS5 (``.he5``), and its PAN image.

Format: ASI, "PRISMA Products Specification Document" (ASI / Planetek, issue 2.3): the HCO cubes (hyperspectral), PCO
(panchromatic), their error matrices, and the attributes of the file. L2D lies on a grid; L2B and L2C are in sensor
geometry, with a latitude and longitude for each pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from hyperfuse.cube.header import Grid
from hyperfuse.errors import InputError
from hyperfuse.io.encoding.damage import damage_reported
from hyperfuse.io.encoding.options import ReadOptions
from hyperfuse.io.products import hdf5
from hyperfuse.io.products.datasets import DatasetBand, read_datasets
from hyperfuse.io.products.image import About, Part, ProductBand, ProductImage
from hyperfuse.io.products.located import LatLon, Located
from hyperfuse.io.products.members import Source, match
from hyperfuse.io.products.names import PRISMA_FILE
from hyperfuse.io.products.prisma_grid import HSI_PIXEL, PAN_PIXEL, SWATHS, hsi_grid, pan_grid
from hyperfuse.io.products.reflectance import warn

PAN = "pan"

_UNITS = {"L2B": "W m-2 sr-1 um-1", "L2C": "reflectance", "L2D": "reflectance"}
_MAX_CODE = 65535
# Error matrix: 1 invalid in L1, 2 negative after the atmospheric correction (clipped, kept); readers of the product
# disagree on whether 3 or 4 is saturated, so that both count.
_BAD = (1, 3, 4)
# Cloud mask of L1: 0 clear, 1 cloud, 10 not classified, 255 error.
_CLOUDY = (1, 255)
# Nominal limits of the PAN band in nm.
_PAN_LIMITS = (400.0, 700.0)


class _Detector(NamedTuple):
    """A cube (rows, bands, cols), or the PAN image (rows, cols), and its error matrix, or None."""

    values: h5py.Dataset
    errors: h5py.Dataset | None


def is_prisma(path: Path) -> bool:
    """Return whether a file holds swaths of PRISMA, of any level."""
    return hdf5.recognised(path, lambda file: bool(_levels(file)))


def open_prisma(source: Source, options: ReadOptions) -> ProductImage | Located:
    """Open a PRISMA file: the bands of VNIR, then those of SWIR, each by rising wavelength, overlap included.

    Bands that were not acquired (centre 0) are left out. Gaps are pixels outside the swath (0 in all bands), and
    values that the error matrices call invalid or saturated; negative values, which the processor clips to 0, stay.
    With ``quality="clear"``, of L2B and L2C, also the clouds of the L1 file of the same acquisition next to it.
    ``FILE:pan`` is the panchromatic image of 5 m.

    Raises:
        InputError: another level, a damaged file, or ``quality="clear"`` of L2D, which has no cloud mask.
    """
    path = source.path(PRISMA_FILE, "PRS_L2D_*.he5")
    pan = source.part == PAN
    with hdf5.kept_open(path) as file:
        level = _level(file)
        if options.quality == "clear" and level == "L2D":
            raise InputError("quality='clear' needs a cloud mask, which PRISMA L2D does not have; leave it out")
        swath = f"{SWATHS}/PRS_{level}_{'PCO' if pan else 'HCO'}"
        if pan:
            detectors, bands, held = _pan_bands(file, swath)
        else:
            detectors, bands, held = _hsi_bands(file, swath)
        rows, cols = detectors[0].values.shape[0], detectors[0].values.shape[-1]
        clouds = _clouds(source, path, (rows, cols)) if options.quality == "clear" and not pan else None
        stored = _PrismaBands(file, detectors, held, clouds)
        flagged = all(one.errors is not None for one in detectors)
        about = About(
            f"PRISMA {level}{' PAN' if pan else ''}",
            path.stem,
            ["no data", *(("invalid", "saturated") if flagged else ()), *(("cloud",) if clouds else ())],
            {
                "sensor": "PRISMA",
                "start_time": hdf5.text(file, "Product_StartTime"),
                "stop_time": hdf5.text(file, "Product_StopTime"),
            },
            units=_UNITS[level],
        )
        if level == "L2D":
            grid = pan_grid(file, (rows, cols), path.name) if pan else hsi_grid(file, (rows, cols), path.name)
            return ProductImage(grid, bands, stored, options, about)
        image = ProductImage(Grid(rows, cols, None, None), bands, stored, options, about)
        return Located(image, lambda: _positions(file, swath), PAN_PIXEL if pan else HSI_PIXEL)


def _levels(file: h5py.File) -> list[str]:
    """Return the levels of the swaths of PRISMA in a file, such as ``L2D``."""
    with damage_reported(hdf5.DAMAGED):
        swaths = sorted(str(name) for name in file[SWATHS]) if SWATHS in file else []
    return [name.split("_")[1] for name in swaths if name.startswith("PRS_L")]


def _level(file: h5py.File) -> str:
    known = [level for level in _UNITS if hdf5.holds(file, f"{SWATHS}/PRS_{level}_HCO")]
    if known:
        return known[0]
    found = next(iter(_levels(file)), None)
    if found is None:
        raise InputError(f"has no {SWATHS}/PRS_L2D_HCO; it is cut off or of another format")
    raise InputError(f"is PRISMA {found}; order the L2D product, which holds geocoded reflectance, or L2C")


def _coding(file: h5py.File, name: str) -> tuple[float, float]:
    """Return scale and offset of the cube of a detector."""
    low, high = (hdf5.number(file, f"L2Scale{name}{end}") for end in ("Min", "Max"))
    if high <= low:
        raise InputError(f"L2Scale{name}Min is {low:g} and L2Scale{name}Max {high:g}; the one has to be the smaller")
    return (high - low) / _MAX_CODE, low


def _errors(file: h5py.File, name: str, shape: tuple[int, ...], what: str) -> h5py.Dataset | None:
    errors = hdf5.optional(file, name)
    if errors is None:
        warn(f"{Path(file.filename).name}: {name.rsplit('/', 1)[1]} is missing; saturation is not known")
    elif errors.shape != shape:
        raise InputError(f"the error matrix of {what} has the shape {errors.shape}, its cube {shape}")
    return errors


def _hsi_bands(file: h5py.File, swath: str) -> tuple[list[_Detector], list[ProductBand], list[DatasetBand]]:
    """Return the two cubes, and the bands that were acquired: of each cube by rising wavelength, and where they are."""
    detectors, bands, held = [], [], []
    for name in ("Vnir", "Swir"):
        values = hdf5.dataset(file, f"{swath}/Data Fields/{name.upper()}_Cube", 3)
        scale, offset = _coding(file, name)
        path = f"{swath}/Data Fields/{name.upper()}_PIXEL_L2_ERR_MATRIX"
        detectors.append(_Detector(values, _errors(file, path, values.shape, name.upper())))
        centres, widths, flags = _lists(file, name, values.shape[1])
        index = [int(band) for band in np.argsort(centres, kind="stable") if centres[band] > 0]
        bands += [
            ProductBand(f"{name.upper()} {band + 1}", *column[:2], scale, offset, good=bool(column[2]))
            for band in index
            for column in [(float(centres[band]), float(widths[band]), flags[band])]
        ]
        held += [DatasetBand(values, "rbc", band) for band in index]
    first, second = (one.values.shape for one in detectors)
    if (first[0], first[2]) != (second[0], second[2]):
        raise InputError(f"its cubes are of other sizes: {first} and {second}")
    if not bands:
        raise InputError("every band has the wavelength 0, which says that none was acquired")
    return detectors, bands, held


def _lists(file: h5py.File, name: str, count: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return centres, widths and flags of the bands of a cube, in its order (wavelengths fall)."""
    centres, widths = (hdf5.numbers(file, f"List_{item}_{name}") for item in ("Cw", "Fwhm"))
    key = f"List_Cw_{name}_Flags"
    flags = np.ones(count) if hdf5.attribute(file, key) is None else hdf5.numbers(file, key)
    for values in (centres, widths, flags):
        if values.size != count:
            raise InputError(f"lists {values.size} bands of {name.upper()}, but its cube has {count}")
    return centres, widths, flags


def _pan_bands(file: h5py.File, swath: str) -> tuple[list[_Detector], list[ProductBand], list[DatasetBand]]:
    fields = f"{swath}/Data Fields"
    if not hdf5.holds(file, f"{fields}/Cube"):
        raise InputError(f"has no panchromatic image ({fields}/Cube)")
    values = hdf5.dataset(file, f"{fields}/Cube", 2)
    scale, offset = _coding(file, "Pan")
    centre, width = sum(_PAN_LIMITS) / 2, _PAN_LIMITS[1] - _PAN_LIMITS[0]
    detector = _Detector(values, _errors(file, f"{fields}/PIXEL_L2_ERR_MATRIX", values.shape, "PAN"))
    return [detector], [ProductBand("PAN", centre, width, scale, offset)], [DatasetBand(values, "rc")]


def _positions(file: h5py.File, swath: str) -> LatLon:
    fields = f"{swath}/Geolocation Fields"
    latitude, longitude = (hdf5.stored(hdf5.dataset(file, f"{fields}/{name}", 2)) for name in ("Latitude", "Longitude"))
    return latitude, longitude


def _clouds(source: Source, path: Path, size: tuple[int, int]) -> h5py.Dataset:
    """Return the cloud mask of the L1 file of the same acquisition, which has the same pixels."""
    named = match(PRISMA_FILE, path.name)
    time = (named["time"] if named else None) or "*"
    pattern = rf"PRS_L1_ .* {'.*' if time == '*' else time} .* \.he5"
    found = source.members.find_one(pattern, f"PRS_L1_*_{time}_*.he5 (quality='clear' takes its cloud mask)")
    with hdf5.kept_open(source.members.root / found) as file:
        mask = hdf5.dataset(file, f"{SWATHS}/PRS_L1_HCO/Data Fields/Cloud_Mask", 2)
        if mask.shape != size:
            raise InputError(f"{found} has {mask.shape[0]} x {mask.shape[1]} pixels, not {size[0]} x {size[1]}")
        return mask


class _PrismaBands:
    """The bands of a file with their error matrices; see :class:`~.image.StoredBands`.

    All bands of a part are held once they are read, as they are packed together in the file, and as it is by all of
    them that a pixel is known to lie outside the swath.
    """

    def __init__(
        self, file: h5py.File, detectors: list[_Detector], bands: list[DatasetBand], clouds: h5py.Dataset | None
    ) -> None:
        self._file, self._bands, self._clouds = file, bands, clouds
        self._errors = {one.values.name: one.errors for one in detectors}
        self._part: Part | None = None
        self._numbers: NDArray[Any] = np.empty(0)
        self._outside: NDArray[np.bool_] = np.empty(0, np.bool_)

    def read(self, bands: Sequence[int], part: Part) -> NDArray[Any]:
        """Return the numbers of bands in a part of the image."""
        if part != self._part:
            self._numbers = read_datasets(self._bands, part)
            self._outside = np.asarray(~self._numbers.any(axis=0), np.bool_)
            self._part = part
        return self._numbers[list(bands)]

    def gaps(self, bands: Sequence[int], part: Part) -> NDArray[np.bool_]:
        """Return where there is no swath, and where values are invalid or saturated, (bands, rows, cols)."""
        self.read(bands[:1], part)
        outside = self._outside
        if self._clouds is not None:
            outside = np.logical_or(
                outside, np.isin(read_datasets([DatasetBand(self._clouds, "rc")], part)[0], _CLOUDY)
            )
        gaps = np.broadcast_to(outside, (len(bands), *part.shape)).copy()
        for at, band in enumerate(bands):
            held = self._bands[band]
            errors = self._errors[held.dataset.name]
            if errors is not None:
                flags = read_datasets([DatasetBand(errors, held.axes, held.index)], part)[0]
                gaps[at] |= np.isin(flags, _BAD)
        return gaps

    def close(self) -> None:
        """Close the files."""
        self._file.close()
        if self._clouds is not None:
            self._clouds.file.close()
