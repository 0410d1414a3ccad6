"""The MSI as predictors of the HSI: whitened, at both resolutions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from hyperfuse.methods.contract.method import WHOLE, Extent, PairTensors
from hyperfuse.sensor.model import Sensor
from hyperfuse.statistics.linear import covariance
from hyperfuse.statistics.noise import estimate_noise

# Components of the MSI with less than this fraction of the largest variance are rounding, not signal.
_RANK_TOLERANCE = 1e-8


def pooled(images: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the pixels of several images (bands, rows, cols) in one row, (bands, 1, n)."""
    return torch.cat([image.flatten(1) for image in images], dim=1)[:, None]


def pooled_noise(images: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the standard deviation of the noise of each band of several images, float64 (bands,)."""
    pixels = sum(image[0].numel() for image in images)
    variances = [image[0].numel() / pixels * estimate_noise(image).double().square() for image in images]
    return torch.stack(variances).sum(0).sqrt()


@dataclass(frozen=True)
class Whitening:
    """The linear map that gives an MSI zero mean, unit variance and no correlation.

    Attributes:
        mean: (msi_bands,).
        matrix: (k, msi_bands).
    """

    mean: torch.Tensor
    matrix: torch.Tensor

    @classmethod
    def fit(cls, images: Sequence[torch.Tensor]) -> Whitening:
        """Whiten samples of an MSI, (msi_bands, H, W) each; components without contrast are dropped."""
        msi = pooled(images)
        values, vectors = torch.linalg.eigh(covariance(msi, msi))
        keep = values > _RANK_TOLERANCE * values.max().clamp_min(torch.finfo(values.dtype).tiny)
        if not bool(keep.any()):
            # A constant MSI: one predictor that is 0 everywhere.
            keep[-1] = True
            values = torch.full_like(values, float("inf"))
        matrix = (vectors[:, keep] * values[keep].rsqrt()).T.to(msi.dtype)
        return cls(msi.flatten(1).double().mean(1).to(msi.dtype), matrix)

    def __call__(self, msi: torch.Tensor) -> torch.Tensor:
        """Return the components (k, H, W) of an MSI."""
        return (self.matrix @ (msi - self.mean[:, None, None]).flatten(1)).reshape(-1, *msi.shape[1:])

    def restore(self, components: torch.Tensor) -> torch.Tensor:
        """Return the MSI (msi_bands, H, W) of components (k, H, W); what was dropped is its mean."""
        inverse = torch.linalg.pinv(self.matrix.double()).to(components)
        restored: torch.Tensor = (inverse @ components.flatten(1)).reshape(-1, *components.shape[1:])
        return restored + self.mean[:, None, None]


@dataclass(frozen=True)
class Predictors:
    """The MSI of a window as predictors: principal components of zero mean and unit variance over the scene.

    Attributes:
        fine: (k, H, W).
        coarse: float64 (k, h, w), degraded to the HSI's grid.
        sensor: the forward model between the two.
        extent: of the window in the scene.
    """

    fine: torch.Tensor
    coarse: torch.Tensor
    sensor: Sensor
    extent: Extent = WHOLE

    @classmethod
    def of(cls, pair: PairTensors, whitening: Whitening, msi: torch.Tensor | None = None) -> Predictors:
        """Whiten the MSI of a pair, or ``msi``, its denoised form."""
        fine = whitening(pair.msi if msi is None else msi)
        coarse = pair.sensor.degrade(fine, (pair.hsi.shape[-2], pair.hsi.shape[-1])).double()
        return cls(fine, coarse, pair.sensor, pair.extent)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of LR pixels."""
        return self.coarse.shape[-2], self.coarse.shape[-1]

    @property
    def fine_shape(self) -> tuple[int, int]:
        """Rows and columns of HR pixels."""
        return self.fine.shape[-2], self.fine.shape[-1]

    def degrade(self, image: torch.Tensor) -> torch.Tensor:
        """Return an image (bands, H, W) of the window as the HSI's sensor records it, (bands, h, w)."""
        return self.sensor.degrade(image, self.shape)

    def seen_by(self, rows: slice, cols: slice, around: int = 0) -> tuple[Predictors, tuple[slice, slice]]:
        """Return the part of the window that some of its LR pixels see, at regular positions, and its HR pixels.

        Args:
            rows: of LR pixels.
            cols: of LR pixels.
            around: HR pixels around it.
        """
        pixels, phase, extent = [], [], []
        for axis, some in enumerate((rows, cols)):
            ratio, size, reach = self.sensor.ratio[axis], self.fine_shape[axis], self.sensor.reach[axis] + around
            centres = [self.sensor.offset[axis] + ratio * at for at in (some.start, some.stop - 1)]
            pixels.append(slice(max(0, math.floor(centres[0] - reach)), min(size, math.ceil(centres[1] + reach) + 1)))
            phase.append(centres[0] - pixels[-1].start)
            first, last = self.extent[2 * axis : 2 * axis + 2]
            extent += [first + (last - first) * at / max(1, size - 1) for at in (pixels[-1].start, pixels[-1].stop - 1)]
        y, x = pixels
        sensor = self.sensor.window((rows.start, cols.start), (phase[0], phase[1]))
        where = (extent[0], extent[1], extent[2], extent[3])
        return Predictors(self.fine[:, y, x], self.coarse[:, rows, cols], sensor, where), (y, x)

    def positions(self, *, fine: bool) -> torch.Tensor:
        """Return the position of every HR or LR pixel in the scene, in LR pixels, float64 (n, 2).

        LR pixels are at their regular positions, one apart; HR pixels lie among them as the sensor displaces them.
        """
        axes, starts, device = [], [], self.fine.device
        for axis, (first, last) in enumerate((self.extent[:2], self.extent[2:])):
            size, ratio = self.fine_shape[axis], self.sensor.ratio[axis]
            start = round((first + 1) * (size - 1) / (last - first)) if last > first else 0  # HR pixels
            starts.append((start + self.sensor.offset[axis]) / ratio)
            if fine:
                axes.append((start + torch.arange(size, dtype=torch.float64, device=device)) / ratio)
            else:
                along = torch.arange(self.shape[axis], dtype=torch.float64, device=device)
                axes.append((start + self.sensor.offset[axis]) / ratio + along)
        if fine and self.sensor.displacement is not None:
            inverse = torch.from_numpy(self.sensor.inverse_positions(self.fine_shape)).to(device)
            return inverse.flatten(1).T + torch.tensor(starts, dtype=torch.float64, device=device)
        return torch.cartesian_prod(*axes)
