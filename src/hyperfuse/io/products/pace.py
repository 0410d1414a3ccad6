"""PACE OCI: top-of-atmosphere (L1B) and surface reflectance (L2 SFREFL), netCDF-4 in sensor geometry, 1.2 km.

Format: NASA OB.DAAC, "PACE OCI Level-1B" and "Level-2 Surface Reflectance" data products: the groups observation_data
or geophysical_data, the wavelengths in sensor_band_parameters, and the positions of pixels.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from hyperfuse.cube.header import Grid
from hyperfuse.errors import InputError
from hyperfuse.io.encoding.options import ReadOptions
from hyperfuse.io.products import hdf5
from hyperfuse.io.products.datasets import DatasetBand, DatasetBands, FlagDataset, cube_bands
from hyperfuse.io.products.image import About, ProductBand, ProductImage
from hyperfuse.io.products.located import LatLon, Located
from hyperfuse.io.products.members import Source
from hyperfuse.io.products.names import PACE_FILE

_PARAMETERS = "sensor_band_parameters"
_TOP = {name: f"observation_data/rhot_{name}" for name in ("blue", "red", "SWIR")}
_SURFACE, _FLAGS = "geophysical_data/rhos", "geophysical_data/l2_flags"
_CLOUD = "CLDICE"
_FILL = -32767.0
# Nominal width in nm of the bands of the two spectrometers, which the files do not state.
_WIDTH = 5.0


def is_pace(path: Path) -> bool:
    """Return whether a file holds reflectance of OCI."""
    surface = (_SURFACE, f"{_PARAMETERS}/wavelength_3d")
    return hdf5.recognised(path, lambda file: hdf5.holds(file, *_TOP.values()) or hdf5.holds(file, *surface))


def open_pace(source: Source, options: ReadOptions) -> Located:
    """Open a PACE OCI file, all bands: blue, then red, then SWIR; the two spectrometers overlap at 600 to 606 nm.

    Gaps are the fill value; of L2 with ``quality="clear"`` also clouds (CLDICE). The second of two SWIR bands of one
    wavelength is the one of high gain, which saturates over land: it is a bad band.

    Raises:
        InputError: another product of OCI, a damaged file, or ``quality="clear"`` of L1B, which has no flags.
    """
    path = source.path(PACE_FILE, "PACE_OCI.*.nc")
    with hdf5.kept_open(path) as file:
        surface = hdf5.holds(file, _SURFACE)
        if not surface and not hdf5.holds(file, *_TOP.values()):
            raise InputError("holds neither rhot nor rhos of OCI; take L1B or L2 SFREFL")
        clear = options.quality == "clear"
        if clear and not surface:
            raise InputError("quality='clear' needs flags of clouds, which PACE OCI L1B does not have; leave it out")
        bands, stored = _surface_bands(file) if surface else _top_bands(file)
        size = _size(stored)
        flags = [_clouds(file, size)] if clear else []
        image = ProductImage(
            Grid(*size, None, None),
            bands,
            DatasetBands(file, stored, flags),
            options,
            About(
                f"PACE OCI {'L2 SFREFL' if surface else 'L1B'}",
                path.stem,
                ["no data", "cloud"] if clear else ["no data"],
                {
                    "sensor": "OCI",
                    "start_time": hdf5.text(file, "time_coverage_start"),
                    "stop_time": hdf5.text(file, "time_coverage_end"),
                    "quantity": None if surface else "top-of-atmosphere reflectance",
                    "widths": "nominal",
                },
            ),
        )
        return Located(image, lambda: _positions(file, "navigation_data" if surface else "geolocation_data"))


def _surface_bands(file: h5py.File) -> tuple[list[ProductBand], list[DatasetBand]]:
    cube = hdf5.dataset(file, _SURFACE, 3)
    centres = _column(file, "wavelength_3d", cube.shape[2])
    return [_band(cube, centre, _WIDTH) for centre in centres.tolist()], cube_bands(cube, "rcb")


def _top_bands(file: h5py.File) -> tuple[list[ProductBand], list[DatasetBand]]:
    bands: list[ProductBand] = []
    stored: list[DatasetBand] = []
    for name, where in _TOP.items():
        cube = hdf5.dataset(file, where, 3)
        centres = _column(file, f"{name}_wavelength", cube.shape[0])
        widths = np.full(centres.size, _WIDTH) if name != "SWIR" else _column(file, "SWIR_bandpass", centres.size)
        for index, (centre, width) in enumerate(zip(centres.tolist(), widths.tolist(), strict=True)):
            twice = name == "SWIR" and centre in centres[:index]
            bands.append(_band(cube, centre, width, good=not twice))
        stored += cube_bands(cube, "brc")
    return bands, stored


def _band(cube: h5py.Dataset, centre: float, width: float, *, good: bool = True) -> ProductBand:
    def number(name: str, usual: float) -> float:
        found = hdf5.attribute(cube, name)
        return usual if found is None else float(np.ravel(found)[0])

    scale, offset, fill = number("scale_factor", 1.0), number("add_offset", 0.0), number("_FillValue", _FILL)
    return ProductBand("", centre, width, scale, offset, (fill, float("nan")), good)


def _column(file: h5py.File, name: str, count: int) -> NDArray[np.float64]:
    values = hdf5.stored(hdf5.dataset(file, f"{_PARAMETERS}/{name}", 1)).astype(np.float64)
    if values.size != count:
        raise InputError(f"{_PARAMETERS}/{name} has {values.size} entries for {count} bands")
    return values


def _size(stored: list[DatasetBand]) -> tuple[int, int]:
    sizes = {tuple(band.dataset.shape[band.axes.index(axis)] for axis in "rc") for band in stored}
    if len(sizes) > 1:
        raise InputError(f"its cubes differ in size: {sorted(sizes)}")
    rows, cols = sizes.pop()
    return rows, cols


def _clouds(file: h5py.File, size: tuple[int, int]) -> FlagDataset:
    flags = hdf5.optional(file, _FLAGS)
    words = [] if flags is None else (hdf5.text(flags, "flag_meanings") or "").split()
    if flags is None or flags.shape != size or _CLOUD not in words:
        raise InputError(f"has no {_FLAGS} that names {_CLOUD}, which quality='clear' needs")
    bit = words.index(_CLOUD)
    return FlagDataset(flags, lambda values: (values.astype(np.int64) >> bit) & 1 != 0)


def _positions(file: h5py.File, group: str) -> LatLon:
    latitude, longitude = (hdf5.stored(hdf5.dataset(file, f"{group}/{name}", 2)) for name in ("latitude", "longitude"))
    return latitude, longitude
