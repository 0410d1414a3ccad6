"""Images, masks and sensors by the names that commands take."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyperfuse.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hyperfuse.cube.cube import Cube

# Parameters of reading; an option of the second image of a command has a prefix.
READING = ("bands", "nodata", "scale", "offset", "axes", "quality", "wavelengths", "stack")


def read_image(path: str, *, prefix: str = "", **options: Any) -> Cube:
    """Read a file, or those that a pattern such as ``tile_*.tif`` matches (tiles or bands) as one image.

    Args:
        path: file, ``file:variable``, or pattern.
        prefix: of the command's options for this image, such as ``msi_``, so that errors name them.
        options: those of ``hyperfuse.io.read``.

    Raises:
        InputError: no such file, nothing that matches, or a file that is not an image.
    """
    from hyperfuse.io import read_mosaic

    with prefixed(prefix):
        return read_mosaic(files_named(path), **options)


def files_named(path: str) -> list[str]:
    """Return the file that is named, or all that match a pattern, with numbers in their names in order.

    Raises:
        InputError: no file matches the pattern.
    """
    if not any(character in path for character in "*?[") or Path(path).exists():
        return [path]
    found = glob.glob(path)  # noqa: PTH207 - Path.glob takes no absolute pattern
    if not found:
        raise InputError(f"{path}: no file matches this pattern")
    return sorted(found, key=_natural)


def _natural(name: str) -> list[str | int]:
    """Return what sorts B2 before B10."""
    return [int(part) if rank % 2 else part for rank, part in enumerate(re.split(r"([0-9]+)", name))]


def read_mask(path: str, image: Cube, image_name: str) -> NDArray[np.bool_]:
    """Read a mask on the grid of ``image``: True, shape (rows, cols), where it is not 0.

    Gaps of the mask count as not 0, unless 0 itself is its nodata value.

    Raises:
        InputError: more than one band, or another grid.
    """
    from hyperfuse.scenes.files import check_mask, excluded

    mask = read_image(path)
    check_mask(mask.header, image.header, path, image_name)
    return excluded(mask)


@contextmanager
def naming(*paths: str) -> Iterator[None]:
    """Put the names of the files before the message of an InputError that is raised inside."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{', '.join(paths)}: {error}", error.parameter) from error


@contextmanager
def prefixed(prefix: str) -> Iterator[None]:
    """Rename the parameters of reading in an InputError that is raised inside: ``nodata=`` to ``msi_nodata=``."""
    try:
        yield
    except InputError as error:
        names = "|".join(READING)
        message = re.sub(rf"(?<![\w.])(?=(?:{names})=)", prefix, str(error))
        parameter = f"{prefix}{error.parameter}" if error.parameter in READING else error.parameter
        raise InputError(message, parameter) from error


def sensor_next_to(path: str) -> Path | None:
    """Return the ``sensor.yaml`` in the folder of an image, or None."""
    found = file_of(path).parent / "sensor.yaml"
    return found if found.is_file() else None


def file_of(path: str) -> Path:
    """Return the path of a file without the variable that may be named after it."""
    from hyperfuse.io import split_variable

    return split_variable(path)[0]


def name_of(path: str) -> str:
    """Return the name of an image in records: the file's name, with the variable, without its folders."""
    from hyperfuse.io import split_variable

    file, variable = split_variable(path)
    return file.name if variable is None else f"{file.name}:{variable}"
