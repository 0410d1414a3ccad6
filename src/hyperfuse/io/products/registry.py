"""The products of satellites, recognised by the names of their files or by their content."""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hyperfuse.cube.cube import Cube
from hyperfuse.errors import InputError
from hyperfuse.io.encoding.options import ReadOptions
from hyperfuse.io.products import names
from hyperfuse.io.products.members import Source, base_name, is_archive, match, open_archive, open_folder

_PACKAGE = "hyperfuse.io.products"
_MAX_DEPTH = 4
_COMPRESSED = re.compile(r".*\.(tar\.\w+|tgz|tbz2?|gz|7z|rar)", re.IGNORECASE)


@dataclass(frozen=True)
class Product:
    """A product of a satellite.

    Attributes:
        name: as its provider calls it.
        kind: "HSI" or "MSI".
        read: "module:function" under ``hyperfuse.io.products``.
        files: pattern of the base names of the files that identify it, of lower levels too, so that these can be
            refused by name.
        folders: pattern of the names of its folders, or None.
        hints: pattern of names that other files may have too; ``confirm`` then decides.
        confirm: "module:function" that recognises the product by the content of a file.
        archived: whether it is read out of an archive.
    """

    name: str
    kind: str
    read: str
    files: str
    folders: str | None = None
    hints: str | None = None
    confirm: str | None = None
    archived: bool = False

    def reader(self) -> Callable[[Source, ReadOptions], Cube]:
        """Return the function that reads this product."""
        reader: Callable[[Source, ReadOptions], Cube] = pkgutil.resolve_name(f"{_PACKAGE}.{self.read}")
        return reader

    def confirms(self, path: Path) -> bool:
        """Return whether a file that may be one of this product is one."""
        if self.hints is None or self.confirm is None or not match(self.hints, path.name):
            return False
        return bool(pkgutil.resolve_name(f"{_PACKAGE}.{self.confirm}")(path))


PRODUCTS = (
    Product(
        "EnMAP L2A", "HSI", "enmap:read_enmap", names.ENMAP_FILE, names.ENMAP_FOLDER, names.DLR_FILE, "enmap:is_enmap",
        archived=True,
    ),
    Product(
        "DESIS L2A", "HSI", "desis:read_desis", names.DESIS_FILE, names.DESIS_FOLDER, names.DLR_FILE, "desis:is_desis",
        archived=True,
    ),
    Product(
        "PRISMA L2D", "HSI", "prisma:read_prisma", names.PRISMA_FILE,
        hints=r".* \. (?: he5 | h5 | hdf5)", confirm="prisma:is_prisma",
    ),
    Product("EMIT L2A", "HSI", "emit:read_emit", names.EMIT_FILE, hints=r".* \. nc4?", confirm="emit:is_emit"),
    Product(
        "Sentinel-2 L2A", "MSI", "sentinel2:read_sentinel2", names.SENTINEL2_FILE, names.SENTINEL2_FOLDER,
        archived=True,
    ),
    Product(
        "Landsat 8/9 Collection 2 Level 2", "MSI", "landsat:read_landsat", names.LANDSAT_METADATA, names.LANDSAT_FOLDER,
        archived=True,
    ),
)  # fmt: skip


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
        return None if path.suffix.lower() == ".zarr" else _in_folder(path, _MAX_DEPTH)
    if path.stat().st_size == 0:
        return None
    if _COMPRESSED.fullmatch(path.name):
        raise InputError("is a compressed archive; unpack it and name what is in it")
    if is_archive(path):
        return _in_archive(path)
    found = next((product for product in PRODUCTS if match(product.files, path.name)), None)
    found = found or next((product for product in PRODUCTS if product.confirms(path)), None)
    return None if found is None else (found, Source(open_folder(path.absolute().parent), path.name))


def _in_folder(path: Path, depth: int) -> tuple[Product, Source] | None:
    members = open_folder(path)
    found = [product for product in PRODUCTS if members.find(product.files)]
    found = found or [product for product in PRODUCTS if product.folders and match(product.folders, path.name)]
    if not found:
        candidates = [path / name for name in members.find(names.DLR_FILE)]
        found = [product for product in PRODUCTS if any(product.confirms(file) for file in candidates)]
    if found:
        return _only(found), Source(members)
    below = [entry for entry in path.iterdir() if entry.is_dir()]
    if depth and not members.names and len(below) == 1:
        # Archives unpack into a folder with their name, around the product's.
        return _in_folder(below[0], depth - 1)
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
