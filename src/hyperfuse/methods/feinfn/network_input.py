"""What the network receives of a pair, and the spectra in which its output is expressed."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from hyperfuse.methods.feinfn.linear_part import LinearImage
from hyperfuse.statistics.subspace import fit_subspace
from hyperfuse.training.self_supervised.task import MaskedPair

# Components that a network sized to one pair receives and predicts.
_COMPONENTS = 8


@dataclass(frozen=True)
class ComponentEncoding:
    """Leading principal components, each of unit variance: a few numbers per pixel for any number of bands.

    Attributes:
        mean: of the spectra, (bands,).
        matrix: (components, bands).
        msi_components: components of the whitened MSI.
    """

    mean: torch.Tensor
    matrix: torch.Tensor
    msi_components: int

    @classmethod
    def fit(cls, hsi: torch.Tensor, msi_components: int) -> ComponentEncoding:
        """Take the components of an LR-HSI (bands, h, w)."""
        subspace = fit_subspace(hsi, _COMPONENTS)
        deviation = subspace.project(hsi).flatten(1).double().std(1, correction=0)
        usable = deviation > 1e-6 * deviation.max().clamp_min(1e-30)
        usable[0] = True
        scale = 1.0 / deviation[usable].clamp_min(1e-30)
        return cls(subspace.mean, subspace.basis[:, usable].T * scale[:, None], msi_components)

    @property
    def channels(self) -> int:
        """Channels of the HSI and of the output."""
        return self.matrix.shape[0]

    @property
    def guidance_channels(self) -> int:
        """Channels of the guidance: the denoised and whitened MSI, and the components of the image."""
        return self.msi_components + self.channels

    def encode(self, linear: LinearImage, image: torch.Tensor, held_out: torch.Tensor | None) -> MaskedPair:
        """Return the input of a network.

        Args:
            linear: of the pair.
            image: (bands, H, W), made without the held-out pixels.
            held_out: bool (h, w); None for none.
        """
        hsi = self._project(_masked(linear, image, held_out))
        return MaskedPair(held_out, hsi, torch.cat([linear.predictors.fine, self._project(image)]))

    def basis(self, error: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        """Return the spectra of the output, (bands, components): leading components of the error.

        Args:
            error: to be predicted, (bands, h, w).
            scale: RMS error of each band, (bands,).
        """
        relative = (error.flatten(1) / scale.clamp_min(torch.finfo(error.dtype).tiny)[:, None]).double()
        vectors, values, _ = torch.linalg.svd(relative @ relative.T / relative.shape[1])
        found: torch.Tensor = (vectors * values.sqrt())[:, : self.channels].to(error.dtype)
        return scale[:, None] * found

    def _project(self, image: torch.Tensor) -> torch.Tensor:
        matrix = self.matrix.to(image.dtype)
        flat = matrix @ (image.flatten(1) - self.mean.to(image.dtype)[:, None])
        return flat.reshape(-1, *image.shape[1:])


@dataclass(frozen=True)
class BandEncoding:
    """Images as they are, which a network that was trained on other scenes expects.

    Attributes:
        channels: bands of the HSI and of the output.
        msi_bands: bands of the MSI.
        scale: unit of the output.
    """

    channels: int
    msi_bands: int
    scale: float

    @property
    def guidance_channels(self) -> int:
        """Channels of the guidance: the MSI and the image."""
        return self.msi_bands + self.channels

    def encode(self, linear: LinearImage, image: torch.Tensor, held_out: torch.Tensor | None) -> MaskedPair:
        """Return the input of a network; see :meth:`ComponentEncoding.encode`."""
        return MaskedPair(held_out, _masked(linear, image, held_out), torch.cat([linear.msi, image]))

    def basis(self, error: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        """Return the bands themselves, in their unit; see :meth:`ComponentEncoding.basis`."""
        return self.scale * torch.eye(self.channels, dtype=error.dtype, device=error.device)


Encoding = ComponentEncoding | BandEncoding


def _masked(linear: LinearImage, image: torch.Tensor, held_out: torch.Tensor | None) -> torch.Tensor:
    """Return the HSI with the prediction of an image in place of the held-out pixels."""
    if held_out is None:
        return linear.hsi
    return torch.where(held_out, linear.predictors.degrade(image), linear.hsi)
