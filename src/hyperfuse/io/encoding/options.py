"""What a caller may specify for reading and writing a file, checked once for all formats."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict, TypeVar

import numpy as np
from numpy.typing import NDArray

from hyperfuse.calls import checked_fields
from hyperfuse.cube.header import CubeHeader, Grid
from hyperfuse.errors import InputError, nearest_name
from hyperfuse.io.encoding.band_centres import centres_of_read_bands, parse_wavelengths
from hyperfuse.text import shortened

QUALITIES = ("standard", "clear")
Options = TypeVar("Options")

DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")

_AXIS_LETTERS = {
    "b": "b", "band": "b", "bands": "b",
    "r": "r", "row": "r", "rows": "r", "y": "r",
    "c": "c", "col": "c", "cols": "c", "x": "c",
}  # fmt: skip


@checked_fields()
@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How a file is read: for :func:`~hyperfuse.io.read`, :func:`~hyperfuse.io.read_mosaic`, and window by window.

    Attributes:
        bands: bands to read: a text that counts from 1 (``"1-31,40"``), or indices that count from 0; None for all.
        nodata: a stored value that marks gaps, in addition to the file's own; NaN declares NaN and infinity.
        scale: value = scale * stored + offset, for files that state none; where one does, this wins with a warning.
        offset: see ``scale``; where one of the two is specified, the other is 1 or 0.
        axes: order of the axes of an array, such as ``"rows,cols,bands"``; default: as the names of dimensions state,
            else (bands, rows, cols), in ``.mat`` files (rows, cols, bands).
        quality: of a product: "standard" (default) makes gaps of pixels without data or saturated, "clear" also of
            clouds, cirrus and cloud shadows, as far as the product flags them.
        wavelengths: of the bands, in place of those that the file states: ``"400:700:10"``, ``"450,550"``, a text or
            CSV file (``"bands.csv:COLUMN"``), or numbers, in nm (or µm, by their size); one for each band of the file,
            or for each that is read. Held as numbers in nm.
        like: of a product in sensor geometry: the image that it is for (a Cube, its header, or a Grid), whose CRS and
            pixel corners its grid gets; default: UTM. Fusion sets it. Held as a Grid.
        overview: of a product: read every 2nd, 4th, ... pixel only, so that no side has more than this many. The
            step of the history that records the reading states the size of the whole.
        pixel_size: of a product with bands of several pixel sizes: read those of this size, in m, on their own grid;
            None: all, on the finest.
        stack: of several files: whether they hold bands of one image (True) or its tiles (False); None: bands where
            each holds one and all lie on the same grid, else tiles.

    Raises:
        InputError: a value that is not one of these.

    Example:
        >>> ReadOptions(bands="3,1-2").band_index(5)
        [2, 0, 1]
    """

    bands: str | Sequence[int] | None = None
    nodata: float | None = None
    scale: float | None = None
    offset: float | None = None
    axes: str | None = None
    quality: str | None = None
    wavelengths: str | Sequence[float] | None = None
    stack: bool | None = None
    overview: int | None = None
    like: Any = None
    pixel_size: float | None = None

    def __post_init__(self) -> None:
        if self.quality is not None and self.quality not in QUALITIES:
            raise InputError(f"quality={self.quality!r} is not known{nearest_name(self.quality, QUALITIES)}", "quality")
        for name, value in (("scale", self.scale), ("offset", self.offset)):
            if value is not None and not math.isfinite(value):
                raise InputError(f"{name}={value} is not a finite number", name)
        if self.scale == 0:
            raise InputError("scale=0 would make every value the same", "scale")
        if self.overview is not None and self.overview < 1:
            raise InputError(f"overview={self.overview} is less than 1", "overview")
        if self.axes is not None:
            parse_axes(self.axes)
        if self.like is not None and not isinstance(self.like, Grid):
            header = getattr(self.like, "header", self.like)
            if not isinstance(header, CubeHeader):
                raise InputError(f"like needs a Cube or its header, got {type(self.like).__name__}", "like")
            object.__setattr__(self, "like", Grid(header.rows, header.cols, header.transform, header.crs))
        if self.wavelengths is not None:
            object.__setattr__(self, "wavelengths", parse_wavelengths(self.wavelengths))

    def band_changes(self, header: CubeHeader, where: str) -> dict[str, Any]:
        """Return the fields of the header of what was read that the caller specifies; ``where`` names the file."""
        if self.wavelengths is None:
            return {}
        assert not isinstance(self.wavelengths, str)  # parsed above
        return centres_of_read_bands(self.wavelengths, self.band_index, header, where)

    def axes_or(self, default: str) -> str:
        """Return the order of axes as letters, see :func:`parse_axes`."""
        return default if self.axes is None else parse_axes(self.axes)

    def band_index(self, count: int) -> list[int] | None:
        """Return the indices (from 0) of the requested bands among ``count``, or None for all."""
        if self.bands is None:
            return None
        if isinstance(self.bands, str):
            return parse_bands(self.bands, count)
        index = [int(band) for band in self.bands]
        if not index:
            raise InputError("no band is selected", "bands")
        for band in index:
            if not 0 <= band < count:
                raise InputError(f"band index {band} is not among 0 to {count - 1}", "bands")
        return index


class ReadKeywords(TypedDict, total=False):
    """The fields of :class:`ReadOptions` as keywords of the functions that read."""

    bands: str | Sequence[int] | None
    nodata: float | None
    scale: float | None
    offset: float | None
    axes: str | None
    quality: str | None
    wavelengths: str | Sequence[float] | None
    stack: bool | None
    overview: int | None
    like: Any
    pixel_size: float | None


def merge_options(kind: type[Options], options: Options | None, keywords: Mapping[str, Any]) -> Options:
    """Return the options of a kind that are given as a whole or as keywords, not both."""
    given = {name: value for name, value in keywords.items() if value is not None}
    if options is None:
        return kind(**given)
    if given:
        raise InputError(f"options and {', '.join(given)} are both given; put {', '.join(given)} into options")
    return options


@checked_fields()
@dataclass(frozen=True, kw_only=True)
class WriteOptions:
    """How a file is written: for :func:`~hyperfuse.io.write` and window by window.

    Attributes:
        dtype: uint8, int8, uint16, int16, uint32, int32, float32 or float64, as text or numpy dtype.
        compress: "none", "deflate", "zstd" or "lzw" (what the format knows), or None for the format's default.
        nodata: the stored value that marks gaps; default: the cube's where the dtype can hold it, else NaN or the
            smallest number of an integer dtype (0 of an unsigned one).
        interleave: GeoTIFF: band, pixel; ENVI: bsq, bil, bip.
        cog: GeoTIFF: whether it is cloud-optimised.
        version: MATLAB: 5, 7.3.

    Raises:
        InputError: a dtype that files cannot hold.
    """

    dtype: Any = "float32"
    compress: str | None = None
    nodata: float | None = None
    interleave: str | None = None
    cog: bool | None = None
    version: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "dtype", parse_dtype(self.dtype))

    @property
    def of_format(self) -> dict[str, Any]:
        """The options that are specified and that not every format takes."""
        values = {name: getattr(self, name) for name in ("interleave", "cog", "version")}
        return {name: value for name, value in values.items() if value is not None}

    def choice(self, name: str, known: Sequence[str], default: str) -> str:
        """Return the value of an option, in lower case and one of ``known``; ``default`` where it is None."""
        value = getattr(self, name)
        chosen = default if value is None else str(value).lower()
        if chosen not in known:
            raise InputError(f"{name}={value!r} is not one of {', '.join(known)}", name)
        return chosen


class WriteKeywords(TypedDict, total=False):
    """The fields of :class:`WriteOptions` as keywords of the functions that write."""

    dtype: Any
    compress: str | None
    nodata: float | None
    interleave: str | None
    cog: bool | None
    version: str | None


def default_compression(dtype: np.dtype[Any]) -> str:
    """Return the default compression: "deflate" for integers, "none" for floats.

    The low bits of fused floats are noise: deflating them takes ten times as long as writing and saves a quarter.
    """
    return "none" if dtype.kind == "f" else "deflate"


def parse_dtype(dtype: Any) -> np.dtype[Any]:
    """Return the numpy dtype of a name, one of ``DTYPES``."""
    try:
        name = np.dtype(dtype).name
    except TypeError:
        name = str(dtype)
    if name not in DTYPES:
        raise InputError(f"dtype={name!r} cannot be written{nearest_name(name, DTYPES)}", "dtype")
    known: np.dtype[Any] = np.dtype(name)
    return known


def parse_bands(text: str, count: int) -> list[int]:
    """Return the indices (from 0) of those of ``count`` bands that a text such as ``"1-31,40"`` counts from 1.

    Raises:
        InputError: text that is not such a list, a band that does not exist, or one that is named twice.

    Example:
        >>> parse_bands("3,1-2", 5)
        [2, 0, 1]
    """

    def refuse(fault: str) -> InputError:
        return InputError(f"bands={shortened(text)!r}: {fault}", "bands")

    bands: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,18})\s*(?:-\s*(\d{1,18})\s*)?", part)
        if match is None:
            raise refuse(f"{shortened(part.strip())!r} is neither a number nor a range; write 1-31,40")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise refuse(f"the range {part.strip()} runs backwards")
        if first < 1 or last > count:
            raise refuse(f"there are bands 1 to {count}, not {first if first < 1 else last}")
        bands.extend(range(first - 1, last))
    twice = next((band for at, band in enumerate(bands) if band in bands[:at]), None)
    if twice is not None:
        raise refuse(f"band {twice + 1} is named twice")
    return bands


def parse_axes(text: str) -> str:
    """Return the order of axes as letters of b (bands), r (rows) and c (cols).

    ``text`` is ``"bands,rows,cols"`` in any order, or the letters ``"brc"`` (``"byx"`` too); two for a 2-D array.

    Example:
        >>> parse_axes("rows,cols,bands")
        'rcb'
    """
    parts = text.lower().replace(" ", "").split(",") if "," in text else list(text.lower().strip())
    letters = "".join(_AXIS_LETTERS.get(part, "?") for part in parts)
    if sorted(letters) not in (["b", "c", "r"], ["c", "r"]):
        raise InputError(f"axes={text!r} has to name each of bands, rows, cols once, such as 'rows,cols,bands'", "axes")
    return letters


def check_real(dtype: np.dtype[Any]) -> None:
    """Refuse values that are no real numbers: complex numbers, text, objects or records."""
    if dtype.kind not in "fiub":
        kinds = {"c": "complex", "U": "text", "S": "text", "T": "text", "O": "object", "V": "compound"}
        raise InputError(f"holds {kinds.get(dtype.kind, dtype.name)} values; a cube needs real numbers")


def bands_first(array: NDArray[Any], axes: str) -> NDArray[Any]:
    """Return a view with the axes (bands, rows, cols) of an array of real numbers whose axes are ``axes``.

    A 2-D array is one band; it takes its order of rows and columns from ``axes``.
    """
    check_real(array.dtype)
    if array.ndim not in (2, 3) or len(axes) < array.ndim:
        raise InputError(f"has the shape {array.shape}; a cube needs three axes, or two for one band")
    if array.ndim == 2:
        order = axes.replace("b", "")
        return array.transpose([order.index(letter) for letter in "rc"])[None]
    return array.transpose([axes.index(letter) for letter in "brc"])
