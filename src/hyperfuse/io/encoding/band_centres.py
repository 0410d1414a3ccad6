"""Wavelengths of bands that a caller specifies: a range, numbers, or a column of a text file."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hyperfuse.cube.header import CubeHeader
from hyperfuse.cube.wavelengths import to_nanometres
from hyperfuse.errors import InputError, warn

_PARAMETER = "wavelengths"
_MAX_BANDS = 100_000
_MAX_BYTES = 2**22
# Columns of a table that are taken where none is named.
_COLUMNS = ("wavelength", "wavelengths", "wavelength_nm", "wavelength (nm)", "center", "centre", "nm", "lambda")


def parse_wavelengths(given: str | Sequence[float]) -> tuple[float, ...]:
    """Return the wavelengths in nm that a caller specifies.

    Args:
        given: ``"400:700:10"`` (first, last, step), ``"450,550,650"``, a text or CSV file, with the name or number of
            a column behind a colon where it has several (``"bands.csv:center"``), or numbers; in nm, or in µm where
            the median is below 100.

    Raises:
        InputError: none of these, or wavelengths that are not positive.

    Example:
        >>> parse_wavelengths("400:430:10")
        (400.0, 410.0, 420.0, 430.0)
    """
    values = _from_text(given) if isinstance(given, str) else [float(value) for value in given]
    if not values or not all(math.isfinite(value) and value > 0 for value in values):
        raise _refuse(f"wavelengths={given!r}: positive numbers are needed, one per band")
    centres, _ = to_nanometres(values, None, where="the wavelengths of the call")
    if centres is None:
        raise _refuse(f"wavelengths={given!r}: from {min(values):g} to {max(values):g} is neither nm nor µm")
    return tuple(centres.tolist())


def _from_text(text: str) -> list[float]:
    file, _, column = (text, "", "") if Path(text).exists() else text.rpartition(":")
    if file and Path(file).is_file():
        return _from_file(Path(file), column)
    ends = [_number(part) for part in text.split(":")]
    values = ends if len(ends) == 3 else [_number(part) for part in text.split(",")]
    numbers = [value for value in values if value is not None]
    if len(numbers) < len(values):
        raise _refuse(
            f"wavelengths={text!r} is neither first:last:step, nor numbers, nor a file that exists; write 400:700:10,"
            " bands.txt or bands.csv:COLUMN"
        )
    return _in_steps(numbers[0], numbers[1], numbers[2], text) if len(ends) == 3 else numbers


def _in_steps(first: float, last: float, step: float, text: str) -> list[float]:
    count = (last - first) / step if step and math.isfinite(step) else -1.0
    if not 0 <= count < _MAX_BANDS:
        raise _refuse(f"wavelengths={text!r}: no steps lead from the first to the last")
    return [first + step * number for number in range(int(count + 1e-6) + 1)]


def _from_file(file: Path, column: str) -> list[float]:
    try:
        with file.open("rb") as stream:
            raw = stream.read(_MAX_BYTES + 1)
        text = raw.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError):
        raise _refuse(f"{file}: cannot be read as text") from None
    lines = [line for line in (line.split("#")[0].strip() for line in text.splitlines()) if line]
    if len(raw) > _MAX_BYTES or not lines:
        raise _refuse(f"{file}: is {'empty' if not lines else 'too large'}; a table of wavelengths is needed")
    separator = next((mark for mark in ",;\t" if mark in lines[0]), None)
    rows = [[entry.strip().strip('"') for entry in line.split(separator)] for line in lines]
    names = rows.pop(0) if any(_number(entry) is None for entry in rows[0]) else []
    index = _column(file, names, len(rows[0]) if rows else len(names), column)
    if not column and not names and len(rows) == 1:
        entries = rows[0]  # all in one line
    else:
        entries = [row[index] if index < len(row) else "" for row in rows]
    values = [_number(entry) for entry in entries]
    bad = next((entry for entry, value in zip(entries, values, strict=True) if value is None), None)
    if bad is not None:
        raise _refuse(f"{file}: holds {bad[:40]!r} where a wavelength is expected")
    return [value for value in values if value is not None]


def _column(file: Path, names: Sequence[str], count: int, column: str) -> int:
    lower = [name.lower() for name in names]
    if column:
        if column.lower() in lower:
            return lower.index(column.lower())
        if column.isdecimal() and 1 <= int(column) <= count:
            return int(column) - 1
        raise _refuse(f"{file}: has no column {column!r}; it has {', '.join(names) or f'1 to {count}'}")
    found = [name for name in _COLUMNS if name in lower]
    if found or count == 1 or not names:
        return lower.index(found[0]) if found else 0
    raise _refuse(f"{file}: has the columns {', '.join(names)}; name one: wavelengths={file}:{names[0]}")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _refuse(message: str) -> InputError:
    return InputError(message, _PARAMETER)


def centres_of_read_bands(
    given: Sequence[float], selected: Callable[[int], list[int] | None], header: CubeHeader, where: str
) -> dict[str, Any]:
    """Return the changes of a header by which its bands get the wavelengths that the caller specifies.

    Args:
        given: as many as are read, in their order, or as many as the file has bands.
        selected: returns the indices of the bands that are read among this many, or None for all.
        header: of the bands that are read.
        where: names the file in warnings.

    Raises:
        InputError: another number of wavelengths.
    """
    values = np.asarray(given, np.float64)
    try:
        index = selected(values.size)
    except InputError:  # a band beyond them: they are those of the bands that are read
        index = None
    if index is not None and values.size != header.bands:
        values = values[index]
    elif index is not None and index != sorted(index):
        raise _refuse("bands=... changes the order, which the wavelengths may follow or not; list the bands upwards")
    if values.size != header.bands:
        axes = "; or state the order of its axes, axes=" if values.size in header.shape[1:] else ""
        raise _refuse(f"{len(given)} wavelengths for {header.bands} bands{axes}")
    own = header.wavelengths
    if own is not None and not np.allclose(own, values, rtol=1e-4, equal_nan=True):
        warn(f"{where}: states other wavelengths, from {own[0]:g} nm; those of the call are used instead")
        return {"wavelengths": values, "fwhm": None}
    return {"wavelengths": values}
