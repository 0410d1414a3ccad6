"""The few directions in which the spectra of a scene vary, so that 30 or 400 bands cost about the same."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Subspace:
    """Spectra written as ``mean + scale * (basis @ components)``.

    Attributes:
        mean: (bands,), float64.
        basis: orthonormal columns (bands, components), float64.
        scale: (bands,), float64, above 0: the unit of each band.
    """

    mean: torch.Tensor
    basis: torch.Tensor
    scale: torch.Tensor

    def project(self, image: torch.Tensor) -> torch.Tensor:
        """Return the components (components, rows, cols) of an image (bands, rows, cols), in its dtype."""
        matrix = self.basis.T / self.scale
        offset = (matrix @ self.mean).to(image.dtype)
        flat = torch.addmm(-offset[:, None], matrix.to(image.dtype), image.flatten(1))
        return flat.reshape(-1, *image.shape[1:])

    def expand(self, components: torch.Tensor) -> torch.Tensor:
        """Return the image (bands, rows, cols) of components (components, rows, cols), in their dtype."""
        flat = torch.addmm(
            self.mean.to(components.dtype)[:, None], self._matrix.to(components.dtype), components.flatten(1)
        )
        return flat.reshape(-1, *components.shape[1:])

    def band_errors(self, errors: torch.Tensor) -> torch.Tensor:
        """Return mean squared errors of bands (..., bands) from those of components (..., components).

        Exact where the components' errors do not correlate.
        """
        return errors @ self._matrix.square().T

    @property
    def _matrix(self) -> torch.Tensor:
        return self.scale[:, None] * self.basis


def fit_subspace(hsi: torch.Tensor, components: int, *, standardise: bool = False) -> Subspace:
    """Return the subspace of the leading principal components of an image (bands, rows, cols).

    Args:
        hsi: finite.
        components: how many at most; with as many as bands, nothing is lost.
        standardise: count every band in units of its standard deviation. Without it the noise of bright bands can
            take the place of the signal of dark ones.
    """
    flat = hsi.flatten(1).double()
    mean = flat.mean(1)
    centred = flat - mean[:, None]
    scale = torch.ones_like(mean)
    if standardise:
        deviation = centred.square().mean(1).sqrt()
        scale = torch.where(deviation > 1e-6 * deviation.max(), deviation, scale)
        centred = centred / scale[:, None]
    _, vectors = torch.linalg.eigh(centred @ centred.T / flat.shape[1])
    # eigh sorts upwards.
    return Subspace(mean, vectors[:, -min(components, hsi.shape[0]) :].flip(1), scale)
