"""The few directions in which the spectra of a scene vary, so that 30 or 400 bands cost about the same."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Subspace:
    """Spectra written as ``mean + basis @ components``.

    Attributes:
        mean: (bands,), float64.
        basis: orthonormal columns (bands, components), float64.
    """

    mean: torch.Tensor
    basis: torch.Tensor

    def project(self, image: torch.Tensor) -> torch.Tensor:
        """Return the components (components, rows, cols) of an image (bands, rows, cols), in its dtype."""
        basis = self.basis.T.to(image.dtype)
        offset = (self.basis.T @ self.mean).to(image.dtype)
        flat = torch.addmm(-offset[:, None], basis, image.flatten(1))
        return flat.reshape(-1, *image.shape[1:])

    def expand(self, components: torch.Tensor) -> torch.Tensor:
        """Return the image (bands, rows, cols) of components (components, rows, cols), in their dtype."""
        flat = torch.addmm(
            self.mean.to(components.dtype)[:, None], self.basis.to(components.dtype), components.flatten(1)
        )
        return flat.reshape(-1, *components.shape[1:])

    def band_errors(self, errors: torch.Tensor) -> torch.Tensor:
        """Return mean squared errors of bands (..., bands) from those of components (..., components).

        Exact where the components' errors do not correlate.
        """
        return errors @ self.basis.square().T


def fit_subspace(hsi: torch.Tensor, components: int) -> Subspace:
    """Return the subspace of the leading principal components of an image (bands, rows, cols).

    Args:
        hsi: finite.
        components: how many at most; with as many as bands, nothing is lost.
    """
    flat = hsi.flatten(1).double()
    mean = flat.mean(1)
    centred = flat - mean[:, None]
    _, vectors = torch.linalg.eigh(centred @ centred.T / flat.shape[1])
    # eigh sorts upwards.
    return Subspace(mean, vectors[:, -min(components, hsi.shape[0]) :].flip(1))
