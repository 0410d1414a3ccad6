"""``hyperfuse info``: what a file holds."""

from __future__ import annotations

import json as json_text
from collections.abc import Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from hyperfuse.cli.inputs import files_named, read_image
from hyperfuse.cli.options import COMMON, INPUT, CommonOptions, InputOptions
from hyperfuse.cli.session import Session
from hyperfuse.errors import InputError
from hyperfuse.text import shortened, single_line

if TYPE_CHECKING:
    from hyperfuse.cube.header import CubeHeader

_LINE = 100
_SHOWN = 2
_LONGEST = 400  # of an attribute, in letters; --json writes all


def info(
    file: Annotated[str, Parameter(name="FILE")],
    /,
    *more: Annotated[str, Parameter(name="MORE")],
    json: bool = False,
    header: bool = False,
    reading: InputOptions = INPUT,
    common: CommonOptions = COMMON,
    session: Annotated[Session, Parameter(parse=False)],
) -> None:
    """Print the metadata of a file; several files are merged as tiles of one image.

    Args:
        file: Image, with a variable where it holds several (scene.mat:cube), or a quoted pattern ('tile_*.tif').
        more: Further files of the same image: its tiles, or its bands.
        json: Write all there is as JSON, wavelengths and history included.
        header: Print only what FILE states; values are not read, which takes long of a large image.
        reading: How the files are read.
        common: Options of every command.
        session: Where results and notes go.
    """
    from hyperfuse.io import OVERVIEW_SIDE, header_summary, is_product, read_mosaic, summary

    session.step(0.0, "reading")
    options = reading.keywords()
    if header:
        if more or len(files_named(file)) > 1:
            raise InputError("the header is of one file; leave out header=True for several, which are merged")
        found = header_summary(_read_header(file, options))
    else:
        if not more and is_product(file):
            options["overview"] = OVERVIEW_SIDE
        cube = read_mosaic([file, *more], **options) if more else read_image(file, **options)
        found = summary(cube)
    if json:
        session.result_json(found)
        return
    name = file if not more else f"{file} and {len(more)} more"
    for label, text in [("file", name), *_lines(found)]:
        session.result(f"{single_line(label):<13} {single_line(text)}")


def _read_header(file: str, options: dict[str, Any]) -> CubeHeader:
    """Read the header of a file, of a format that has to be read whole with all of it."""
    from hyperfuse.io import ReadOptions
    from hyperfuse.io.windows.open import open_windows

    try:
        source = open_windows(file, ReadOptions(**options))
    except InputError:
        return read_image(file, **options).header
    with closing(source):
        return source.header


def _lines(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return labels and texts for what is known; what is not known has no line."""
    bands = "1 band" if found["bands"] == 1 else f"{found['bands']} bands"
    size = ", ".join(filter(None, (f"{found['rows']} rows, {found['cols']} columns, {bands}", found["dtype"])))
    lines = [("size", size)]
    if found["crs"]:
        lines.append(("CRS", found["crs"]))
    if found["resolution"]:
        y, x = found["resolution"]
        pixel = f"{y:g}" if abs(y - x) <= 1e-9 * x else f"{y:g} x {x:g} (y x x)"
        lines.append(("pixel", f"{pixel} {found['crs_units'] or ''}".strip()))
    if found["bounds"]:
        lines.append(("bounds", "west {:.10g}, south {:.10g}, east {:.10g}, north {:.10g}".format(*found["bounds"])))
    if found["wavelength_range_nm"]:
        lines.append(("wavelengths", "{:g} to {:g} nm".format(*found["wavelength_range_nm"]) + _widths(found)))
    else:
        lines.append(("wavelengths", "unknown"))
    if found["band_names"]:
        lines.append(("band names", _listed(found["band_names"])))
    for key, label in (("bad_bands", "bad bands"), ("empty_bands", "empty bands")):
        if found[key]:
            lines.append((label, f"{len(found[key])} ({_ranges(found[key])}, counted from 1)"))
    nodata = "none declared" if found["nodata"] is None else f"{found['nodata']}"
    gaps = "" if found["gap_fraction"] is None else f"; {100 * found['gap_fraction']:.3g} % of the values are gaps"
    lines.append(("nodata", nodata + gaps))
    if found["value_range"]:
        low, high = found["value_range"]
        text = f"{low:.6g} to {high:.6g}, mean {found['mean']:.6g} {found['units'] or ''}".rstrip()
        every = f" (one of {found['every']} x {found['every']} pixels)" if found["every"] > 1 else ""
        lines.append(("values", text + every))
    elif found["dtype"]:
        lines.append(("values", "none: all are gaps"))
    if (found["scale"], found["offset"]) != (1.0, 0.0):
        lines.append(("coded as", f"{found['scale']:g} * stored + {found['offset']:g} (applied)"))
    lines += [(key, shortened(text, _LONGEST)) for key, text in found["attributes"].items()]
    lines += [(f"step {rank}", _step(step)) for rank, step in enumerate(found["history"], 1)]
    return lines


def _widths(found: Mapping[str, Any]) -> str:
    known = [width for width in found["fwhm_nm"] or () if width is not None]
    return f", {min(known):g} to {max(known):g} nm wide" if known else ""


def _listed(names: list[str]) -> str:
    whole = ", ".join(names)
    return whole if len(whole) <= _LINE else f"{', '.join(names[:_SHOWN])}, and {len(names) - _SHOWN} more"


def _ranges(bands: list[int]) -> str:
    """Return 3, 4, 5, 9 as ``3-5, 9``."""
    parts: list[list[int]] = []
    for band in bands:
        if parts and band == parts[-1][-1] + 1:
            parts[-1][1:] = [band]
        else:
            parts.append([band])
    return ", ".join("-".join(map(str, part)) for part in parts)


def _step(step: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{key} {value if isinstance(value, str) else json_text.dumps(value)}" for key, value in step.items()
    )
