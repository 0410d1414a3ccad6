"""The products of satellites, found by the names of their files or by what is in them."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hyperfuse.cube.cube import Cube
from hyperfuse.errors import InputError
from hyperfuse.io.encoding.options import ReadOptions
from hyperfuse.io.products.members import Members, base_name, is_archive, open_archive, open_folder

_DEEPEST = 4
_COMPRESSED = re.compile(r".*\.(tar\.\w+|tgz|tbz2?|gz|7z|rar)", re.IGNORECASE)


@dataclass(frozen=True)
class Source:
    """What a user named, and the files around it.

    Attributes:
        members: the files of the folder or archive.
        chosen: the file that was named, or None where it was the folder or archive.
    """

    members: Members
    chosen: str | None = None


@dataclass(frozen=True)
class Product:
    """A product of a satellite.

    Attributes:
        name: as its provider calls it.
        kind: "HSI" or "MSI".
        files: regular expression for the base names of the files that tell it, of lower levels too, so that these can
            be refused by name.
        read: "module:function" under ``hyperfuse.io.products``.
        folders: regular expression for the names of its folders, or None.
        hints: regular expression for names that other files may have too; ``confirm`` then decides.
        confirm: "module:function" that tells from the content of a file whether it is one.
        archived: whether it is read out of an archive.
    """

    name: str
    kind: str
    files: str
    read: str
    folders: str | None = None
    hints: str | None = None
    confirm: str | None = None
    archived: bool = False

    def reader(self) -> Callable[[Source, ReadOptions], Cube]:
        """Return the function that reads this product."""
        reader: Callable[[Source, ReadOptions], Cube] = _function(self.read)
        return reader

    def confirms(self, path: Path) -> bool:
        """Return whether a file that may be one of this product is one."""
        if self.hints is None or self.confirm is None or not _matches(self.hints, path.name):
            return False
        return bool(_function(self.confirm)(path))


_DLR_IMAGE = r"SPECTRAL_IMAGE(?:_VNIR|_SWIR)?(?:_COG)?\.TIFF?"
_DLR_HINTS = rf"(?:.*-)?(?:METADATA\.XML|{_DLR_IMAGE})"

PRODUCTS = (
    Product(
        "EnMAP L2A",
        "HSI",
        rf"ENMAP.*-(?:METADATA\.XML|{_DLR_IMAGE})",
        "enmap:read_enmap",
        folders=r"ENMAP\d\d-.*",
        hints=_DLR_HINTS,
        confirm="enmap:is_enmap",
        archived=True,
    ),
    Product(
        "DESIS L2A",
        "HSI",
        rf"DESIS-.*-(?:METADATA\.XML|{_DLR_IMAGE})",
        "desis:read_desis",
        folders=r"DESIS-HSI-.*",
        hints=_DLR_HINTS,
        confirm="desis:is_desis",
        archived=True,
    ),
    Product(
        "PRISMA L2D",
        "HSI",
        r"PRS_L\w+\.he5",
        "prisma:read_prisma",
        hints=r".*\.(?:he5|h5|hdf5)",
        confirm="prisma:is_prisma",
    ),
    Product(
        "EMIT L2A",
        "HSI",
        r"EMIT_L(?:1B_RAD|2A_RFL)_.*\.nc",
        "emit:read_emit",
        hints=r".*\.(?:nc|nc4)",
        confirm="emit:is_emit",
    ),
    Product(
        "Sentinel-2 L2A",
        "MSI",
        r"MTD_MSI(?:L1C|L2A)\.xml",
        "sentinel2:read_sentinel2",
        folders=r"S2[A-Z]_.*\.SAFE",
        archived=True,
    ),
    Product(
        "Landsat 8/9 Collection 2 Level 2",
        "MSI",
        r"(?:.*_)?MTL\.(?:txt|json)",
        "landsat:read_landsat",
        folders=r"L[CO]0[89]_L\d.*",
        archived=True,
    ),
)


def find_product(path: Path) -> tuple[Product, Source] | None:
    """Return the product that a path names and its files, or None where it names none.

    Args:
        path: a folder, an archive (zip, tar), a metadata file or an image.

    Raises:
        InputError: several products, or an archive without one.
    """
    if not path.exists():
        return None
    if path.is_dir():
        return None if path.suffix.lower() == ".zarr" else _in_folder(path, _DEEPEST)
    if path.stat().st_size == 0:
        return None
    if _COMPRESSED.fullmatch(path.name):
        raise InputError("is a compressed archive; unpack it and name what is in it")
    if is_archive(path):
        return _in_archive(path)
    found = next((product for product in PRODUCTS if _matches(product.files, path.name)), None)
    found = found or next((product for product in PRODUCTS if product.confirms(path)), None)
    return None if found is None else (found, Source(open_folder(path.absolute().parent), path.name))


def _in_folder(path: Path, deepest: int) -> tuple[Product, Source] | None:
    members = open_folder(path)
    found = [product for product in PRODUCTS if members.find(product.files)]
    found = found or [product for product in PRODUCTS if product.folders and _matches(product.folders, path.name)]
    if not found:
        doubtful = [path / name for name in members.find(_DLR_HINTS)]
        found = [product for product in PRODUCTS if any(product.confirms(file) for file in doubtful)]
    if found:
        return _only(found), Source(members)
    below = [entry for entry in path.iterdir() if entry.is_dir()]
    if deepest and not members.names and len(below) == 1:
        # Archives unpack into a folder of their own name, around the product's.
        return _in_folder(below[0], deepest - 1)
    return None


def _in_archive(path: Path) -> tuple[Product, Source]:
    members = open_archive(path)
    found = [product for product in PRODUCTS if members.find(product.files)]
    if not found:
        known = ", ".join(product.name for product in PRODUCTS if product.archived)
        raise InputError(f"is an archive without a product that is read from archives ({known}); unpack it")
    product = _only(found)
    if not product.archived:
        held = base_name(members.find(product.files)[0])
        raise InputError(f"holds {held}, which is not read from an archive; unpack it and name that file")
    return product, Source(members)


def _only(found: list[Product]) -> Product:
    if len(found) > 1:
        raise InputError(f"holds several products ({', '.join(product.name for product in found)}); name one of them")
    return found[0]


def _matches(pattern: str, name: str) -> bool:
    return re.fullmatch(pattern, name, re.IGNORECASE) is not None


def _function(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(f"hyperfuse.io.products.{module}"), name)
