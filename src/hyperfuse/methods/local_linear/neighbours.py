"""Linear models over the LR pixels nearest in colour and place: materials that a window would mix stay apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import cKDTree

from hyperfuse.methods.local_linear.models import Predictors
from hyperfuse.statistics.linear import fit_linear

_NEIGHBOURS = 24
# How much a distance of one LR pixel counts beside a colour difference of one standard deviation of the MSI.
_PLACES = (0.03, 0.1, 0.3)
_RIDGE = 1e-3  # relative to the variance of the predictors; pulls slopes to those of the whole image
_AT_ONCE = 16384  # pixels


@dataclass(frozen=True)
class _Neighbours:
    """For each of n pixels: its predictors, and the LR pixels nearest to it with their weights, (n, k)."""

    colour: torch.Tensor
    index: torch.Tensor
    weight: torch.Tensor


@dataclass(frozen=True)
class NeighbourModels:
    """Ridge regression of targets on the MSI over the nearest LR pixels, one model a pixel.

    Attributes:
        share: of these models beside others, (bands,), as held-out LR pixels have it.
    """

    share: torch.Tensor
    _fine: _Neighbours
    _coarse: _Neighbours

    @classmethod
    def choose(cls, targets: torch.Tensor, predictors: Predictors, held_out: torch.Tensor) -> NeighbourModels | None:
        """Choose what a place counts by predicting LR pixels from others; None where the models would not help.

        Args:
            targets: image at LR (bands, h, w).
            predictors: the MSI.
            held_out: what the other models predict for pixels that they have not seen, (bands, h, w).
        """
        rows, columns = targets.shape[-2:]
        if rows * columns <= 2 * _NEIGHBOURS:
            return None
        missing = (targets - held_out).flatten(1).double()
        best, chosen = float("inf"), None
        for place in _PLACES:
            coarse = _find(predictors, predictors.coarse, _positions(predictors, targets, fine=False), place, own=False)
            change = _predict(coarse, targets, predictors, None) - held_out.flatten(1).T
            difference = change.double().T
            energy = difference.square().sum(1).clamp_min(torch.finfo(torch.float64).tiny)
            share = ((missing * difference).sum(1) / energy).clamp(0.0, 1.0)
            left = (missing - share[:, None] * difference).square().mean(1)
            score = float((left + 1e-12 * targets.flatten(1).double().var(1)).clamp_min(1e-300).log().mean())
            if score < best:
                best, chosen = score, (place, share, coarse)
        if chosen is None or not bool((chosen[1] > 0).any()):
            return None
        place, share, coarse = chosen
        fine = _find(predictors, predictors.fine.double(), _positions(predictors, targets, fine=True), place, own=True)
        return cls(share.to(targets.dtype), fine, coarse)

    def blend(
        self, image: torch.Tensor, targets: torch.Tensor, predictors: Predictors, known: torch.Tensor | None
    ) -> torch.Tensor:
        """Return an image (bands, H, W) with its share of these models, fitted to the ``known`` LR pixels (h, w)."""
        return self._mix(image, _predict(self._fine, targets, predictors, known))

    def blend_held_out(self, held_out: torch.Tensor, targets: torch.Tensor, predictors: Predictors) -> torch.Tensor:
        """Return held-out predictions (bands, h, w) with their share of these models', which have not seen them."""
        return self._mix(held_out, _predict(self._coarse, targets, predictors, None))

    def _mix(self, image: torch.Tensor, found: torch.Tensor) -> torch.Tensor:
        return image + self.share[:, None, None] * (found.T.reshape(image.shape) - image)


def _positions(predictors: Predictors, targets: torch.Tensor, *, fine: bool) -> np.ndarray:
    """Return where pixels lie, in LR pixels, (n, 2)."""
    sensor = predictors.sensor
    sizes = predictors.fine.shape[-2:] if fine else targets.shape[-2:]
    axes = [np.arange(size, dtype=float) for size in sizes]
    if fine:
        axes = [(axis - offset) / ratio for axis, offset, ratio in zip(axes, sensor.offset, sensor.ratio, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)


def _find(
    predictors: Predictors, colours: torch.Tensor, positions: np.ndarray, place: float, *, own: bool
) -> _Neighbours:
    """Find the neighbours of pixels; without ``own``, pixels are LR pixels, and are not their own neighbours."""
    coarse = predictors.coarse.flatten(1).T.cpu().numpy()
    shape = predictors.coarse.shape[-2:]
    grid = np.stack(np.meshgrid(*(np.arange(size) for size in shape), indexing="ij"), axis=-1).reshape(-1, 2)
    tree = cKDTree(np.hstack([coarse, place * grid]))
    asked = np.hstack([colours.flatten(1).T.cpu().numpy(), place * positions])
    count = _NEIGHBOURS + (0 if own else 1)
    distance, index = tree.query(asked, k=count, workers=torch.get_num_threads())
    if not own:
        # Usually the first; of pixels that are alike in all, it may be any: put it first.
        itself = index == np.arange(len(index))[:, None]
        itself[:, -1] |= ~itself.any(axis=1)
        order = np.argsort(~itself, axis=1, kind="stable")[:, 1:]
        distance, index = np.take_along_axis(distance, order, 1), np.take_along_axis(index, order, 1)
    reach = distance.max(axis=1, keepdims=True) + 1e-9
    weight = np.exp(-2 * (distance / reach) ** 2)
    like = predictors.fine
    return _Neighbours(
        colours.flatten(1).T.to(like),
        torch.from_numpy(index).to(like.device),
        torch.from_numpy(weight / weight.sum(axis=1, keepdims=True)).to(like),
    )


def _predict(
    neighbours: _Neighbours, targets: torch.Tensor, predictors: Predictors, known: torch.Tensor | None
) -> torch.Tensor:
    """Return the prediction of every pixel, (n, bands)."""
    x, y = predictors.coarse.flatten(1).T.to(targets.dtype), targets.flatten(1).T
    slopes = fit_linear(predictors.coarse, targets.double(), known)[:, 1:].T.to(targets.dtype)
    seen = None if known is None else known.flatten().to(targets.dtype)
    result = torch.empty((len(neighbours.index), y.shape[1]), dtype=y.dtype, device=y.device)
    ridge = _RIDGE * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    for start in range(0, len(result), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        index, weight = neighbours.index[part], neighbours.weight[part]
        if seen is not None:
            weight = weight * seen[index]
            weight = weight / weight.sum(1, keepdim=True).clamp_min(1e-12)
        near_x, near_y = x[index], y[index]
        mean_x, mean_y = torch.einsum("nk,nki->ni", weight, near_x), torch.einsum("nk,nkb->nb", weight, near_y)
        centred = near_x - mean_x[:, None]
        weighted = (weight[..., None] * centred).mT
        normal = weighted @ centred + ridge
        right = weighted @ (near_y - mean_y[:, None]) + ridge @ slopes
        local = torch.cholesky_solve(right, torch.linalg.cholesky(normal))
        result[part] = mean_y + ((neighbours.colour[part] - mean_x)[:, None] @ local)[:, 0]
    return result
