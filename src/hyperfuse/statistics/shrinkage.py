"""How far a correction can be trusted, as a function of how bright a pixel is."""

from __future__ import annotations

from dataclasses import dataclass

import torch

_CLASSES = 10  # of as many pixels each
_FEWEST = 16  # pixels of a class


@dataclass(frozen=True)
class BrightnessTrust:
    """The share of a correction that serves best, class by class of brightness.

    What is learnt where a scene is bright decides a fit by least squares; in the dark, where a spectrum is little more
    than noise, the same correction can turn it by degrees.

    Attributes:
        brightness: Euclidean norm of the spectrum in the middle of each class, rising, (classes,).
        share: in [0, 1], (classes,).
    """

    brightness: torch.Tensor
    share: torch.Tensor

    @classmethod
    def fit(cls, estimate: torch.Tensor, change: torch.Tensor, truth: torch.Tensor) -> BrightnessTrust:
        """Compare a correction with what is missing, at pixels of which the estimate knows nothing.

        Args:
            estimate: what is to be corrected, (bands, h, w).
            change: the correction.
            truth: what was measured.
        """
        norm = estimate.flatten(1).double().norm(dim=0)
        missing, change = (image.flatten(1).double() for image in (truth - estimate, change))
        agreement, energy = (missing * change).sum(0), change.square().sum(0)
        order = norm.argsort()
        classes = order.tensor_split(max(1, min(_CLASSES, len(order) // _FEWEST)))
        shares = [agreement[part].sum() / energy[part].sum().clamp_min(1e-30) for part in classes]
        return cls(torch.stack([norm[part].median() for part in classes]), torch.stack(shares).clamp(0.0, 1.0))

    def of(self, image: torch.Tensor) -> torch.Tensor:
        """Return the share at every pixel of an image (bands, H, W), linear between classes: (H, W)."""
        norm: torch.Tensor = image.norm(dim=0)
        brightness, share = self.brightness.to(norm), self.share.to(norm)
        upper = torch.searchsorted(brightness, norm.contiguous()).clamp(1, max(1, len(brightness) - 1))
        if len(brightness) == 1:
            return share[0].expand_as(norm)
        low, high = brightness[upper - 1], brightness[upper]
        place = ((norm - low) / (high - low).clamp_min(1e-30)).clamp(0.0, 1.0)
        between: torch.Tensor = share[upper - 1] + place * (share[upper] - share[upper - 1])
        return between
