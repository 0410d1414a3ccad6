"""Ridge regression in a sliding Gaussian window: a linear model at every pixel, with its held-out error."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from scipy import sparse

from hyperfuse.sensor.axis import AxisOperator
from hyperfuse.statistics.linear import invert_small, solve_small

_CUT = 4.0  # windows end at this many standard deviations
_TINY = 1e-12
_SUM_BYTES = 2 * 2**20  # of some targets: they stay in cache
_BLOCK_VALUES = 2**16  # per thread, window sums that stay in cache

Weights = dict[float, float]  # of each ridge


class WindowedRidge:
    """Local linear models of targets from predictors, in Gaussian windows of one width.

    At every pixel it minimises ``sum_q g(q - p) |y_q - b - S' x_q|^2 / sum_q g + ridge |S - S_0|^2`` over the offset
    ``b`` and the slopes ``S``, with ``S_0`` the slopes of the whole scene. Float64 throughout.

    What is modelled is the residual ``y - S_0 x`` of the scene's model, with slopes shrunk to 0. Its models are linear
    in the window sums of ``(1, x) y``: a small matrix per pixel makes them, whatever the number of bands.

    Args:
        predictors: float64 (k, h, w), whitened over the scene so that one ridge suits every component.
        sigma: standard deviation of the window, in pixels.
        known: float64 (h, w), 0 for pixels that are held out of all models, else 1; None for all ones.
        step: models are made at every ``step``-th pixel along each axis only.
    """

    def __init__(
        self, predictors: torch.Tensor, sigma: float, known: torch.Tensor | None = None, step: int = 1
    ) -> None:
        self.sigma = sigma
        self._x, self._known, self._step = predictors, known, step
        self._along_y, self._along_x = (_window_operator(size, sigma, step) for size in predictors.shape[-2:])
        self._ones_and_x = torch.cat([torch.ones_like(predictors[:1]), predictors])
        k = len(predictors)
        upper = torch.triu_indices(k + 1, k + 1)
        sums = self._sum(self._ones_and_x[upper[0]] * self._ones_and_x[upper[1]])
        # Of (1, x) (1, x)': the mass of the window in the corner.
        self._products = sums.new_empty(k + 1, k + 1, sums.shape[1])
        self._products[upper[0], upper[1]] = self._products[upper[1], upper[0]] = sums

    def blend(self, targets: torch.Tensor, slopes: torch.Tensor, weights: Weights) -> torch.Tensor:
        """Return the sum of the models of several ridges (bands, k + 1, h, w), the offset first.

        Args:
            targets: float64 (bands, h, w).
            slopes: ``S_0``, float64 (bands, k).
            weights: of each ridge, which is relative to the variance of the predictors.
        """
        mass, mean, covariance = _moments(self._products)
        inverse = torch.zeros_like(covariance)
        for ridge, weight in weights.items():
            inverse.add_(invert_small(_regular(covariance, ridge)), alpha=weight)
        total = sum(weights.values())
        offset = -(inverse * mean).sum(1)
        corner = total - (offset * mean).sum(0)
        matrix = torch.cat([torch.cat([corner[None], offset])[None], torch.cat([offset[:, None], inverse], 1)]) / mass
        result = targets.new_empty(len(targets), len(matrix), mass.shape[0])
        for some, sums in self._target_sums(targets, slopes):
            result[some] = _times(matrix, sums).transpose(0, 1)
        result[:, 1:] += total * slopes[..., None]
        return result.reshape(*result.shape[:2], *self._at_pixels(self._x).shape[1:])

    def held_out_errors(self, targets: torch.Tensor, slopes: torch.Tensor, ridges: Sequence[float]) -> torch.Tensor:
        """Return the mean squared error (len(ridges), bands) of predicting pixels left out of their own windows.

        Args:
            targets: float64 (bands, h, w), all known.
            slopes: ``S_0``, float64 (bands, k).
            ridges: to compare.
        """
        _, held_out = self._predict(targets, slopes, [], [{ridge: 1.0} for ridge in ridges])
        return (held_out - self._at_pixels(targets)).square().mean((2, 3))

    def predictions(
        self, targets: torch.Tensor, slopes: torch.Tensor, weights: Weights
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what :meth:`blend` predicts at every pixel, and what it would without it, (bands, h, w) each."""
        fitted, held_out = self._predict(targets, slopes, [weights], [weights])
        return fitted[0], held_out[0]

    def _predict(
        self, targets: torch.Tensor, slopes: torch.Tensor, fitted: list[Weights], held_out: list[Weights]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the predictions of blended models, and of others without each pixel: (models, bands, h, w) each."""
        own = self._at_pixels(self._ones_and_x)
        shape, own = own.shape[1:], own.flatten(1)
        without = self._products - own[:, None] * own  # the centre of a window has weight 1
        rows = [_prediction(self._products, own[1:], weights) for weights in fitted]
        rows += [_prediction(without, own[1:], weights) for weights in held_out]
        matrix, count = torch.stack(rows), len(fitted)
        leverage = (matrix[count:] * own).sum(1)
        totals = torch.tensor([sum(weights.values()) for weights in (*fitted, *held_out)]).to(targets)
        result = targets.new_empty(len(rows), len(targets), own.shape[1])
        for some, sums in self._target_sums(targets, slopes):
            prior = slopes[some] @ own[1:]
            torch.add(_times(matrix, sums), totals[:, None, None] * prior, out=result[:, some])
            residual = self._at_pixels(targets[some]).flatten(1) - prior
            result[count:, some].addcmul_(leverage[:, None], residual, value=-1)
        result = result.reshape(*result.shape[:2], *shape)
        return result[:count], result[count:]

    def _target_sums(self, targets: torch.Tensor, slopes: torch.Tensor) -> Iterator[tuple[slice, torch.Tensor]]:
        """Yield the numbers of some targets and their window sums of ``(1, x) (y - S_0 x)``, (k + 1, some, n)."""
        step = max(1, _SUM_BYTES // (8 * self._ones_and_x.numel()))
        for start in range(0, len(targets), step):
            some = slice(start, min(start + step, len(targets)))
            residual = targets[some] - torch.tensordot(slopes[some], self._x, dims=1)
            sums = self._sum((self._ones_and_x[:, None] * residual).flatten(0, 1))
            yield some, sums.reshape(len(self._ones_and_x), -1, sums.shape[1])

    def _sum(self, images: torch.Tensor) -> torch.Tensor:
        """Return the window sums of images (..., h, w) at the pixels of the models, (..., n)."""
        known = images if self._known is None else images * self._known
        return self._along_x(self._along_y(known, -2), -1).flatten(-2)

    def _at_pixels(self, images: torch.Tensor) -> torch.Tensor:
        return images[..., :: self._step, :: self._step]


def _moments(products: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return mass (n,), mean (k, n) and covariance (k, k, n) by window sums of products, (k + 1, k + 1, n)."""
    mass = products[0, 0].clamp_min(_TINY)
    mean = products[0, 1:] / mass
    return mass, mean, (products[1:, 1:] / mass).sub_(mean[:, None] * mean)


def _prediction(products: torch.Tensor, x: torch.Tensor, weights: Weights) -> torch.Tensor:
    """Return the factors (k + 1, n) with which target sums make the prediction of blended models at ``x`` (k, n)."""
    mass, mean, covariance = _moments(products)
    slope = torch.zeros_like(x)
    for ridge, weight in weights.items():
        slope.add_(solve_small(_regular(covariance, ridge), (x - mean)[:, None])[:, 0], alpha=weight)
    return torch.cat([sum(weights.values()) - (slope * mean).sum(0, keepdim=True), slope]) / mass


def _regular(covariance: torch.Tensor, ridge: float) -> torch.Tensor:
    # Rounding can make a variance slightly negative, never by as much as the smallest ridge in use.
    regular = covariance.clone()
    regular.diagonal().add_(ridge)
    return regular


def _times(matrix: torch.Tensor, sums: torch.Tensor) -> torch.Tensor:
    """Return the product (m, bands, n) of matrices (m, k, n) and (k, bands, n), pixel by pixel."""
    result = sums.new_empty(len(matrix), *sums.shape[1:])
    values = _BLOCK_VALUES * torch.get_num_threads()
    step = max(1, values // sums[..., 0].numel()) if sums.device.type == "cpu" else sums.shape[-1]
    for start in range(0, sums.shape[-1], step):
        pixels = slice(start, start + step)
        some, block = matrix[..., pixels], result[..., pixels]
        torch.mul(some[:, 0, None], sums[0, :, pixels], out=block)
        for k in range(1, len(sums)):
            block.addcmul_(some[:, k, None], sums[k, :, pixels])
    return result


def window_sums(image: torch.Tensor, sigma: float) -> torch.Tensor:
    """Return the sum of (..., h, w) in the Gaussian window around each pixel; the window's centre has weight 1."""
    along_y, along_x = (_window_operator(size, sigma) for size in image.shape[-2:])
    return along_x(along_y(image, -2), -1)


@functools.lru_cache(maxsize=64)  # windows of a scene are similar
def _window_operator(size: int, sigma: float, step: int = 1) -> AxisOperator:
    reach = int(_CUT * sigma)
    offsets = np.arange(-min(reach, size - 1), min(reach, size - 1) + 1)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    bands = [np.full(size, weight) for weight in weights]
    return AxisOperator(sparse.dia_matrix((bands, offsets), shape=(size, size)).tocsr()[::step])
