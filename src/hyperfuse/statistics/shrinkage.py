"""Shrinkage of a correction as a function of radiance."""

from __future__ import annotations

from dataclasses import dataclass

import torch

_CLASSES = 10  # of equally many pixels
_MIN_PIXELS = 16  # per class


@dataclass(frozen=True)
class RadianceShrinkage:
    """A factor in [0, 1] on a correction, per class of radiance, as in regression shrinkage (Copas, JRSS B 45, 1983).

    Bright pixels decide a fit by least squares; at low radiance, where a spectrum is mostly noise, the same correction
    can rotate it by degrees, and a smaller factor serves better.

    Attributes:
        radiance: median Euclidean norm of the spectra of each class, ascending, (classes,).
        factor: in [0, 1], (classes,).
    """

    radiance: torch.Tensor
    factor: torch.Tensor

    @classmethod
    def fit(
        cls,
        estimate: torch.Tensor,
        change: torch.Tensor,
        measured: torch.Tensor,
        weight: torch.Tensor | None = None,
    ) -> RadianceShrinkage:
        """Regress the error of an estimate on its correction, class by class, at pixels held out of both.

        All are (bands, h, w): the estimate without the correction, the correction, the measurement. ``weight`` (h w,)
        is that of every pixel; None for equal ones.
        """
        norm = estimate.flatten(1).double().norm(dim=0)
        error, change = (image.flatten(1).double() for image in (measured - estimate, change))
        agreement, energy = (error * change).sum(0), change.square().sum(0)
        if weight is not None:
            agreement, energy = agreement * weight, energy * weight
        order = norm.argsort()
        classes = order.tensor_split(max(1, min(_CLASSES, len(order) // _MIN_PIXELS)))
        factors = [agreement[pixels].sum() / energy[pixels].sum().clamp_min(1e-30) for pixels in classes]
        return cls(torch.stack([norm[pixels].median() for pixels in classes]), torch.stack(factors).clamp(0.0, 1.0))

    def of(self, image: torch.Tensor) -> torch.Tensor:
        """Return the factor at every pixel of an image (bands, H, W), linear between classes: (H, W)."""
        norm: torch.Tensor = image.norm(dim=0)
        radiance, factor = self.radiance.to(norm), self.factor.to(norm)
        if len(radiance) == 1:
            return factor[0].expand_as(norm)
        upper = torch.searchsorted(radiance, norm.contiguous()).clamp(1, len(radiance) - 1)
        low, high = radiance[upper - 1], radiance[upper]
        position = ((norm - low) / (high - low).clamp_min(1e-30)).clamp(0.0, 1.0)
        between: torch.Tensor = factor[upper - 1] + position * (factor[upper] - factor[upper - 1])
        return between
