"""Ridge regression in a sliding Gaussian window: a linear model at every pixel, with its held-out error."""

from __future__ import annotations

from collections.abc import Sequence
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
    ``b`` and the slopes ``S``, with ``S_0`` the slopes of the whole scene. Float64 throughout.

    Args:
        predictors: float64 (k, h, w), whitened over the scene so that one ridge suits every component.
        sigma: standard deviation of the window, in pixels.
        known: float64 (h, w), 0 for pixels that are held out of all models, else 1; None for all ones.
    """

    def __init__(self, predictors: torch.Tensor, sigma: float, known: torch.Tensor | None = None) -> None:
        self.sigma = sigma
        self._x = predictors
        self._known = known
        self._along_y = _window_operator(predictors.shape[-2], sigma)
        self._along_x = _window_operator(predictors.shape[-1], sigma)

    def blend(self, targets: torch.Tensor, slopes: torch.Tensor, weights: dict[float, float]) -> torch.Tensor:
        """Return the sum of the models of several ridges (bands, k + 1, h, w), the offset first.

        Args:
            targets: float64 (bands, h, w).
            slopes: ``S_0``, float64 (bands, k).
            weights: of each ridge, which is relative to the variance of the predictors.
        """
        moments = _Moments.of(self._sums(targets, None))
        solved = moments.solve(slopes, weights)
        return solved.permute(2, 1, 0).reshape(solved.shape[2], solved.shape[1], *self._x.shape[-2:])

    def held_out_errors(
        self, targets: torch.Tensor, slopes: torch.Tensor, ridges: Sequence[float], pixels: torch.Tensor
    ) -> torch.Tensor:
        """Return the mean squared error (len(ridges), bands) of predicting pixels left out of their own windows.

        Args:
            targets: float64 (bands, h, w).
            slopes: ``S_0``, float64 (bands, k).
            ridges: to compare.
            pixels: flat indices of the pixels to predict, all of them known.
        """
        x, y, moments = self._without_centre(targets, pixels, self._sums(targets, pixels))
        return torch.stack(
            [(_predict(moments.solve(slopes, {ridge: 1.0}), x) - y).square().mean(0) for ridge in ridges]
        )

    def predictions(
        self, targets: torch.Tensor, slopes: torch.Tensor, weights: dict[float, float]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what :meth:`blend` predicts at every pixel, and what it would without it, (bands, h, w) each."""
        pixels = torch.arange(targets.shape[-2] * targets.shape[-1], device=targets.device)
        sums = self._sums(targets, pixels)
        x, _, others = self._without_centre(targets, pixels, sums)
        fitted, held_out = (_predict(one.solve(slopes, weights), x) for one in (_Moments.of(sums), others))
        return fitted.T.reshape(targets.shape), held_out.T.reshape(targets.shape)

    def _without_centre(
        self, targets: torch.Tensor, pixels: torch.Tensor, sums: _Sums
    ) -> tuple[torch.Tensor, torch.Tensor, _Moments]:
        x, y = self._x.flatten(1).T[pixels], targets.flatten(1).T[pixels]
        others = _Sums(  # the centre of a window has weight 1
            sums.mass - 1,
            sums.x - x,
            sums.y - y,
            sums.xx - x[:, :, None] * x[:, None, :],
            sums.xy - x[:, :, None] * y[:, None, :],
        )
        return x, y, _Moments.of(others)

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
        known = image if self._known is None else image * self._known
        return self._along_x(self._along_y(known, -2), -1).flatten(1).T


@dataclass(frozen=True)
class _Moments:
    """Window means and covariances: x (n, k), y (n, bands), x x' (n, k, k), x y' (n, k, bands)."""

    x: torch.Tensor
    y: torch.Tensor
    xx: torch.Tensor
    xy: torch.Tensor

    @classmethod
    def of(cls, sums: _Sums) -> _Moments:
        scale = 1.0 / sums.mass.clamp_min(_TINY)[:, None]
        x, y = sums.x * scale, sums.y * scale
        xx = sums.xx * scale[..., None] - x[:, :, None] * x[:, None, :]
        xy = torch.addcmul(sums.xy * scale[..., None], x[:, :, None], y[:, None, :], value=-1)
        return cls(x, y, xx, xy)

    def solve(self, slopes: torch.Tensor, weights: dict[float, float]) -> torch.Tensor:
        """Return the weighted sum of the models of several ridges (n, k + 1, bands), the offset first.

        A model is ``(xx + ridge)^-1 (xy + ridge S_0)``. With few predictors and many bands it is cheaper to invert,
        and sum the inverses, than to solve for each ridge; the ridge keeps the inverse well conditioned.
        """
        inverse, shrunk = torch.zeros_like(self.xx), torch.zeros_like(self.xx)
        for ridge, weight in weights.items():
            normal = self.xx.clone()
            # Rounding can make a variance slightly negative, never by as much as the smallest ridge in use.
            normal.diagonal(dim1=1, dim2=2).add_(ridge)
            one = torch.cholesky_inverse(torch.linalg.cholesky(normal))
            inverse.add_(one, alpha=weight)
            shrunk.add_(one, alpha=weight * ridge)
        local = torch.baddbmm(shrunk @ slopes.T, inverse, self.xy)
        offset = sum(weights.values()) * self.y - torch.bmm(self.x[:, None], local)[:, 0]
        return torch.cat([offset[:, None], local], dim=1)


def _predict(models: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Evaluate models (n, k + 1, bands) at predictors (n, k): (n, bands)."""
    return models[:, 0] + torch.bmm(x[:, None], models[:, 1:])[:, 0]


def window_sums(image: torch.Tensor, sigma: float) -> torch.Tensor:
    """Return the sum of (..., h, w) in the Gaussian window around each pixel; the window's centre has weight 1."""
    along_y, along_x = (_window_operator(size, sigma) for size in image.shape[-2:])
    return along_x(along_y(image, -2), -1)


def _window_operator(size: int, sigma: float) -> AxisOperator:
    reach = int(_CUT * sigma)
    offsets = np.arange(-min(reach, size - 1), min(reach, size - 1) + 1)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    bands = [np.full(size, weight) for weight in weights]
    return AxisOperator(sparse.dia_matrix((bands, offsets), shape=(size, size)).tocsr())
