"""Least-squares models of some bands from others, and the moments that injection gains need."""

from __future__ import annotations

from typing import NamedTuple

import torch

from hyperfuse.errors import InputError

# Ridge on standardised predictors: components below 1e-4 of a band's contrast count as noise. Measured bands carry
# more than that, and coefficients stay below 1 / (2 sqrt(RIDGE)) = 5e3 even for predictors that are copies.
RIDGE = 1e-8

# Pixels converted to float64 at a time when moments are summed over a whole HR image.
_BLOCK_PIXELS = 16384

_SMALL_VALUES = 2**17  # per thread, of systems that are solved together: they stay in cache

# A band whose contrast is below this many rounding steps of its mean is constant; dividing by that contrast would
# amplify rounding.
_ROUNDING_STEPS = 8.0


def fit_linear(
    predictors: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None = None, *, ridge: float = RIDGE
) -> torch.Tensor:
    """Fit target bands (bands, h, w) as linear combinations of predictor bands (k, h, w) and a constant.

    Minimises ``sum_p w_p (t_p - c_0 - sum_j c_j x_jp)^2`` over all pixels: least squares with weights (h, w), 0 or
    more, by normal equations in float64. The predictors are centred and scaled to unit variance first and ``ridge`` is
    added to the diagonal of their correlation matrix, so that the solution exists, is unique and keeps moderate
    coefficients for any number of pixels and for predictors that depend on each other (copies share the weight); it
    does not depend on the units of any band. A predictor that is constant up to the rounding of its dtype gets the
    coefficient 0.

    Returns:
        Coefficients (bands, k + 1) in float64, the constant first: what :func:`apply_linear` takes.

    Raises:
        InputError: shapes that do not fit, or weights that are negative or all 0.
    """
    _check_shapes(predictors, targets, weights)
    own = _moments(predictors, predictors, weights)
    both = _moments(predictors, targets, weights)
    variance = own.covariance.diagonal()
    scale = torch.where(_is_contrast(variance, own.mean_first, predictors.dtype), variance.rsqrt(), 0.0)
    correlations = own.covariance * torch.outer(scale, scale)
    correlations.diagonal().add_(ridge)
    scaled = torch.cholesky_solve(both.covariance * scale[:, None], torch.linalg.cholesky(correlations))
    slopes = (scaled * scale[:, None]).T
    constant = both.mean_second - slopes @ both.mean_first
    return torch.cat([constant[:, None], slopes], dim=1)


def apply_linear(coefficients: torch.Tensor, predictors: torch.Tensor) -> torch.Tensor:
    """Evaluate ``c_0 + sum_j c_j x_j`` for coefficients (bands, k + 1) and predictors (k, H, W): (bands, H, W).

    In the dtype of the predictors; no other array of that size is made.
    """
    weights = coefficients.to(predictors.dtype)
    flat = torch.addmm(weights[:, :1], weights[:, 1:], predictors.flatten(1))
    return flat.view(-1, *predictors.shape[1:])


def solve_small(systems: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Solve a small symmetric positive definite system at every pixel: (k, k, n) and (k, m, n) to (k, m, n).

    Gauss-Jordan elimination, for which such systems need no pivoting; every step is taken for many pixels at once,
    where libraries solve one system after the other.
    """
    k, n = len(systems), systems.shape[-1]
    solved = torch.empty_like(right, memory_format=torch.contiguous_format)
    values = _SMALL_VALUES * torch.get_num_threads()
    step = max(1, values // (k * (k + right.shape[1]))) if right.device.type == "cpu" else n
    for start in range(0, n, step):
        pixels = slice(start, start + step)
        rows = torch.cat([systems[..., pixels], right[..., pixels]], dim=1)
        for pivot in range(k):
            row = rows[pivot, pivot + 1 :] / rows[pivot, pivot]
            factor = rows[:, pivot].clone()
            factor[pivot] = 0
            rows[:, pivot + 1 :].addcmul_(factor[:, None], row, value=-1)
            rows[pivot, pivot + 1 :] = row
        solved[..., pixels] = rows[:, k:]
    return solved


def invert_small(systems: torch.Tensor) -> torch.Tensor:
    """Return the inverse of a small symmetric positive definite matrix at every pixel, (k, k, n).

    Gauss-Jordan elimination in place, many pixels at once as in :func:`solve_small`.
    """
    k, n = len(systems), systems.shape[-1]
    inverse = torch.empty_like(systems, memory_format=torch.contiguous_format)
    step = max(1, 2 * _SMALL_VALUES * torch.get_num_threads() // k**2) if systems.device.type == "cpu" else max(1, n)
    for start in range(0, n, step):
        rows = systems[..., start : start + step].clone(memory_format=torch.contiguous_format)
        for pivot in range(k):
            factor = rows[:, pivot].clone()
            rows[:, pivot] = 0
            rows[pivot, pivot] = 1
            row = rows[pivot] / factor[pivot]
            factor[pivot] = 0
            rows.addcmul_(factor[:, None], row, value=-1)
            rows[pivot] = row
        inverse[..., start : start + step] = rows
    return inverse


def covariance(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Return the covariances (a, b) of the bands of (a, H, W) with those of (b, H, W): population moments in float64.

    Summed over blocks of pixels, so that no float64 copy of an image is held.
    """
    return _moments(first, second, None).covariance


def correlation(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Return Pearson's correlations (a, b) of the bands of (a, h, w) and (b, h, w); 0 where a band is constant."""
    return covariance(first, second) * torch.outer(_inverse_deviation(first), _inverse_deviation(second))


def injection_gains(
    covariances: torch.Tensor, variances: torch.Tensor, magnitudes: torch.Tensor, dtype: torch.dtype
) -> torch.Tensor:
    """Return the slopes ``covariances / variances``, (bands,), of a regression on one image per band.

    An image whose variance is that of the rounding of its ``magnitudes`` in ``dtype`` is constant and gets the gain 0.
    """
    return torch.where(_is_contrast(variances, magnitudes, dtype), covariances / variances, 0.0)


class _Moments(NamedTuple):
    mean_first: torch.Tensor
    mean_second: torch.Tensor
    covariance: torch.Tensor


def _moments(first: torch.Tensor, second: torch.Tensor, weights: torch.Tensor | None) -> _Moments:
    a, b = first.flatten(1), second.flatten(1)
    fraction = None if weights is None else weights.flatten().double() / weights.sum(dtype=torch.float64)
    # Sums around a value inside the data (any would do): around 0, the difference of large numbers would lose the
    # contrast. Summed in the image's own type, as torch would else convert all of it.
    origin_a, origin_b = a.mean(1).double(), b.mean(1).double()
    sum_a, sum_b = torch.zeros_like(origin_a), torch.zeros_like(origin_b)
    product = torch.outer(sum_a, sum_b)
    for start in range(0, a.shape[1], _BLOCK_PIXELS):
        part = slice(start, start + _BLOCK_PIXELS)
        block_a, block_b = a[:, part].double() - origin_a[:, None], b[:, part].double() - origin_b[:, None]
        weighted_a = block_a / a.shape[1] if fraction is None else block_a * fraction[part]
        weighted_b = block_b / a.shape[1] if fraction is None else block_b * fraction[part]
        product += weighted_a @ block_b.T
        sum_a += weighted_a.sum(1)
        sum_b += weighted_b.sum(1)
    return _Moments(origin_a + sum_a, origin_b + sum_b, product - torch.outer(sum_a, sum_b))


def _inverse_deviation(image: torch.Tensor) -> torch.Tensor:
    variance = torch.stack([band.double().var(correction=0) for band in image])
    mean = image.flatten(1).mean(1).double()
    return torch.where(_is_contrast(variance, mean, image.dtype), variance.rsqrt(), 0.0)


def _is_contrast(variance: torch.Tensor, magnitude: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return variance > (_ROUNDING_STEPS * torch.finfo(dtype).eps * magnitude) ** 2


def _check_shapes(predictors: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None) -> None:
    if predictors.ndim != 3 or targets.ndim != 3 or predictors.shape[1:] != targets.shape[1:]:
        raise InputError(
            f"predictors of the shape {tuple(predictors.shape)} and targets of {tuple(targets.shape)} do not fit;"
            " both are (bands, rows, cols) on the same pixels"
        )
    if weights is None:
        return
    if weights.shape != predictors.shape[1:]:
        raise InputError(f"weights of the shape {tuple(weights.shape)} for pixels of {tuple(predictors.shape[1:])}")
    if not bool((weights >= 0).all()) or not bool((weights > 0).any()):
        raise InputError("the weights of a fit must be 0 or more, and not all 0")
