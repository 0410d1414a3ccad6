"""The products of satellites and aircraft, recognised by the names of their files or by their content."""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hyperfuse.cube.cube import Cube
from hyperfuse.errors import InputError
from hyperfuse.io.encoding.options import ReadOptions
from hyperfuse.io.geometry.placement import PlacedImage
from hyperfuse.io.products import names
from hyperfuse.io.products.image import ProductImage
from hyperfuse.io.products.isolated import IsolatedImage
from hyperfuse.io.products.located import Opener
from hyperfuse.io.products.members import Source, base_name, is_archive, match, open_archive, open_folder
from hyperfuse.runtime.isolation import call

_MAX_DEPTH = 4
_MOST_FOLDERS = 50
_COMPRESSED = re.compile(r".*\.(tar\.\w+|tgz|tbz2?|gz|7z|rar)", re.IGNORECASE)


@dataclass(frozen=True)
class Product:
    """A product.

    Its module has ``open_MODULE`` of a :class:`~.image.ProductImage` (or a :class:`~.located.Located` one, in sensor
    geometry), and, where there are ``hints``, ``is_MODULE`` that knows it by a file's content.

    Attributes:
        name: as its provider calls it.
        module: under ``hyperfuse.io.products``, imported when it is first needed.
        files: pattern of the base names of the files that identify it, of lower levels too, so that these can be
            refused by name.
        folders: pattern of the names of its folders, or None.
        hints: pattern of names that other files may have too: the content decides. None where it is not looked at.
        archived: whether it is read out of an archive.
        pixel_sizes: of its bands in m, where they have several: ``pixel_size`` of the options is one of them.
        isolated: whether its files are HDF5, which a child process reads: on damaged files HDF5 may crash or loop.
        images: names of images in its files other than the main one, as after the colon of a path.
        assets: whether its files name images of their own, any of which may stand after the colon, and no overview
            of them is read.
    """

    name: str
    module: str
    files: str
    folders: str | None = None
    hints: str | None = None
    archived: bool = False
    isolated: bool = False
    images: tuple[str, ...] = ()
    pixel_sizes: tuple[float, ...] = ()
    assets: bool = False

    def read(self, sources: Sequence[Source], options: ReadOptions) -> Cube:
        """Read a product of this kind, or several in sensor geometry as one image.

        Raises:
            InputError: whatever is wrong with it; ``pixel_size`` of another than its sizes.
        """
        self._check(options)
        return self._opener.read(sources, options)

    def open(self, sources: Sequence[Source], options: ReadOptions) -> ProductImage | IsolatedImage | PlacedImage:
        """Open a product of this kind to read windows, or several in sensor geometry as one image.

        Raises:
            InputError: as :meth:`read`.
        """
        self._check(options)
        return self._opener.open(sources, options)

    def is_swath(self, source: Source, options: ReadOptions) -> bool:
        """Return whether a product of this kind is in sensor geometry, with a position for each pixel."""
        return self._opener.is_swath(source, options)

    def _check(self, options: ReadOptions) -> None:
        if options.pixel_size is not None and options.pixel_size not in self.pixel_sizes:
            sizes = ", ".join(f"{size:g}" for size in sorted(set(self.pixel_sizes)))
            known = f"has bands of {sizes} m" if sizes else "has bands of one pixel size"
            raise InputError(f"{self.name} {known}, none of {options.pixel_size:g} m to choose", "pixel_size")

    @property
    def _opener(self) -> Opener:
        return Opener(self.function("open"), self.isolated)

    def confirms(self, path: Path) -> bool:
        """Return whether a file that may be one of this product is one."""
        return self.hints is not None and bool(match(self.hints, path.name)) and self._knows(path)

    def function(self, verb: str) -> str:
        """Return the name, "module:function", of what opens ("open") or knows ("is") this product."""
        return f"{__package__}.{self.module}:{verb}_{self.module}"

    def _knows(self, path: Path) -> bool:
        name = self.function("is")
        return bool(call(name, path) if self.isolated else pkgutil.resolve_name(name)(path))


PRODUCTS = (
    Product("EnMAP L2A", "enmap", names.ENMAP_FILE, names.ENMAP_FOLDER, names.DLR_FILE, archived=True),
    Product("DESIS L2A", "desis", names.DESIS_FILE, names.DESIS_FOLDER, names.DLR_FILE, archived=True),
    Product(
        "PRISMA",
        "prisma",
        names.PRISMA_FILE,
        hints=r".* \. (?: he5 | h5 | hdf5)",
        isolated=True,
        images=("pan",),
    ),
    Product(
        "Tanager",
        "tanager",
        names.TANAGER_FILE,
        hints=r".* \. (?: h5 | he5 | hdf5)",
        isolated=True,
        images=("uncertainty",),
    ),
    Product("AVIRIS (netCDF)", "aviris_netcdf", names.AVIRIS_NETCDF, isolated=True),
    Product("AVIRIS (ENVI)", "aviris", names.AVIRIS_ENVI),
    Product("EMIT L2A", "emit", names.EMIT_FILE, hints=r".* \. nc4?", isolated=True),
    Product(
        "Sentinel-2",
        "sentinel2",
        names.SENTINEL2_FILE,
        names.SENTINEL2_FOLDER,
        archived=True,
        pixel_sizes=tuple(names.SENTINEL2_BANDS.values()),
    ),
    Product(
        "Landsat 8/9 Collection 2 Level 2",
        "landsat",
        names.LANDSAT_METADATA,
        names.LANDSAT_FOLDER,
        archived=True,
    ),
    Product("PlanetScope", "planetscope", names.PLANETSCOPE_FILE, archived=True),
    Product(
        "WorldView", "worldview", names.WORLDVIEW_FILE, hints=names.WORLDVIEW_IMAGE, archived=True, images=("pan",)
    ),
    Product("Wyvern", "wyvern", names.WYVERN_FILE, archived=True),
    Product("Hyperion L1T", "hyperion", names.HYPERION_FILE, names.HYPERION_FOLDER, archived=True),
    Product("Gaofen or Ziyuan", "gaofen", names.NOTHING, hints=names.GAOFEN_IMAGE),
    Product("HYPSO", "hypso", names.HYPSO_FILE, hints=r".* \. nc4?", isolated=True),
    Product("PACE OCI", "pace", names.PACE_FILE, hints=r".* \. nc4?", isolated=True),
    Product("NEON reflectance", "neon", names.NEON_FILE, hints=r".* \. (?: h5 | hdf5)", isolated=True),
    Product("STAC item", "stac_asset", names.NOTHING, hints=r".* \. json", assets=True),
)


def find_product(path: Path, variable: str | None = None) -> tuple[Product, Source] | None:
    """Return the product that a folder, archive (zip, tar), metadata file or image is of, and its files; else None.

    A ``variable`` that names no image of a product is that of a plain file, which is read as it is stored.

    Raises:
        InputError: several products, or an archive without one.
    """
    if variable is None:
        return _find(path)
    name = variable.lower()
    may_be = path.suffix.lower() == ".json" or any(name in product.images for product in PRODUCTS)
    found = _find(path) if may_be else None
    if found is None or not (found[0].assets or name in found[0].images):
        return None
    return found[0], replace(found[1], part=variable if found[0].assets else name)


def _find(path: Path) -> tuple[Product, Source] | None:
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
    named = (product for product in PRODUCTS if match(product.files, path.name))
    found = next(named, None) or next((product for product in PRODUCTS if product.confirms(path)), None)
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
    below = sorted(entry for entry in path.iterdir() if entry.is_dir() and entry.suffix.lower() != ".zarr")
    if not depth or len(below) > _MOST_FOLDERS:
        return None
    # Archives unpack into a folder with their name, around the product's; orders have further files next to it.
    around = len(below) == 1 and not members.names
    inside = [(entry, one) for entry in below if (one := _in_folder(entry, depth - 1 if around else min(depth - 1, 1)))]
    if len(inside) > 1:
        shown = ", ".join([f"{entry.name}: {one[0].name}" for entry, one in inside[:3]] + ["..."] * (len(inside) > 3))
        raise InputError(f"holds several products ({shown}); name the folder of one")
    return inside[0][1] if inside else None


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
