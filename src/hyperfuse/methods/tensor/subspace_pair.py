"""A pair in the subspace of the HSI's spectra."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from hyperfuse.methods.tensor.periodic import PeriodicPair, responses_of
from hyperfuse.methods.tensor.tucker import mix
from hyperfuse.statistics.subspace import signal_subspace

# Of the energy of the leading component: components below are rounding.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class SubspacePair:
    """Spectra that span the HSI's, and the responses of the MSI.

    Attributes:
        basis: orthonormal spectra in columns, (bands, components).
        response: of the MSI to the bands, (msi_bands, bands).
    """

    basis: torch.Tensor
    response: torch.Tensor

    @classmethod
    def of(
        cls, pair: PeriodicPair, hsi: torch.Tensor, noise: torch.Tensor, components: int | None
    ) -> SubspacePair | None:
        """Find the subspace of an HSI (bands, h, w); None where nothing differs from its noise, (bands,).

        Args:
            pair: with spectral responses.
            hsi: as measured.
            noise: standard deviations.
            components: number of leading ones, fewer where the rest is rounding; default: those that differ from noise.
        """
        found, _ = signal_subspace(hsi.double(), noise, centre=False, every=components is not None)
        energy = found.project(hsi.double()).flatten(1).square().sum(1)
        count = int((energy > _ROUNDING * energy[:1]).sum())
        count = count if components is None else min(components, count)
        if count == 0:
            return None
        response = responses_of(pair.sensor, hsi.device)
        spectra = found.scale[:, None] * found.basis[:, :count]
        return cls(torch.linalg.qr(spectra).Q, response)

    def project(self, image: torch.Tensor) -> torch.Tensor:
        """Return the components (components, rows, cols) of an image (bands, rows, cols)."""
        return mix(self.basis.T, image)

    def upsampled(self, pair: PeriodicPair) -> torch.Tensor:
        """Return the components of the HSI, interpolated, (components, H, W)."""
        return pair.sensor.upsample(self.project(pair.hsi), pair.sampling.fine, "cubic")
