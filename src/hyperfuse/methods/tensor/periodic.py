"""A pair that continues periodically, as solutions in the Fourier domain need it: extended by reflection."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.fft import next_fast_len

from hyperfuse.methods.contract.method import PairTensors
from hyperfuse.methods.tensor.sylvester import PeriodicSampling
from hyperfuse.sensor.axis import fold
from hyperfuse.sensor.model import Sensor


@dataclass(frozen=True)
class PeriodicPair:
    """A pair whose MSI has exactly ``ratio`` rows and columns per LR pixel, and whose borders meet their opposites.

    Where the sensor continues images periodically and the sizes fit already, it is the pair itself. Otherwise both
    images are extended by reflection, by as much as the PSF reaches, so that what meets across the borders lies outside
    the image, and to sizes that have a fast transform.

    Attributes:
        hsi: (bands, h, w).
        msi: (msi_bands, H, W).
        sensor: with a circular boundary, and its phase in the extended image.
        inside: rows and columns of the original MSI.
        sampling: blur and sampling of the sensor.
    """

    hsi: torch.Tensor
    msi: torch.Tensor
    sensor: Sensor
    inside: tuple[slice, slice]
    sampling: PeriodicSampling

    @classmethod
    def of(cls, pair: PairTensors, dtype: torch.dtype = torch.float64) -> PeriodicPair:
        """Extend a pair, converted to ``dtype``.

        Raises:
            InputError: ratios that are not whole, or displaced samples.
        """
        hsi, msi, inside = pair.hsi.to(dtype), pair.msi.to(dtype), []
        for axis in (0, 1):
            coarse, fine = hsi.shape[axis + 1], msi.shape[axis + 1]
            ratio = round(pair.sensor.ratio[axis])
            before, length = _extended(pair.sensor, axis, coarse, fine)
            hsi = _reflected(hsi, axis + 1, before, length)
            msi = _reflected(msi, axis + 1, before * ratio, length * ratio)
            inside.append(slice(before * ratio, before * ratio + fine))
        sensor = pair.sensor.replace(boundary="circular")
        sampling = PeriodicSampling.of(sensor, (msi.shape[1], msi.shape[2]), dtype)
        return cls(hsi, msi, sensor, (inside[0], inside[1]), sampling)

    def upsampled(self) -> torch.Tensor:
        """Return the HSI interpolated on the pixels of the MSI, aware of its phase, (bands, H, W)."""
        return self.sensor.upsample(self.hsi, self.sampling.fine, "cubic")

    def cut(self, image: torch.Tensor) -> torch.Tensor:
        """Return the part (..., rows, cols) of an image (..., H, W) that lies in the original MSI."""
        return image[..., self.inside[0], self.inside[1]]


def _extended(sensor: Sensor, axis: int, coarse: int, fine: int) -> tuple[int, int]:
    """Return the LR pixels that are added before an image, and how many there are then."""
    ratio = round(sensor.ratio[axis])
    if sensor.boundary == "circular" and fine == ratio * coarse:
        return 0, coarse
    margin = math.ceil((sensor.reach[axis] + 1) / ratio)
    return margin, next_fast_len(margin + max(coarse, math.ceil(fine / ratio)) + margin)


def _reflected(image: torch.Tensor, axis: int, before: int, length: int) -> torch.Tensor:
    """Return an image of ``length`` along an axis, with ``before`` pixels before the first one."""
    size = image.shape[axis]
    if before == 0 and length == size:
        return image
    at = fold(np.arange(-before, length - before), size, "reflect")
    return image.index_select(axis, torch.from_numpy(at).to(image.device))


def responses_of(sensor: Sensor, device: torch.device) -> torch.Tensor:
    """Return the responses (msi_bands, bands) of a sensor that has them, as those of methods that need them have."""
    assert sensor.srf is not None
    return torch.as_tensor(sensor.srf.matrix, dtype=torch.float64, device=device)
