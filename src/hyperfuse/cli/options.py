"""Options that several commands share, and the text forms of their values."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from cyclopts import Group, Parameter, Token

from hyperfuse.errors import InputError

_READING = Group("Reading", sort_key=1)
_WRITING = Group("Writing", sort_key=2)
_TILES = Group("Large scenes", sort_key=2)
_COMMON = Group("Common", sort_key=3)


def _whole_number(_: object, tokens: Sequence[Token]) -> int:
    """Return a whole number; cyclopts alone would round a fraction."""
    text = tokens[0].value
    if re.fullmatch(r"[+-]?[0-9]{1,30}", text):
        return int(text)
    if re.fullmatch(r"[+-]?[0-9]{1,30}(\.0*)?(e[0-9]{1,2})?", text, re.IGNORECASE):
        return int(float(text))
    raise ValueError(f"{text!r} is not a whole number")


Whole = Annotated[int, Parameter(converter=_whole_number)]
WholeOrNone = Annotated[int | None, Parameter(converter=_whole_number)]
Dtype = Literal["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"]


@Parameter(name="*", group=_COMMON)
@dataclass(frozen=True, kw_only=True)
class CommonOptions:
    """Options of every command."""

    threads: Annotated[WholeOrNone, Parameter(help="Threads to compute with; default: all cores.")] = None
    quiet: Annotated[bool, Parameter(help="No progress and no notes on stderr; warnings and errors stay.")] = False
    progress: Annotated[
        Literal["bar", "json"],
        Parameter(help="On stderr: a bar on a terminal, or all that goes there as JSON, an object per line."),
    ] = "bar"
    debug: Annotated[bool, Parameter(help="Show the traceback of an error and all warnings.")] = False


@Parameter(name="*", group=_READING)
@dataclass(frozen=True, kw_only=True)
class InputOptions:
    """How the first image of a command is read, where its file does not state it."""

    bands: Annotated[str | None, Parameter(help="Bands to read, counted from 1, such as 1-30,45; default: all.")] = None
    nodata: Annotated[float | None, Parameter(help="Value that marks gaps; nan where NaN marks them.")] = None
    scale: Annotated[float | None, Parameter(help="For coded values: value = scale * stored + offset.")] = None
    offset: Annotated[float | None, Parameter(help="See --scale.")] = None
    axes: Annotated[str | None, Parameter(help="Order of the axes, such as rows,cols,bands.")] = None
    quality: Annotated[str | None, Parameter(help="For a product: standard, or clear (clouds become gaps).")] = None
    wavelengths: Annotated[
        str | None,
        Parameter(help="Of the bands, in nm, where the file states none: 400:700:10, a file, or CSV:COLUMN."),
    ] = None
    stack: Annotated[
        bool | None,
        Parameter(negative="--mosaic", help="Several files are bands of one image, or (--mosaic) its tiles."),
    ] = None

    def keywords(self) -> dict[str, Any]:
        """Return the options as keyword arguments of ``hyperfuse.io.read``."""
        return asdict(self)


@Parameter(name="*", group=_READING)
@dataclass(frozen=True, kw_only=True)
class MsiInputOptions:
    """How the MSI is read; default for coding and nodata: as the HSI."""

    msi_bands: Annotated[str | None, Parameter(help="Bands of the MSI; --bands are the HSI's.")] = None
    msi_nodata: Annotated[float | None, Parameter(help="For the MSI, if not --nodata.")] = None
    msi_scale: Annotated[float | None, Parameter(help="For the MSI, if not --scale.")] = None
    msi_offset: Annotated[float | None, Parameter(help="For the MSI, if not --offset.")] = None
    msi_axes: Annotated[str | None, Parameter(help="For the MSI, if not --axes.")] = None
    msi_quality: Annotated[str | None, Parameter(help="For an MSI that is a product; see --quality.")] = None
    msi_wavelengths: Annotated[str | None, Parameter(help="Of the MSI's bands; see --wavelengths.")] = None
    msi_stack: Annotated[
        bool | None, Parameter(negative="--msi-mosaic", help="For several files of the MSI; see --stack.")
    ] = None

    def keywords(self, hsi: InputOptions, path: str) -> dict[str, Any]:
        """Return the options as keyword arguments of ``hyperfuse.io.read``, given those of the HSI.

        The HSI's order of axes holds for an MSI of a format that does not state its own; ``path`` is the MSI's file.
        """
        from hyperfuse.io import axes_are_free

        axes = hsi.axes if self.msi_axes is None and hsi.axes is not None and axes_are_free(path) else self.msi_axes
        # A coding is one thing: an offset for the HSI makes no sense with a scale for the MSI.
        coded = self.msi_scale is not None or self.msi_offset is not None
        return {
            "bands": self.msi_bands,
            "nodata": hsi.nodata if self.msi_nodata is None else self.msi_nodata,
            "scale": self.msi_scale if coded else hsi.scale,
            "offset": self.msi_offset if coded else hsi.offset,
            "axes": axes,
            "quality": self.msi_quality,
            "wavelengths": self.msi_wavelengths,
            "stack": self.msi_stack,
        }


@Parameter(name="*", group=_READING)
@dataclass(frozen=True, kw_only=True)
class FusedInputOptions:
    """How the fused image of ``evaluate`` is read; default: as its file states."""

    fused_bands: Annotated[str | None, Parameter(help="Bands of FUSED; --bands are REF's.")] = None
    fused_nodata: Annotated[float | None, Parameter(help="For FUSED; --nodata is for REF.")] = None
    fused_scale: Annotated[float | None, Parameter(help="For FUSED; --scale is for REF.")] = None
    fused_offset: Annotated[float | None, Parameter(help="For FUSED; --offset is for REF.")] = None
    fused_axes: Annotated[str | None, Parameter(help="For FUSED; --axes is for REF.")] = None
    fused_wavelengths: Annotated[str | None, Parameter(help="Of FUSED; --wavelengths are REF's.")] = None
    fused_stack: Annotated[
        bool | None, Parameter(negative="--fused-mosaic", help="For several files of FUSED; see --stack.")
    ] = None

    def keywords(self) -> dict[str, Any]:
        """Return the options as keyword arguments of ``hyperfuse.io.read``."""
        return {name.removeprefix("fused_"): value for name, value in asdict(self).items()}


@Parameter(name="*", group=_WRITING)
@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """How outputs are written."""

    overwrite: Annotated[bool, Parameter(help="Replace an existing output.")] = False
    dtype: Annotated[Dtype, Parameter(help="Type of the stored values.")] = "float32"
    compress: Annotated[str | None, Parameter(help="Compression of the format, such as deflate or zstd.")] = None
    style: Annotated[
        Literal["qgis"] | None, Parameter(help="Write a style next to the image, OUT.qml, which QGIS shows it by.")
    ] = None


@Parameter(name="*", group=_TILES)
@dataclass(frozen=True, kw_only=True)
class TileOptions:
    """How a scene larger than memory is fused: in tiles, from file to file (GeoTIFF, COG, ENVI, Zarr)."""

    tile: Annotated[WholeOrNone, Parameter(help="Fuse in tiles with sides of N MSI pixels.")] = None
    workers: Annotated[Whole, Parameter(help="Processes on this machine that fuse tiles.")] = 1
    memory: Annotated[
        float | None,
        Parameter(help="Memory in GB for all processes; default: 2 in tiles, else half of the machine's."),
    ] = None
    scheduler: Annotated[
        str | None, Parameter(help="Fuse tiles on the workers of a dask.distributed scheduler, tcp://HOST:PORT.")
    ] = None
    resume: Annotated[bool, Parameter(help="Continue an interrupted job: keep the tiles that are finished.")] = False
    keep_tiles: Annotated[
        bool,
        Parameter(
            negative="--discard-tiles",
            help="Where the job is interrupted, keep finished tiles for --resume, or (--discard-tiles) leave no file.",
        ),
    ] = True

    @property
    def asked(self) -> bool:
        """Whether any of them is used."""
        return self.tile is not None or self.workers != 1 or self.scheduler is not None or self.resume


COMMON = CommonOptions()
INPUT = InputOptions()
MSI_INPUT = MsiInputOptions()
FUSED_INPUT = FusedInputOptions()
OUTPUT = OutputOptions()
TILES = TileOptions()


def parse_pair(text: str | None, option: str) -> float | tuple[float, float] | None:
    """Return ``3`` or ``3.2`` as a number, ``4,2`` as the pair (y, x).

    Raises:
        InputError: neither one nor two numbers; ``option`` is named.
    """
    if text is None:
        return None
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) == 1:
        return numbers[0]
    if len(numbers) == 2:
        return numbers[0], numbers[1]
    raise InputError(f"{option} takes a number such as 3 or 3.2, or a pair y,x such as 4,2; got {text!r}")


def parse_duration(text: str, option: str) -> float:
    """Return ``30s``, ``2min``, ``1.5h`` or ``90`` (seconds) in seconds.

    Raises:
        InputError: no such duration, or none above zero; ``option`` is named.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(s|sec|min|m|h)?\s*", text)
    seconds = float(found[1]) * {"m": 60.0, "h": 3600.0}.get((found[2] or "s")[0], 1.0) if found else 0.0
    if seconds <= 0:
        raise InputError(f"{option} takes a duration such as 30s, 2min or 1h; got {text!r}")
    return seconds


def parse_settings(words: Iterable[str]) -> Mapping[str, Any]:
    """Return ``name=value`` words as a mapping; a value that is JSON is read as such, any other is text.

    Raises:
        InputError: a word without a name or an equals sign, or a name given twice.
    """
    settings: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or not name:
            raise InputError(f"--set takes name=value, got {word!r}; `hyperfuse methods` lists the settings")
        if name in settings:
            raise InputError(f"--set gives {name} twice")
        settings[name] = parse_value(value)
    return settings


def parse_value(text: str) -> Any:
    """Return what JSON says where a text is JSON, else the text."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
