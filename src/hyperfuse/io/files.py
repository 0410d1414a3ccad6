"""Reading and writing of cubes in any of the formats."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hyperfuse.cube.cube import Cube
from hyperfuse.errors import HyperfuseError, InputError
from hyperfuse.io.encoding.atomic import check_target, replacing
from hyperfuse.io.encoding.options import ReadOptions, WriteOptions, parse_dtype
from hyperfuse.io.formats.registry import FORMATS, Format, format_of, split_variable, writable_extensions
from hyperfuse.io.products import PRODUCTS, find_product

_HDF5 = next(entry for entry in FORMATS if entry.name == "HDF5")
_ANY_RASTER = next(entry for entry in FORMATS if entry.name == "image")


def read(
    path: str | Path,
    *,
    bands: str | Sequence[int] | None = None,
    nodata: float | None = None,
    scale: float | None = None,
    offset: float | None = None,
    axes: str | None = None,
    quality: str | None = None,
) -> Cube:
    """Read a file into a cube.

    GeoTIFF, COG, ENVI (the data file or its header), netCDF, HDF5, MATLAB, ``.npy``, ``.npz``, Zarr and whatever else
    GDAL opens. Products of satellites are read as they are delivered: EnMAP, PRISMA, EMIT, DESIS, Sentinel-2 and
    Landsat, by their folder, archive, metadata file or image. ``scene.mat:orig`` names a variable. The scale and
    offset that a file states are applied once; a value that the file or ``nodata`` declares is a gap; wavelengths
    become nm.

    Args:
        path: the file, and after a colon the variable where it holds several; or the folder of a product.
        bands: bands to read: a text that counts from 1 (``"1-31,40"``), or indices that count from 0; None for all.
        nodata: a stored value that marks gaps, besides the file's own; NaN declares NaN and infinity.
        scale: value = scale * stored + offset, for files that do not say; where one does, this wins with a warning.
        offset: see ``scale``; where one of the two is given, the other is 1 or 0.
        axes: order of the axes of an array, such as ``"rows,cols,bands"``; otherwise (bands, rows, cols), in ``.mat``
            files (rows, cols, bands), or as the names of dimensions tell.
        quality: of a product: "standard" (unless given) makes gaps of what holds no data or is saturated, "clear" also
            of clouds, cirrus and cloud shadows, as far as the product flags them.

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
    options = ReadOptions(
        variable=variable, bands=bands, nodata=nodata, scale=scale, offset=offset, axes=axes, quality=quality
    )
    try:
        # A variable that is named is meant as it is stored.
        found = None if variable is not None else find_product(file)
        if found is not None:
            product, source = found
            if axes is not None:
                raise InputError(f"is {product.name}, which knows its axes; leave out axes")
            return product.reader()(source, options)
        entry = _readable(file)
        if quality is not None:
            known = ", ".join(product.name for product in PRODUCTS)
            raise InputError(f"quality is for products ({known}), and this is none; leave it out")
        return entry.reader()(file, options)
    except InputError as error:
        raise InputError(f"{file}: {error}") from error.__cause__
    except MemoryError as error:
        raise HyperfuseError(f"{file}: does not fit into memory; read fewer bands (--bands)") from error
    except OSError as error:
        raise HyperfuseError(f"{file}: cannot be read: {error.strerror or error}") from error


def _readable(file: Path) -> Format:
    if not file.exists():
        raise InputError("does not exist")
    entry = format_of(file)
    if file.is_dir():
        if entry is None or not entry.folder:
            raise InputError("is a folder; name a file in it")
        return entry
    if file.stat().st_size == 0:
        raise InputError("is empty (0 bytes)")
    if entry is None:
        with file.open("rb") as stream:
            entry = _HDF5 if stream.read(4) == b"\x89HDF" else _ANY_RASTER
    return entry


def write(
    path: str | Path,
    cube: Cube,
    *,
    dtype: Any = "float32",
    compress: str | None = None,
    overwrite: bool = False,
    nodata: float | None = None,
    **options: Any,
) -> None:
    """Write a cube to a file; its extension names the format. The file is whole or absent, never half written.

    Floating-point dtypes store the values, integers ``round((value - offset) / scale)`` with the cube's scale and
    offset. Gaps are written as ``nodata``, else as the cube's nodata where the dtype can hold it, else as NaN or the
    smallest number of an integer dtype (0 of an unsigned one).
    What a format cannot hold is named in one warning.

    Args:
        path: the file; ``out.mat:name``, ``.nc``, ``.npz`` and ``.zarr`` likewise, names the variable (else ``cube``).
            An ENVI file is named by its data file or its header (``x.hdr`` goes with ``x.img``).
        cube: what to write.
        dtype: uint8, int8, uint16, int16, uint32, int32, float32 or float64.
        compress: "none", "deflate", "zstd" or "lzw" (what the format knows), or None for the format's default.
        overwrite: replace an existing file.
        nodata: the stored value that marks gaps.
        **options: of the format: ``interleave`` (GeoTIFF: band, pixel; ENVI: bsq, bil, bip), ``cog`` (GeoTIFF),
            ``version`` (MATLAB: 5, 7.3).

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
    target, entry, settings = prepare_output(path, overwrite, dtype, compress, nodata, options)
    try:
        with replacing(target, stale=(*companions_of(entry, target), *sidecars_of(target))) as scratch:
            entry.writer()(scratch, cube, settings)
    except InputError as error:
        raise InputError(f"{target}: {error}") from error.__cause__
    except HyperfuseError as error:
        if type(error) is not HyperfuseError:
            raise
        raise HyperfuseError(f"{target}: {error}") from error.__cause__


def check_output(
    path: str | Path,
    *,
    dtype: Any = "float32",
    compress: str | None = None,
    overwrite: bool = False,
    nodata: float | None = None,
    **options: Any,
) -> None:
    """Refuse what :func:`write` would refuse for its path and options, before the work that makes the cube.

    Args:
        path: see :func:`write`, as for the other options.
        dtype: see there.
        compress: see there.
        overwrite: see there.
        nodata: see there.
        **options: see there.

    Raises:
        InputError: an existing file without ``overwrite``, no such folder, an unknown extension or option.

    Example:
        >>> check_output("fused.foo")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        hyperfuse.errors.InputError: fused.foo: the extension '.foo' names no format; use .tif, .img, ...
    """
    prepare_output(path, overwrite, dtype, compress, nodata, options)


def prepare_output(
    path: str | Path, overwrite: bool, dtype: Any, compress: str | None, nodata: float | None, options: dict[str, Any]
) -> tuple[Path, Format, WriteOptions]:
    """Check path and options of an output; return its target, format and options.

    Raises:
        InputError: what :func:`write` refuses before it has seen a value.
    """
    target, variable = split_variable(path)
    try:
        entry = format_of(target)
        if entry is None:
            raise InputError(f"the extension {target.suffix!r} names no format; use {', '.join(writable_extensions())}")
        entry.writer()
        _check_options(entry, variable, options)
        settings = WriteOptions(
            variable=variable, dtype=parse_dtype(dtype), compress=compress, nodata=nodata, extra=options
        )
        if entry.name == "ENVI" and target.suffix.lower() == ".hdr":
            target = target.with_suffix(".img")
        check_target(target, overwrite=overwrite, companions=companions_of(entry, target), folder=entry.folder)
        if entry.folder and target.exists():
            _check_replaceable(target)
    except InputError as error:
        raise InputError(f"{target}: {error}") from error.__cause__
    return target, entry, settings


def _check_options(entry: Format, variable: str | None, options: dict[str, Any]) -> None:
    if variable is not None and not entry.variables:
        raise InputError(f"{entry.name} holds no named variables; leave out ':{variable}'")
    for name, value in options.items():
        if name not in entry.options and value is not None:
            known = f"it takes {', '.join(entry.options)}" if entry.options else "it takes none of its own"
            raise InputError(f"{name} is not an option of {entry.name}; {known}")


def companions_of(entry: Format, target: Path) -> list[Path]:
    """Return the files that belong to a target and are written with it: the header of ENVI."""
    return [target.with_suffix(".hdr")] if entry.name == "ENVI" else []


def sidecars_of(target: Path) -> list[Path]:
    """Return the files that other programs may have left beside a target and that would speak of an older one."""
    # What GDAL keeps beside a file would otherwise speak for the new one.
    return [target.with_name(target.name + ending) for ending in (".aux.xml", ".ovr", ".msk")]


def _check_replaceable(target: Path) -> None:
    from hyperfuse.io.formats.zarr import is_zarr

    if not is_zarr(target) and any(target.iterdir()):
        raise InputError("is a folder with other content than Zarr; it is not replaced")
