"""Words of a command line from what QGIS holds: names of images, bands, further words. Needs no QGIS."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

# GDAL's names of what lies inside a file: NETCDF:"scene.nc":cube, HDF5:"scene.h5"://group/cube.
_INSIDE = re.compile(r'(?:NETCDF|HDF5|HDF4_SDS|HDF4):"?(?P<file>.+?)"?:(?P<variable>[^":]+)')


def image_name(source: str) -> str | None:
    """Return what hyperfuse calls an image that GDAL opened: ``file`` or ``file:variable``; None where it is no file.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile(suffix=".nc") as file:
        ...     image_name(f'NETCDF:"{file.name}":cube') == f"{file.name}:cube"
        True
    """
    if not source:
        return None
    if Path(source).exists():
        return str(Path(source).absolute())
    inside = _INSIDE.fullmatch(source)
    if inside is not None and Path(inside["file"]).is_file():
        return f"{Path(inside['file']).absolute()}:{inside['variable'].lstrip('/')}"
    file, colon, variable = source.rpartition(":")
    if colon and variable and Path(file).is_file():
        return f"{Path(file).absolute()}:{variable}"
    return None


def band_ranges(bands: Iterable[int]) -> str:
    """Return bands as ``--bands`` takes them, in their order.

    Example:
        >>> band_ranges([1, 2, 3, 7, 5, 6])
        '1-3,7,5-6'
    """
    runs: list[list[int]] = []
    for band in bands:
        if runs and band == runs[-1][-1] + 1:
            runs[-1].append(band)
        else:
            runs.append([band])
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def options(values: Sequence) -> list[str]:
    """Return pairs of option and value as words: none for a value that is None, empty or False, one for True.

    Example:
        >>> options([("--srf", "sentinel-2a"), ("--psf", ""), ("--no-align", True)])
        ['--srf', 'sentinel-2a', '--no-align']
    """
    words: list[str] = []
    for option, value in values:
        if value is None or value is False or value == "":
            continue
        words += [option] if value is True else [option, value if isinstance(value, str) else f"{value:g}"]
    return words


def extra_words(text: str) -> list[str]:
    """Return further words of a command line, of which quotes hold some together.

    Raises:
        ValueError: a quote is not closed.
    """
    return shlex.split(text)


def shown(words: Sequence[str]) -> str:
    """Return a command line as it can be typed into a shell."""
    return " ".join(shlex.quote(word) for word in words)
