"""Landsat 8 and 9, Collection 2 Level 2: surface reflectance, GeoTIFFs with an MTL file.

Format: USGS, "Landsat 8-9 Collection 2 (C2) Level 2 Science Product (L2SP) Guide" (LSDS-1619) and "Landsat 8-9 OLI/TIRS
Collection 2 Level 2 Data Format Control Book" (LSDS-1328): the files, the scaling, QA_PIXEL and QA_RADSAT. Band limits:
USGS, "Landsat 8 (L8) Data Users Handbook" (LSDS-1574), nominal widths of OLI, which OLI-2 shares.
"""

from __future__ import annotations

import json
import re
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperfuse.errors import InputError
from hyperfuse.io.encoding.options import ReadOptions
from hyperfuse.io.products.image import About, ProductBand, ProductImage
from hyperfuse.io.products.members import Members, Source, base_name, finite_number, match
from hyperfuse.io.products.names import LANDSAT_METADATA
from hyperfuse.io.products.odl import Groups, read_odl
from hyperfuse.io.products.rasters import QualityLayer, RasterBands, grid_of, opened
from hyperfuse.io.products.reflectance import selected_bands, warn
from hyperfuse.io.products.xml import Metadata

# Nominal limits of the reflective bands in nm.
_LIMITS = {
    "B1": (435, 451), "B2": (452, 512), "B3": (533, 590), "B4": (636, 673), "B5": (851, 879), "B6": (1566, 1651),
    "B7": (2107, 2294),
}  # fmt: skip
_SPACECRAFT = {"LANDSAT_8": "Landsat-8", "LANDSAT_9": "Landsat-9"}
_FILL = 0.0
# QA_PIXEL: bit 0 fill, 1 dilated cloud, 2 cirrus, 3 cloud, 4 cloud shadow. QA_RADSAT: bit n - 1 for band n.
_FILL_BIT = 0b1
_NOT_CLEAR_BITS = 0b11110


class _Mtl:
    """The MTL file of a scene: its groups of entries, and the files that it names."""

    def __init__(self, members: Members, name: str) -> None:
        self.members, self.name = members, name
        self.groups = _parse(members, name)
        self.contents = self.groups.get("PRODUCT_CONTENTS", {})
        self.image = self.groups.get("IMAGE_ATTRIBUTES", {})
        named = match(LANDSAT_METADATA, base_name(name))
        self.scene = self.contents.get("LANDSAT_PRODUCT_ID") or (named["scene"] if named else None) or ""

    def file(self, key: str) -> str | None:
        """Return the file of an entry, or None where it is not named or missing."""
        named = self.contents.get(key, "")
        # Only base names are compared, so that no path leads out of the product.
        return next(iter(self.members.find(re.escape(named))), None) if named else None

    def required_file(self, key: str, what: str) -> str:
        found = self.file(key)
        if key not in self.contents:
            raise InputError(f"{self.name} names no {key} ({what}); it is cut off or of another format")
        if found is None:
            hint = "; select the other bands with bands=..." if "BAND" in key else ""
            raise InputError(f"the file {self.contents[key]} is missing in {self.members.root}{hint}")
        return found

    def coding(self, band: str) -> tuple[float, float]:
        """Return scale and offset of the reflectance of a band."""
        items = self.groups.get("LEVEL2_SURFACE_REFLECTANCE_PARAMETERS", {})
        scale, offset = (
            finite_number(items.get(key), f"{self.name}: {key}")
            for key in (f"REFLECTANCE_MULT_BAND_{band[1:]}", f"REFLECTANCE_ADD_BAND_{band[1:]}")
        )
        return scale, offset

    def spacecraft(self) -> str:
        """Return the name of the satellite; other satellites, collections and levels are refused."""
        level, collection = (self.contents.get(key, "") for key in ("PROCESSING_LEVEL", "COLLECTION_NUMBER"))
        spacecraft = self.image.get("SPACECRAFT_ID", "")
        if not (level and spacecraft):
            raise InputError(
                f"{self.name} states no PROCESSING_LEVEL or SPACECRAFT_ID; it is cut off or not of Collection 2"
            )
        if spacecraft not in _SPACECRAFT:
            raise InputError(f"is of {spacecraft}; Landsat 8 and 9 are read")
        if not level.startswith("L2") or (collection.isdecimal() and int(collection) != 2):
            of = f"Collection {collection} {level}".strip()
            raise InputError(f"is Landsat {of}; take the Collection 2 Level 2 product, which holds surface reflectance")
        return _SPACECRAFT[spacecraft]


def open_landsat(source: Source, options: ReadOptions) -> ProductImage:
    """Open the seven reflective bands of a Landsat 8 or 9 Level 2 product of Collection 2.

    Gaps are the fill of the bands and of QA_PIXEL, and the values that QA_RADSAT calls saturated; with
    ``quality="clear"`` also the clouds (dilated), cloud shadows and cirrus of QA_PIXEL. Wavelengths are nominal.

    Raises:
        InputError: Level 1, another satellite or collection, a missing or damaged file.
    """
    members = source.members
    mtl = _Mtl(members, source.chosen or _metadata_file(members))
    spacecraft = mtl.spacecraft()
    selected = selected_bands(options, len(_LIMITS))
    bands = [_band(mtl, name) if number in selected else ProductBand(name) for number, name in enumerate(_LIMITS)]
    with opened(members, bands[selected[0]].file) as raster:
        grid = grid_of(raster)
    clear = options.quality == "clear"
    quality, saturation = _quality_layer(mtl, clear), _saturation_layers(mtl)
    start = f"{mtl.image.get('DATE_ACQUIRED', '')}T{mtl.image.get('SCENE_CENTER_TIME', '')}"
    saturated = ["saturated"] if saturation else []
    return ProductImage(
        grid,
        bands,
        RasterBands(members, bands, [*quality, *saturation], (grid.rows, grid.cols)),
        options,
        About(
            "Landsat Collection 2 Level 2",
            mtl.scene,
            ["no data", *saturated, *(["cloud", "cloud shadow", "cirrus"] if clear else [])],
            {"sensor": spacecraft, "start_time": start.strip("T"), "wavelengths": "nominal"},
        ),
    )


def _band(mtl: _Mtl, name: str) -> ProductBand:
    low, high = _LIMITS[name]
    file = mtl.required_file(f"FILE_NAME_BAND_{name[1:]}", f"SR_{name}.TIF")
    return ProductBand(name, (low + high) / 2, float(high - low), *mtl.coding(name), (_FILL,), file=file)


def _metadata_file(members: Members) -> str:
    for ending in (".txt", ".json", ".xml"):  # a scene has the same in several forms
        found = [name for name in members.find(LANDSAT_METADATA) if name.lower().endswith(ending)]
        if len(found) == 1:
            return found[0]
    return members.find_one(LANDSAT_METADATA, "*_MTL.txt")


def _parse(members: Members, name: str) -> Groups:
    """Return the groups of an MTL file: XML, JSON, or ODL."""
    if name.lower().endswith(".xml"):
        return {
            group.tag: {item.tag: (item.text or "").strip() for item in group} for group in Metadata(members, name).root
        }
    if name.lower().endswith(".json"):
        return _parse_json(members.read_text(name).decode("utf-8", "replace"), name)
    return read_odl(members, name)


def _parse_json(text: str, name: str) -> Groups:
    try:
        top = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name} is no JSON, or is cut off") from error
    inside = next((value for value in top.values() if isinstance(value, dict)), {}) if isinstance(top, dict) else {}
    return {
        str(group): {str(key): str(value) for key, value in items.items()}
        for group, items in inside.items()
        if isinstance(items, dict)
    }


def _quality_layer(mtl: _Mtl, clear: bool) -> list[QualityLayer]:
    key = "FILE_NAME_QUALITY_L1_PIXEL"
    found = mtl.required_file(key, "QA_PIXEL.TIF") if clear else mtl.file(key)
    if found is None:
        warn(f"{mtl.scene}: QA_PIXEL is missing in {mtl.members.root}; only the fill of the bands themselves is known")
        return []
    return [QualityLayer(found, partial(_has_bits, _FILL_BIT | _NOT_CLEAR_BITS if clear else _FILL_BIT))]


def _saturation_layers(mtl: _Mtl) -> list[QualityLayer]:
    found = mtl.file("FILE_NAME_QUALITY_L1_RADIOMETRIC_SATURATION")
    if found is None:
        warn(f"{mtl.scene}: QA_RADSAT is missing in {mtl.members.root}; saturated values are not known")
        return []
    return [
        QualityLayer(found, partial(_has_bits, 1 << (int(name[1:]) - 1)), bands={number})
        for number, name in enumerate(_LIMITS)
    ]


def _has_bits(bits: int, flags: NDArray[Any]) -> NDArray[np.bool_]:
    return np.asarray((flags.astype(np.int64) & bits) != 0)
