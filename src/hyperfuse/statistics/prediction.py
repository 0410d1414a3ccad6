"""Prediction of one image from another by regression on its principal components."""

from __future__ import annotations

from dataclasses import dataclass

import torch

# Principal components of one image that predict the other: enough for its materials, few enough for few pixels.
COMPONENTS = 8


@dataclass(frozen=True)
class LinearMap:
    """``mean_y + slopes @ (x - mean_x)``, for columns x."""

    mean_x: torch.Tensor
    mean_y: torch.Tensor
    slopes: torch.Tensor

    @classmethod
    def fit(cls, x: torch.Tensor, y: torch.Tensor) -> LinearMap:
        """Fit by principal component regression.

        Args:
            x: (features, n), float64.
            y: (targets, n).
        """
        mean_x, mean_y = x.mean(1, keepdim=True), y.mean(1, keepdim=True)
        centred = x - mean_x
        vectors, values, _ = torch.linalg.svd(centred, full_matrices=False)
        count = min(COMPONENTS, int((values > 1e-6 * values[0].clamp_min(1e-300)).sum()))
        scores = vectors[:, :count].T @ centred
        slopes = (y - mean_y) @ scores.T / values[:count].square()
        return cls(mean_x, mean_y, slopes @ vectors[:, :count].T)

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """Map an image (features, h, w) to (targets, h, w)."""
        mean_x, mean_y, slopes = (one.to(image.device) for one in (self.mean_x, self.mean_y, self.slopes))
        predicted: torch.Tensor = mean_y + slopes @ (image.flatten(1).double() - mean_x)
        return predicted.to(image.dtype).reshape(-1, *image.shape[1:])
