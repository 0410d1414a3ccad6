"""Ridge regression in a sliding Gaussian window: a linear model at every pixel, with its held-out error."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from scipy import sparse

from hyperfuse.sensor.axis import AxisOperator

_CUT = 4.0  # windows end at this many standard deviations
_TINY = 1e-12


@dataclass(frozen=True)
class _Sums:
    """Window sums at the chosen pixels: of 1 (n,), x (n, k), y (n, bands), x x' (n, k, k), x y' (n, k, bands)."""

    mass: torch.Tensor
    x: torch.Tensor
    y: torch.Tensor
    xx: torch.Tensor
    xy: torch.Tensor


class WindowedRidge:
    """Local linear models of targets from predictors, in Gaussian windows of one width.

    At every pixel it minimises ``sum_q g(q - p) |y_q - b - S' x_q|^2 / sum_q g + ridge |S - S_0|^2`` over the offset
    ``b`` and the slopes ``S``, with ``S_0`` the slopes of the whole image. Float64 throughout.

    Args:
        predictors: float64 (k, h, w), whitened over the image so that one ridge suits every direction.
        sigma: standard deviation of the window, in pixels.
    """

    def __init__(self, predictors: torch.Tensor, sigma: float) -> None:
        self._x = predictors
        self._along_y = _window_operator(predictors.shape[-2], sigma)
        self._along_x = _window_operator(predictors.shape[-1], sigma)

    def coefficients(self, targets: torch.Tensor, slopes: torch.Tensor, ridge: float) -> torch.Tensor:
        """Return the models (bands, k + 1, h, w), the offset first.

        Args:
            targets: float64 (bands, h, w).
            slopes: ``S_0``, float64 (bands, k).
            ridge: relative to the variance of the predictors.
        """
        sums = self._sums(targets, None)
        solved = _solve(sums, slopes, ridge)
        return solved.permute(2, 1, 0).reshape(solved.shape[2], solved.shape[1], *self._x.shape[-2:])

    def held_out_errors(
        self, targets: torch.Tensor, slopes: torch.Tensor, ridges: tuple[float, ...], pixels: torch.Tensor
    ) -> torch.Tensor:
        """Return the mean squared error (len(ridges), bands) of predicting pixels left out of their own windows.

        Args:
            targets: float64 (bands, h, w).
            slopes: ``S_0``, float64 (bands, k).
            ridges: to compare.
            pixels: flat indices of the pixels to predict.
        """
        x, y = self._x.flatten(1).T[pixels], targets.flatten(1).T[pixels]
        sums = self._sums(targets, pixels)
        # The window's centre has weight 1: without it the model has not seen the pixel.
        rest = _Sums(
            sums.mass - 1,
            sums.x - x,
            sums.y - y,
            sums.xx - x[:, :, None] * x[:, None, :],
            sums.xy - x[:, :, None] * y[:, None, :],
        )
        errors = []
        for ridge in ridges:
            model = _solve(rest, slopes, ridge)
            predicted = model[:, 0] + torch.einsum("nk,nkb->nb", x, model[:, 1:])
            errors.append((predicted - y).square().mean(0))
        return torch.stack(errors)

    def _sums(self, targets: torch.Tensor, pixels: torch.Tensor | None) -> _Sums:
        mass, x, xx = self._predictor_sums
        k = self._x.shape[0]
        y = self._sum(targets)
        xy = self._sum((self._x[:, None] * targets[None]).flatten(0, 1))
        if pixels is not None:
            mass, x, xx, y, xy = mass[pixels], x[pixels], xx[pixels], y[pixels], xy[pixels]
        return _Sums(mass, x, y, xx, xy.reshape(-1, k, targets.shape[0]))

    @cached_property
    def _predictor_sums(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        k = self._x.shape[0]
        mass = self._sum(torch.ones_like(self._x[:1]))[:, 0]
        xx = self._sum((self._x[:, None] * self._x[None]).flatten(0, 1)).reshape(-1, k, k)
        return mass, self._sum(self._x), xx

    def _sum(self, image: torch.Tensor) -> torch.Tensor:
        return self._along_x(self._along_y(image, -2), -1).flatten(1).T


def _solve(sums: _Sums, slopes: torch.Tensor, ridge: float) -> torch.Tensor:
    """Return the models (n, k + 1, bands), the offset first."""
    mass = sums.mass.clamp_min(_TINY)[:, None]
    x, y = sums.x / mass, sums.y / mass
    normal = sums.xx / mass[..., None] - x[:, :, None] * x[:, None, :]
    right = sums.xy / mass[..., None] - x[:, :, None] * y[:, None, :] + ridge * slopes.T
    normal.diagonal(dim1=1, dim2=2).add_(ridge)
    # Rounding can leave a variance a hair below zero, never by as much as the smallest ridge in use.
    local = torch.cholesky_solve(right, torch.linalg.cholesky(normal))
    offset = y - torch.einsum("nk,nkb->nb", x, local)
    return torch.cat([offset[:, None], local], dim=1)


def _window_operator(size: int, sigma: float) -> AxisOperator:
    reach = int(_CUT * sigma)
    offsets = np.arange(-min(reach, size - 1), min(reach, size - 1) + 1)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    bands = [np.full(size, weight) for weight in weights]
    return AxisOperator(sparse.dia_matrix((bands, offsets), shape=(size, size)).tocsr())
