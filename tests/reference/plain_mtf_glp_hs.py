"""Hypersharpening by the MTF-matched generalised Laplacian pyramid, as Selva et al. (2015) write it, in numpy.

For every HSI band H_k:
    P_k = the MSI band that correlates best with H_k at LR, or
    P_k = w_k0 + sum_j w_kj M_j, with w_k from the least-squares fit of H_k on the degraded MSI bands at LR;
    P_k^L = P_k filtered with the sensor's MTF, decimated, and expanded again;
    fused_k = H~_k + cov(H~_k, P_k^L) / var(P_k^L) * (P_k - P_k^L).
"""

import numpy as np


def best_band(band, msi, degrade):
    """The MSI band of largest absolute correlation with the HSI band at LR."""
    correlations = [abs(np.corrcoef(band.ravel(), degrade(other).ravel())[0, 1]) for other in msi]
    return msi[int(np.argmax(correlations))]


def synthesis(band, msi, degrade):
    """The combination of all MSI bands that fits the HSI band at LR, at HR."""
    design = np.column_stack([np.ones(band.size), *(degrade(other).ravel() for other in msi)])
    weights = np.linalg.lstsq(design, band.ravel(), rcond=None)[0]
    return weights[0] + sum(w * other for w, other in zip(weights[1:], msi, strict=True))


def mtf_glp_hs(hsi, msi, degrade, expand, detail):
    """Fuse (bands, h, w) with (msi_bands, H, W); ``detail`` is one of the two functions above."""
    fused = []
    for band in hsi:
        expanded = expand(band)
        sharp = detail(band, msi, degrade)
        low = expand(degrade(sharp))
        gain = np.cov(expanded.ravel(), low.ravel(), bias=True)[0, 1] / low.var()
        fused.append(expanded + gain * (sharp - low))
    return np.stack(fused)
