"""Reading and writing of cubes in any of the formats."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Unpack

from hyperfuse.calls import checked
from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import CubeHeader
from hyperfuse.errors import HyperfuseError, InputError
from hyperfuse.io.encoding.atomic import replacing
from hyperfuse.io.encoding.damage import named
from hyperfuse.io.encoding.options import ReadKeywords, ReadOptions, WriteKeywords, WriteOptions, merge_options
from hyperfuse.io.encoding.scratch import recover
from hyperfuse.io.formats.registry import format_of, format_to_read, split_variable
from hyperfuse.io.formats.targets import prepare
from hyperfuse.io.inputs import refuse_inputs
from hyperfuse.io.products import PRODUCTS, find_product

# What functions that work on images take: a Cube, an array or tensor (bands, rows, cols), a DataArray, or a file.
ImageLike = Any


@checked
def read(path: str | Path, options: ReadOptions | None = None, **keywords: Unpack[ReadKeywords]) -> Cube:
    """Read a file into a cube.

    GeoTIFF, COG, ENVI (the data file or its header), netCDF, HDF5, MATLAB, ``.npy``, ``.npz``, Zarr and whatever else
    GDAL opens. Products of satellites and aircraft are read as they are delivered (EnMAP, PRISMA, EMIT, Sentinel-2 and
    others, see docs/products.md), by their folder, archive, metadata file or image. ``scene.mat:orig`` names a
    variable. The scale and offset that a file states are applied once; a value that the file or ``nodata`` declares
    is a gap; wavelengths become nm.

    Args:
        path: the file, and after a colon the variable where it holds several; or the folder of a product.
        options: how it is read.
        **keywords: fields of :class:`ReadOptions` (``bands``, ``nodata``, ``scale``, ``offset``, ``axes``,
            ``quality``, ``wavelengths``, ``pixel_size``) in place of ``options``.

    Returns:
        The cube, values as float32 (float64 where the file holds that, or integers beyond 2**24).

    Raises:
        InputError: no such file or variable, a damaged file, another format, values that are no real numbers, or NaN
            that nothing declares. One line that names the file.
        HyperfuseError: the file may not be read, or does not fit into memory.
        MissingDependencyError: a Zarr folder without the package zarr.

    Example:
        >>> import numpy, pathlib, tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> file = pathlib.Path(folder.name) / "cube.npy"
        >>> numpy.save(file, numpy.ones((3, 4, 5)))
        >>> read(file, bands="2-3").data.shape
        (2, 4, 5)
    """
    file, variable = split_variable(path)
    how = merge_options(ReadOptions, options, keywords)
    recover(file.parent)
    try:
        with named(file):
            # A variable that is named is meant as it is stored, but for the images of a product.
            found = find_product(file, variable)
            if found is not None:
                product, source = found
                if how.axes is not None:
                    raise InputError(f"is {product.name}, which states its axes; leave out axes", "axes")
                return _relabelled(product.read([source], how), how, file)
            entry = format_to_read(file)
            for name in ("quality", "overview", "like", "pixel_size"):
                if getattr(how, name) is not None:
                    known = ", ".join(product.name for product in PRODUCTS)
                    raise InputError(f"{name} is for products ({known}), and this is none; leave it out", name)
            return _relabelled(entry.read(file, how, variable), how, file)
    except MemoryError as error:
        raise HyperfuseError(f"{file}: does not fit into memory; read fewer bands") from error
    except OSError as error:
        raise HyperfuseError(f"{file}: cannot be read: {error.strerror or error}") from error


def axes_are_free(path: str | Path) -> bool:
    """Return whether a file is of a format of which the order of axes may be specified, and no product."""
    file, variable = split_variable(path)
    entry = format_of(file)
    return entry is not None and entry.axes and find_product(file, variable) is None


def is_product(path: str | Path) -> bool:
    """Return whether a path is that of a product, of which an overview can be read, not of a plain file."""
    file, variable = split_variable(path)
    with named(file):
        found = find_product(file, variable)
        return found is not None and not found[0].assets


def _relabelled(cube: Cube, how: ReadOptions, file: Path) -> Cube:
    changes = how.band_changes(cube.header, file.name)
    return cube.replace(**changes) if changes else cube


def as_cube(image: Any, name: str) -> Cube:
    """Return what callers pass as an image: a Cube, array, torch tensor, ``DataArray``, or a file to read.

    Args:
        image: (bands, rows, cols), or (rows, cols) for one band.
        name: of the parameter, for errors.

    Raises:
        InputError: anything else, and what :func:`read` and the constructors of :class:`Cube` refuse.
    """
    if isinstance(image, Cube):
        return image
    if isinstance(image, str | Path):
        try:
            return read(image)
        except InputError as error:
            raise InputError(str(error), error.parameter or name) from error
    try:
        if isinstance(image, CubeHeader) or image is None:
            raise InputError(f"is a {type(image).__name__}; pass a Cube, an array (bands, rows, cols) or a file")
        if hasattr(image, "dims") and hasattr(image, "coords"):
            return Cube.from_xarray(image)
        if hasattr(image, "detach"):
            image = image.detach().cpu()
            image = (image.float() if str(image.dtype) == "torch.bfloat16" else image).numpy()
        return Cube(data=image)
    except InputError as error:
        raise InputError(f"{name}: {error}", name) from error


@checked
def write(
    path: str | Path,
    cube: ImageLike,
    options: WriteOptions | None = None,
    *,
    overwrite: bool = False,
    **keywords: Unpack[WriteKeywords],
) -> None:
    """Write a cube to a file; its extension names the format. The file is whole or absent, never half written.

    Floating-point dtypes store the values, integers ``round((value - offset) / scale)`` with the cube's scale and
    offset. What a format cannot hold is named in one warning.

    Args:
        path: the file; ``out.mat:name``, ``.nc``, ``.npz`` and ``.zarr`` likewise, names the variable (default:
            ``cube``). An ENVI file is named by its data file or its header (``x.hdr`` goes with ``x.img``).
        cube: what to write: a Cube, or a ``DataArray``, array or tensor (bands, rows, cols).
        options: how it is written.
        overwrite: replace an existing file.
        **keywords: fields of :class:`WriteOptions` (``dtype``, ``compress``, ``nodata``, ``interleave``, ``cog``,
            ``version``) in place of ``options``.

    Raises:
        InputError: an existing file without ``overwrite``, an unknown extension or option, values that do not fit.
        HyperfuseError: no space left, or another failure to write.

    Example:
        >>> import numpy, pathlib, tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> file = pathlib.Path(folder.name) / "cube.tif"
        >>> write(file, Cube(data=numpy.ones((2, 4, 5)), wavelengths=[450, 550]))
        >>> read(file).wavelengths.tolist()
        [450.0, 550.0]
    """
    cube = as_cube(cube, "cube") if not isinstance(cube, str | Path) else _no_image(cube)
    how = merge_options(WriteOptions, options, keywords)
    target = prepare(path, how, overwrite=overwrite)
    with named(target.path), replacing(target.path, stale=target.outdated) as scratch:
        target.format.write(scratch, cube, how, target.variable)


def _no_image(path: str | Path) -> Cube:
    raise InputError(f"cube is {str(path)!r}, a path; read it first, or call write(path, cube) in this order", "cube")


@checked
def check_output(
    path: str | Path,
    options: WriteOptions | None = None,
    *,
    overwrite: bool = False,
    inputs: Sequence[str | Path] = (),
    **keywords: Unpack[WriteKeywords],
) -> None:
    """Refuse what :func:`write` would refuse for its path and options, before the work that makes the cube.

    Args:
        path: as for :func:`write`, as are ``options``, ``overwrite`` and the keywords.
        options: see there.
        overwrite: see there.
        inputs: images that the cube is made of; neither they nor files that belong to them are replaced.
        **keywords: see there.

    Raises:
        InputError: an existing file without ``overwrite``, no such folder, an unknown extension or option, an input.

    Example:
        >>> check_output("fused.foo")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        hyperfuse.errors.InputError: fused.foo: the extension '.foo' names no format; use .tif, .img, ...
    """
    # That an input would be replaced is said first: otherwise it would seem that overwriting helps.
    refuse_inputs([split_variable(path)[0]], inputs)
    target = prepare(path, merge_options(WriteOptions, options, keywords), overwrite=overwrite)
    refuse_inputs([target.path, *target.outdated], inputs)
