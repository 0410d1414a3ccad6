"""WorldView-2 and -3, ortho-ready (LV2A) and orthorectified (LV3): multispectral, SWIR or panchromatic.

Format: Maxar (DigitalGlobe), "Imagery Support Data (ISD) Documentation": the image metadata IMD and the tiles TIL, each
as text or in the XML of the product. Calibration: "Radiometric Use of WorldView-2 Imagery" (2010) and "Absolute
Radiometric Calibration: 2016v0", whose table of solar irradiances (after Thuillier, 2003) is used.
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from affine import Affine

from hyperfuse.cube.header import Grid
from hyperfuse.cube.window import Window
from hyperfuse.errors import InputError
from hyperfuse.io.encoding.options import ReadOptions
from hyperfuse.io.products.image import About, ProductBand, ProductImage
from hyperfuse.io.products.isd import SupportData, read_support_data, support_pattern
from hyperfuse.io.products.members import Members, Source, base_name, finite_number, match
from hyperfuse.io.products.names import WORLDVIEW_FILE, WORLDVIEW_IMAGE
from hyperfuse.io.products.nominal_bands import nominal_ranges
from hyperfuse.io.products.rasters import grid_of, opened
from hyperfuse.io.products.reflectance import warn
from hyperfuse.io.products.tiles import RasterTile, TiledBands

_SATELLITES = {"WV02": "worldview-2", "WV03": "worldview-3"}
# Solar irradiance at 1 AU in W m-2 um-1, by band in the order of the images.
_IRRADIANCE = {
    "worldview-2": {
        "C": 1773.81, "B": 2007.27, "G": 1829.62, "Y": 1701.85, "R": 1538.85, "RE": 1346.09, "N": 1053.21,
        "N2": 856.599, "P": 1571.36,
    },
    "worldview-3": {
        "C": 1757.89, "B": 2004.61, "G": 1830.18, "Y": 1712.07, "R": 1535.33, "RE": 1348.08, "N": 1055.94,
        "N2": 858.77, "S1": 479.019, "S2": 263.797, "S3": 225.283, "S4": 197.552, "S5": 90.4178, "S6": 85.0642,
        "S7": 76.9507, "S8": 68.0988, "P": 1574.41,
    },
}  # fmt: skip
_ORTHO = ("LV2A", "LV3")
_REFLECTANCE = "ACOMP"
# Tiles may be off the grid by this fraction of a pixel.
_OFF_GRID = 0.01


def is_worldview(path: Path) -> bool:
    """Return whether the support data of an image lie next to it."""
    found = match(WORLDVIEW_IMAGE, path.name)
    if found is None:
        return False
    names = [entry.name for entry in path.parent.iterdir()]
    return bool(Members(path.parent, names).find(support_pattern(found["start"], found["order"])))


def open_worldview(source: Source, options: ReadOptions) -> ProductImage:
    """Open an image of WorldView-2 or -3, all its tiles, or the tile that is named.

    Of a delivery that holds the panchromatic image too, ``FILE:pan`` is that.

    Values are top-of-atmosphere reflectance, ``pi d^2 absCalFactor / (effectiveBandwidth E cos(zenith))`` times the
    stored numbers, with the solar irradiance E of each band and the distance d of the sun in AU. Gaps are 0. Centres
    and widths are nominal.

    Raises:
        InputError: another satellite, an image that is not orthorectified or is stretched for display, one corrected
            for the atmosphere by the vendor without ``scale``, a missing or damaged file, or ``quality="clear"``.
    """
    if options.quality == "clear":
        raise InputError("quality='clear' needs a cloud mask, which WorldView products do not have; leave it out")
    isd = read_support_data(source)
    satellite = _satellite(isd)
    names = [name for name in _IRRADIANCE[satellite] if f"BAND_{name}" in isd.groups]
    if not names:
        raise InputError(f"{isd.name} describes no band (BAND_C and others); it is cut off or of another format")
    scales, quantity = _scales(isd, satellite, names, options)
    grid, tiles, dtype = _tiles(isd, len(names), source.chosen)
    ranges = nominal_ranges(satellite, tuple(names))
    bands = [
        ProductBand(name, centre, width, scale, 0.0, (0.0,), number=number)
        for number, (name, (centre, width), scale) in enumerate(zip(names, ranges, scales, strict=True), 1)
    ]
    return ProductImage(
        grid,
        bands,
        TiledBands(isd.members, tiles, bands, dtype),
        options,
        About(
            "WorldView",
            base_name(isd.name).rpartition(".")[0],
            ["no data"],
            {"sensor": satellite, "start_time": _time(isd), "wavelengths": "nominal", "quantity": quantity},
        ),
    )


_IMAGES = ("IMAGE_1", "IMAGE")


def _satellite(isd: SupportData) -> str:
    found = isd.text("SATID", *_IMAGES)
    if found not in _SATELLITES:
        raise InputError(f"is of the satellite {found}; WorldView-2 and -3 (WV02, WV03) are read")
    level = isd.text("PRODUCTLEVEL", "")
    if not level.startswith(_ORTHO):
        raise InputError(f"is of the level {level}, placed by RPCs alone; order LV2A or LV3, or orthorectify it first")
    return _SATELLITES[found]


def _time(isd: SupportData) -> str:
    for key in ("FIRSTLINETIME", "TLCTIME", "EARLIESTACQTIME"):
        for group in (*_IMAGES, "MAP_PROJECTED_PRODUCT"):
            if key in isd.groups.get(group, {}):
                return isd.groups[group][key]
    raise InputError(f"{isd.name} states no time (firstLineTime); it is cut off or of another format")


def _scales(isd: SupportData, satellite: str, names: list[str], options: ReadOptions) -> tuple[list[float], str | None]:
    """Return the factor from stored numbers to reflectance of each band, and what it is a reflectance of."""
    enhancement = isd.groups.get("", {}).get("RADIOMETRICENHANCEMENT", "Off")
    if enhancement.upper() == _REFLECTANCE:
        if options.scale is None:
            raise InputError(
                f"{isd.name}: is surface reflectance of the vendor (ACOMP), of which the metadata do not state the"
                " scale; pass scale=0.0001 where 10000 is a reflectance of 1",
                "scale",
            )
        return [1.0] * len(names), None
    if enhancement.upper() not in ("OFF", "NONE"):
        raise InputError(f"{isd.name}: its values are stretched (radiometricEnhancement {enhancement}); order it off")
    if "IMAGE_2" in isd.groups:
        warn(f"{base_name(isd.name)}: is made of several images; the sun's elevation of the first is used for all")
    distance = _sun_distance(_time(isd), isd.name)
    sine = math.sin(math.radians(isd.number("MEANSUNEL", *_IMAGES)))
    scales = []
    for name in names:
        group = f"BAND_{name}"
        radiance = isd.number("ABSCALFACTOR", group) / isd.number("EFFECTIVEBANDWIDTH", group)
        scales.append(math.pi * distance**2 * radiance / (_IRRADIANCE[satellite][name] * sine))
    return scales, "top-of-atmosphere reflectance"


def _sun_distance(time: str, where: str) -> float:
    """Return the distance of the sun in AU; U.S. Naval Observatory, "Approximate Solar Coordinates"."""
    try:
        when = datetime.datetime.fromisoformat(time.replace("Z", "+00:00"))
    except ValueError as error:
        raise InputError(f"{where} states the time {time!r}, which is none") from error
    epoch = datetime.datetime(2000, 1, 1, 12, tzinfo=datetime.UTC)
    days = (when - epoch).total_seconds() / 86400
    anomaly = math.radians(357.529 + 0.98560028 * days)
    return 1.00014 - 0.01671 * math.cos(anomaly) - 0.00014 * math.cos(2 * anomaly)


def _tiles(isd: SupportData, count: int, chosen: str | None) -> tuple[Grid, list[RasterTile], np.dtype[np.generic]]:
    """Return the grid of the image, its tiles, and the type of their numbers."""
    image = chosen if chosen is not None and match(WORLDVIEW_IMAGE, base_name(chosen)) else None
    files = [(image, 0, 0)] if image else [(_file(isd, tile), *_corner(isd, tile)) for tile in isd.tiles]
    if not files:
        named = match(WORLDVIEW_FILE, base_name(isd.name))
        tif = named and isd.members.find(re.escape(base_name(isd.name).rpartition(".")[0]) + r"\.TIFF?")
        if not tif:
            raise InputError(f"{isd.name} names no tile, and its .TIL is missing in {isd.members.root}")
        files = [(tif[0], 0, 0)]
    tiles: list[RasterTile] = []
    grids: list[Grid] = []
    dtypes: set[str] = set()
    for file, row, col in files:
        with opened(isd.members, file, bands=count) as raster:
            if raster.count != count:
                raise InputError(f"has {raster.count} bands, but {isd.name} describes {count}")
            grid = grid_of(raster)
            dtypes.add(raster.dtypes[0])
        if grid.transform is None or grid.crs is None:
            raise InputError(f"{file} has no position; order LV2A or LV3, or orthorectify it first")
        tiles.append(RasterTile(file, Window(row, col, grid.rows, grid.cols)))
        grids.append(grid)
    rows = max(tile.window.row + tile.window.rows for tile in tiles)
    cols = max(tile.window.col + tile.window.cols for tile in tiles)
    corners = [
        grid.transform @ Affine.translation(-tile.window.col, -tile.window.row)
        for grid, tile in zip(grids, tiles, strict=True)
        if grid.transform is not None
    ]
    tolerance = _OFF_GRID * abs(corners[0].a)
    if any(not np.allclose(corner, corners[0], rtol=1e-9, atol=tolerance) for corner in corners):
        raise InputError(f"the tiles of {isd.name} do not lie on one grid")
    if len(dtypes) > 1:
        raise InputError(f"the tiles of {isd.name} hold numbers of several types ({', '.join(sorted(dtypes))})")
    return Grid(rows, cols, corners[0], grids[0].crs), tiles, np.dtype(dtypes.pop())


def _file(isd: SupportData, tile: Mapping[str, str]) -> str:
    named = tile.get("FILENAME", "")
    # Only base names are compared, so that no path leads out of the product; some name .TIFF what is delivered as .TIF.
    found = isd.members.find(re.escape(named.rpartition(".")[0]) + r"\.TIFF?") if named else []
    if not found:
        raise InputError(f"the tile {named} is missing in {isd.members.root}")
    return found[0]


def _corner(isd: SupportData, tile: Mapping[str, str]) -> tuple[int, int]:
    row, col = (finite_number(tile.get(key), f"{isd.name}: {key}") for key in ("ULROWOFFSET", "ULCOLOFFSET"))
    if min(row, col) < 0 or row != round(row) or col != round(col):
        raise InputError(f"{isd.name}: a tile starts at row {row:g} and column {col:g}")
    return int(row), int(col)
