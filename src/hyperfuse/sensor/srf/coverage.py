"""HSI bands outside the spectral coverage of the MSI: detail in them is inferred from other bands, not measured."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

# A response covers the bands at which it has this fraction of its largest weight.
_COVERED_FRACTION = 0.02
# A band also counts as covered within this fraction of the wavelength of one that is: spectra are smooth so far.
_NEAR_FRACTION = 0.03


def outside_coverage(
    wavelengths: ArrayLike | None,
    responses: ArrayLike | None = None,
    msi_wavelengths: ArrayLike | None = None,
    msi_fwhm: ArrayLike | None = None,
) -> NDArray[np.bool_] | None:
    """Return which HSI bands lie outside the spectral coverage of the MSI, (bands,); None where it is not known.

    By the responses (msi_bands, bands) where they are known, without rows of NaN: a band is covered where one of them
    has a fiftieth of its largest weight. Else by centres and FWHM of the MSI's bands in nm: a band is covered within
    half the FWHM of an MSI band. Where the widths are not known, all between the outermost bands is taken to be
    covered, and beyond them a quarter of the distance to the next band. Within three per cent of the wavelength of what
    is covered a band is covered too. The ``wavelengths`` of the HSI, in nm, may have any order.
    """
    centres, msi = _finite(wavelengths), _finite(msi_wavelengths)
    if responses is not None:
        matrix = np.asarray(responses, np.float64)
        matrix = matrix[np.isfinite(matrix).all(axis=1)]
        if not len(matrix):
            return None
        covered = (matrix > _COVERED_FRACTION * matrix.max(axis=1, keepdims=True)).any(axis=0)
        if centres is None:
            return np.asarray(~covered)
        return _outside(centres, centres[covered], centres[covered])
    if centres is None or msi is None:
        return None
    width = _finite(msi_fwhm)
    if width is not None:
        return _outside(centres, msi - width / 2, msi + width / 2)
    if msi.size == 1:
        return None
    spacing = np.diff(np.sort(msi))
    return _outside(centres, msi.min() - spacing[0] / 4, msi.max() + spacing[-1] / 4)


def coverage_note(
    outside: NDArray[np.bool_] | None,
    band_numbers: ArrayLike,
    wavelengths: ArrayLike | None = None,
    held_out_rmse: ArrayLike | None = None,
) -> str:
    """Return a sentence about the bands outside the coverage of the MSI, empty where there are none.

    All are (bands,): what :func:`outside_coverage` returned, the numbers of these bands in the file, from 1, their
    centres in nm, and the error of each at LR pixels that were held out of its prediction.
    """
    if outside is None or not outside.any():
        return ""
    numbers = np.asarray(band_numbers)
    parts = []
    indices = np.flatnonzero(outside)
    for run in np.split(indices, np.flatnonzero(np.diff(numbers[indices]) != 1) + 1):
        name = f"{numbers[run[0]]}" if len(run) == 1 else f"{numbers[run[0]]}-{numbers[run[-1]]}"
        if wavelengths is not None:
            low, high = sorted(np.asarray(wavelengths, np.float64)[[run[0], run[-1]]])
            name += f" ({low:.0f} nm)" if len(run) == 1 else f" ({low:.0f} to {high:.0f} nm)"
        parts.append(name)
    text = (
        f"bands outside the spectral coverage of the MSI: {', '.join(parts)}; their fine detail is inferred from the"
        " other bands"
    )
    if held_out_rmse is None:
        return text
    rmse = np.asarray(held_out_rmse, np.float64)
    errors = f"{_root_mean_square(rmse[outside]):.2g}"
    if not outside.all():
        errors += f" there, {_root_mean_square(rmse[~outside]):.2g} elsewhere"
    return f"{text}; RMSE at held-out LR pixels {errors}"


def true_runs(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return first and last index of every run of True in a mask (n,)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(int)))
    return [(int(first), int(after) - 1) for first, after in zip(edges[::2], edges[1::2], strict=True)]


def _finite(values: ArrayLike | None) -> NDArray[np.float64] | None:
    array = np.asarray(np.nan if values is None else values, np.float64)
    return array if np.isfinite(array).all() else None


def _outside(centres: NDArray[np.float64], low: ArrayLike, high: ArrayLike) -> NDArray[np.bool_]:
    """Return which centres lie in none of the intervals, each widened by a fraction of its ends."""
    above = centres[:, None] >= (1 - _NEAR_FRACTION) * np.atleast_1d(low)
    below = centres[:, None] <= (1 + _NEAR_FRACTION) * np.atleast_1d(high)
    return np.asarray(~(above & below).any(axis=1))


def _root_mean_square(values: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(values**2)))
