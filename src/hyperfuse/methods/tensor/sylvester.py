"""Least squares of a spectral and a spatial data term, solved exactly in the Fourier domain."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from hyperfuse.errors import InputError
from hyperfuse.sensor.model import Sensor

Shape = tuple[int, int]


@dataclass(frozen=True)
class PeriodicSampling:
    """Blur and sampling of a sensor as a product in the Fourier domain, for images that continue periodically.

    A sample is the product of the image with a kernel that moves by whole HR pixels from sample to sample, so that the
    transform of the samples is the mean, over the frequencies that sampling makes equal, of the product of transforms.

    Attributes:
        transfer: transform of the weights of sample (0, 0), (H, W), complex.
        coarse: rows and columns of the samples (h, w).
    """

    transfer: torch.Tensor
    coarse: Shape

    @classmethod
    def of(cls, sensor: Sensor, fine: Shape, dtype: torch.dtype = torch.float64) -> PeriodicSampling:
        """Return the sampling of a sensor, with any PSF and phase, on an image of ``fine`` (H, W).

        Args:
            sensor: its boundary rule is not used: the image is continued periodically.
            fine: multiples of the ratios.
            dtype: real type of the computation.

        Raises:
            InputError: ratios that are not whole, sides that are no multiples of them, or displaced samples.
        """
        if sensor.displacement is not None:
            raise InputError("displaced samples are at no regular positions; resample them first", "displacement")
        ratio = tuple(round(one) for one in sensor.ratio)
        if any(abs(whole - one) > 1e-9 for whole, one in zip(ratio, sensor.ratio, strict=True)):
            raise InputError(
                f"the ratio is {sensor.ratio[0]:g} and {sensor.ratio[1]:g}: the solution in the Fourier domain needs "
                "whole ratios",
                "ratio",
            )
        if fine[0] % ratio[0] or fine[1] % ratio[1]:
            raise InputError(
                f"an image of {fine[0]}x{fine[1]} pixels is not a multiple of the ratio ({ratio[0]}, {ratio[1]}); crop"
            )
        coarse = fine[0] // ratio[0], fine[1] // ratio[1]
        first = torch.zeros(1, *coarse, dtype=dtype)
        first[0, 0, 0] = 1.0
        weights = sensor.replace(boundary="circular").degrade_adjoint(first, fine)[0]
        return cls(torch.fft.fft2(weights), coarse)

    @property
    def fine(self) -> Shape:
        """Rows and columns of the image (H, W)."""
        return self.transfer.shape[0], self.transfer.shape[1]

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Blur and sample (..., H, W) to (..., h, w)."""
        return _real_image(self.folded(self.transfer.conj() * torch.fft.fft2(image)))

    def adjoint(self, samples: torch.Tensor) -> torch.Tensor:
        """Return the adjoint of :meth:`forward`, (..., h, w) to (..., H, W)."""
        return _real_image(self.transfer * self.repeated(torch.fft.fft2(samples)))

    def folded(self, spectrum: torch.Tensor) -> torch.Tensor:
        """Return the mean of (..., H, W) over the frequencies that sampling makes equal, (..., h, w)."""
        (rows, cols), (fine_rows, fine_cols) = self.coarse, self.fine
        parts = spectrum.reshape(*spectrum.shape[:-2], fine_rows // rows, rows, fine_cols // cols, cols)
        return parts.mean(dim=(-4, -2))

    def repeated(self, spectrum: torch.Tensor) -> torch.Tensor:
        """Return (..., h, w) at all frequencies that sampling makes equal, (..., H, W)."""
        times = self.fine[0] // self.coarse[0], self.fine[1] // self.coarse[1]
        return spectrum.repeat(*([1] * (spectrum.dim() - 2)), *times)


class SylvesterSolver:
    """Solves ``A X + X (BS)(BS)^T = G`` for an image of many channels (Wei et al., IEEE TIP 24(11), 2015).

    ``X`` has a row per channel and a column per pixel; ``A`` mixes channels, ``BS`` blurs and samples each. It is the
    minimum of ``|Y - X BS|^2`` plus a quadratic form of every pixel. Both commute, so that channels are decoupled by
    the eigenvectors of ``A`` and frequencies by the transform; of each set of frequencies that sampling makes equal
    only one combination is coupled.

    Args:
        channels: ``A``, (n, n), symmetric and positive definite.
        sampling: ``BS``.

    Raises:
        InputError: a matrix that is not positive definite: a channel that no data determine.
    """

    def __init__(self, channels: torch.Tensor, sampling: PeriodicSampling) -> None:
        values, self._vectors = torch.linalg.eigh(channels)
        if not bool((values > 0).all()):
            raise InputError("the matrix of channels is not positive definite: raise the weight of the regularisation")
        self._values, self._sampling = values, sampling
        self._energy = sampling.folded(sampling.transfer.abs().square())

    def solve(self, right: torch.Tensor) -> torch.Tensor:
        """Return ``X`` (n, H, W) for ``G`` (n, H, W), channel by channel."""
        rotated = (self._vectors.T @ right.flatten(1)).reshape(right.shape)
        for number, value in enumerate(self._values):
            rotated[number] = self._solved(rotated[number], value)
        result: torch.Tensor = self._vectors @ rotated.flatten(1)
        return result.reshape(right.shape)

    def _solved(self, right: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        sampling = self._sampling
        plain = torch.fft.fft2(right) / value
        coupled = sampling.folded(sampling.transfer.conj() * plain) / (value + self._energy)
        return _real_image(plain - sampling.transfer * sampling.repeated(coupled))


def _real_image(spectrum: torch.Tensor) -> torch.Tensor:
    image: torch.Tensor = torch.fft.ifft2(spectrum)
    return image.real
