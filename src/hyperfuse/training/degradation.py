"""The pair of a patch: the sensor of a preset, with a jitter of its PSF and phase, seen through a margin."""

from __future__ import annotations

import math

import numpy as np
import torch

from hyperfuse.errors import InputError
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.presets import create_sensor
from hyperfuse.sensor.psf import GaussianPsf
from hyperfuse.sensor.srf.srf import Srf


class Degradation:
    """How patches become pairs at one ratio.

    Patches come with a margin of HR pixels on all sides, so that the PSF sees beyond them as it does in a scene: the
    pair of a patch is that of the scene, cut out.

    Attributes:
        ratio: HR pixels an LR pixel.
        cells: LR pixels along the side of a patch.
        side: HR pixels along the side of a patch, ``cells * ratio``.
        margin: HR pixels that a patch has on each side.
        nominal: the preset's sensor, without jitter, for a patch without margin.

    Args:
        preset: ``uestc``, ``dhif`` or ``mtf``.
        ratio: HR pixels an LR pixel.
        srf: responses of the MSI.
        patch: the largest side that a patch may have, in HR pixels.
        width_jitter: the PSF's width is multiplied by a factor between 1/(1 + j) and 1 + j.
        phase_jitter: the phase moves along either axis by up to so many HR pixels.

    Raises:
        InputError: a ratio that the preset does not define, or at which no whole patch fits.
    """

    def __init__(
        self,
        preset: str,
        ratio: float,
        srf: Srf,
        patch: int,
        *,
        width_jitter: float = 0.0,
        phase_jitter: float = 0.0,
    ) -> None:
        self.nominal = create_sensor(preset, ratio, srf)
        self.ratio = float(ratio)
        self.cells = whole_cells(patch, ratio)
        self.side = round(self.cells * ratio)
        self._width_jitter, self._phase_jitter = width_jitter, phase_jitter
        psf = self.nominal.psf
        assert isinstance(psf, GaussianPsf)  # as all presets have
        self._psf = psf
        widest = self._widened(1 + width_jitter).factors()[0].radius_y
        first, last = self.nominal.offset[0], self.nominal.offset[0] + ratio * (self.cells - 1)
        # The middle of the first and last LR pixel may lie off the middle of the patch, and moves.
        beyond = max(widest + phase_jitter - first, widest + phase_jitter + last - (self.side - 1))
        self.margin = max(0, math.ceil(beyond - 1e-6))
        self._plain = self._shifted((0.0, 0.0), psf)

    def draw(self, generator: np.random.Generator) -> Sensor:
        """Return the sensor for a patch with its margin; without jitter it is always the same."""
        if not self._width_jitter and not self._phase_jitter:
            return self._plain
        move, psf = self._jitter(generator)
        return self._shifted(move, psf)

    def pair(self, window: torch.Tensor, sensor: Sensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return HSI, MSI and reference of a patch.

        Args:
            window: (bands, side + 2 margin, side + 2 margin).
            sensor: from :meth:`draw`.

        Returns:
            (bands, cells, cells), (msi_bands, side, side) and (bands, side, side).
        """
        hsi = sensor.degrade(window, (self.cells, self.cells))
        inner = slice(self.margin, self.margin + self.side)
        reference = window[:, inner, inner].contiguous()
        return hsi, self.nominal.respond(reference), reference

    def whole_pair(
        self, image: torch.Tensor, generator: np.random.Generator
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return HSI, MSI and reference of an image (bands, rows, cols), beyond which the preset's border lies.

        Of the image, as many rows and columns are taken from the top left as LR pixels cover.
        """
        cells = [whole_cells(size, self.ratio) for size in image.shape[-2:]]
        rows, cols = (round(count * self.ratio) for count in cells)
        reference = image[:, :rows, :cols].contiguous()
        sensor = self.nominal
        if self._width_jitter or self._phase_jitter:
            (y, x), psf = self._jitter(generator)
            sensor = sensor.replace(phase=(sensor.offset[0] + y, sensor.offset[1] + x), psf=psf)
        return sensor.degrade(reference, (cells[0], cells[1])), self.nominal.respond(reference), reference

    def _jitter(self, generator: np.random.Generator) -> tuple[tuple[float, float], GaussianPsf]:
        limit = math.log1p(self._width_jitter)
        factor = math.exp(generator.uniform(-limit, limit))
        y, x = generator.uniform(-self._phase_jitter, self._phase_jitter, 2)
        return (float(y), float(x)), self._widened(factor)

    def _widened(self, factor: float) -> GaussianPsf:
        sigma = (self._psf.sigma[0] * factor, self._psf.sigma[1] * factor)
        radius = self._psf.radius
        if radius is not None and self._phase_jitter:
            # Off the centres of pixels a support as narrow as the preset's would lose a tap, and with it its centre.
            reach = min(0.5, self._phase_jitter)
            radius = (radius[0] + reach, radius[1] + reach)
        return GaussianPsf(sigma=sigma, radius=radius)

    def _shifted(self, move: tuple[float, float], psf: GaussianPsf) -> Sensor:
        y, x = self.nominal.offset
        return self.nominal.replace(phase=(y + self.margin + move[0], x + self.margin + move[1]), psf=psf)


def whole_cells(patch: int, ratio: float) -> int:
    """Return the most LR pixels along a side of at most ``patch`` HR pixels that end on a whole HR pixel.

    Raises:
        InputError: where there are none.

    Example:
        >>> whole_cells(64, 4), whole_cells(64, 3), whole_cells(64, 2.5)
        (16, 21, 24)
    """
    for cells in range(math.floor(patch / ratio + 1e-9), 0, -1):
        if abs(cells * ratio - round(cells * ratio)) < 1e-6:
            return cells
    raise InputError(f"no patch of up to {patch} pixels is a whole number of LR pixels at the ratio {ratio:g}")
