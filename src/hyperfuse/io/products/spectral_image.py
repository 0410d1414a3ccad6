"""What EnMAP and DESIS products share: one GeoTIFF with all bands and one METADATA.XML that describes them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperfuse.cube.cube import Cube
from hyperfuse.errors import InputError
from hyperfuse.io.encoding.coding import Coding
from hyperfuse.io.encoding.options import ReadOptions
from hyperfuse.io.products.members import Members, base_name
from hyperfuse.io.products.rasters import Grid, grid_of, opened
from hyperfuse.io.products.registry import Source
from hyperfuse.io.products.values import Values, chosen_bands, history_step, known, pick
from hyperfuse.io.products.xml_text import Element, Metadata

# Both specifications name this one as the background of L2A images.
_BACKGROUND = -32768.0
_BLOCK = 16
_ENDING = re.compile(r"-?(?:METADATA\.XML|SPECTRAL_IMAGE(?:_VNIR|_SWIR)?(?:_COG)?\.TIFF?)$", re.IGNORECASE)
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
class Scene:
    """The files of one scene.

    Attributes:
        members: the files around it.
        name: what the names of its files begin with.
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
        found = self.members.find(rf"{_begin(self.name)}{re.escape(part)}(?:_COG)?\.TIFF?")
        return found[0] if found else None

    def needed_file(self, part: str) -> str:
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
    """Pixels that quality masks make gaps: ``masks`` holds the bands concerned, bool (bands,), and (rows, cols)."""

    masks: Sequence[tuple[NDArray[np.bool_], NDArray[np.bool_]]]
    told: Sequence[str]


def open_scene(source: Source, layout: Layout) -> Scene:
    """Find the files of a scene and read its metadata.

    Raises:
        InputError: a file that is missing, several scenes, or a product of another level.
    """
    members, chosen = source.members, source.chosen
    image = r"SPECTRAL_IMAGE(?:_VNIR|_SWIR)?(?:_COG)?\.TIFF?"
    name = scene_name(chosen or members.find_one(r".*METADATA\.XML", "METADATA.XML"))
    begin, dash = _begin(name), "-" if name else ""
    metadata = Metadata(members, members.find_one(rf"{begin}METADATA\.XML", f"{name}{dash}METADATA.XML"))
    _check_level(metadata, name, layout)
    if chosen is None or not re.search(image, chosen, re.IGNORECASE):
        found = members.find(rf"{begin}SPECTRAL_IMAGE(?:_COG)?\.TIFF?")
        # Of the plain image and its cloud-optimised copy, which hold the same, the plain one.
        chosen = min(found, key=len, default=None)
    if chosen is None:
        raise InputError(f"the file {name}{dash}SPECTRAL_IMAGE.TIF is missing in {members.root}")
    bands = layout.bands_of(metadata)
    if not bands:
        raise InputError(f"{metadata.name} describes no bands; it is not the metadata of {layout.mission}")
    return Scene(members, name, metadata, chosen, bands)


def is_layout(path: Any, layout: Layout) -> bool:
    """Return whether a METADATA.XML, or the one beside an image, is that of a mission."""
    names = [path.name] if path.suffix.lower() == ".xml" else []
    begin = scene_name(path.name)
    names = names or [entry.name for entry in path.parent.iterdir() if _is_metadata(entry.name, begin)]
    members = Members(path.parent, names[:1])
    try:
        return any(layout.bands_of(Metadata(members, name)) for name in members.names)
    except InputError:
        return False


def _is_metadata(name: str, begin: str) -> bool:
    return re.fullmatch(rf"{_begin(begin)}METADATA\.XML", name, re.IGNORECASE) is not None


def scene_name(file: str) -> str:
    """Return what the names of all files of a scene begin with."""
    return _ENDING.sub("", base_name(file))


def _begin(name: str) -> str:
    return f"{re.escape(name)}-" if name else ""


def _check_level(metadata: Metadata, name: str, layout: Layout) -> None:
    stated = [*metadata.elements("{*}base/{*}level"), *metadata.elements("{*}base/{*}format")]
    texts = [element.text or "" for element in stated]
    levels = [found[0] for text in (*texts, name) if (found := _LEVEL.search(text))]
    if not levels:
        raise InputError(f"{metadata.name} does not tell its processing level; {layout.mission} L2A is read")
    if levels[0] != "L2A":
        kind = "radiance at the sensor" if levels[0].startswith("L1") else "another quantity"
        raise InputError(f"is {layout.mission} {levels[0]} ({kind}); order the L2A product, which holds reflectance")


def read_scene(
    scene: Scene,
    layout: Layout,
    options: ReadOptions,
    gaps: Callable[[Scene, Grid], Gaps],
    good_bands: NDArray[np.bool_] | None,
) -> Cube:
    """Read the image of a scene.

    Args:
        scene: its files.
        layout: how its mission names things.
        options: what the caller says.
        gaps: returns the gaps that the quality masks tell.
        good_bands: bool, one a band of the image, or None.

    Raises:
        InputError: an image that does not fit the metadata, is damaged, or a mask that is missing.
    """
    about = scene.metadata
    centres, widths = (about.child_numbers(scene.bands, tag) for tag in (layout.centre, layout.width))
    scales, offsets = (about.child_numbers(scene.bands, tag) for tag in (layout.gain, layout.offset))
    index = chosen_bands(options, len(scene.bands))
    with opened(scene.members, scene.image) as source:
        if source.count != len(scene.bands):
            raise InputError(f"has {source.count} bands, but {about.name} describes {len(scene.bands)}")
        grid = grid_of(source)
        values = Values((len(index), grid.rows, grid.cols), options, base_name(scene.image))
        found = gaps(scene, grid)
        background = about.find("backgroundValue")
        mark = _BACKGROUND if background is None else about.number(background, "backgroundValue")
        for start in range(0, len(index), _BLOCK):
            part = index[start : start + _BLOCK]
            stored = source.read([band + 1 for band in part])
            masked = np.zeros(stored.shape, np.bool_)
            for bands, mask in found.masks:
                masked[bands[part]] |= mask
            for place, band in enumerate(part):
                other = source.nodatavals[band]
                if other is not None and other != mark and not np.isnan(other):
                    masked[place] |= stored[place] == other
            coding = Coding(pick(scales, part), pick(offsets, part), [mark] * len(part), masked)
            values.put(np.s_[start : start + len(part)], *values.decode(stored, coding))
    return Cube(
        **values.fields(),
        wavelengths=np.array(pick(centres, index)),
        fwhm=np.array(pick(widths, index)),
        good_bands=None if good_bands is None else good_bands[index],
        transform=grid.transform,
        crs=grid.crs,
        attributes=known(
            {
                "sensor": layout.mission,
                "scene": scene.name,
                "start_time": about.find("startTime"),
                "stop_time": about.find("stopTime", "endTime"),
            }
        ),
        history=(history_step(f"{layout.mission} L2A", scene.name, ["no data", *found.told], options),),
    )
