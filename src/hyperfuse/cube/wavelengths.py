"""Wavelengths in files come in many units; inside the package they are nanometres."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hyperfuse.errors import warn

NANOMETRES_PER_UNIT = {
    **dict.fromkeys(("nm", "nanometer", "nanometre"), 1.0),
    **dict.fromkeys(("um", "µm", "μm", "micrometer", "micrometre", "micron"), 1e3),
    **dict.fromkeys(("mm", "millimeter", "millimetre"), 1e6),
    **dict.fromkeys(("cm", "centimeter", "centimetre"), 1e7),
    **dict.fromkeys(("m", "meter", "metre"), 1e9),
    **dict.fromkeys(("angstrom", "å"), 0.1),
}
_WAVENUMBERS = ("wavenumber", "cm-1", "cm^-1", "1/cm", "cm**-1")
_NO_UNIT = ("", "unknown", "none", "1")

# Optical imagers see 300 nm to some 15 µm, so a typical value below this one cannot be nanometres.
_LARGEST_MICROMETRES = 100.0
_SMALLEST_MICROMETRES = 0.1


def to_nanometres(
    wavelengths: ArrayLike | None, units: str | None, fwhm: ArrayLike | None = None, *, where: str = "the file"
) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]:
    """Convert band centres and widths to nanometres.

    Without a unit the magnitude decides: with a median below 100 they are taken as micrometres, with a warning.

    ``units`` is as the file spells it ("Nanometers", "um", "Wavenumber", ...), or None where it names none. Arrays have
    the shape (bands,), NaN where unknown; None stands for one that no band has, or for units that are no length.

    Example:
        >>> to_nanometres([0.45, 2.2], "Micrometers")[0].tolist()
        [450.0, 2200.0]
    """
    centres, widths = _numbers(wavelengths), _numbers(fwhm)
    unit = (units or "").strip().lower()
    if unit in _WAVENUMBERS:
        if centres is None:
            return None, None
        with np.errstate(divide="ignore", invalid="ignore"):
            # lambda = 1e7 / k in nm for k in 1/cm; to first order its width is 1e7 / k^2 times the width in k.
            return 1e7 / centres, None if widths is None else 1e7 / centres**2 * widths
    factor = NANOMETRES_PER_UNIT.get(unit, NANOMETRES_PER_UNIT.get(unit.removesuffix("s")))
    if factor is None and unit in _NO_UNIT:
        factor = _factor_by_magnitude(centres, where)
    if factor is None:
        if centres is not None or widths is not None:
            warn(f"{where}: the wavelength unit {units!r} is not a length; the wavelengths are left out")
        return None, None
    return _scaled(_positive(centres, "wavelengths", where), factor), _scaled(
        _positive(widths, "widths", where), factor
    )


def _positive(values: NDArray[np.float64] | None, what: str, where: str) -> NDArray[np.float64] | None:
    wrong = np.empty(0) if values is None else values[values <= 0]
    if values is None or wrong.size == 0:
        return values
    if wrong.any():  # 0 is the usual sign of an unknown one
        warn(
            f"{where}: {wrong.size} of {values.size} {what} are not positive, such as {wrong.min():g}; taken as unknown"
        )
    return np.where(values <= 0, np.nan, values) if (values > 0).any() else None


def _numbers(values: ArrayLike | None) -> NDArray[np.float64] | None:
    numbers = np.asarray(() if values is None else values, np.float64).ravel()
    return np.where(np.isfinite(numbers), numbers, np.nan) if np.isfinite(numbers).any() else None


def _scaled(values: NDArray[np.float64] | None, factor: float) -> NDArray[np.float64] | None:
    # 0.41824 µm times 1000 is 418.23999999999995 in binary; a femtometre is far below what any file states.
    return values if factor == 1.0 or values is None else np.round(values * factor, 9)


def _factor_by_magnitude(centres: NDArray[np.float64] | None, where: str) -> float | None:
    known = np.empty(0) if centres is None else centres[np.isfinite(centres)]
    if known.size == 0 or float(np.median(known)) >= _LARGEST_MICROMETRES:
        return 1.0
    if known.min() < _SMALLEST_MICROMETRES:
        # Numbers of bands, most likely; no imager sees below 100 nm.
        return None
    warn(f"{where}: wavelengths without a unit, from {known.min():g} to {known.max():g}; taken as micrometres")
    return 1e3
