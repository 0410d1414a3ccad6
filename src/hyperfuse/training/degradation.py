"""The pair of a patch: degraded by the sensor of a preset with jitter of its PSF and phase."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from hyperfuse.errors import InputError
from hyperfuse.sensor.axis import AxisOperator
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.presets import create_sensor
from hyperfuse.sensor.psf import GaussianPsf
from hyperfuse.sensor.srf.srf import Srf

Images = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


class Degradation:
    """How patches of up to ``patch`` HR pixels become pairs at one ratio, by one of the presets.

    Patches come with a margin of HR pixels on all sides for the support of the PSF, so that the pair of a patch equals
    that of the scene, cut out. The PSF's width is multiplied by a factor between 1/(1 + ``width_jitter``) and
    1 + ``width_jitter``, the phase moves by up to ``phase_jitter`` HR pixels along either axis.

    Attributes:
        ratio: HR pixels per LR pixel.
        lr_side: LR pixels along the side of a patch.
        side: HR pixels along the side of a patch, ``lr_side * ratio``.
        margin: HR pixels that a patch has on each side.
        nominal: the preset's sensor, without jitter, for a patch without margin.

    Raises:
        InputError: a ratio that the preset does not define, or at which no whole patch fits.
    """

    def __init__(
        self, preset: str, ratio: float, srf: Srf, patch: int, *, width_jitter: float = 0.0, phase_jitter: float = 0.0
    ) -> None:
        self.nominal = create_sensor(preset, ratio, srf)
        self.ratio = float(ratio)
        self.lr_side = lr_pixels_per_side(patch, ratio)
        self.side = round(self.lr_side * ratio)
        self._width_jitter, self._phase_jitter = width_jitter, phase_jitter
        psf = self.nominal.psf
        assert isinstance(psf, GaussianPsf)  # as all presets have
        self._psf = psf
        reach = self._widened(1 + width_jitter).factors()[0].y.radius + phase_jitter
        first, last = self.nominal.offset[0], self.nominal.offset[0] + ratio * (self.lr_side - 1)
        # The centres of the first and last LR pixels need not be symmetric in the patch, and they shift.
        self.margin = max(0, math.ceil(max(reach - first, reach + last - (self.side - 1)) - 1e-6))
        self._plain = self._shifted(self.margin, (0.0, 0.0), psf)

    def draw(self, generator: np.random.Generator) -> Sensor:
        """Return the sensor for a patch with its margin; without jitter it is always the same."""
        return self._drawn(generator, self.margin, self._plain)

    def pair(self, window: torch.Tensor, sensor: Sensor) -> Images:
        """Return HSI (bands, lr_side, lr_side), MSI (msi_bands, side, side) and reference (bands, side, side).

        The window is a patch with its margin, (bands, side + 2 margin, side + 2 margin); the sensor is from
        :meth:`draw`.
        """
        hsi = sensor.degrade(window, (self.lr_side, self.lr_side))
        inner = slice(self.margin, self.margin + self.side)
        reference = window[:, inner, inner].contiguous()
        return hsi, self.nominal.respond(reference), reference

    def pairs(self, windows: torch.Tensor, sensors: Sequence[Sensor]) -> Images:
        """Return HSI, MSI and reference of windows (B, bands, rows, cols), each with its sensor of :meth:`draw`."""
        shape = (self.lr_side, self.lr_side)
        inner = slice(self.margin, self.margin + self.side)
        reference = windows[..., inner, inner].contiguous()
        if all(sensor is self._plain for sensor in sensors):
            return self._plain.degrade(windows, shape), self.nominal.respond(reference), reference
        size = (windows.shape[-2], windows.shape[-1])
        hsi = torch.zeros(*windows.shape[:2], *shape, dtype=windows.dtype, device=windows.device)
        # Each of these sensors is used once: matrices are dense, so that a batch is two products.
        for factors in zip(*(sensor.sampling(size, shape) for sensor in sensors), strict=True):
            along_y, along_x = (_stacked(operators, windows) for operators in zip(*factors, strict=True))
            hsi += along_y @ windows @ along_x.mT
        return hsi, self.nominal.respond(reference), reference

    def whole_pair(self, image: torch.Tensor, generator: np.random.Generator) -> Images:
        """Return HSI, MSI and reference of an image (bands, rows, cols), extended by the preset's border rule.

        The image is cropped at its bottom and right to whole LR pixels.
        """
        rows, cols = (lr_pixels_per_side(size, self.ratio) for size in image.shape[-2:])
        reference = image[:, : round(rows * self.ratio), : round(cols * self.ratio)].contiguous()
        sensor = self._drawn(generator, 0, self.nominal)
        return sensor.degrade(reference, (rows, cols)), self.nominal.respond(reference), reference

    def _drawn(self, generator: np.random.Generator, margin: int, plain: Sensor) -> Sensor:
        if not self._width_jitter and not self._phase_jitter:
            return plain
        limit = math.log1p(self._width_jitter)
        factor = math.exp(generator.uniform(-limit, limit))
        y, x = generator.uniform(-self._phase_jitter, self._phase_jitter, 2)
        return self._shifted(margin, (float(y), float(x)), self._widened(factor))

    def _widened(self, factor: float) -> GaussianPsf:
        sigma = (self._psf.sigma[0] * factor, self._psf.sigma[1] * factor)
        radius = self._psf.radius
        if radius is not None and self._phase_jitter:
            # Off the centres of pixels a support as narrow as the preset's would lose a tap, and with it its centre.
            reach = min(0.5, self._phase_jitter)
            radius = (radius[0] + reach, radius[1] + reach)
        return GaussianPsf(sigma=sigma, radius=radius)

    def _shifted(self, margin: int, move: tuple[float, float], psf: GaussianPsf) -> Sensor:
        y, x = self.nominal.offset
        return self.nominal.replace(phase=(y + margin + move[0], x + margin + move[1]), psf=psf)


def _stacked(operators: Sequence[AxisOperator], like: torch.Tensor) -> torch.Tensor:
    """Return the matrices of several operators, (B, 1, size_out, size_in)."""
    return torch.from_numpy(np.stack([one.matrix.toarray() for one in operators]))[:, None].to(like)


def lr_pixels_per_side(patch: int, ratio: float) -> int:
    """Return the number of LR pixels that fit ``patch`` HR pixels and end at the border of an HR pixel.

    Raises:
        InputError: where there are none.

    Example:
        >>> lr_pixels_per_side(64, 4), lr_pixels_per_side(64, 3), lr_pixels_per_side(64, 2.5)
        (16, 21, 24)
    """
    for count in range(math.floor(patch / ratio + 1e-9), 0, -1):
        if abs(count * ratio - round(count * ratio)) < 1e-6:
            return count
    raise InputError(f"no patch of up to {patch} pixels is a whole number of LR pixels at the ratio {ratio:g}")
