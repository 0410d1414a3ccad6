"""Low-rank subspaces of the spectra of a scene, so that 30 or 400 bands cost about the same."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

_NOISELESS = 1e-3  # of a band's deviation: the minimum noise of its unit
_CHANCE = 1.05  # the noise is an estimate
_ROUNDING = 1e-12
_MAX_COMPONENTS = 32  # of spectra with more bands, as models use them


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

    def expand_change(self, components: torch.Tensor) -> torch.Tensor:
        """Return what a change of components changes in the image: :meth:`expand` without the mean."""
        return self.part(slice(None)).expand(components)

    def band_errors(self, errors: torch.Tensor) -> torch.Tensor:
        """Return mean squared errors of bands (..., bands) from those of components (..., components).

        Exact where the components' errors do not correlate.
        """
        return errors @ self._matrix.square().T

    def part(self, components: slice) -> Subspace:
        """Return the subspace of some of the components, with a mean of zero."""
        return Subspace(torch.zeros_like(self.mean), self.basis[:, components], self.scale)

    @property
    def _matrix(self) -> torch.Tensor:
        return self.scale[:, None] * self.basis


def fit_subspace(hsi: torch.Tensor, components: int, *, standardise: bool = False) -> Subspace:
    """Return the subspace of the leading principal components of an image (bands, rows, cols).

    ``components`` is their maximum number; with as many as bands, nothing is lost. ``standardise`` counts every band in
    units of its standard deviation; else noise of bright bands can rank before the signal of dark ones.
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


def model_subspace(image: torch.Tensor) -> Subspace | None:
    """Return the components in which an image (bands, rows, cols) is modelled; None where its bands are few."""
    return None if image.shape[0] <= _MAX_COMPONENTS else leading_subspace(image)


def leading_subspace(image: torch.Tensor) -> Subspace:
    """Return the 32 leading components of the standardised bands of an image (bands, rows, cols).

    Of an image of fewer components, as one of few bands or without its noise is, only those: the others are rounding.
    """
    subspace = fit_subspace(image, _MAX_COMPONENTS, standardise=True)
    variance = subspace.project(image.double()).flatten(1).var(1, correction=0)
    count = max(1, int((variance > _ROUNDING * variance[0]).sum()))
    return replace(subspace, basis=subspace.basis[:, :count])


def signal_subspace(
    image: torch.Tensor, noise: torch.Tensor, *, centre: bool = True, every: bool = False
) -> tuple[Subspace, torch.Tensor]:
    """Return the components in which an image differs from noise, and the noise of each, (components,).

    Principal components of the bands in units of their noise (its standard deviation, (bands,)), as in the minimum
    noise fraction (Green et al. 1988). Those whose variance pure noise would reach, (1 + sqrt(bands / pixels))^2
    (Marchenko & Pastur 1967), or rounding, are left out unless ``every`` is set; none may remain. ``centre`` subtracts
    the mean of each band first.
    """
    flat = image.flatten(1).double()
    mean = flat.mean(1) if centre else torch.zeros(len(flat), dtype=flat.dtype, device=flat.device)
    centred = flat - mean[:, None]
    deviation = centred.square().mean(1).sqrt()
    # The unit of a band without noise is a small fraction of its deviation; that of a constant band does not matter.
    unit = torch.maximum(noise.double(), _NOISELESS * deviation)
    unit = torch.where(unit > 0, unit, 1.0)
    pixels = flat.shape[1]
    relative = centred / unit[:, None]
    values, vectors = torch.linalg.eigh(relative @ relative.T / pixels)
    values, vectors = values.flip(0), vectors.flip(1)
    variance = vectors.square().T @ (noise.double() / unit).square()
    chance = _CHANCE * (1 + (len(flat) / pixels) ** 0.5) ** 2 * variance
    keep = torch.ones_like(values, dtype=torch.bool) if every else values > torch.maximum(chance, _ROUNDING * values[0])
    return Subspace(mean, vectors[:, keep], unit), variance[keep].sqrt()
