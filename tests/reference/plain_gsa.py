"""Gram-Schmidt adaptive fusion, as the equations of Aiazzi, Baronti and Selva (2007) read, band by band in numpy.

The component substitution of one MSI band M for the HSI bands assigned to it:
    I = w_0 + sum_i w_i H_i, with w from the least-squares fit of M degraded to LR on the H_i at LR;
    the same w applied to the expanded bands H~_i gives the intensity at HR;
    fused_k = H~_k + cov(H~_k, I~) / var(I~) * (M - I~).
"""

import numpy as np


def assign_by_correlation(hsi, msi_lr):
    """The MSI band of largest absolute correlation with each HSI band."""
    return [int(np.argmax([abs(np.corrcoef(band.ravel(), other.ravel())[0, 1]) for other in msi_lr])) for band in hsi]


def assign_by_response(responses):
    """The MSI band that responds most to each HSI band."""
    return [int(np.argmax(responses[:, k])) for k in range(responses.shape[1])]


def gsa(hsi, msi, owner, degrade, expand, intensity_from_all):
    """Fuse (bands, h, w) with (msi_bands, H, W); ``degrade`` and ``expand`` map one image between the grids."""
    expanded = [expand(band) for band in hsi]
    fused = list(expanded)
    for j, band in enumerate(msi):
        group = [k for k in range(len(hsi)) if owner[k] == j]
        if not group:
            continue
        members = range(len(hsi)) if intensity_from_all else group
        design = np.column_stack([np.ones(hsi[0].size), *(hsi[i].ravel() for i in members)])
        weights = np.linalg.lstsq(design, degrade(band).ravel(), rcond=None)[0]
        intensity = weights[0] + sum(w * expanded[i] for w, i in zip(weights[1:], members, strict=True))
        for k in group:
            gain = np.cov(expanded[k].ravel(), intensity.ravel(), bias=True)[0, 1] / intensity.var()
            fused[k] = expanded[k] + gain * (band - intensity)
    return np.stack(fused)
