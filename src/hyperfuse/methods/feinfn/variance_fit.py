"""Variances as sums of features with weights of 0 or more, fitted by maximum likelihood."""

from __future__ import annotations

import torch

_STEPS = 30
_MAX_VALUES = 2**16  # squared residuals; of more, pixels at regular distances stand for all
_MIN = 1e-6  # of the mean: the least variance


def fit_variance(squared: torch.Tensor, features: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Return the weights (bands, k) with which ``known + weights @ features`` is the most likely variance.

    Gaussian residuals of variance ``v`` have the negative log likelihood ``squared / v + log v``, the divergence of
    Itakura and Saito; its multiplicative updates keep weights at 0 or above (Fevotte, Bertin, Durrieu, Neural Comput.
    21(3), 2009).

    Args:
        squared: residuals, (bands, n), of mean 1 or so.
        features: of 0 or more, (bands, k, n).
        known: variance that is no matter of the features, (bands, n).
    """
    step = max(1, squared.numel() // _MAX_VALUES)
    squared, features, known = squared[:, ::step], features[..., ::step], known[:, ::step]
    mean = features.mean(2)
    unit = torch.where(mean > 0, mean, 1.0)
    features = features / unit[..., None]
    weights = squared.mean(1, keepdim=True) * (mean > 0) / features.shape[1]
    for _ in range(_STEPS):
        inverse = 1.0 / (torch.bmm(weights[:, None], features)[:, 0] + known).clamp_min_(_MIN)
        up = torch.bmm(features, (squared * inverse * inverse)[..., None])[..., 0]
        down = torch.bmm(features, inverse[..., None])[..., 0]
        weights = weights * (up / down.clamp_min(torch.finfo(down.dtype).tiny)).sqrt()
    return weights / unit
