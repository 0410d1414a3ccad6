"""The common structure of EnMAP and DESIS products: a GeoTIFF of all bands, and METADATA.XML that describes them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from hyperfuse.errors import InputError
from hyperfuse.io.encoding.options import ReadOptions
from hyperfuse.io.products.image import About, ProductBand, ProductImage
from hyperfuse.io.products.members import Members, Source, base_name, match
from hyperfuse.io.products.names import DLR_FILE, DLR_METADATA
from hyperfuse.io.products.rasters import QualityLayer, RasterBands, grid_of, opened
from hyperfuse.io.products.xml import Metadata

# Both specifications name this one as the background of L2A images.
_BACKGROUND = -32768.0
_LEVEL = re.compile(r"L\d[A-C]")


@dataclass(frozen=True)
class Layout:
    """The names that a mission uses in its METADATA.XML.

    ``band`` is the element of a band below ``specific/bandCharacterisation``, the others are children of it: centre and
    full width at half maximum in nm, reflectance = gain * stored + offset.
    """

    mission: str
    band: str
    width: str
    gain: str
    offset: str
    centre: str = "wavelengthCenterOfBand"

    def bands_of(self, metadata: Metadata) -> list[Element]:
        """Return the elements of the bands, in the order of the bands of the image."""
        found = metadata.elements(f"{{*}}bandCharacterisation/{{*}}{self.band}")
        numbers = [(band.get("number") or band.findtext("{*}bandNumber") or "").strip() for band in found]
        if found and all(number.isdecimal() and len(number) < 6 for number in numbers):
            return [band for _, band in sorted(zip(map(int, numbers), found, strict=True), key=lambda pair: pair[0])]
        return found


@dataclass(frozen=True)
class DlrScene:
    """The files of one scene: METADATA.XML with the elements of its bands, SPECTRAL_IMAGE, and others by ``file``.

    ``name`` is the common prefix of their names; empty where they have none.
    """

    layout: Layout
    members: Members
    name: str
    metadata: Metadata
    image: str
    bands: list[Element]

    def file(self, part: str) -> str | None:
        """Return the raster of the scene that a part of the product is in, such as ``QL_QUALITY_CLOUD``, or None."""
        return _raster(self.members, self.name, part)

    def required_file(self, part: str) -> str:
        """Return the raster of the scene that a part of the product is in, which has to be there."""
        found = self.file(part)
        if found is None:
            name = f"{_dashed(self.name)}{part}.TIF"
            raise InputError(f"the file {name} is missing in {self.members.root}; quality='clear' needs it")
        return found


def open_scene(source: Source, layout: Layout) -> DlrScene:
    """Find the files of a scene and read its metadata.

    Raises:
        InputError: a file that is missing, several scenes, or a product of another level.
    """
    members, chosen = source.members, source.chosen
    named = match(DLR_FILE, base_name(chosen or members.find_one(rf".* {DLR_METADATA}", "METADATA.XML")))
    name = (named["scene"] if named else None) or ""
    pattern = re.escape(_dashed(name)) + DLR_METADATA
    metadata = Metadata(members, members.find_one(pattern, f"{_dashed(name)}METADATA.XML"))
    _check_level(metadata, name, layout)
    image = chosen if chosen is not None and named and named["image"] else _raster(members, name, "SPECTRAL_IMAGE")
    if image is None:
        raise InputError(f"the file {_dashed(name)}SPECTRAL_IMAGE.TIF is missing in {members.root}")
    bands = layout.bands_of(metadata)
    if not bands:
        raise InputError(f"{metadata.name} describes no bands; it is not the metadata of {layout.mission}")
    return DlrScene(layout, members, name, metadata, image, bands)


def is_layout(path: Path, layout: Layout) -> bool:
    """Return whether a METADATA.XML, or the one next to an image, is that of a mission."""
    named = match(DLR_FILE, path.name)
    if named is None:
        return False
    names = [entry.name for entry in path.parent.iterdir()] if named["image"] else [path.name]
    members = Members(path.parent, names)
    found = members.find(re.escape(_dashed(named["scene"] or "")) + DLR_METADATA)
    try:
        return any(layout.bands_of(Metadata(members, name)) for name in found[:1])
    except InputError:
        return False


def _dashed(name: str) -> str:
    return f"{name}-" if name else ""


def _raster(members: Members, name: str, part: str) -> str | None:
    """Return a raster; of the plain one and its cloud-optimised copy, which hold the same, the plain one."""
    found = members.find(rf"{re.escape(_dashed(name) + part)}(?:_COG)?\.TIFF?")
    return min(found, key=len, default=None)


def _check_level(metadata: Metadata, name: str, layout: Layout) -> None:
    stated = [*metadata.elements("{*}base/{*}level"), *metadata.elements("{*}base/{*}format")]
    texts = [element.text or "" for element in stated]
    levels = [found[0] for text in (*texts, name) if (found := _LEVEL.search(text))]
    if not levels:
        raise InputError(f"{metadata.name} states no processing level; {layout.mission} L2A is read")
    if levels[0] != "L2A":
        kind = "radiance at the sensor" if levels[0].startswith("L1") else "another quantity"
        raise InputError(f"is {layout.mission} {levels[0]} ({kind}); order the L2A product, which holds reflectance")


def scene_image(
    scene: DlrScene,
    options: ReadOptions,
    layers: Sequence[tuple[str, QualityLayer]],
    good_bands: NDArray[np.bool_] | None = None,
    names: Sequence[str] = (),
) -> ProductImage:
    """Return the image of a scene; ``layers`` are the flags that make gaps, each with the reason for the history.

    ``names`` are those of the bands, where they have any.

    Raises:
        InputError: an image that does not fit the metadata, or is damaged.
    """
    metadata, layout = scene.metadata, scene.layout
    centres, widths, scales, offsets = (
        metadata.child_numbers(scene.bands, tag) for tag in (layout.centre, layout.width, layout.gain, layout.offset)
    )
    with opened(scene.members, scene.image) as source:
        if source.count != len(scene.bands):
            raise InputError(f"has {source.count} bands, but {metadata.name} describes {len(scene.bands)}")
        grid = grid_of(source)
        other = {value for value in source.nodatavals if value is not None and not np.isnan(value)}
    stated = metadata.find("backgroundValue")
    background = _BACKGROUND if stated is None else metadata.number(stated, "backgroundValue")
    nodata = (background, *sorted(other - {background}))
    good = np.ones(len(scene.bands), np.bool_) if good_bands is None else good_bands
    bands = [
        ProductBand(name, centre, width, scale, offset, nodata, bool(usable), file=scene.image, number=number)
        for number, (name, centre, width, scale, offset, usable) in enumerate(
            zip(names or [""] * len(scene.bands), centres, widths, scales, offsets, good, strict=True), 1
        )
    ]
    return ProductImage(
        grid,
        bands,
        RasterBands(scene.members, bands, [layer for _, layer in layers], (grid.rows, grid.cols)),
        options,
        About(
            f"{layout.mission} L2A",
            scene.name,
            list(dict.fromkeys(["no data", *(reason for reason, _ in layers)])),
            {
                "sensor": layout.mission,
                "start_time": metadata.find("startTime"),
                "stop_time": metadata.find("stopTime", "endTime"),
            },
        ),
    )
