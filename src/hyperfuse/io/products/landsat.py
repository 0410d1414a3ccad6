"""Landsat 8 and 9, Collection 2 Level 2: surface reflectance, GeoTIFFs with an MTL file.

Format: USGS, "Landsat 8-9 Collection 2 (C2) Level 2 Science Product (L2SP) Guide" (LSDS-1619) and "Landsat 8-9 OLI/TIRS
Collection 2 Level 2 Data Format Control Book" (LSDS-1328): the files, the scaling, QA_PIXEL and QA_RADSAT. Band limits:
USGS, "Landsat 8 (L8) Data Users Handbook" (LSDS-1574), nominal widths of OLI, which OLI-2 shares.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from hyperfuse.cube.cube import Cube
from hyperfuse.errors import HyperfuseWarning, InputError
from hyperfuse.io.encoding.coding import BandCoding
from hyperfuse.io.encoding.options import ReadOptions
from hyperfuse.io.products.members import Members, Source, base_name, finite_number, match
from hyperfuse.io.products.names import LANDSAT_METADATA
from hyperfuse.io.products.rasters import grid_of, opened, read_bands
from hyperfuse.io.products.reflectance import Reflectance, selected_bands

Groups = Mapping[str, Mapping[str, str]]

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


def read_landsat(source: Source, options: ReadOptions) -> Cube:
    """Read the seven reflective bands of a Landsat 8 or 9 Level 2 product of Collection 2.

    Gaps are the fill of the bands and of QA_PIXEL, and the values that QA_RADSAT calls saturated; with
    ``quality="clear"`` also the clouds (dilated), cloud shadows and cirrus of QA_PIXEL. Wavelengths are nominal.

    Raises:
        InputError: Level 1, another satellite or collection, a missing or damaged file.
    """
    members = source.members
    mtl = source.chosen or _metadata_file(members)
    groups = _parse(members.read_text(mtl), mtl)
    contents = groups.get("PRODUCT_CONTENTS", {})
    spacecraft = _check_product(groups, mtl)
    names = [list(_LIMITS)[index] for index in selected_bands(options, len(_LIMITS))]
    files = [_required(members, contents, f"FILE_NAME_BAND_{name[1:]}", f"SR_{name}.TIF", mtl) for name in names]
    codings = [_coding(groups, name, mtl) for name in names]
    with opened(members, files[0], bands=1) as raster:
        grid = grid_of(raster)
    size = (grid.rows, grid.cols)
    scene = contents.get("LANDSAT_PRODUCT_ID") or _scene(mtl)
    quality_mask, gaps = _quality_mask(members, contents, size, options.quality == "clear", mtl)
    saturation = _saturation(members, contents, size, scene)
    if saturation is not None:
        gaps.insert(1, "saturated")
    reflectance = Reflectance((len(names), *size), options, scene)
    for number, (name, file, (scale, offset)) in enumerate(zip(names, files, codings, strict=True)):
        stored = read_bands(members, file, [1], size)
        masked = quality_mask
        if saturation is not None:
            masked = quality_mask | ((saturation >> (int(name[1:]) - 1)) & 1).astype(np.bool_)
        coding = BandCoding((scale,), (offset,), (_FILL,), masked)
        reflectance.put(np.s_[number : number + 1], *reflectance.decode(stored, coding))
    image = groups.get("IMAGE_ATTRIBUTES", {})
    start = f"{image.get('DATE_ACQUIRED', '')}T{image.get('SCENE_CENTER_TIME', '')}"
    limits = np.array([_LIMITS[name] for name in names], np.float64)
    return reflectance.cube(
        "Landsat Collection 2 Level 2",
        scene,
        gaps,
        {"sensor": spacecraft, "start_time": start.strip("T"), "wavelengths": "nominal"},
        wavelengths=limits.mean(axis=1),
        fwhm=limits[:, 1] - limits[:, 0],
        band_names=tuple(names),
        transform=grid.transform,
        crs=grid.crs,
    )


def _metadata_file(members: Members) -> str:
    texts = [name for name in members.find(LANDSAT_METADATA) if name.lower().endswith(".txt")]
    return texts[0] if len(texts) == 1 else members.find_one(LANDSAT_METADATA, "*_MTL.txt")


def _scene(mtl: str) -> str:
    named = match(LANDSAT_METADATA, base_name(mtl))
    return (named["scene"] if named else None) or ""


def _parse(raw: bytes, name: str) -> Groups:
    """Return the groups of an MTL file: its JSON form, or ODL (``KEY = VALUE`` between GROUP and END_GROUP)."""
    text = raw.decode("utf-8", "replace")
    if name.lower().endswith(".json"):
        return _parse_json(text, name)
    groups: dict[str, dict[str, str]] = {}
    current: list[str] = []
    for line in text.splitlines():
        key, equals, value = (part.strip() for part in line.partition("="))
        if key == "GROUP":
            current.append(value)
        elif key == "END_GROUP":
            current = current[:-1]
        elif key == "END" and not equals:
            return groups
        elif equals and current:
            groups.setdefault(current[-1], {}).setdefault(key, value.strip('"'))
    raise InputError(f"{name} does not end with END; it is cut off or of another format")


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


def _check_product(groups: Groups, mtl: str) -> str:
    """Refuse other satellites, collections and levels; return the name of the satellite."""
    contents, image = groups.get("PRODUCT_CONTENTS", {}), groups.get("IMAGE_ATTRIBUTES", {})
    level, collection = contents.get("PROCESSING_LEVEL", ""), contents.get("COLLECTION_NUMBER", "")
    spacecraft = image.get("SPACECRAFT_ID", "")
    if not (level and spacecraft):
        raise InputError(f"{mtl} states no PROCESSING_LEVEL or SPACECRAFT_ID; it is cut off or not of Collection 2")
    if spacecraft not in _SPACECRAFT:
        raise InputError(f"is of {spacecraft}; Landsat 8 and 9 are read")
    if not level.startswith("L2") or (collection.isdecimal() and int(collection) != 2):
        of = f"Collection {collection} {level}".strip()
        raise InputError(f"is Landsat {of}; take the Collection 2 Level 2 product, which holds surface reflectance")
    return _SPACECRAFT[spacecraft]


def _file(members: Members, contents: Mapping[str, str], key: str) -> tuple[str, str | None]:
    """Return the name that the MTL has for a file, and the file, or None where it is missing."""
    named = contents.get(key, "")
    # Only base names are compared, so that no path leads out of the product.
    found = members.find(re.escape(named)) if named else []
    return named, found[0] if found else None


def _required(members: Members, contents: Mapping[str, str], key: str, what: str, mtl: str) -> str:
    named, found = _file(members, contents, key)
    if not named:
        raise InputError(f"{mtl} names no {key} ({what}); it is cut off or of another format")
    if found is None:
        hint = "; select the other bands with bands=..." if "BAND" in key else ""
        raise InputError(f"the file {named} is missing in {members.root}{hint}")
    return found


def _coding(groups: Groups, band: str, mtl: str) -> tuple[float, float]:
    items = groups.get("LEVEL2_SURFACE_REFLECTANCE_PARAMETERS", {})
    scale, offset = (
        finite_number(items.get(key), f"{mtl}: {key}")
        for key in (f"REFLECTANCE_MULT_BAND_{band[1:]}", f"REFLECTANCE_ADD_BAND_{band[1:]}")
    )
    return scale, offset


def _quality_mask(
    members: Members, contents: Mapping[str, str], size: tuple[int, int], clear: bool, mtl: str
) -> tuple[NDArray[np.bool_], list[str]]:
    key = "FILE_NAME_QUALITY_L1_PIXEL"
    found = _required(members, contents, key, "QA_PIXEL.TIF", mtl) if clear else _file(members, contents, key)[1]
    if found is None:
        # The bands have their own fill.
        return np.zeros(size, np.bool_), ["no data"]
    bits = _FILL_BIT | _NOT_CLEAR_BITS if clear else _FILL_BIT
    flags = read_bands(members, found, [1], size)[0].astype(np.int64)
    return (flags & bits) != 0, ["no data"] + (["cloud", "cloud shadow", "cirrus"] if clear else [])


def _saturation(
    members: Members, contents: Mapping[str, str], size: tuple[int, int], scene: str
) -> NDArray[np.int64] | None:
    _, found = _file(members, contents, "FILE_NAME_QUALITY_L1_RADIOMETRIC_SATURATION")
    if found is None:
        warnings.warn(
            f"{scene}: QA_RADSAT is missing in {members.root}; saturated values are not known",
            HyperfuseWarning,
            stacklevel=3,
        )
        return None
    flags: NDArray[np.int64] = read_bands(members, found, [1], size)[0].astype(np.int64)
    return flags
