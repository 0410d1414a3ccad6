"""PlanetScope orthorectified scenes of 4, 5 and 8 bands: surface reflectance (SR) and at-sensor radiance.

Format: Planet Labs, "Planet Imagery Product Specifications" (PSScene, ortho_analytic_*): the images, their metadata in
XML and STAC, and the usable data mask UDM2 (UDM2.1 since 2023-11-29: one class of haze).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperfuse.errors import InputError
from hyperfuse.io.encoding.options import ReadOptions
from hyperfuse.io.products import stac
from hyperfuse.io.products.image import About, ProductBand, ProductImage
from hyperfuse.io.products.members import Members, Source, base_name, match
from hyperfuse.io.products.names import PLANETSCOPE_FILE
from hyperfuse.io.products.nominal_bands import NOMINAL_BANDS, nominal_ranges
from hyperfuse.io.products.rasters import QualityLayer, RasterBands, grid_of, opened
from hyperfuse.io.products.reflectance import warn
from hyperfuse.io.products.xml import Metadata

_SUPERDOVE, _DOVE_0E = "planetscope-superdove", "planetscope-0e"
_FIRST_SUPERDOVE = "22"  # of the satellite's id
_BANDS = {
    4: ("blue", "green", "red", "nir"),
    5: ("blue", "green", "red", "rededge", "nir"),
    8: tuple(name for name, _, _ in NOMINAL_BANDS[_SUPERDOVE]),
}
_SR_SCALE = 1e-4
# Bands of UDM2 that say that a pixel is not clear; snow (2) stays. Its 8th holds the bits of the older mask UDM:
# 0 black fill, 1 cloud, from 2 on a band with missing or suspect values.
_NOT_CLEAR = {3: "cloud shadow", 4: "haze", 5: "haze", 6: "cloud"}
_UDM_BAND, _CLOUD_BIT = 8, 0b10


@dataclass(frozen=True)
class _Scene:
    """The files of a scene: the image, and others that start with its name."""

    members: Members
    name: str
    satellite: str
    image: str
    reflectance: bool

    def files(self, ending: str) -> list[str]:
        """Return the files whose names end so after that of the scene."""
        return self.members.find(re.escape(self.name) + ending)


def open_planetscope(source: Source, options: ReadOptions) -> ProductImage:
    """Open a PlanetScope scene, all bands.

    Of SR products the values are surface reflectance, of others top-of-atmosphere reflectance by the coefficients in
    the XML metadata. Gaps are 0, and what UDM2 (or the older UDM) calls black fill or suspect in any band; with
    ``quality="clear"`` also its cloud, cloud shadow and haze. Centres and widths are nominal by satellite and band,
    else those of the STAC item next to the image.

    Raises:
        InputError: a basic product (without orthorectification), missing metadata or mask, a damaged file.
    """
    scene = _scene(source)
    with opened(scene.members, scene.image) as raster:
        grid, count = grid_of(raster), raster.count
    if grid.transform is None or grid.crs is None:
        raise InputError("has no position; order the ortho_analytic product, which is orthorectified")
    if count not in _BANDS:
        raise InputError(f"{scene.image} has {count} bands; products of 4, 5 and 8 bands are read")
    sensor, ranges, stated = _responses(scene, count, given=options.wavelengths is not None)
    scales = [_SR_SCALE] * count if scene.reflectance else _coefficients(scene, count)
    bands = [
        ProductBand(name, centre, width, scale, 0.0, (0.0,), file=scene.image, number=number)
        for number, (name, (centre, width), scale) in enumerate(zip(_BANDS[count], ranges, scales, strict=True), 1)
    ]
    layers, reasons = _masks(scene, options.quality == "clear")
    return ProductImage(
        grid,
        bands,
        RasterBands(scene.members, bands, layers, (grid.rows, grid.cols)),
        options,
        About(
            "PlanetScope",
            base_name(scene.image).rpartition(".")[0],
            ["no data", *reasons],
            {
                "sensor": sensor,
                "satellite": scene.satellite,
                "wavelengths": stated,
                "quantity": None if scene.reflectance else "top-of-atmosphere reflectance",
            },
        ),
    )


def _scene(source: Source) -> _Scene:
    members = source.members
    image = source.chosen or members.find_one(PLANETSCOPE_FILE, "*_3B_AnalyticMS*.tif")
    named = match(PLANETSCOPE_FILE, base_name(image))
    if named is None:
        raise InputError(f"{image} is not named as a PlanetScope image, by which its satellite is known")
    if named["level"].upper() != "3B":
        raise InputError("is a basic PlanetScope product, in sensor geometry; order ortho_analytic (3B)")
    return _Scene(members, named["scene"], named["satellite"].lower(), image, named["sr"] is not None)


def _responses(scene: _Scene, count: int, *, given: bool) -> tuple[str, list[tuple[float, float]], str | None]:
    """Return the sensor, centre and width of each band, and how these are known, unless the caller has given them."""
    sensor = "planetscope"
    if scene.satellite[:2] >= _FIRST_SUPERDOVE:
        sensor = _SUPERDOVE
    elif scene.satellite.startswith("0e") and count == len(NOMINAL_BANDS[_DOVE_0E]):
        sensor = _DOVE_0E
    if sensor in NOMINAL_BANDS:
        return sensor, nominal_ranges(sensor, _BANDS[count]), "nominal"
    for name in scene.files(r"(?:_.*)?\.json"):
        found = stac.band_ranges(stac.read_item(scene.members, name), count)
        if found is not None:
            return sensor, found, "nominal, of the STAC item"
    if not given:
        warn(
            f"{scene.image}: the bands of the satellite {scene.satellite} are not known, and no STAC item states them;"
            " pass wavelengths=..."
        )
    return sensor, [(np.nan, np.nan)] * count, None


def _coefficients(scene: _Scene, count: int) -> list[float]:
    """Return the factors from stored radiance to top-of-atmosphere reflectance, which differ by scene and band."""
    for name in scene.files(r"_3B_AnalyticMS.*_metadata.*\.xml"):
        metadata = Metadata(scene.members, name)
        bands = metadata.elements("{*}bandSpecificMetadata")
        if len(bands) != count:
            continue
        numbers = metadata.child_numbers(bands, "bandNumber")
        factors = metadata.child_numbers(bands, "reflectanceCoefficient")
        if sorted(numbers) != list(range(1, count + 1)) or min(factors) <= 0:
            raise InputError(f"{name} states no reflectanceCoefficient of each of the {count} bands")
        return [factor for _, factor in sorted(zip(numbers, factors, strict=True))]
    raise InputError(
        f"the metadata {scene.name}_3B_AnalyticMS*_metadata.xml of {count} bands is missing in {scene.members.root},"
        " which radiance needs to become reflectance; the SR product does not"
    )


def _masks(scene: _Scene, clear: bool) -> tuple[list[QualityLayer], list[str]]:
    """Return the layers of the mask, and the reasons that they give for gaps."""
    mask = next(iter(scene.files(r"_3B_udm2(?:_clip)?\.tiff?")), None)
    if mask is not None:
        layers = [QualityLayer(mask, _is_suspect, _UDM_BAND)]
        if clear:
            layers += [QualityLayer(mask, lambda flags: flags == 1, number) for number in _NOT_CLEAR]
        return layers, ["suspect", *(dict.fromkeys(_NOT_CLEAR.values()) if clear else ())]
    older = next(iter(scene.files(r"_3B_AnalyticMS.*DN_udm(?:_clip)?\.tiff?")), None)
    if older is not None:
        layers = [QualityLayer(older, _is_cloudy if clear else _is_suspect)]
        return layers, ["suspect", "cloud"] if clear else ["suspect"]
    missing = f"the mask {scene.name}_3B_udm2.tif is missing in {scene.members.root}"
    if clear:
        raise InputError(f"{missing}; quality='clear' needs it")
    warn(f"{missing}; suspect pixels are not known")
    return [], []


def _is_suspect(bits: NDArray[Any]) -> NDArray[np.bool_]:
    return np.asarray((bits.astype(np.int64) & ~_CLOUD_BIT) != 0)


def _is_cloudy(bits: NDArray[Any]) -> NDArray[np.bool_]:
    return np.asarray(bits != 0)
