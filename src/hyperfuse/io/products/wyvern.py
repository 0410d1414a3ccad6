"""Wyvern Dragonette: radiance (L1B) and surface reflectance (L2A), GeoTIFF with STAC metadata and masks.

Format: Wyvern, "Data Product Guide" 1.5 and 2.0 (https://guide.wyvern.space): names, band tags, the usable data mask
and the pixel quality mask; the scale of L2A is that of the STAC item.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from hyperfuse.errors import InputError
from hyperfuse.io.encoding.options import ReadOptions
from hyperfuse.io.formats.band_tags import spectral_fields
from hyperfuse.io.products import stac
from hyperfuse.io.products.image import About, ProductBand, ProductImage
from hyperfuse.io.products.members import Members, Source, base_name, match
from hyperfuse.io.products.names import WYVERN_FILE
from hyperfuse.io.products.rasters import QualityLayer, RasterBands, grid_of, opened
from hyperfuse.io.products.reflectance import warn

_RADIANCE = "W m-2 sr-1 um-1"
_INTERPOLATED, _CLEAR = 1, 1


def open_wyvern(source: Source, options: ReadOptions) -> ProductImage:
    """Open a Wyvern image, all bands.

    Gaps are the nodata value, and per band what the pixel quality mask calls interpolated; with ``quality="clear"``
    also what the usable data mask does not call clear (cloud, haze, cloud shadow).

    Raises:
        InputError: no wavelengths, no scale of reflectance, a missing mask, a damaged file.
    """
    members = source.members
    image = source.chosen or members.find_one(WYVERN_FILE, "wyvern_dragonette-*.tiff")
    named = match(WYVERN_FILE, base_name(image))
    if named is None:
        raise InputError(f"{image} is not named as a Wyvern image")
    stem = base_name(image).rpartition(".")[0]
    reflectance = (named["level"] or "").lower() == "l2a"
    with opened(members, image) as raster:
        grid, count = grid_of(raster), raster.count
        fields = spectral_fields(raster, {}, image)
        nodata = tuple(value for value in [raster.nodata] if value is not None)
        own = [(scale, offset) for scale, offset in zip(raster.scales, raster.offsets, strict=True)]
        whole = np.dtype(raster.dtypes[0]).kind in "iu"
    centres, widths = fields.get("wavelengths"), fields.get("fwhm")
    if centres is None or widths is None:
        raise InputError(f"{image} states no wavelengths and widths of its bands (wavelength, FWHM)")
    coding = _coding(members, stem, image, own) if reflectance and whole else [(1.0, 0.0)] * count
    names = fields.get("band_names") or ("",) * count
    bands = [
        ProductBand(names[k], float(centres[k]), float(widths[k]), *coding[k], nodata, file=image, number=k + 1)
        for k in range(count)
    ]
    layers, reasons = _masks(members, stem, count, options.quality == "clear")
    return ProductImage(
        grid,
        bands,
        RasterBands(members, bands, layers, (grid.rows, grid.cols)),
        options,
        About(
            f"Wyvern {'L2A' if reflectance else 'L1B'}",
            stem,
            ["no data", *reasons],
            {"sensor": named["platform"].lower(), "start_time": named["time"]},
            units="reflectance" if reflectance else _RADIANCE,
        ),
    )


def _coding(members: Members, stem: str, image: str, own: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return scale and offset of whole numbers of reflectance: of the raster, else of the STAC item next to it."""
    if any(one != (1.0, 0.0) for one in own):
        return own
    for name in members.find(re.escape(stem) + r"\.json"):
        found = _stated(stac.read_item(members, name), base_name(image), len(own))
        if found is not None:
            return found
    raise InputError(f"{image} holds whole numbers of which neither it nor a STAC item ({stem}.json) states the scale")


def _stated(item: Mapping[str, Any], image: str, count: int) -> list[tuple[float, float]] | None:
    assets = item.get("assets")
    for asset in assets.values() if isinstance(assets, dict) else ():
        if not isinstance(asset, dict) or not str(asset.get("href", "")).endswith(image):
            continue
        bands = asset.get("raster:bands")
        if not isinstance(bands, list) or len(bands) != count:
            continue
        pairs = [(band.get("scale"), band.get("offset", 0)) for band in bands if isinstance(band, dict)]
        if len(pairs) == count and all(isinstance(one, int | float) for pair in pairs for one in pair):
            return [(float(scale), float(offset)) for scale, offset in pairs]  # type: ignore[arg-type]  # numbers
    return None


def _masks(members: Members, stem: str, count: int, clear: bool) -> tuple[list[QualityLayer], list[str]]:
    """Return the layers of the masks, and the reasons that they give for gaps."""
    layers: list[QualityLayer] = []
    reasons: list[str] = []
    quality = next(iter(members.find(re.escape(stem) + r"_.*quality.*\.tiff?")), None)
    if quality is None:
        warn(f"{stem}: the pixel quality mask is missing in {members.root}; interpolated pixels are not known")
    else:
        layers += [QualityLayer(quality, lambda flags: flags == _INTERPOLATED, k + 1, {k}) for k in range(count)]
        reasons.append("interpolated")
    if clear:
        usable = members.find_one(re.escape(stem) + r"_data_mask\.tiff?", f"{stem}_data_mask.tiff")
        layers.append(QualityLayer(usable, lambda flags: flags != _CLEAR))
        reasons += ["cloud", "haze", "cloud shadow"]
    return layers, reasons
