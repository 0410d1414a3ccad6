"""What local models take from a scene as a whole, learnt on samples of it and then the same in all of its parts.

A ridge pulls every local model to one for all pixels. Left to the pixels of a part, that one model, the units it is
counted in, and the weights of windows and ridges would differ from part to part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from hyperfuse.methods.local_linear.models import (
    RIDGES,
    WINDOWS,
    LocalModels,
    Predictors,
    Weights,
    band_variance,
    candidate_errors,
    weigh,
)
from hyperfuse.progress import Progress, silent
from hyperfuse.statistics.linear import fit_linear
from hyperfuse.statistics.subspace import Subspace


@dataclass(frozen=True)
class SceneModels:
    """Local models of the bands of a scene, without the pixels that they are fitted to.

    Attributes:
        weights: of each ridge in each window, see :class:`~.local_models.LocalModels`.
        slopes: of every band on the whitened MSI over all samples, float64 (bands, k).
    """

    weights: Weights
    slopes: torch.Tensor

    @classmethod
    def learn(
        cls,
        images: Sequence[torch.Tensor],
        subspaces: Sequence[Subspace | None],
        predictors: Sequence[Predictors],
        noises: Sequence[torch.Tensor],
        windows: Sequence[float] = WINDOWS,
        ridges: Sequence[float] = RIDGES,
        progress: Progress = silent,
    ) -> SceneModels:
        """Fit slopes to the pixels of all samples, and weigh windows and ridges by the mean of their errors.

        Args:
            images: of each sample the image at LR (bands, h, w).
            subspaces: of each sample its components, or None for its bands.
            predictors: of each sample the MSI, all whitened alike.
            noises: of each sample the standard deviation of each band's noise, (bands,).
            windows: sigmas in LR pixels to choose from.
            ridges: to choose from, relative to the variance of the predictors.
            progress: called with the share done.
        """
        slopes = fit_linear(pooled([one.coarse for one in predictors]), pooled(images).double())[:, 1:]
        if len(windows) * len(ridges) == 1:
            return cls({windows[0]: {ridges[0]: 1.0}}, slopes)
        pixels = sum(image[0].numel() for image in images)
        errors, variance, noise = (torch.zeros(()).double() for _ in range(3))
        for index, (image, subspace, one) in enumerate(zip(images, subspaces, predictors, strict=True)):
            progress(index / len(images), "weighing windows on samples")
            share = image[0].numel() / pixels
            targets = image if subspace is None else subspace.project(image)
            pulled = slopes_within(slopes, subspace)
            found = candidate_errors(targets, one, subspace, windows, ridges, slopes=pulled)
            errors = errors + share * found
            variance = variance + share * band_variance(targets, subspace)
            noise = noise + share * noises[index].double().square()
        return cls(weigh(errors, variance, noise.sqrt(), windows, ridges), slopes)

    def within(self, subspace: Subspace | None) -> LocalModels:
        """Return the models of the components of a part of the scene; of its bands where there are none."""
        return LocalModels(self.weights, slopes_within(self.slopes, subspace))


def slopes_within(slopes: torch.Tensor, subspace: Subspace | None) -> torch.Tensor:
    """Return slopes of bands (bands, k) as slopes of components."""
    return slopes if subspace is None else (subspace.basis / subspace.scale[:, None]).T @ slopes


def pooled(images: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the pixels of several images (bands, rows, cols) in one line, (bands, 1, n)."""
    return torch.cat([image.flatten(1) for image in images], dim=1)[:, None]
