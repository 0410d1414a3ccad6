"""A pair as its own teacher: views of it in which some LR pixels are hidden, and what is to be learnt about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from hyperfuse.networks.feinfn import FeINFN
from hyperfuse.networks.kernels.precision import compute_dtype
from hyperfuse.sensor.model import Sensor


@dataclass(frozen=True)
class View:
    """The pair with some LR pixels hidden, as a network is shown it.

    Attributes:
        hidden: bool (h, w), the LR pixels of which nothing is shown; None where all are shown.
        hsi: (components, h, w), the HSI, hidden pixels replaced by what the others predict for them.
        guide: (channels, H, W), the MSI and the image predicted from the LR pixels that are shown.
    """

    hidden: torch.Tensor | None
    hsi: torch.Tensor
    guide: torch.Tensor


@dataclass(frozen=True)
class HeldOutTask:
    """What a network is to learn: for each LR pixel, the error of a prediction that has not seen it.

    Every LR pixel is hidden in exactly one view. The loss compares the network's correction, degraded by the sensor,
    with the error at the hidden pixels only, so that what it learns holds for places where nothing was measured.

    Attributes:
        views: of the pair.
        error: (bands, h, w), measured HSI less its prediction in the view that hides the pixel.
        basis: (bands, components), directions of spectra in which the network's output is given.
        band_scale: (bands,), size of the error of each band.
        kept: bool (h, w), pixels that no step of the fit sees: they tell how far the correction can be trusted.
        sensor: the forward model.
    """

    views: list[View]
    error: torch.Tensor
    basis: torch.Tensor
    band_scale: torch.Tensor
    kept: torch.Tensor
    sensor: Sensor

    def expand(self, components: torch.Tensor) -> torch.Tensor:
        """Turn components (..., components, rows, cols) into bands (..., bands, rows, cols)."""
        return expand(self.basis, components)


def expand(basis: torch.Tensor, components: torch.Tensor) -> torch.Tensor:
    """Turn components (..., components, rows, cols) in a basis (bands, components) into (..., bands, rows, cols)."""
    bands = basis @ components.flatten(-2)
    return bands.reshape(*components.shape[:-3], basis.shape[0], *components.shape[-2:])


def correction(network: FeINFN, hsi: torch.Tensor, guide: torch.Tensor) -> torch.Tensor:
    """Return what the network adds to an image, (B, components, H, W): its decoder's output, without ``U``.

    Args:
        network: built for as many HSI bands as components and as many MSI bands as guide channels.
        hsi: (B, components, h, w).
        guide: (B, channels, H, W).
    """
    upsampled, spatial, spectral = network.encode(hsi, guide, compute_dtype(hsi, network.precision))
    return network.fuse_latents(torch.zeros_like(upsampled), spatial, spectral)


def trusted_share(tasks: Sequence[HeldOutTask], predicted: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return how much of the correction to apply, in [0, 1], one number a band.

    It is the factor that would have served best on the kept pixels, less its standard error: a correction that
    cannot be told from chance is not applied.

    Args:
        tasks: what was learnt, of each part of a scene; their bands have one scale.
        predicted: of each the correction degraded to LR in the views that hide each pixel, (bands, h, w).
    """
    band_scale = tasks[0].band_scale
    scale = band_scale.clamp_min(torch.finfo(band_scale.dtype).tiny)[:, None]
    error = torch.cat([task.error[:, task.kept] for task in tasks], dim=1) / scale
    change = torch.cat([one[:, task.kept] for task, one in zip(tasks, predicted, strict=True)], dim=1) / scale
    if error.shape[1] < 8:
        return torch.zeros_like(band_scale)
    agreement = error * change
    # Pixels of a block share their error: count blocks of 16 as 4 independent ones.
    deviation = agreement.mean(0).std() / (error.shape[1] / 4) ** 0.5
    energy = change.square().mean(1)
    pooled = ((agreement.mean() - deviation) / energy.mean().clamp_min(1e-12)).clamp(0, 1)
    own = (agreement.mean(1) / energy.clamp_min(1e-12)).clamp(0, 1)
    return torch.minimum(own, (pooled + own) / 2) if float(pooled) > 0 else torch.zeros_like(own)
