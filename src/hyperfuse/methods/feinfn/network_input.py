"""How a network is shown a pair, and in which directions of spectra it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch

from hyperfuse.methods.feinfn.linear_part import LinearBase
from hyperfuse.statistics.subspace import fit_subspace
from hyperfuse.training.self_supervised.task import MaskedPair

# Components that a network sized to one pair is shown and gives.
_SHOWN = 8


class Shown(Protocol):
    """A way to show a pair to a network."""

    @property
    def components(self) -> int:
        """Channels of the HSI and of the answer."""

    @property
    def guides(self) -> int:
        """Channels of the guide."""

    def view(self, base: LinearBase, image: torch.Tensor, hidden: torch.Tensor | None) -> MaskedPair:
        """Return the pair with some LR pixels hidden.

        Args:
            base: of the pair.
            image: (bands, H, W), made without the hidden pixels.
            hidden: bool (h, w); None where all are shown.
        """

    def basis(self, error: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        """Return the directions (bands, components) of the answer.

        Args:
            error: what is to be learnt, (bands, h, w).
            scale: its size in each band, (bands,).
        """


@dataclass(frozen=True)
class ShownComponents:
    """Leading components, each of unit variance: a few numbers a pixel, however many bands there are."""

    mean: torch.Tensor
    matrix: torch.Tensor
    msi_components: int

    @classmethod
    def of(cls, hsi: torch.Tensor, msi_components: int) -> ShownComponents:
        """Take the components of an LR-HSI (bands, h, w); the MSI has some of its own."""
        subspace = fit_subspace(hsi, _SHOWN)
        deviation = subspace.project(hsi).flatten(1).double().std(1, correction=0)
        usable = deviation > 1e-6 * deviation.max().clamp_min(1e-30)
        usable[0] = True
        scale = 1.0 / deviation[usable].clamp_min(1e-30)
        return cls(subspace.mean, subspace.basis[:, usable].T * scale[:, None], msi_components)

    @property
    def components(self) -> int:
        """Channels of the HSI and of the answer."""
        return self.matrix.shape[0]

    @property
    def guides(self) -> int:
        """Channels of the guide: the denoised and whitened MSI, and the components of the image."""
        return self.msi_components + self.components

    def view(self, base: LinearBase, image: torch.Tensor, hidden: torch.Tensor | None) -> MaskedPair:
        """Return the pair with some LR pixels hidden; see :class:`Shown`."""
        hsi = _hiding(base, image, hidden)
        return MaskedPair(hidden, self._project(hsi), torch.cat([base.predictors.fine, self._project(image)]))

    def basis(self, error: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        """Return the leading directions of the error, bands in units of their scale; see :class:`Shown`."""
        relative = (error.flatten(1) / scale.clamp_min(torch.finfo(error.dtype).tiny)[:, None]).double()
        vectors, values, _ = torch.linalg.svd(relative @ relative.T / relative.shape[1])
        found: torch.Tensor = (vectors * values.sqrt())[:, : self.components].to(error.dtype)
        return scale[:, None] * found

    def _project(self, image: torch.Tensor) -> torch.Tensor:
        matrix = self.matrix.to(image.dtype)
        flat = matrix @ (image.flatten(1) - self.mean.to(image.dtype)[:, None])
        return flat.reshape(-1, *image.shape[1:])


@dataclass(frozen=True)
class ShownBands:
    """Images as they are, which a network that was trained on other scenes expects.

    Attributes:
        components: bands of the HSI and of the answer.
        msi_bands: bands of the MSI.
        scale: unit of the answer.
    """

    components: int
    msi_bands: int
    scale: float

    @property
    def guides(self) -> int:
        """Channels of the guide: the MSI and the image."""
        return self.msi_bands + self.components

    def view(self, base: LinearBase, image: torch.Tensor, hidden: torch.Tensor | None) -> MaskedPair:
        """Return the pair with some LR pixels hidden; see :class:`Shown`."""
        return MaskedPair(hidden, _hiding(base, image, hidden), torch.cat([base.msi, image]))

    def basis(self, error: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        """Return the bands themselves, in their unit; see :class:`Shown`."""
        return self.scale * torch.eye(self.components, dtype=error.dtype, device=error.device)


def _hiding(base: LinearBase, image: torch.Tensor, hidden: torch.Tensor | None) -> torch.Tensor:
    """Return the HSI with what an image predicts in place of the hidden pixels."""
    if hidden is None:
        return base.hsi
    return torch.where(hidden, base.sensor.degrade(image, (base.hsi.shape[-2], base.hsi.shape[-1])), base.hsi)
