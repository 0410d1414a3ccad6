"""AVIRIS Classic, -NG and -3 as ENVI files: reflectance or radiance, on a rotated grid or in sensor geometry.

Format: JPL, the readme files of the AVIRIS data portals: the images, and of the same granule LOC or IGM (longitude,
latitude, elevation of each pixel), GLT (lookup table) and, of radiance of AVIRIS Classic, the gain of each band.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hyperfuse.cube.header import Grid
from hyperfuse.cube.map_info import map_transform
from hyperfuse.errors import InputError
from hyperfuse.io.encoding.options import ReadOptions
from hyperfuse.io.formats import envi_header
from hyperfuse.io.geometry.glt import place_by_table
from hyperfuse.io.geometry.placement import PixelMap
from hyperfuse.io.products.image import About, ProductBand, ProductImage
from hyperfuse.io.products.located import LatLon, Located
from hyperfuse.io.products.members import Members, Source, base_name, finite_number, match
from hyperfuse.io.products.names import AVIRIS_ENVI
from hyperfuse.io.products.rasters import RasterBands, grid_of, opened, read_bands

_SENSORS = {"f": "AVIRIS Classic", "ang": "AVIRIS-NG", "av3": "AVIRIS-3", "av5": "AVIRIS-5"}
_RADIANCE = "uW cm-2 sr-1 nm-1"
_FILL = -9999.0
# Radiance of AVIRIS Classic off the swath, which nothing declares.
_CLASSIC_FILL = -50.0


def open_aviris(source: Source, options: ReadOptions) -> ProductImage | Located:
    """Open an image of AVIRIS in ENVI format, all bands: on its grid, or with the positions of its granule's files.

    Gaps are -9999 and the ignore value of the header, of radiance of AVIRIS Classic -50, which is divided by the gains
    of the ``.gain`` file. Bands that the header marks (``bbl``) are bad bands.

    Raises:
        InputError: several images, values whose scale is not stated, no position, a cut-off file, ``quality="clear"``.
    """
    members = source.members
    name = _image(source)
    named = match(AVIRIS_ENVI, base_name(name))
    if named is None:
        raise InputError(f"{base_name(name)} is no name of an image of AVIRIS")
    granule = named["granule"]
    if options.quality == "clear":
        raise InputError("quality='clear' needs a cloud mask, which AVIRIS does not have; leave it out")
    items = _header(members.root / name)
    with opened(members, name) as raster:
        grid, count, dtype = grid_of(raster), raster.count, np.dtype(raster.dtypes[0])
    envi_header.check_size(members.root / name, items, count * grid.rows * grid.cols * dtype.itemsize)
    reflectance = named["kind"].lower() != "rdn"
    sensor = next(text for start, text in _SENSORS.items() if granule.lower().startswith(start))
    classic = sensor == _SENSORS["f"]
    scale, offset = _coding(members, name, items, count, dtype, reflectance=reflectance)
    ignored = {key.lower(): text for key, text in items.items()}.get("data_ignore_value")
    nodata = [_FILL, *([finite_number(ignored, f"{name}: data ignore value")] if ignored else [])]
    nodata += [_CLASSIC_FILL] if classic and not reflectance else []
    spectral = envi_header.spectral_items(items, count, base_name(name))
    nan, true = np.full(count, np.nan), np.ones(count, np.bool_)
    columns = [spectral.get("wavelengths"), spectral.get("fwhm"), spectral.get("good_bands")]
    centres, widths, good = (
        other if column is None else column for column, other in zip(columns, (nan, nan, true), strict=True)
    )
    bands = [
        ProductBand(
            "", float(centres[band]), float(widths[band]), float(scale[band]), float(offset[band]),
            tuple(dict.fromkeys(nodata)), bool(good[band]), file=name, number=band + 1,
        )
        for band in range(count)
    ]  # fmt: skip
    size = (grid.rows, grid.cols)
    about = About(
        f"{sensor} {'reflectance' if reflectance else 'radiance'}",
        granule,
        attributes={"sensor": sensor, "uncertainty": _uncertainty(members, granule)},
        units="reflectance" if reflectance else _RADIANCE,
    )
    stored = RasterBands(members, bands, [], size)
    placed = _grid(items, grid, base_name(name))
    if placed is not None:
        return ProductImage(placed, bands, stored, options, about)
    located = _companion(members, granule, ("loc", "igm"), size)
    table = None if located is not None else _companion(members, granule, ("glt",), None)
    if located is None and table is None:
        raise InputError(
            f"{base_name(name)} is not orthorectified, and no LOC, IGM or GLT file of {granule} lies next to it; put it"
            " there, or take the orthorectified image (ORT)"
        )
    image = ProductImage(Grid(*size, None, None), bands, stored, options, about)
    if located is not None:
        found = located
        return Located(image, lambda: _positions(members, found, size))
    assert table is not None  # one of the two is there
    return Located(image, lambda: _table(members, table, size))


def _image(source: Source) -> str:
    """Return the data file that was named, by itself or its header, or that is the only one of a folder."""
    chosen = source.chosen
    if chosen is None:
        found = [name for name in source.members.find(AVIRIS_ENVI) if not name.lower().endswith(".hdr")]
        if len(found) != 1:
            what = f"{len(found)} images of AVIRIS ({', '.join(found[:3])})" if found else "headers without their data"
            raise InputError(f"{source.members.root} holds {what}; name one")
        chosen = found[0]
    data = envi_header.data_file(source.members.root / chosen)
    return data.relative_to(source.members.root).as_posix()


def _header(path: Path) -> dict[str, str]:
    header = envi_header.header_of(path)
    if header is None:
        raise InputError(f"the header {path.name}.hdr is missing in {path.parent}")
    return envi_header.read_header(header)


def _coding(
    members: Members, name: str, items: Mapping[str, str], count: int, dtype: np.dtype, *, reflectance: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return scale and offset of each band."""
    gain, offset = envi_header.linear_items(items, count, base_name(name))
    none = np.zeros(count) if offset is None else offset
    if gain is not None:
        return gain, none
    if dtype.kind == "f":
        return np.ones(count), none
    if reflectance:
        raise InputError(
            f"{base_name(name)} holds {dtype}, and its header does not state how reflectance is coded; pass a copy of"
            " it under another name with scale=0.0001"
        )
    return 1.0 / _gains(members, name, count), none


def _gains(members: Members, name: str, count: int) -> NDArray[np.float64]:
    """Return the divisors of the radiance of AVIRIS Classic: the first column of the ``.gain`` file of its granule."""
    granule = re.match(r"[^_]*?r\d\d", base_name(name), re.IGNORECASE)
    start = re.escape(granule[0] if granule else base_name(name))
    file = members.find_one(rf"{start} .* \.gain", f"{granule[0] if granule else name}*.gain (the coding of radiance)")
    lines = members.read_text(file).decode("latin-1").split("\n")
    gains = np.array([finite_number(line.split()[0], file) for line in lines if line.strip()])
    if gains.size != count or not (gains > 0).all():
        raise InputError(f"{file} holds {gains.size} gains for {count} bands, or some that are not above 0")
    return gains


def _grid(items: Mapping[str, str], grid: Grid, where: str) -> Grid | None:
    """Return the grid that the header states, None of an image in sensor geometry."""
    text = next((value for key, value in items.items() if key.lower() == "map_info"), None)
    if text is None or envi_header.states_no_position(items):
        return None
    transform = map_transform(text, where)
    if transform is None or (abs(transform.determinant) == 1 and max(abs(transform.c), abs(transform.f)) <= 1):
        return None
    if grid.crs is None:
        raise InputError(f"{where}: the map info of its header names no coordinate system that is understood")
    return replace(grid, transform=transform)


def _companion(members: Members, granule: str, kinds: tuple[str, ...], size: tuple[int, int] | None) -> str | None:
    """Return a file of a granule of a kind, of the size of its image; None where there is none."""
    pattern = rf"{re.escape(granule)} \w*? _(?: {'|'.join(kinds)}) (?: _\w*)? (?: \. (?: img | bin | dat))?"
    for name in members.find(pattern):
        path = members.root / name
        if envi_header.header_of(path) is None:
            continue
        with opened(members, name, bands=2) as raster:
            if size is None or (raster.height, raster.width) == size:
                return name
    return None


def _positions(members: Members, name: str, size: tuple[int, int]) -> LatLon:
    """Return latitude and longitude of the pixels: the second and first band of LOC and IGM files."""
    longitude, latitude = read_bands(members, name, [1, 2], size)
    known = (latitude != _FILL) & (longitude != _FILL) & np.isfinite(latitude) & np.isfinite(longitude)
    if not known.any() or np.abs(latitude[known]).max() > 90 or np.abs(longitude[known]).max() > 360:
        raise InputError(f"{name} does not hold longitudes and latitudes in degrees; take the LOC file, or the GLT")
    return latitude, longitude


def _table(members: Members, name: str, size: tuple[int, int]) -> PixelMap:
    """Return the placement by a GLT file, whose header states the grid of the map."""
    items = _header(members.root / name)
    with opened(members, name, bands=2) as raster:
        grid = grid_of(raster)
    placed = _grid(items, grid, base_name(name))
    if placed is None:
        raise InputError(f"the header of {name} states no position of its map")
    sample, line = read_bands(members, name, [1, 2], (grid.rows, grid.cols))
    return place_by_table(sample, line, size, placed)


def _uncertainty(members: Members, granule: str) -> str | None:
    """Return the names of files of the uncertainty of the reflectance of a granule."""
    found = members.find(rf"{re.escape(granule)} \w* _unc (?: _\w*)? (?: \. (?: img | bin | dat | nc))?")
    return ", ".join(found) or None
