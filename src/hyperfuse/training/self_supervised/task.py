"""The self-supervised task: predict, at LR pixels held out from a prediction, the error that it made there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from hyperfuse.networks.feinfn import FeINFN
from hyperfuse.networks.kernels.precision import compute_dtype
from hyperfuse.sensor.model import Sensor


@dataclass(frozen=True)
class MaskedPair:
    """A pair with some LR pixels held out, as network input.

    Attributes:
        held_out: bool (h, w), the LR pixels whose measurements enter neither ``hsi`` nor ``guidance``; None for none.
        hsi: (components, h, w), the HSI; held-out pixels are replaced by their prediction from the others.
        guidance: (channels, H, W), the MSI and the image predicted without the held-out pixels.
    """

    held_out: torch.Tensor | None
    hsi: torch.Tensor
    guidance: torch.Tensor


@dataclass(frozen=True)
class HeldOutTask:
    """What a network learns of one pair: the error of its held-out prediction at each LR pixel.

    Every LR pixel is held out in exactly one of ``pairs``. The loss compares the network's correction, degraded by the
    sensor, with the error at held-out pixels only, so that it generalises to positions that were not measured.

    Attributes:
        pairs: the pair, once per mask of :func:`hyperfuse.statistics.folds.held_out_patterns`.
        error: (bands, h, w), measured HSI minus its held-out prediction.
        basis: (bands, components), spectra in which the network's output is expressed.
        band_scale: (bands,), RMS error of each band.
        validation: bool (h, w), pixels that no optimisation step uses; the shrinkage factor is estimated on them.
        sensor: the forward model.
    """

    pairs: list[MaskedPair]
    error: torch.Tensor
    basis: torch.Tensor
    band_scale: torch.Tensor
    validation: torch.Tensor
    sensor: Sensor

    def expand(self, components: torch.Tensor) -> torch.Tensor:
        """Turn components (..., components, rows, cols) into bands (..., bands, rows, cols)."""
        return expand(self.basis, components)


def expand(basis: torch.Tensor, components: torch.Tensor) -> torch.Tensor:
    """Turn components (..., components, rows, cols) in a basis (bands, components) into (..., bands, rows, cols)."""
    bands = basis @ components.flatten(-2)
    return bands.reshape(*components.shape[:-3], basis.shape[0], *components.shape[-2:])


def correction(network: FeINFN, hsi: torch.Tensor, guidance: torch.Tensor) -> torch.Tensor:
    """Return what the network adds to an image, (B, components, H, W): its decoder's output, without ``U``.

    Args:
        network: built for as many HSI bands as components and as many MSI bands as guidance channels.
        hsi: (B, components, h, w).
        guidance: (B, channels, H, W).
    """
    upsampled, spatial, spectral = network.encode(hsi, guidance, compute_dtype(hsi, network.precision))
    return network.fuse_latents(torch.zeros_like(upsampled), spatial, spectral)


def shrinkage_factor(tasks: Sequence[HeldOutTask], predicted: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the factor in [0, 1] to apply the correction with, one per band.

    It is the factor that minimises the squared error on the validation pixels, less its standard error: a correction
    that cannot be distinguished from chance is not applied.

    Args:
        tasks: of each part of a scene; they share one scale of their bands.
        predicted: of each the correction degraded to LR in the pairs that hold out each pixel, (bands, h, w).
    """
    band_scale = tasks[0].band_scale
    scale = band_scale.clamp_min(torch.finfo(band_scale.dtype).tiny)[:, None]
    error = torch.cat([task.error[:, task.validation] for task in tasks], dim=1) / scale
    change = torch.cat([one[:, task.validation] for task, one in zip(tasks, predicted, strict=True)], dim=1) / scale
    if error.shape[1] < 8:
        return torch.zeros_like(band_scale)
    agreement = error * change
    # Errors within a block are correlated: a block of 16 pixels counts as 4 independent ones.
    deviation = agreement.mean(0).std() / (error.shape[1] / 4) ** 0.5
    energy = change.square().mean(1)
    pooled = ((agreement.mean() - deviation) / energy.mean().clamp_min(1e-12)).clamp(0, 1)
    own = (agreement.mean(1) / energy.clamp_min(1e-12)).clamp(0, 1)
    return torch.minimum(own, (pooled + own) / 2) if float(pooled) > 0 else torch.zeros_like(own)
