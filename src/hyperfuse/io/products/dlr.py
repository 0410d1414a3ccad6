"""The common structure of EnMAP and DESIS products: a GeoTIFF of all bands, and METADATA.XML that describes them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import Grid
from hyperfuse.errors import InputError
from hyperfuse.io.encoding.coding import BandCoding
from hyperfuse.io.encoding.options import ReadOptions
from hyperfuse.io.products.members import Members, Source, base_name, match
from hyperfuse.io.products.names import DLR_FILE, DLR_METADATA
from hyperfuse.io.products.rasters import grid_of, opened
from hyperfuse.io.products.reflectance import Reflectance, in_blocks, selected_bands
from hyperfuse.io.products.xml import Metadata

# Both specifications name this one as the background of L2A images.
_BACKGROUND = -32768.0
_LEVEL = re.compile(r"L\d[A-C]")


@dataclass(frozen=True)
class Layout:
    """The names that a mission uses in its METADATA.XML.

    Attributes:
        mission: as users call it.
        band: the element of a band below ``specific/bandCharacterisation``; its other names are children of it.
        width: full width at half maximum, in nm.
        gain, offset: reflectance = gain * stored + offset.
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
        numbers = [band.get("number") or band.findtext("{*}bandNumber") or "" for band in found]
        if found and all(number.strip().isdecimal() and len(number) < 6 for number in numbers):
            return [band for _, band in sorted(zip(map(int, numbers), found, strict=True), key=lambda pair: pair[0])]
        return found


@dataclass(frozen=True)
class DlrScene:
    """The files of one scene.

    Attributes:
        members: the files around it.
        name: common prefix of the names of its files; empty where they have none.
        metadata: its METADATA.XML.
        image: its SPECTRAL_IMAGE.
        bands: the elements that describe its bands.
    """

    members: Members
    name: str
    metadata: Metadata
    image: str
    bands: list[Element]

    def file(self, part: str) -> str | None:
        """Return the raster of the scene that a part of the product is in, such as ``QL_QUALITY_CLOUD``, or None."""
        found = self.members.find(rf"{_prefix(self.name)}{re.escape(part)}(?:_COG)?\.TIFF?")
        return min(found, key=len, default=None)

    def required_file(self, part: str) -> str:
        """Return the raster of the scene that a part of the product is in.

        Raises:
            InputError: it is missing.
        """
        found = self.file(part)
        if found is None:
            name = f"{self.name}-{part}.TIF" if self.name else f"{part}.TIF"
            raise InputError(f"the file {name} is missing in {self.members.root}; quality='clear' needs it")
        return found


@dataclass(frozen=True)
class Gaps:
    """Pixels that quality masks make gaps, and the reasons, for the history.

    Attributes:
        masks: each with the bands concerned, bool (bands,), and the pixels, bool (rows, cols).
        reasons: such as ``saturated``.
    """

    masks: Sequence[tuple[NDArray[np.bool_], NDArray[np.bool_]]]
    reasons: Sequence[str]


def open_scene(source: Source, layout: Layout) -> DlrScene:
    """Find the files of a scene and read its metadata.

    Raises:
        InputError: a file that is missing, several scenes, or a product of another level.
    """
    members, chosen = source.members, source.chosen
    named = match(DLR_FILE, base_name(chosen or members.find_one(rf".* {DLR_METADATA}", "METADATA.XML")))
    name = (named["scene"] if named else None) or ""
    dash = "-" if name else ""
    metadata = Metadata(members, members.find_one(rf"{_prefix(name)}{DLR_METADATA}", f"{name}{dash}METADATA.XML"))
    _check_level(metadata, name, layout)
    if chosen is None or named is None or not named["image"]:
        # Of the plain image and its cloud-optimised copy, which hold the same, the plain one.
        chosen = min(members.find(rf"{_prefix(name)}SPECTRAL_IMAGE(?:_COG)?\.TIFF?"), key=len, default=None)
    if chosen is None:
        raise InputError(f"the file {name}{dash}SPECTRAL_IMAGE.TIF is missing in {members.root}")
    bands = layout.bands_of(metadata)
    if not bands:
        raise InputError(f"{metadata.name} describes no bands; it is not the metadata of {layout.mission}")
    return DlrScene(members, name, metadata, chosen, bands)


def is_layout(path: Path, layout: Layout) -> bool:
    """Return whether a METADATA.XML, or the one next to an image, is that of a mission."""
    named = match(DLR_FILE, path.name)
    if named is None:
        return False
    members = Members(
        path.parent, [path.name] if not named["image"] else [entry.name for entry in path.parent.iterdir()]
    )
    found = members.find(_prefix(named["scene"] or "") + DLR_METADATA)
    try:
        return any(layout.bands_of(Metadata(members, name)) for name in found[:1])
    except InputError:
        return False


def _prefix(name: str) -> str:
    return f"{re.escape(name)}-" if name else ""


def _check_level(metadata: Metadata, name: str, layout: Layout) -> None:
    stated = [*metadata.elements("{*}base/{*}level"), *metadata.elements("{*}base/{*}format")]
    texts = [element.text or "" for element in stated]
    levels = [found[0] for text in (*texts, name) if (found := _LEVEL.search(text))]
    if not levels:
        raise InputError(f"{metadata.name} states no processing level; {layout.mission} L2A is read")
    if levels[0] != "L2A":
        kind = "radiance at the sensor" if levels[0].startswith("L1") else "another quantity"
        raise InputError(f"is {layout.mission} {levels[0]} ({kind}); order the L2A product, which holds reflectance")


def read_scene(
    scene: DlrScene,
    layout: Layout,
    options: ReadOptions,
    gaps: Callable[[DlrScene, Grid], Gaps],
    good_bands: NDArray[np.bool_] | None = None,
) -> Cube:
    """Read the image of a scene.

    Args:
        scene: its files.
        layout: how its mission names things.
        options: of the caller.
        gaps: returns the gaps that the quality masks state.
        good_bands: bool, shape (bands of the image,), or None.

    Raises:
        InputError: an image that does not fit the metadata, is damaged, or a mask that is missing.
    """
    metadata = scene.metadata
    centres, widths, scales, offsets = (
        np.array(metadata.child_numbers(scene.bands, tag))
        for tag in (layout.centre, layout.width, layout.gain, layout.offset)
    )
    index = selected_bands(options, len(scene.bands))
    with opened(scene.members, scene.image) as source:
        if source.count != len(scene.bands):
            raise InputError(f"has {source.count} bands, but {metadata.name} describes {len(scene.bands)}")
        grid = grid_of(source)
        reflectance = Reflectance((len(index), grid.rows, grid.cols), options, base_name(scene.image))
        found = gaps(scene, grid)
        stated = metadata.find("backgroundValue")
        background = _BACKGROUND if stated is None else metadata.number(stated, "backgroundValue")
        for window, block in in_blocks(index):
            stored = source.read([band + 1 for band in block])
            masked = np.zeros(stored.shape, np.bool_)
            for bands, mask in found.masks:
                masked[bands[block]] |= mask
            for number, band in enumerate(block):
                other = source.nodatavals[band]
                if other is not None and other != background and not np.isnan(other):
                    masked[number] |= stored[number] == other
            coding = BandCoding(scales[block].tolist(), offsets[block].tolist(), [background] * len(block), masked)
            reflectance.put(window, *reflectance.decode(stored, coding))
    return reflectance.cube(
        f"{layout.mission} L2A",
        scene.name,
        ["no data", *found.reasons],
        {
            "sensor": layout.mission,
            "start_time": metadata.find("startTime"),
            "stop_time": metadata.find("stopTime", "endTime"),
        },
        wavelengths=centres[index],
        fwhm=widths[index],
        good_bands=None if good_bands is None else good_bands[index],
        transform=grid.transform,
        crs=grid.crs,
    )
