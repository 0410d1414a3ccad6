"""Least squares of a spectral and a spatial data term, solved exactly in the Fourier domain."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from hyperfuse.errors import InputError
from hyperfuse.sensor.model import Sensor

Shape = tuple[int, int]
# As many as stay in a CPU's caches and still fill its threads.
_CHANNELS_AT_ONCE = 8


@dataclass(frozen=True)
class PeriodicSampling:
    """Blur and sampling of a sensor as a product in the Fourier domain, for images that continue periodically.

    A sample is the product of the image with a kernel that moves by whole HR pixels from sample to sample, so that the
    transform of the samples is the mean, over the frequencies that sampling makes equal, of the product of transforms.

    Attributes:
        transfer: transform of the weights of sample (0, 0), (H, W), complex.
        coarse: rows and columns of the samples (h, w).
        sensor: with a circular boundary.
    """

    transfer: torch.Tensor
    coarse: Shape
    sensor: Sensor

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
        circular = sensor.replace(boundary="circular")
        return cls(torch.fft.fft2(circular.degrade_adjoint(first, fine)[0]), coarse, circular)

    @property
    def fine(self) -> Shape:
        """Rows and columns of the image (H, W)."""
        return self.transfer.shape[0], self.transfer.shape[1]

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Blur and sample (..., H, W) to (..., h, w)."""
        return self.sensor.degrade(image, self.coarse)

    def adjoint(self, samples: torch.Tensor) -> torch.Tensor:
        """Return the adjoint of :meth:`forward`, (..., h, w) to (..., H, W)."""
        return self.sensor.degrade_adjoint(samples, self.fine)

    def folded(self, spectrum: torch.Tensor) -> torch.Tensor:
        """Return the mean of (..., H, W) over the frequencies that sampling makes equal, (..., h, w)."""
        (rows, cols), (fine_rows, fine_cols) = self.coarse, self.fine
        parts = spectrum.reshape(*spectrum.shape[:-2], fine_rows // rows, rows, fine_cols // cols, cols)
        return parts.mean(dim=(-4, -2))


class SylvesterSolver:
    """Solves ``A X + X (BS)(BS)^T = G`` for an image of many channels (Wei et al., IEEE TIP 24(11), 2015).

    ``X`` has a row per channel and a column per pixel; ``A`` mixes channels, ``BS`` blurs and samples each. It is the
    minimum of ``|Y - X BS|^2`` plus a quadratic form of every pixel. Both commute, so that channels are decoupled by
    the eigenvectors of ``A``. For an eigenvalue ``a``, ``X = G/a - (BS) (a + (BS)^T (BS))^-1 (BS)^T G/a``, of which
    the inverse is that of a convolution of samples, a quotient in the Fourier domain: no transform of the size of the
    image is needed.

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
        energy = sampling.folded(sampling.transfer.abs().square())
        self._energy = energy[:, : energy.shape[1] // 2 + 1]  # symmetric, as that of all real kernels

    def solve(self, right: torch.Tensor) -> torch.Tensor:
        """Return ``X`` (n, H, W) for ``G`` (n, H, W), a few channels at a time."""
        rotated = self._vectors.T @ right.flatten(1) / self._values[:, None]
        for start in range(0, len(right), _CHANNELS_AT_ONCE):
            block = slice(start, start + _CHANNELS_AT_ONCE)
            plain = rotated[block].reshape(-1, *right.shape[1:])
            coupled = torch.fft.rfft2(self._sampling.forward(plain)) / (self._values[block, None, None] + self._energy)
            plain -= self._sampling.adjoint(torch.fft.irfft2(coupled, s=self._sampling.coarse))
        result: torch.Tensor = self._vectors @ rotated
        return result.reshape(right.shape)
