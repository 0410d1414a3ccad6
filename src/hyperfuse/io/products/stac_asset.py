"""Assets of a STAC item: files of any format or product, with what the item states of their bands.

What a file states itself wins over the item; bands without wavelengths, coding or position get those of the item.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import CubeHeader
from hyperfuse.cube.window import Window
from hyperfuse.errors import InputError, warn
from hyperfuse.io.encoding.damage import named
from hyperfuse.io.encoding.options import ReadOptions
from hyperfuse.io.formats.registry import format_to_read
from hyperfuse.io.formats.stack import stacked_header, stacked_values
from hyperfuse.io.products.members import LARGEST_TEXT, Source, open_folder
from hyperfuse.io.products.registry import find_product
from hyperfuse.io.products.stac import StatedBand, assets_of, read_item, stated_bands, stated_of_all
from hyperfuse.io.products.stac_item import Item
from hyperfuse.version import __version__

# Wavelengths of an item are rounded to 1 nm by most who write them.
_SAME_NM = 2.0


class _Image(Protocol):
    header: CubeHeader

    def read(self, window: Window | None = None) -> Cube: ...

    def close(self) -> None: ...


def is_stac_asset(path: Path) -> bool:
    """Return whether a file is a STAC item."""
    if path.stat().st_size > LARGEST_TEXT:
        return False
    try:
        item = json.loads(path.read_bytes())
    except (ValueError, RecursionError, OSError):
        return False
    return isinstance(item, dict) and item.get("type") == "Feature" and "stac_version" in item


def open_stac_asset(source: Source, options: ReadOptions) -> AssetImage:
    """Open the assets of an item that follow the colon of its path, ``item.json:KEY`` or ``item.json:KEY,KEY``.

    Raises:
        InputError: no such asset, a file that is not there or outside of the item's folder, bands on several grids.
    """
    item = Item(read_item(source.members, source.file.name), source.file.parent)
    return open_assets(item, source.part, options)


def asset_files(path: Path) -> list[Path]:
    """Return the files of the assets of an item, those that are there."""
    item = Item(read_item(open_folder(path.absolute().parent), path.name), path.absolute().parent)
    found = []
    for key in assets_of(item.fields):
        try:
            found.append(item.file(key))
        except InputError:
            continue
    return found


def open_assets(item: Item, asked: str | Sequence[str] | None, options: ReadOptions) -> AssetImage:
    """Open assets of an item: one, or several that hold bands on one grid.

    Args:
        item: with the assets.
        asked: keys of the assets; None: of the only one with data.
        options: how each is read; ``bands`` count in all of them together.
    """
    if options.overview is not None:
        raise InputError("overview is for products; leave it out", "overview")
    keys = item.choose(asked)
    each = options if len(keys) == 1 else replace(options, bands=None)
    images: list[_Image] = []
    try:
        for key in keys:
            with _naming(key, len(keys) > 1):
                images.append(_opened(item, key, each))
        with named(item.name):
            return AssetImage(item, keys, images, None if len(keys) == 1 else options)
    except BaseException:
        for image in images:
            image.close()
        raise


class AssetImage:
    """The bands of assets: a :class:`~hyperfuse.io.windows.source.WindowSource`.

    Args:
        item: that they are of.
        keys: of the assets.
        images: theirs; they are closed with this one.
        options: that select bands of all together; None where the one image has selected its own.
    """

    def __init__(self, item: Item, keys: Sequence[str], images: Sequence[_Image], options: ReadOptions | None) -> None:
        self._images = list(images)
        one = len(images) == 1
        header = images[0].header if one else stacked_header([image.header for image in images], keys)
        index = None if options is None else options.band_index(header.bands)
        self._index = None if index is None else np.asarray(index)
        if self._index is not None:
            header = header.select_bands(self._index)
        step = {"step": "read", "item": item.name, "assets": list(keys), "version": __version__}
        attributes = {**_attributes(item.fields), **header.attributes}
        self.header: CubeHeader = header.replace(attributes=attributes, history=(*header.history, step))

    def read(self, window: Window | None = None) -> Cube:
        """Return a window, or all, as a cube."""
        header = self.header if window is None else self.header.crop(*window)
        cubes = [image.read() if window is None else image.read(window) for image in self._images]
        data, valid = (cubes[0].data, cubes[0].valid) if len(cubes) == 1 else stacked_values(cubes)
        if self._index is not None:
            data, valid = data[self._index], None if valid is None else valid[self._index]
        return Cube.from_header(header, data, valid)

    def may_hold_data(self, window: Window) -> bool:
        """Return True: what a window holds is known when it is read."""
        return True

    def close(self) -> None:
        """Close the files."""
        for image in self._images:
            image.close()


class _Whole:
    """A cube as an image of which windows are read."""

    def __init__(self, cube: Cube) -> None:
        self._cube, self.header = cube, cube.header

    def read(self, window: Window | None = None) -> Cube:
        return self._cube if window is None else self._cube.crop(*window)

    def close(self) -> None:
        """Do nothing: there is no file."""


class _Relabelled:
    """An image with other metadata of its bands."""

    def __init__(self, image: _Image, changes: Mapping[str, Any]) -> None:
        self._image, self._changes = image, changes
        self.header: CubeHeader = image.header.replace(**changes)

    def read(self, window: Window | None = None) -> Cube:
        header = self.header if window is None else self.header.crop(*window)
        cube = self._image.read(window)
        return Cube.from_header(header, cube.data, cube.valid)

    def close(self) -> None:
        """Close the file."""
        self._image.close()


def _opened(item: Item, key: str, options: ReadOptions) -> _Image:
    """Open the file of an asset, with what the item states where the file does not."""
    path = item.file(key)
    asset = assets_of(item.fields)[key]
    properties = item.fields.get("properties")
    bands = stated_bands(asset) or stated_bands(properties if isinstance(properties, dict) else {})
    image = _open_file(path, options)
    try:
        if image.header.coding.is_identity and options.scale is None and options.offset is None:
            coding = _coding(bands or [stated_of_all(asset)], image.header, options)
            if coding:
                image.close()
                image = _open_file(path, replace(options, **coding))
        changes = _changes(item, asset, bands, image.header, options, key)
    except BaseException:
        image.close()
        raise
    return _Relabelled(image, changes) if changes else image


def _open_file(path: Path, options: ReadOptions) -> _Image:
    if path.parts[1:2] == ("vsicurl",):
        from rasterio import Env

        from hyperfuse.io.formats.raster import RasterImage

        with Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"):
            return RasterImage(path, options)
    found = find_product(path)
    if found is not None:
        return found[0].open([found[1]], options)
    if options.quality is not None:
        raise InputError("quality is for products, and this is none; leave it out", "quality")
    entry = format_to_read(path)
    if not entry.windows:
        return _Whole(entry.read(path, options, None))
    image: _Image = entry.open(path, options, None)
    return image


def _coding(bands: Sequence[StatedBand], header: CubeHeader, options: ReadOptions) -> dict[str, Any]:
    """Return scale, offset and nodata that an item states, where a file states none."""
    found: dict[str, Any] = {}
    for name, plain in (("scale", 1.0), ("offset", 0.0), ("nodata", None)):
        values = {getattr(band, name) for band in bands} - {None, plain}
        if any(isinstance(value, float) and math.isnan(value) for value in values):
            values = {math.nan}
        if len(values) > 1:
            raise InputError(f"the item states several values of {name} for its bands; specify {name}", name)
        if values and (name != "nodata" or (header.coding.nodata is None and options.nodata is None)):
            found[name] = values.pop()
    return found


def _changes(
    item: Item,
    asset: Mapping[str, Any],
    bands: Sequence[StatedBand],
    header: CubeHeader,
    options: ReadOptions,
    key: str,
) -> dict[str, Any]:
    """Return the fields of a header that an item states and a file does not."""
    changes: dict[str, Any] = {}
    index = options.band_index(len(bands)) if bands else None
    chosen = list(bands) if index is None else [bands[band] for band in index]
    if bands and len(chosen) != header.bands:
        warn(f"{item.name}: describes {len(bands)} bands of the asset {key}, of which the file has another number")
        chosen = []
    centres = np.array([math.nan if band.centre is None else band.centre for band in chosen])
    widths = np.array([math.nan if band.width is None else band.width for band in chosen])
    if header.wavelengths is None and np.isfinite(centres).any():
        changes["wavelengths"] = centres
    elif header.wavelengths is not None and chosen and (abs(centres - header.wavelengths) > _SAME_NM).any():
        warn(f"{item.name}: states other wavelengths of the asset {key} than its file; those of the file are used")
    if header.fwhm is None and header.wavelengths is None and np.isfinite(widths).any():
        changes["fwhm"] = widths
    if header.band_names is None and chosen and all(band.name for band in chosen):
        changes["band_names"] = tuple(str(band.name) for band in chosen)
    units = {band.unit for band in chosen}
    if header.coding.units is None and len(units) == 1 and None not in units:
        changes["units"] = units.pop()
    if header.transform is None:
        changes |= _position(item.fields, asset, header)
    return changes


def _position(item: Mapping[str, Any], asset: Mapping[str, Any], header: CubeHeader) -> dict[str, Any]:
    """Return transform and CRS by the projection extension of an asset, else of its item."""
    properties = item.get("properties")
    stated = {**(properties if isinstance(properties, dict) else {}), **asset}
    numbers, code = stated.get("proj:transform"), stated.get("proj:code") or stated.get("proj:wkt2")
    if code is None and isinstance(stated.get("proj:epsg"), int):
        code = f"EPSG:{stated['proj:epsg']}"
    shape = stated.get("proj:shape")
    if not isinstance(numbers, list) or shape not in (None, list(header.shape[1:])):
        return {}
    return {"transform": tuple(numbers[:6]), **({"crs": code} if isinstance(code, str) else {})}


def _attributes(item: Mapping[str, Any]) -> dict[str, str]:
    properties = item.get("properties")
    stated = properties if isinstance(properties, dict) else {}
    found = {"scene": item.get("id"), "sensor": stated.get("platform"), "start_time": stated.get("datetime")}
    found["start_time"] = found["start_time"] or stated.get("start_datetime")
    return {name: text for name, text in found.items() if isinstance(text, str) and text}


@contextmanager
def _naming(key: str, several: bool) -> Iterator[None]:
    """Name the asset in errors about its file, where there are several."""
    try:
        yield
    except InputError as error:
        if not several or key in str(error):
            raise
        raise InputError(f"the asset {key} {error}", error.parameter) from error.__cause__
