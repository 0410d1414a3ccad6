"""CNMF written out: dense sampling matrices, one entry at a time, the multiplicative updates of Lee and Seung."""

import numpy as np

FLOOR = 1e-4  # multiplicative updates start at this share of the largest entry or above


def multiplicative(factor, target, start, iterations, total_weight):
    """``x_kj <- x_kj (A' b_j)_k / (A' A x_j)_k`` with the row of ones appended to ``A`` and ``b``."""
    if total_weight > 0:
        factor = np.vstack([factor, np.full((1, factor.shape[1]), np.sqrt(total_weight))])
        target = np.vstack([target, np.full((1, target.shape[1]), np.sqrt(total_weight))])
    unknowns = np.maximum(start, FLOOR * start.max())
    for _ in range(iterations):
        updated = np.empty_like(unknowns)
        for j in range(unknowns.shape[1]):
            explained = factor @ unknowns[:, j]
            for k in range(unknowns.shape[0]):
                wanted, there = factor[:, k] @ target[:, j], factor[:, k] @ explained
                updated[k, j] = unknowns[k, j] * wanted / there if there > 0 else 0.0
        unknowns = updated
    return unknowns


def cnmf(hsi, msi, response, degrade, upsample, first, *, outer, inner, sum_to_one):
    """Fuse matrices of (bands, pixels).

    ``degrade`` (LR pixels, HR pixels) and ``upsample`` (HR pixels, LR pixels) are dense; ``first`` are the indices of
    the LR pixels that serve as first endmembers.
    """
    hsi, msi = np.maximum(hsi, 0), np.maximum(msi, 0)
    scale = np.sqrt(np.mean(hsi**2))
    hsi, msi = hsi / scale, msi / scale
    hsi_weight, msi_weight = len(hsi) * sum_to_one**2, len(msi) * sum_to_one**2
    w = hsi[:, first]
    g = np.full((len(first), hsi.shape[1]), 1 / len(first))
    g = multiplicative(w, hsi, g, 10 * inner, hsi_weight)
    for _ in range(3):
        w = multiplicative(g.T, hsi.T, w.T, 5 * inner, 0).T
        g = multiplicative(w, hsi, g, inner, hsi_weight)
    h = np.maximum(g @ upsample.T, 0)
    for _ in range(outer):
        h = multiplicative(response @ w, msi, h, inner, msi_weight)
        g = h @ degrade.T
        w = multiplicative(g.T, hsi.T, w.T, 5 * inner, 0).T
        change = multiplicative(w, hsi, g, inner, hsi_weight) - g
        h = np.maximum(h + change @ upsample.T, 0)
    return w @ h * scale
