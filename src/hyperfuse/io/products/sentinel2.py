"""Sentinel-2 L2A (surface reflectance) and L1C (reflectance at the top of the atmosphere): a SAFE folder or its zip.

Format: ESA, "Sentinel-2 Products Specification Document" (S2-PDGS-TAS-DI-PSD, issues 14 and 15): the metadata
MTD_MSIL2A.xml and MTD_MSIL1C.xml, the images in IMG_DATA, the scene classification SCL of L2A and the mask
MSK_CLASSI_B00 of L1C; and ESA's notes on processing baseline 04.00 for the offset of the stored values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from xml.etree.ElementTree import Element

import numpy as np
from affine import Affine

from hyperfuse.cube.header import Grid
from hyperfuse.errors import InputError
from hyperfuse.io.encoding.options import ReadOptions
from hyperfuse.io.products.image import About, ProductBand, ProductImage
from hyperfuse.io.products.members import Members, Source, base_name, open_folder
from hyperfuse.io.products.names import SENTINEL2_BANDS, SENTINEL2_FILE
from hyperfuse.io.products.rasters import QualityLayer, RasterBands, grid_of, opened
from hyperfuse.io.products.reflectance import warn
from hyperfuse.io.products.responses import RESPONSES, SampledResponse, full_width, responses_text
from hyperfuse.io.products.xml import Metadata

_FINE = 10
# Classes of SCL: no data, saturated or defective; and cloud shadow, clouds of medium and high probability, thin cirrus.
_UNUSABLE = (0, 1)
_NOT_CLEAR = (3, 8, 9, 10)
# Layers of MSK_CLASSI_B00, which has pixels of 60 m: opaque clouds, cirrus (the third is snow).
_CLASSI_LAYERS, _CLASSI_PIXEL = (1, 2), 6
_OFFSET_SINCE = 4.0
_NODATA, _SATURATED = 0.0, 65535.0


@dataclass(frozen=True)
class _Level:
    """What differs between the levels: names of elements, and how images are named at a pixel size in m."""

    name: str
    offset: str
    quantification: tuple[str, ...]
    image: str


_LEVELS = {
    "2A": _Level(
        "L2A",
        "BOA_ADD_OFFSET",
        ("BOA_QUANTIFICATION_VALUE", "L2A_BOA_QUANTIFICATION_VALUE", "QUANTIFICATION_VALUE"),
        "_{layer}_{size}m",
    ),
    "1C": _Level("L1C", "RADIO_ADD_OFFSET", ("QUANTIFICATION_VALUE",), "_{layer}"),
}


@dataclass(frozen=True)
class _Safe:
    """A SAFE product: its files, its metadata, its level, and the rasters of its one granule."""

    members: Members
    metadata: Metadata
    level: _Level
    rasters: list[str]

    def image(self, layer: str, size: int) -> str:
        """Return the image of a band or layer at a pixel size in m."""
        found = self.optional_image(layer, size)
        if found is None:
            ending = self.level.image.format(layer=layer, size=size)
            raise InputError(f"the image …{ending}.jp2 is missing in {self.members.root}")
        return found

    def optional_image(self, layer: str, size: int) -> str | None:
        """Return the image of a layer, or None where it is missing."""
        ending = self.level.image.format(layer=layer, size=size).upper()
        images = (name for name in self.rasters if "IMG_DATA" in PurePosixPath(name).parts)
        return next((name for name in images if PurePosixPath(name).stem.upper().endswith(ending)), None)

    def quality(self, name: str) -> str | None:
        """Return a raster of QI_DATA, or None where it is missing."""
        return next((each for each in self.rasters if PurePosixPath(each).stem.upper() == name), None)

    def special(self, name: str, usual: float) -> float:
        """Return the stored value with a special meaning."""
        for element in self.metadata.elements("{*}Special_Values"):
            if (element.findtext("{*}SPECIAL_VALUE_TEXT") or "").strip() == name:
                return self.metadata.number(element.findtext("{*}SPECIAL_VALUE_INDEX"), "SPECIAL_VALUE_INDEX")
        return usual


def open_sentinel2(source: Source, options: ReadOptions) -> ProductImage:
    """Open a Sentinel-2 L2A or L1C product: ten bands on the 10 m grid, those of 20 m interpolated bilinearly onto it.

    With ``pixel_size`` those of 10 m or those of 20 m alone, on their own grid, as they were measured.

    Gaps are what the bands or the scene classification (SCL) of L2A call no data or saturated; with ``quality="clear"``
    also its cloud shadows, clouds and thin cirrus, of L1C opaque clouds and cirrus of ``MSK_CLASSI_B00``. Wavelengths
    and widths are those of the responses in the metadata.

    Raises:
        InputError: another level, a missing image, a damaged one, several granules.
    """
    safe = _open(source)
    about = safe.metadata
    spectral = {_short(each.get("physicalBand") or ""): each for each in about.elements("{*}Spectral_Information")}
    native = options.pixel_size is not None
    size = int(options.pixel_size or _FINE)
    options = _of_size(options) if native else options
    requested = options.band_index(len(SENTINEL2_BANDS))
    bands = [
        _band(safe, name, spectral, options, size) if requested is None or number in requested else ProductBand(name)
        for number, name in enumerate(SENTINEL2_BANDS)
    ]
    if options.scale is None and not _states_offset(safe):
        options = replace(options, offset=None)  # it is the product's now, with the product's scale
    grid = _grid(safe, size)
    scene = about.find("PRODUCT_URI") or base_name(safe.members.root.as_posix())
    clear = options.quality == "clear"
    first = safe.level.name == "L1C"
    layers = _cloud_mask(safe) if first and clear else [] if first else _classes(safe, scene, clear)
    layers = [replace(layer, pixel=layer.pixel * _FINE // size) for layer in layers]
    reasons = (["cloud", "cirrus"] if first else ["cloud shadow", "cloud", "cirrus"]) if clear else []
    return ProductImage(
        grid,
        bands,
        RasterBands(safe.members, bands, layers, (grid.rows, grid.cols)),
        options,
        About(
            f"Sentinel-2 {safe.level.name}",
            scene,
            ["no data", "saturated", *reasons],
            {
                "sensor": about.find("SPACECRAFT_NAME"),
                "start_time": about.find("DATATAKE_SENSING_START", "PRODUCT_START_TIME"),
                "baseline": about.find("PROCESSING_BASELINE"),
                "quantity": "top-of-atmosphere reflectance" if first else None,
                RESPONSES: _responses(about, spectral, bands),
            },
            {} if native else {"resampled": "bands of 20 m to 10 m, bilinear"},
        ),
    )


def _of_size(options: ReadOptions) -> ReadOptions:
    """Return options that select the bands of the pixel size that they choose.

    Raises:
        InputError: they select others too.
    """
    named = list(SENTINEL2_BANDS.items())
    selected = options.band_index(len(named))
    other = [named[index][0] for index in selected or () if named[index][1] != options.pixel_size]
    if other:
        have = f"{', '.join(other)} {'has' if len(other) == 1 else 'have'}"
        raise InputError(f"{have} other pixels than the {options.pixel_size:g} m that are chosen", "pixel_size")
    of_size = [index for index, (_, size) in enumerate(named) if size == options.pixel_size]
    return replace(options, bands=of_size if selected is None else selected)


def _open(source: Source) -> _Safe:
    members = source.members
    name = source.chosen
    if name is None:
        found = members.find(SENTINEL2_FILE)
        name = found[0] if len(found) == 1 else members.find_one(r"MTD_MSIL2A\.xml", "MTD_MSIL2A.xml")
    metadata = Metadata(members, name)
    stated = metadata.find("PROCESSING_LEVEL") or ""
    level = next((level for code, level in _LEVELS.items() if code in stated), None)
    if level is None:
        raise InputError(f"is Sentinel-2 {stated or base_name(name)}; the L2A and L1C products are read")
    if members.root.is_dir():
        members = open_folder(members.root, deep=True)
    inside = PurePosixPath(name).parent / "GRANULE"
    granule = [each for each in members.names if PurePosixPath(each).is_relative_to(inside)]
    rasters = [each for each in granule if PurePosixPath(each).suffix.lower() in (".jp2", ".tif", ".tiff")]
    images = [each for each in rasters if "IMG_DATA" in PurePosixPath(each).parts]
    if not images:
        raise InputError(f"the images (GRANULE/*/IMG_DATA) are missing in {members.root / inside.parent}")
    tiles = {PurePosixPath(each).relative_to(inside).parts[0] for each in images}
    if len(tiles) > 1:
        raise InputError(f"holds {len(tiles)} granules; products of one granule are read ({', '.join(sorted(tiles))})")
    return _Safe(members, metadata, level, rasters)


def _band(safe: _Safe, name: str, spectral: dict[str, Element], options: ReadOptions, size: int) -> ProductBand:
    about, short = safe.metadata, _short(name)
    scale, offset = _coding(safe, name, spectral, options)
    return ProductBand(
        name,
        about.number(spectral[short].findtext("{*}Wavelength/{*}CENTRAL"), "CENTRAL"),
        _width(about, spectral[short]),
        scale,
        offset,
        (safe.special("NODATA", _NODATA), safe.special("SATURATED", _SATURATED)),
        pixel=SENTINEL2_BANDS[name] // size,
        file=safe.image(name, SENTINEL2_BANDS[name]),
    )


def _short(band: str) -> str:
    """Return the name that the metadata has for a band: ``B2`` for ``B02``."""
    return "B" + band.strip().upper().removeprefix("B").lstrip("0")


def _classes(safe: _Safe, scene: str, clear: bool) -> list[QualityLayer]:
    """Return the scene classification of L2A, of pixels of 20 m: what it calls unusable, or not clear."""
    layer = safe.image("SCL", 20) if clear else safe.optional_image("SCL", 20)
    if layer is None:
        warn(f"{scene}: SCL is missing in {safe.members.root}; defective pixels and missing detectors are not known")
        return []
    marks = (*_UNUSABLE, *_NOT_CLEAR) if clear else _UNUSABLE
    return [QualityLayer(layer, lambda classes: np.isin(classes, marks), pixel=2)]


def _cloud_mask(safe: _Safe) -> list[QualityLayer]:
    """Return the layers of the cloud mask of L1C."""
    file = safe.quality("MSK_CLASSI_B00")
    if file is None:
        raise InputError(
            f"the mask QI_DATA/MSK_CLASSI_B00.jp2 is missing in {safe.members.root}, which quality='clear' needs;"
            " before baseline 04.00 the mask is a GML file, which is not read"
        )
    return [QualityLayer(file, lambda flags: flags != 0, number, pixel=_CLASSI_PIXEL) for number in _CLASSI_LAYERS]


def _states_offset(safe: _Safe) -> bool:
    """Return whether the offset of the stored values follows from the metadata."""
    about = safe.metadata
    before = about.number(about.text("PROCESSING_BASELINE"), "PROCESSING_BASELINE") < _OFFSET_SINCE
    return before or bool(about.elements(f"{{*}}{safe.level.offset}"))


def _coding(safe: _Safe, band: str, spectral: dict[str, Element], options: ReadOptions) -> tuple[float, float]:
    """Return scale and offset of a band.

    Sen2Cor as users run it (baseline 99.99) states no offset of older inputs: then it is the caller's.
    """
    about = safe.metadata
    if _short(band) not in spectral:
        raise InputError(f"{about.name} has no Spectral_Information of {band}; it is cut off or of another format")
    tags, offset_tag = safe.level.quantification, safe.level.offset
    quantification = about.number(about.text(*tags), tags[0])
    if quantification <= 0:
        raise InputError(f"{about.name}: {tags[0]} is {quantification:g}, which has to be above 0")
    number = spectral[_short(band)].get("bandId")
    stated = [each for each in about.elements(f"{{*}}{offset_tag}") if each.get("band_id") == number]
    baseline = about.number(about.text("PROCESSING_BASELINE"), "PROCESSING_BASELINE")
    if not stated and baseline >= _OFFSET_SINCE:
        if options.offset is None:
            raise InputError(
                f"{about.name} has no {offset_tag} of {band}, which baseline {baseline:05.2f} has to state; pass"
                " offset=-0.1 where 1000 was added to the stored values (inputs of baseline 04.00 and later), else"
                " offset=0",
                "offset",
            )
        if options.scale is None and abs(options.offset) > 1:
            raise InputError(f"offset={options.offset:g} is in reflectance, such as -0.1", "offset")
        return 1.0 / quantification, options.offset
    offset = about.number(stated[0].text, offset_tag) if stated else 0.0
    return 1.0 / quantification, offset / quantification


def _grid(safe: _Safe, size: int) -> Grid:
    """Return the grid of the bands of a pixel size in m."""
    name = safe.image("B02", _FINE)
    with opened(safe.members, name) as source:
        grid = grid_of(source)
    if grid.transform is None or grid.crs is None:
        raise InputError(f"{name} has no transform or no CRS")
    if grid.rows % 2 or grid.cols % 2:
        raise InputError(f"has {grid.rows} x {grid.cols} pixels of 10 m, which pixels of 20 m do not cover")
    step = size // _FINE
    return Grid(grid.rows // step, grid.cols // step, grid.transform @ Affine.scale(step), grid.crs)


def _width(about: Metadata, element: Element) -> float:
    """Return the full width at half maximum of a response in nm, NaN where the metadata has none."""
    sampled = _samples(about, element)
    return float("nan") if sampled is None else full_width(np.array(sampled[0]), sampled[1])


def _samples(about: Metadata, element: Element) -> tuple[list[float], float] | None:
    """Return the samples of a response and their distance in nm, or None where the metadata has none."""
    texts = (element.findtext("{*}Spectral_Response/{*}VALUES") or "").split()
    if not texts:
        return None
    step = about.number(element.findtext("{*}Spectral_Response/{*}STEP"), "STEP")
    return [about.number(text, "Spectral_Response") for text in texts], step


def _responses(about: Metadata, spectral: dict[str, Element], bands: Sequence[ProductBand]) -> str | None:
    """Return the responses of bands that are sampled from the lower limit of a band to its upper one."""
    found: dict[str, SampledResponse] = {}
    for band in bands:
        element = spectral.get(_short(band.name))
        sampled = None if element is None or not band.file else _samples(about, element)
        if element is None or sampled is None:
            continue
        values, step = sampled
        low, high = (about.number(element.findtext(f"{{*}}Wavelength/{{*}}{end}"), end) for end in ("MIN", "MAX"))
        if step > 0 and abs((high - low) / step + 1 - len(values)) < 0.5:
            found[band.name] = SampledResponse(low, step, tuple(values))
    return responses_text(found)
