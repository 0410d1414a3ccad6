"""Bands of an HSI that the MSI does not see: their detail is inferred, and the user is told."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from hyperfuse.scenes.matching.grid import MatchedPair
from hyperfuse.sensor.model import Sensor

# A band counts as seen where an MSI band has this share of its largest weight there.
_SEEN = 0.02
# Beyond the range by this share of the wavelength, a band still looks like those inside.
_NEAR = 0.03


def unseen_bands(pair: MatchedPair, sensor: Sensor, held_out_rmse: Sequence[float] | None = None) -> str:
    """Return a sentence about the usable HSI bands outside the MSI's range, empty where there are none.

    The range is that of the spectral responses, else of the MSI's own wavelengths; where neither is known, nothing can
    be said.

    Args:
        pair: the matched pair.
        sensor: its sensor, with responses between usable bands.
        held_out_rmse: error of each usable band at LR pixels that were hidden from its prediction.
    """
    usable = np.flatnonzero(pair.hsi.usable_bands)
    unseen = _unseen(pair, sensor, usable)
    if unseen is None or not unseen.any():
        return ""
    wavelengths = pair.hsi.wavelengths
    parts = []
    for first, last in _runs(usable[unseen]):
        name = f"{first + 1}" if first == last else f"{first + 1}-{last + 1}"
        if wavelengths is not None:
            low, high = sorted((wavelengths[first], wavelengths[last]))
            name += f" ({low:.0f} nm)" if first == last else f" ({low:.0f} to {high:.0f} nm)"
        parts.append(name)
    names = ", ".join(parts)
    text = f"the MSI does not see bands {names}: their fine detail is inferred from the other bands"
    if held_out_rmse is None:
        return text
    rmse = np.asarray(held_out_rmse)
    there = float(np.sqrt(np.mean(rmse[unseen] ** 2)))
    if unseen.all():
        return f"{text}; error at hidden LR pixels {there:.2g} (RMSE)"
    elsewhere = float(np.sqrt(np.mean(rmse[~unseen] ** 2)))
    return f"{text}; error at hidden LR pixels {there:.2g} there, {elsewhere:.2g} elsewhere (RMSE)"


def _unseen(pair: MatchedPair, sensor: Sensor, usable: NDArray[np.intp]) -> NDArray[np.bool_] | None:
    wavelengths = pair.hsi.wavelengths
    if sensor.srf is not None:
        matrix = sensor.srf.matrix
        seen = (matrix > _SEEN * matrix.max(axis=1, keepdims=True)).any(axis=0)
        # Between two bands of the MSI nothing is far from what it sees.
        position = np.arange(len(usable), dtype=float) if wavelengths is None else wavelengths[usable]
        return _outside(position, position[seen].min(), position[seen].max())
    msi = pair.msi.wavelengths
    if wavelengths is None or msi is None:
        return None
    half = _half_widths(msi, pair.msi.fwhm)
    return _outside(wavelengths[usable], (msi - half).min(), (msi + half).max())


def _outside(position: NDArray[np.float64], low: float, high: float) -> NDArray[np.bool_]:
    return np.asarray((position < (1 - _NEAR) * low) | (position > (1 + _NEAR) * high))


def _half_widths(wavelengths: NDArray[np.float64], fwhm: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Return half the width of each band; where it is not known, bands are taken to touch each other."""
    if fwhm is not None:
        return 0.5 * np.asarray(fwhm)
    if len(wavelengths) == 1:
        return np.full(1, np.inf)
    return np.full(len(wavelengths), 0.5 * np.diff(np.sort(wavelengths)).max())


def _runs(indices: NDArray[np.intp]) -> list[tuple[int, int]]:
    """Return the first and last of each run of neighbouring indices."""
    groups = [[int(i) for _, i in run] for _, run in groupby(enumerate(indices), key=lambda item: item[1] - item[0])]
    return [(group[0], group[-1]) for group in groups]
