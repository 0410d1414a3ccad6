"""STAC items: assets as cubes, and an item of a result with its provenance.

Specification: https://github.com/radiantearth/stac-spec 1.1 with the extensions eo 2.0, projection 2.0, raster 2.0 and
processing 1.2. Reading needs no further package; what is written is built and validated by pystac (extra ``stac``).
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from hyperfuse.calls import checked
from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import CubeHeader, six_numbers
from hyperfuse.errors import InputError, warn
from hyperfuse.io.encoding.atomic import check_target, replacing
from hyperfuse.io.encoding.damage import named
from hyperfuse.io.encoding.options import ReadKeywords, ReadOptions, merge_options
from hyperfuse.io.products.members import open_folder
from hyperfuse.io.products.stac import read_item
from hyperfuse.io.products.stac_asset import open_assets
from hyperfuse.io.products.stac_item import Item
from hyperfuse.runtime.optional import require
from hyperfuse.version import __version__

_EXTENSION = "https://stac-extensions.github.io/{}/v{}/schema.json"
_EXTENSIONS = [
    _EXTENSION.format(*one)
    for one in (("eo", "2.0.0"), ("projection", "2.0.0"), ("raster", "2.0.0"), ("processing", "1.2.0"))
]
_MEDIA = {
    ".tif": "image/tiff; application=geotiff",
    ".tiff": "image/tiff; application=geotiff",
    ".nc": "application/netcdf",
    ".zarr": "application/vnd+zarr",
    ".json": "application/geo+json",
    ".html": "text/html",
}
# Points along each side of an image, of which the edges are curves in longitude and latitude.
_ALONG = 11


@checked
def read_stac(
    item: Any,
    asset: str | Sequence[str] | None = None,
    *,
    elsewhere: bool = False,
    options: ReadOptions | None = None,
    **keywords: Unpack[ReadKeywords],
) -> Cube:
    """Read an asset of a STAC item, or several that hold bands on one grid, into a cube.

    Wavelengths, widths, names, scale, offset, nodata, unit and position that the file of an asset does not state are
    those of the item: its ``bands`` (1.1), or ``eo:bands`` and ``raster:bands`` (before). Every function and command
    that takes a file takes ``item.json:KEY`` and ``item.json:KEY,KEY`` too.

    Args:
        item: path of its JSON, the JSON as a mapping, or a ``pystac.Item``.
        asset: key of the asset, or several; None: the only one with the role ``data``.
        elsewhere: read assets outside of the item's folder too, and by GDAL those at an address of the web (http,
            https). Otherwise an item from any source names no other files.
        options: how it is read.
        **keywords: fields of :class:`ReadOptions` in place of ``options``.

    Returns:
        The cube.

    Raises:
        InputError: no STAC item, no such asset, a file that is not there or lies elsewhere, bands on several grids.

    Example:
        >>> import json, numpy, pathlib, tempfile
        >>> from hyperfuse.io import write
        >>> folder = tempfile.TemporaryDirectory()
        >>> path = pathlib.Path(folder.name) / "item.json"
        >>> write(path.with_name("image.tif"), Cube(data=numpy.ones((1, 4, 5))))
        >>> asset = {"href": "image.tif", "bands": [{"name": "red", "eo:center_wavelength": 0.665}]}
        >>> item = {"type": "Feature", "stac_version": "1.1.0", "id": "a", "assets": {"image": asset}}
        >>> _ = path.write_text(json.dumps(item))
        >>> read_stac(path, "image").wavelengths.tolist()
        [665.0]
    """
    how = merge_options(ReadOptions, options, keywords)
    found, where = _item(item, elsewhere)
    with named(where):
        image = open_assets(found, asset, how)
        try:
            cube = image.read()
        finally:
            image.close()
        changes = how.band_changes(cube.header, where)
    return cube.replace(**changes) if changes else cube


def _item(item: Any, elsewhere: bool) -> tuple[Item, str]:
    """Return an item that a caller passes, and its name for messages."""
    if isinstance(item, str | Path):
        path = Path(item)
        if not path.is_file():
            raise InputError(f"{path}: no such file; name the JSON of a STAC item", "item")
        with named(path):
            fields = read_item(open_folder(path.absolute().parent), path.name)
        folder: Path | None = path.absolute().parent
    else:
        own = getattr(item, "get_self_href", None)
        address = own() if callable(own) else None
        fields = item.to_dict(transform_hrefs=False) if hasattr(item, "to_dict") else item
        folder = Path(address).absolute().parent if address and "://" not in address else None
        if not isinstance(fields, Mapping):
            raise InputError(
                f"item is a {type(item).__name__}; pass the path of a STAC item, its JSON or a pystac.Item", "item"
            )
    if fields.get("type") != "Feature" or "assets" not in fields:
        raise InputError(f"{item if folder else 'item'}: is no STAC item (a Feature with assets)", "item")
    found = Item(fields, folder, elsewhere)
    return found, str(item) if isinstance(item, str | Path) else found.name


@dataclass(frozen=True)
class ItemAsset:
    """A file of a result.

    Attributes:
        path: of the file.
        title: short.
        roles: as STAC calls them, such as ``data``.
        header: of an image.
        dtype: of its stored values.
    """

    path: Path
    title: str
    roles: tuple[str, ...] = ("data",)
    header: CubeHeader | None = None
    dtype: str = "float32"


def write_stac_item(
    path: str | Path, assets: Mapping[str, ItemAsset], inputs: Sequence[str | Path] = (), *, overwrite: bool = False
) -> None:
    """Write a STAC item of a result: where it is, its bands, how it was made and of what.

    Validated against the schema of STAC itself, which pystac brings; the schemas of the extensions are on the web, and
    are not looked at. Addresses are relative to the item.

    Args:
        path: JSON to write.
        assets: the files by their keys; the first is the image that the item is of.
        inputs: files that it was made of, linked as ``derived_from``.
        overwrite: replace an existing item.

    Raises:
        MissingDependencyError: without pystac.
        InputError: an existing file without ``overwrite``; no such folder.
    """
    pystac = require("pystac", "writing a STAC item")
    path = Path(path)
    main = next(iter(assets.values()))
    header = main.header
    assert header is not None  # of an image
    geometry, box = _footprint(header)
    when, stated = _time(header)
    if not stated:
        warn(f"{path}: the images state no time of acquisition; the item has that of the fusion")
    item = pystac.Item(path.stem, geometry, box, when, _properties(header), stac_extensions=list(_EXTENSIONS))
    for key, asset in assets.items():
        item.add_asset(key, pystac.Asset(**_asset(asset, path.absolute().parent)))
    for file in dict.fromkeys(map(str, inputs)):
        media = _MEDIA.get(Path(file).suffix.lower())
        item.add_link(pystac.Link("derived_from", _relative(Path(file), path.absolute().parent), media))
    fields = item.to_dict(include_self_link=False, transform_hrefs=False)
    _validate(pystac, fields)
    with named(path):
        check_target(path, overwrite=overwrite)
    with named(path), replacing(path) as scratch:
        scratch.write_text(json.dumps(fields, indent=2, allow_nan=False, ensure_ascii=False) + "\n", "utf-8")


def _validate(pystac: Any, fields: dict[str, Any]) -> None:
    """Check an item against the schema of STAC, where the package jsonschema is there; the extensions' are not here."""
    from importlib.util import find_spec

    if find_spec("jsonschema") is None:
        return
    from pystac.validation.stac_validator import JsonSchemaSTACValidator

    JsonSchemaSTACValidator().validate_core(fields, pystac.STACObjectType.ITEM, fields["stac_version"])


def _properties(header: CubeHeader) -> dict[str, Any]:
    from hyperfuse.cube.crs import metres_per_unit

    found: dict[str, Any] = {"created": _text(datetime.now(UTC)), "processing:software": {"hyperfuse": __version__}}
    step = header.history[-1] if header.history else {}
    if step.get("step") == "fuse":
        found["processing:lineage"] = f"HSI and MSI fused by the method {step.get('method')} of hyperfuse {__version__}"
    found["hyperfuse:history"] = json.loads(json.dumps([dict(one) for one in header.history], default=str))
    if header.attributes.get("sensor"):
        found["platform"] = header.attributes["sensor"]
    found["proj:shape"] = [header.rows, header.cols]
    if header.transform is not None:
        found["proj:transform"] = list(six_numbers(header.transform))
        if header.crs is not None:
            found |= _crs(header.crs)
            found["gsd"] = max(header.resolution or (0.0,)) * metres_per_unit(header.crs)
    return found


def _crs(text: str) -> dict[str, Any]:
    from hyperfuse.cube.crs import parse_crs

    return (
        {"proj:code": text}
        if text.startswith("EPSG:")
        else {"proj:code": None, "proj:wkt2": parse_crs(text).to_wkt(version="WKT2_2019")}
    )


def _asset(asset: ItemAsset, folder: Path) -> dict[str, Any]:
    media = _MEDIA.get(asset.path.suffix.lower())
    fields: dict[str, Any] = {
        "href": _relative(asset.path, folder),
        "title": asset.title,
        "media_type": media,
        "roles": list(asset.roles),
    }
    if asset.header is not None:
        fields["extra_fields"] = {"data_type": asset.dtype, "bands": _bands(asset.header, asset.dtype)}
    return fields


def _bands(header: CubeHeader, dtype: str) -> list[dict[str, Any]]:
    coding = header.coding
    common: dict[str, Any] = {}
    if coding.nodata is not None:
        common["nodata"] = coding.nodata if math.isfinite(coding.nodata) else str(coding.nodata)
    if coding.units:
        common["unit"] = coding.units
    if not coding.is_identity and not dtype.startswith("float"):
        common |= {"raster:scale": coding.scale, "raster:offset": coding.offset}
    names = header.band_names or [""] * header.bands
    bands = []
    for band, name in enumerate(names):
        described: dict[str, Any] = {"name": name or f"band {band + 1}"}
        for field, values in (("eo:center_wavelength", header.wavelengths), ("eo:full_width_half_max", header.fwhm)):
            if values is not None and np.isfinite(values[band]):
                described[field] = round(float(values[band]) / 1000, 9)
        bands.append(described | common)
    return bands


def _footprint(header: CubeHeader) -> tuple[dict[str, Any] | None, list[float] | None]:
    """Return the footprint of an image in longitude and latitude, and the box around it; None without a position."""
    if header.transform is None or header.crs is None:
        return None, None
    from rasterio.warp import transform

    from hyperfuse.cube.crs import parse_crs

    steps = np.linspace(0, 1, _ALONG)[:-1]
    corners = [(0, 0), (0, 1), (1, 1), (1, 0), (0, 0)]
    footprint = [
        (start[0] + step * (end[0] - start[0]), start[1] + step * (end[1] - start[1]))
        for start, end in pairwise(corners)
        for step in steps
    ]
    placed = [header.transform @ (col * header.cols, row * header.rows) for col, row in footprint]
    xs, ys = transform(parse_crs(header.crs), parse_crs("EPSG:4326"), *zip(*placed, strict=True))
    if not np.isfinite([xs, ys]).all() or max(xs) - min(xs) > 180:
        warn("the image crosses the antimeridian or a pole: the STAC item states its place by the projection alone")
        return None, None
    ring = [[round(x, 9), round(y, 9)] for x, y in zip(xs, ys, strict=True)]
    box = [min(x for x, _ in ring), min(y for _, y in ring), max(x for x, _ in ring), max(y for _, y in ring)]
    return {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}, box


def _time(header: CubeHeader) -> tuple[datetime, bool]:
    """Return the time of acquisition, else the present, and whether it is the former."""
    text = header.attributes.get("start_time", "").strip()
    for form in (None, "%Y%m%dT%H%M%S", "%Y%m%d%H%M%S"):
        try:
            found = datetime.fromisoformat(text) if form is None else datetime.strptime(text, form)
        except ValueError:
            continue
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC), True
    return datetime.now(UTC), False


def _text(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def _relative(path: Path, folder: Path) -> str:
    """Return the address of a file relative to a folder; absolute where no path leads there (another drive)."""
    try:
        return Path(os.path.relpath(path.absolute(), folder)).as_posix()
    except ValueError:
        return path.absolute().as_uri()
