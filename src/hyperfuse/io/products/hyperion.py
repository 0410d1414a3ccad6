"""Hyperion of EO-1, L1T and L1Gst: radiance, one GeoTIFF for each band, with an MTL file.

Format: USGS, "EO-1 User Guide" (v2.3) and "EO1 Level 1Gst Data Format Control Book" (DFCB).
"""

from __future__ import annotations

import re

from hyperfuse.errors import InputError
from hyperfuse.io.encoding.options import ReadOptions
from hyperfuse.io.products.hyperion_bands import (
    FIRST_SWIR_BAND,
    HYPERION_BANDS,
    HYPERION_CENTRES,
    HYPERION_WIDTHS,
)
from hyperfuse.io.products.image import About, ProductBand, ProductImage
from hyperfuse.io.products.members import Source, base_name, finite_number, match
from hyperfuse.io.products.names import HYPERION_FILE
from hyperfuse.io.products.odl import read_odl
from hyperfuse.io.products.rasters import RasterBands, grid_of, opened


def open_hyperion(source: Source, options: ReadOptions) -> ProductImage:
    """Open a Hyperion L1T or L1Gst scene: the 198 bands that are calibrated, VNIR and SWIR where they overlap too.

    Gaps are 0. Wavelengths and widths are nominal: the product states none.

    Raises:
        InputError: L1R, another sensor, a missing or damaged file, or ``quality="clear"``, as there is no cloud mask.
    """
    members = source.members
    name = source.chosen or members.find_one(HYPERION_FILE, "EO1H*_MTL_*.TXT")
    if match(r".* \.L1R", base_name(name)):
        raise InputError("is Hyperion L1R, in HDF4 and sensor geometry, which is not read; take L1T (GeoTIFF)")
    if options.quality == "clear":
        raise InputError("quality='clear' needs a cloud mask, which Hyperion products do not have; leave it out")
    groups = read_odl(members, name)
    product = groups.get("PRODUCT_METADATA", {})
    sensor = product.get("SENSOR_ID", "")
    if sensor != "HYPERION":
        raise InputError(f"{name} is of the sensor {sensor or 'that it does not name'}; HYPERION is read")
    scaling = groups.get("RADIANCE_SCALING", {})
    vnir, swir = (
        finite_number(scaling.get(key), f"{name}: {key}") for key in ("SCALING_FACTOR_VNIR", "SCALING_FACTOR_SWIR")
    )
    if min(vnir, swir) <= 0:
        raise InputError(f"{name}: its scaling factors are {vnir:g} and {swir:g}, which have to be above 0")
    requested = options.band_index(len(HYPERION_BANDS))
    bands: list[ProductBand] = []
    for index, number in enumerate(HYPERION_BANDS):
        file = ""
        if requested is None or index in requested:
            named = product.get(f"BAND{number}_FILE_NAME", "")
            # Only base names are compared, so that no path leads out of the product.
            file = next(iter(members.find(re.escape(named))), "") if named else ""
            if not file:
                raise InputError(f"the file {named or f'of BAND{number}_FILE_NAME'} is missing in {members.root}")
        scale = 1 / (swir if number >= FIRST_SWIR_BAND else vnir)
        bands.append(
            ProductBand(
                f"B{number:03d}", HYPERION_CENTRES[index], HYPERION_WIDTHS[index], scale, 0.0, (0.0,), file=file
            )
        )
    with opened(members, next(band.file for band in bands if band.file)) as raster:
        grid = grid_of(raster)
    start = f"{product.get('ACQUISITION_DATE', '')}T{product.get('START_TIME', '').rpartition(' ')[2]}"
    return ProductImage(
        grid,
        bands,
        RasterBands(members, bands, (), (grid.rows, grid.cols)),
        options,
        About(
            "Hyperion L1T",
            base_name(name).partition("_MTL")[0],
            ["no data"],
            {"sensor": "Hyperion", "start_time": start.strip("T"), "wavelengths": "nominal"},
            units="W m-2 sr-1 um-1",
        ),
    )
