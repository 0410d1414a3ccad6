"""The files that belong to an input, none of which an output of the same call may replace."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from hyperfuse.errors import InputError
from hyperfuse.io.formats.envi_header import data_file, header_of
from hyperfuse.io.formats.registry import split_variable
from hyperfuse.io.formats.targets import SIDE_FILES
from hyperfuse.io.products import find_product
from hyperfuse.io.products.members import Source
from hyperfuse.io.products.registry import Product

# Files of a product bear the name of the scene, of which the start distinguishes it from others.
_SCENE_LETTERS = 10
# Folders in that of a Sentinel-2 product.
_FOLDERS = ("GRANULE", "DATASTRIP", "AUX_DATA")


def refuse_inputs(outputs: Iterable[Path], inputs: Iterable[str | Path]) -> None:
    """Refuse outputs that would replace or remove a file that is read, or one that belongs to it.

    Args:
        outputs: files and folders that will be written or removed.
        inputs: names of images and other files, as they are passed to :func:`hyperfuse.io.read`.

    Raises:
        InputError: one of them is the same; the message names both.
    """
    written = {path.resolve(): path for path in outputs}
    for name in inputs:
        named = split_variable(name)[0]
        # Results may be written to the folder of a product, but not to those in it.
        product = named if named.is_dir() and _product_of(named) is not None else None
        for file in _files_of(named):
            found = file.resolve()
            for path, shown in written.items():
                inside = found in path.parents and found.is_dir() and file != product
                if path == found or inside or _same(path, found) or path in found.parents:
                    belongs = "is an input" if str(shown) == str(name) else f"belongs to {name}, an input"
                    raise InputError(f"{shown}: {belongs} of this call; write elsewhere")


def _same(first: Path, second: Path) -> bool:
    return first.exists() and second.exists() and first.samefile(second)


def _product_of(path: Path) -> tuple[Product, Source] | None:
    try:
        return find_product(path)
    except InputError:
        return None


def _files_of(path: Path) -> Iterator[Path]:
    """Give a file with its side files, or the files of a product or virtual raster."""
    yield path
    if not path.exists():
        return
    product = _product_of(path)
    try:
        data = path if path.is_dir() else data_file(path)
    except InputError:  # reading it reports what is wrong
        data = path
    yield from (data, *(data.with_name(data.name + ending) for ending in SIDE_FILES))
    header = None if data.is_dir() else header_of(data)
    if header is not None:
        yield header
    if path.suffix.lower() == ".vrt":
        from hyperfuse.io.formats.gdal import sources_of

        yield from sources_of(path)
    if product is not None:
        entry, source = product
        if entry.assets:
            from hyperfuse.io.products.stac_asset import asset_files

            yield from asset_files(path)
            return
        members = source.members
        start = (source.chosen or next(iter(members.find(entry.files)), "/"))[:_SCENE_LETTERS]
        yield from (members.root / each for each in members.names if "/" in each or each.startswith(start))
        if members.root.is_dir():
            yield from (members.root / folder for folder in _FOLDERS if (members.root / folder).is_dir())


def identity(path: str) -> list[Any]:
    """Return what distinguishes an image from another, or from an earlier version: its path, size and time.

    Of a STAC item these are those of its assets too.
    """
    file, variable = split_variable(path)
    found = find_product(file, variable) if file.suffix.lower() == ".json" else None
    try:
        parts = sorted(file.rglob("*")) if file.is_dir() else [file]
        if found is not None and found[0].assets:
            from hyperfuse.io.products.stac_asset import asset_files

            parts += asset_files(file)
        stats = [part.stat() for part in parts if part.is_file()]
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    named = str(file.absolute()) + ("" if variable is None else f":{variable}")
    return [named, sum(s.st_size for s in stats), max((s.st_mtime_ns for s in stats), default=0)]
