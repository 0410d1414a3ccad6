"""Restriction of spectral responses to the bands that are used."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hyperfuse.errors import InputError
from hyperfuse.sensor.srf.srf import Srf


def restrict_responses(srf: Srf | None, msi_bands: NDArray[np.bool_], hsi_bands: NDArray[np.bool_]) -> Srf | None:
    """Return the responses between the bands that are used, bool each, scaled to the sum 1 again; None for None.

    Raises:
        InputError: responses of another number of bands, or one of which more than half lies on HSI bands that are
            not used.
    """
    if srf is None:
        return None
    if srf.matrix.shape != (msi_bands.size, hsi_bands.size):
        raise InputError(
            f"the spectral responses turn {srf.hsi_bands} bands into {srf.msi_bands}; the HSI has"
            f" {hsi_bands.size} and the MSI {msi_bands.size}"
        )
    if msi_bands.all() and hsi_bands.all():
        return srf
    matrix = srf.matrix[np.ix_(msi_bands, hsi_bands)]
    total = matrix.sum(axis=1)
    if (total < 0.5).any():
        lost = np.flatnonzero(msi_bands)[np.argmin(total)]
        raise InputError(f"more than half of the response of MSI band {srf.names[lost]!r} lies on unusable HSI bands")
    names = tuple(name for name, used in zip(srf.names, msi_bands, strict=True) if used)
    wavelengths = None if srf.wavelengths is None else srf.wavelengths[msi_bands]
    fwhm = None if srf.fwhm is None else srf.fwhm[msi_bands]
    return Srf(matrix / total[:, None], names, wavelengths, fwhm, srf.source)
