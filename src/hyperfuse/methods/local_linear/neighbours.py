"""Linear models over the LR pixels of the scene most similar to a pixel, in the MSI's values and in position.

Similar pixels are found by the joint distance in range and space (Tomasi, Manduchi 1998; Buades, Coll, Morel 2005):
materials that a window would mix remain separate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch.nn import functional as F

from hyperfuse.methods.local_linear.predictors import Predictors
from hyperfuse.runtime.parallel import in_threads, strips

_COUNT = 24
# Distance of one LR pixel, relative to a difference of the MSI by one standard deviation.
_SPATIAL_WEIGHTS = (0.03, 0.1, 0.3)
_RIDGE = 1e-3  # relative to the variance of the predictors; towards the slopes of the scene
_AT_ONCE = 8192  # pixels
_MIN_BANK, _MAX_BANK = 4, 2**16  # times the neighbours of a pixel, and pixels


@dataclass(frozen=True)
class PixelBank:
    """LR pixels of the samples of a scene, each once.

    Attributes:
        predictors: (n, k).
        targets: (n, components).
        positions: in the scene, in LR pixels, float64 (n, 2).
    """

    predictors: torch.Tensor
    targets: torch.Tensor
    positions: torch.Tensor

    @classmethod
    def of(cls, targets: Sequence[torch.Tensor], predictors: Sequence[Predictors]) -> PixelBank:
        """Collect the pixels of all samples; where samples overlap, those of the first."""
        parts: list[PixelBank] = []
        for index, (image, one) in enumerate(zip(targets, predictors, strict=True)):
            part = cls.of_window(image, one)
            for earlier in predictors[:index]:
                part = part.outside(earlier)
            parts.append(part)
        bank = cls._joined(parts)
        return bank._at(slice(None, None, -(-len(bank.positions) // _MAX_BANK)))

    @classmethod
    def of_window(cls, targets: torch.Tensor, predictors: Predictors) -> PixelBank:
        """Return the pixels of one window: targets (components, h, w)."""
        coarse = predictors.coarse.flatten(1).T.to(targets.dtype)
        return cls(coarse, targets.flatten(1).T, predictors.positions(fine=False))

    def outside(self, predictors: Predictors) -> PixelBank:
        """Return the pixels that a window does not cover."""
        covered = predictors.positions(fine=False)
        first, last = covered[0] - 0.5, covered[-1] + 0.5
        inside = ((self.positions > first) & (self.positions < last)).all(1)
        return self._at(~inside)

    def after(self, first: PixelBank) -> PixelBank:
        """Return the pixels of another bank, then those of this one."""
        return self._joined([first, self])

    @classmethod
    def _joined(cls, parts: Sequence[PixelBank]) -> PixelBank:
        return cls(
            torch.cat([one.predictors for one in parts]),
            torch.cat([one.targets for one in parts]),
            torch.cat([one.positions for one in parts]),
        )

    def _at(self, which: torch.Tensor | slice) -> PixelBank:
        return PixelBank(self.predictors[which], self.targets[which], self.positions[which])


@dataclass(frozen=True)
class Neighbours:
    """For each of n pixels: its predictors (n, k), and its nearest LR pixels with their weights, (n, count).

    Attributes:
        predictors: of the n pixels.
        index: of their neighbours among ``pixels``.
        weight: of each neighbour, summing to 1.
        pixels: those of the window first, then those of the bank outside it.
    """

    predictors: torch.Tensor
    index: torch.Tensor
    weight: torch.Tensor
    pixels: PixelBank


@dataclass(frozen=True)
class SimilarPixels:
    """Ridge regression of targets on the MSI over the nearest LR pixels of the scene, one model per pixel.

    Attributes:
        spatial_weight: of one LR pixel in the distance.
        factor: with which the difference that these models make is applied, (components,).
        bank: pixels of the samples, for windows that do not cover them.
    """

    spatial_weight: float
    factor: torch.Tensor
    bank: PixelBank

    @classmethod
    def fit(
        cls,
        targets: Sequence[torch.Tensor],
        predictors: Sequence[Predictors],
        held_out: Sequence[torch.Tensor],
        slopes: torch.Tensor,
    ) -> SimilarPixels | None:
        """Choose the spatial weight by predicting LR pixels from others; None where the models do not help.

        Args:
            targets: of each sample the LR image, (components, h, w).
            predictors: of each sample the MSI.
            held_out: of each sample the predictions of the models to be improved, fitted without each pixel.
            slopes: of the scene, (components, k).
        """
        if sum(image[0].numel() for image in targets) <= _MIN_BANK * _COUNT:
            return None
        bank = PixelBank.of(targets, predictors)
        truth, known = (torch.cat([image.flatten(1) for image in images], dim=1) for images in (targets, held_out))
        missing = (truth - known).double()
        variance = truth.double().var(1)
        best, chosen = float("inf"), None
        for weight in _SPATIAL_WEIGHTS:
            models = cls(weight, torch.ones_like(truth[:, 0]), bank)
            predicted = [
                _predict(models.search_lr(image, one)[1], slopes, None)
                for image, one in zip(targets, predictors, strict=True)
            ]
            change = (torch.cat(predicted) - known.T).double().T
            energy = change.square().sum(1).clamp_min(torch.finfo(torch.float64).tiny)
            factor = ((missing * change).sum(1) / energy).clamp(0.0, 1.0)
            error = (missing - factor[:, None] * change).square().mean(1)
            score = float((error + 1e-12 * variance).clamp_min(1e-300).log().mean())
            if score < best:
                best, chosen = score, cls(weight, factor.to(truth.dtype), bank)
        return chosen if chosen is not None and bool((chosen.factor > 0).any()) else None

    def search_hr(self, targets: torch.Tensor, predictors: Predictors) -> Neighbours:
        """Find the neighbours of the HR pixels of a window.

        Args:
            targets: the LR image (components, h, w).
            predictors: the MSI.
        """
        search = _Search(self, targets, predictors)
        return search.weighted(*search.nearest(fine=True, count=_COUNT), fine=True)

    def search_lr(self, targets: torch.Tensor, predictors: Predictors) -> tuple[Neighbours, Neighbours]:
        """Find the neighbours of the LR pixels of a window: each among its own neighbours, and never among them.

        Args:
            targets: the LR image (components, h, w).
            predictors: the MSI.
        """
        search = _Search(self, targets, predictors)
        distance, index = search.nearest(fine=False, count=_COUNT + 1)
        # Usually the first; among pixels that are equal in everything it may be any: put it first.
        itself = index == np.arange(len(index))[:, None]
        itself[:, -1] |= ~itself.any(axis=1)
        order = np.argsort(~itself, axis=1, kind="stable")
        distance, index = np.take_along_axis(distance, order, 1), np.take_along_axis(index, order, 1)
        return (
            search.weighted(distance[:, :-1], index[:, :-1], fine=False),
            search.weighted(distance[:, 1:], index[:, 1:], fine=False),
        )

    def blend(
        self, image: torch.Tensor, neighbours: Neighbours, slopes: torch.Tensor, known: torch.Tensor | None
    ) -> torch.Tensor:
        """Return an image (components, rows, cols) moved towards these models by their factor.

        Args:
            image: of the pixels that the neighbours are of.
            neighbours: from :meth:`search`.
            slopes: of the scene, (components, k).
            known: bool (h, w), False for LR pixels of the window that are held out, with a period of two as in
                :func:`~hyperfuse.statistics.folds.held_out_patterns`: the pattern continues over the bank, so that a
                window loses as many similar pixels as a whole scene does. None for all.
        """
        found = _predict(neighbours, slopes, known)
        return image + self.factor[:, None, None] * (found.T.reshape(image.shape) - image)


class _Search:
    """The tree of all LR pixels that a window has, and its queries."""

    def __init__(self, similar: SimilarPixels, targets: torch.Tensor, predictors: Predictors) -> None:
        self._weight, self._predictors, self._like = similar.spatial_weight, predictors, targets
        own = PixelBank.of_window(targets, predictors)
        self._pixels = similar.bank.outside(predictors).after(own)
        # The window's own pixels in double precision; a bank keeps what is stored.
        values = torch.cat([predictors.coarse.flatten(1).T, self._pixels.predictors[len(own.positions) :].double()])
        # Divided at midpoints, which is sooner made than at medians, and sooner searched.
        self._tree = cKDTree(self._joint(values, self._pixels.positions), balanced_tree=False)

    def nearest(self, *, fine: bool, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return distances and numbers of the nearest LR pixels of every HR or LR pixel, (n, count)."""
        query = self._joint(self._values(fine).double(), self._predictors.positions(fine=fine))
        distance, index = np.empty((len(query), count)), np.empty((len(query), count), np.intp)

        def fill(some: slice) -> None:
            distance[some], index[some] = self._tree.query(query[some], k=count)

        in_threads(fill, strips(len(query), _AT_ONCE))
        return distance, index

    def weighted(self, distance: np.ndarray, index: np.ndarray, *, fine: bool) -> Neighbours:
        """Return neighbours with weights that fall with their distance."""
        weight = torch.empty(distance.shape, dtype=self._like.dtype)

        def fill(some: slice) -> None:
            reach = distance[some].max(axis=1, keepdims=True) + 1e-9
            by_distance = np.exp(-2 * (distance[some] / reach) ** 2)
            weight[some] = torch.from_numpy(by_distance / by_distance.sum(axis=1, keepdims=True))

        in_threads(fill, strips(len(distance), _AT_ONCE))
        device = self._like.device
        return Neighbours(
            self._values(fine).to(self._like.dtype), torch.from_numpy(index).to(device), weight.to(device), self._pixels
        )

    def _values(self, fine: bool) -> torch.Tensor:
        return (self._predictors.fine if fine else self._predictors.coarse).flatten(1).T

    def _joint(self, values: torch.Tensor, positions: torch.Tensor) -> np.ndarray:
        return np.hstack([values.cpu().numpy(), self._weight * positions.cpu().numpy()])


def _predict(neighbours: Neighbours, slopes: torch.Tensor, known: torch.Tensor | None) -> torch.Tensor:
    """Return the prediction of every pixel, (n, components)."""
    x, y = neighbours.pixels.predictors, neighbours.pixels.targets
    prior = slopes.T.to(y.dtype)
    result = torch.empty((len(neighbours.index), y.shape[1]), dtype=y.dtype, device=y.device)
    usable = None
    if known is not None:
        rows, cols = (neighbours.pixels.positions - neighbours.pixels.positions[0]).round().long().T
        outside = known[rows % min(2, known.shape[0]), cols % min(2, known.shape[1])]
        usable = torch.cat([known.flatten(), outside[known.numel() :]]).to(y.dtype)
    ridge = _RIDGE * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)

    def fill(part: slice) -> None:
        index, weight = neighbours.index[part], neighbours.weight[part]
        if usable is not None:
            weight = weight * usable[index]
            weight = weight / weight.sum(1, keepdim=True).clamp_min(1e-12)
        near = x[index]
        mean = torch.einsum("nk,nki->ni", weight, near)
        centred = near - mean[:, None]
        weighted = weight[..., None] * centred
        # The prediction is linear in the targets: with the weights of the neighbours as one right side to solve for,
        # instead of one per target, the targets are gathered once, in a weighted sum.
        normal = weighted.mT @ centred + ridge
        solved = torch.cholesky_solve((neighbours.predictors[part] - mean)[..., None], torch.linalg.cholesky(normal))
        effective = weight + (weighted @ solved)[..., 0]
        result[part] = F.embedding_bag(index, y, per_sample_weights=effective, mode="sum")
        result[part].addmm_(_RIDGE * solved[..., 0], prior)

    in_threads(fill, strips(len(result), _AT_ONCE), result.device)
    return result
