"""SRFs from files: response curves over wavelength, or the matrix itself, as CSV, text, MATLAB or NumPy files."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperfuse.errors import HyperfuseWarning, InputError
from hyperfuse.io.encoding.damage import named
from hyperfuse.io.formats.registry import split_variable
from hyperfuse.runtime.isolation import call
from hyperfuse.sensor.srf.curves import MIN_COVERAGE, srf_from_curves
from hyperfuse.sensor.srf.srf import HsiBands, Srf

TABLE_SUFFIXES = (".csv", ".txt", ".mat", ".npy")

_MICROMETRES = (0.2, 30.0)
_NANOMETRES = (200.0, 30000.0)


def srf_from_table(path: str | Path, hsi: HsiBands | int, *, drop_uncovered: bool = False) -> Srf:
    """Read the responses of an MSI from a file: curves over wavelength, or the weights of the HSI bands.

    - **Curves**: a row per wavelength; the first column holds the wavelength in nm (µm are recognised by their size and
      converted, with a HyperfuseWarning), each further column one MSI band's response in any scale. They are put on
      the HSI's bands by :func:`~hyperfuse.sensor.srf.curves.srf_from_curves`.
    - **Weights**: a row per MSI band, a column per HSI band; each row is scaled to the sum 1. The columns belong to
      the HSI's bands in their order, so no wavelengths are needed and names of columns are not used.

    Which one it is shows in the first column: strictly rising or falling wavelengths in nm make curves; else as many
    columns as HSI bands make weights; else wavelengths in µm, of which there are more than columns, make curves.

    Args:
        path: a ``.csv`` or ``.txt`` file (comma, semicolon, tab or blanks between the numbers; ``#`` starts a
            comment; a first line that is not numeric names the columns), a ``.npy`` file, or a ``.mat`` file
            (v4 to v7.3), with the variable's name behind a colon where it holds several: ``srf.mat:P``.
        hsi: bands of the HSI, or their number; curves need their wavelengths.
        drop_uncovered: leave out MSI bands that the HSI does not cover, with a HyperfuseWarning that names them.

    Raises:
        InputError: no such file, variable or table; less than half of a row's weight on usable HSI bands; and as
            :func:`srf_from_curves`.
    """
    hsi = HsiBands.of(hsi)
    file, variable = split_variable(path)
    table, header = _read(file, variable)
    name = f"{file.name}:{variable}" if variable else file.name
    table = np.atleast_2d(table)
    if table.ndim != 2 or 0 in table.shape:
        raise InputError(f"{name}: an SRF table has two dimensions, this one has the shape {table.shape}")
    if not np.isfinite(table).all():
        raise InputError(f"{name}: the table holds NaN or infinite values")
    unit = _wavelength_unit(table)
    if unit != "nm" and table.shape[1] == hsi.count:
        return _from_weights(table, name, hsi)
    if unit is None:
        raise InputError(
            f"{name}: a table of the shape {table.shape} is neither curves (its first column holds no wavelengths) nor "
            f"weights of {hsi.count} HSI bands"
            + (" (transpose it: a row per MSI band)" if table.shape[0] == hsi.count else "")
        )
    samples = table[:, 0]
    if unit == "µm":
        message = f"{name}: wavelengths from {samples.min():g} to {samples.max():g} are taken as µm"
        warnings.warn(message, HyperfuseWarning, stacklevel=2)
        samples = samples * 1000
    return srf_from_curves(
        samples,
        table[:, 1:].T,
        hsi,
        names=header[1:] if header else None,
        source=name,
        drop_uncovered=drop_uncovered,
    )


def _from_weights(table: NDArray[np.float64], name: str, hsi: HsiBands) -> Srf:
    if (table < 0).any():
        raise InputError(f"{name}: the weights fall to {table.min():g}; an SRF has none below 0")
    totals = table.sum(axis=1)
    if (totals <= 0).any():
        raise InputError(f"{name}: row {int(np.argmin(totals)) + 1} holds only zeros, so its MSI band has no response")
    weights = np.where(hsi.usable, table, 0.0)
    sums = weights.sum(axis=1)
    if (sums < MIN_COVERAGE * totals).any():
        row = int(np.argmin(sums / totals))
        raise InputError(
            f"{name}: only {sums[row] / totals[row]:.0%} of the weight of row {row + 1} lies on usable HSI bands "
            f"({MIN_COVERAGE:.0%} are needed); see the bad-band list of the HSI"
        )
    matrix = weights / sums[:, None]
    centres = None if hsi.wavelengths is None else hsi.wavelengths[hsi.usable]
    if centres is None or not np.isfinite(centres).all():
        return Srf(matrix=matrix, source=name)
    return Srf(matrix=matrix, wavelengths=matrix[:, hsi.usable] @ centres, source=name)


def _wavelength_unit(table: NDArray[np.float64]) -> str | None:
    if table.shape[0] < 2 or table.shape[1] < 2:
        return None
    first = table[:, 0]
    steps = np.diff(first)
    if not ((steps > 0).all() or (steps < 0).all()):
        return None
    if first.min() >= _NANOMETRES[0] and first.max() <= _NANOMETRES[1]:
        return "nm"
    # Weights can look like micrometres, but they come in wide tables and curves in long ones.
    micrometres = first.min() >= _MICROMETRES[0] and first.max() <= _MICROMETRES[1]
    return "µm" if micrometres and table.shape[0] > table.shape[1] else None


def _read(file: Path, variable: str | None) -> tuple[NDArray[np.float64], list[str] | None]:
    suffix = file.suffix.lower()
    if suffix not in TABLE_SUFFIXES:
        raise InputError(f"{file}: an SRF table is one of {', '.join(TABLE_SUFFIXES)}")
    if not file.is_file():
        raise InputError(f"{file}: there is no such file")
    if suffix == ".mat":
        return _read_mat(file, variable), None
    if variable is not None:
        raise InputError(f"{file}: only MATLAB files hold variables; leave out {variable!r}")
    if suffix != ".npy":
        return _read_text(file)
    try:
        array = np.load(file, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"{file}: not a NumPy file of numbers ({error})") from error
    if array.dtype.kind not in "fiub":
        raise InputError(f"{file}: an SRF table holds real numbers, this one {array.dtype}")
    return array.astype(np.float64), None


def _read_mat(file: Path, variable: str | None) -> NDArray[np.float64]:
    with named(file):
        arrays: dict[str, NDArray[Any]] = call("hyperfuse.io.formats.matlab:read_tables", file)
    names = ", ".join(sorted(arrays)) or "none"
    if variable is not None and variable not in arrays:
        raise InputError(f"{file}: no table {variable!r}; it holds {names}")
    if variable is None and len(arrays) != 1:
        held = f"several tables, name one as {file.name}:{min(arrays)} ({names})" if arrays else "none"
        raise InputError(f"{file}: one table is needed and the file holds {held}")
    return arrays[variable or min(arrays)].astype(np.float64)


def _read_text(file: Path) -> tuple[NDArray[np.float64], list[str] | None]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (UnicodeDecodeError, OSError) as error:
        raise InputError(f"{file}: cannot be read as text ({error})") from error
    lines = [(number, line.split("#")[0].strip()) for number, line in enumerate(text.splitlines(), 1)]
    lines = [(number, line) for number, line in lines if line]
    if not lines:
        raise InputError(f"{file}: the file holds no table")
    separator = next((mark for mark in ",;\t" if mark in lines[0][1]), None)
    rows = [(number, [entry.strip() for entry in line.split(separator)]) for number, line in lines]
    header = rows.pop(0)[1] if _floats(rows[0][1]) is None else None
    if not rows:
        raise InputError(f"{file}: the file holds a header and no numbers")
    table, columns = [], len(header or rows[0][1])
    for number, entries in rows:
        if len(entries) != columns:
            raise InputError(f"{file}: line {number} has {len(entries)} columns, the first line {columns}")
        values = _floats(entries)
        if values is None:
            bad = next(entry for entry in entries if _floats([entry]) is None)
            raise InputError(f"{file}: line {number} holds {bad!r} where a number is expected")
        table.append(values)
    return np.array(table), header


def _floats(entries: list[str]) -> list[float] | None:
    try:
        return [float(entry) for entry in entries]
    except ValueError:
        return None
