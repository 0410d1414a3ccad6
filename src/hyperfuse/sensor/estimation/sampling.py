"""Parts of a scene that a sensor is estimated from, and an HR image sampled through a PSF at any positions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from hyperfuse.errors import InputError
from hyperfuse.sensor.axis import fold
from hyperfuse.sensor.estimation.fit import LEAST_PIXELS, Array
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.psf import Psf

T = TypeVar("T")

# Bytes of patches that are gathered at once.
_PATCH_BYTES = 32 * 2**20
# Displacement, in HR pixels, of the differences that stand for derivatives: wide enough that the truncation of a PSF
# does not matter, narrow against any PSF.
_STEP = 0.25
_ROUNDING = 1e-6  # of the largest value
_APART = 8  # LR pixels, a multiple of the blocks that folds and smooth differences are made of


def sample_through(image: torch.Tensor, positions: Array, psf: Psf, *, gradient: bool = False) -> Array:
    """Return the PSF-weighted means of ``image`` (bands, H, W) around ``positions`` (n, 2), as float64 (n, bands).

    On a regular grid this is :meth:`Sensor.degrade`; here the positions, (y, x) in HR pixels from the centre of pixel
    (0, 0), may lie anywhere; the image is reflected at its border. With ``gradient``: (3, n, bands), values and central
    differences along y and x, per HR pixel.
    """
    moves = [(0.0, 0.0), (_STEP, 0.0), (-_STEP, 0.0), (0.0, _STEP), (0.0, -_STEP)] if gradient else [(0.0, 0.0)]
    factors = psf.factors()
    reach = [math.ceil(max(factor[axis].radius for factor in factors) + (_STEP if gradient else 0)) for axis in (0, 1)]
    taps = [np.arange(-most, most + 2) for most in reach]
    step = max(1, _PATCH_BYTES // (image.element_size() * image.shape[0] * taps[0].size * taps[1].size))
    results = np.empty((len(moves), len(positions), image.shape[0]))
    for start in range(0, len(positions), step):
        part = positions[start : start + step]
        index = [np.floor(part[:, [axis]]).astype(np.int64) + taps[axis] for axis in (0, 1)]
        rows, cols = (
            torch.as_tensor(fold(index[axis], image.shape[1 + axis], "reflect"), device=image.device) for axis in (0, 1)
        )
        patches = image[:, rows[:, :, None], cols[:, None, :]]  # (bands, n, taps_y, taps_x)
        for number, move in enumerate(moves):
            total = np.zeros((len(part), image.shape[0]))
            for factor in factors:
                along_y, along_x = (
                    torch.as_tensor(factor[axis].weights(index[axis] - part[:, [axis]] - move[axis])).to(image)
                    for axis in (0, 1)
                )
                inner = torch.einsum("bnyx,nx->bny", patches, along_x)
                total += torch.einsum("bny,ny->nb", inner, along_y).double().cpu().numpy()
            results[number, start : start + step] = total
    if not gradient:
        return np.asarray(results[0])
    return np.stack([results[0], (results[1] - results[2]) / (2 * _STEP), (results[3] - results[4]) / (2 * _STEP)])


def regular_positions(sensor: Sensor, pixels: NDArray[Any]) -> Array:
    """Return the HR positions (..., 2) of LR pixels (row, col), (..., 2), but for their displacement."""
    return np.asarray(np.asarray(sensor.offset) + np.asarray(sensor.ratio) * pixels)


def lr_positions(sensor: Sensor, pixels: NDArray[Any]) -> Array:
    """Return the HR positions (n, 2) of LR samples (row, col), (n, 2)."""
    regular = regular_positions(sensor, pixels)
    return regular if sensor.displacement is None else regular + sensor.displacement.at_samples(pixels)


@dataclass(frozen=True, eq=False)
class PairPart:
    """A pair, or a sample of a larger scene, from which a sensor is estimated.

    Attributes:
        hsi: LR-HSI (bands, h, w), finite, without bad bands.
        msi: HR-MSI (msi_bands, H, W), finite.
        sensor: ratio, phase and PSF as known or assumed, and responses where they are known.
        hsi_valid: bool (h, w), False for LR pixels to leave out; None where all are valid.
        msi_valid: bool (H, W), False in gaps; None where all are valid.
        origin: position of pixel (0, 0) of this MSI in the scene, (y, x) in HR pixels.
    """

    hsi: torch.Tensor
    msi: torch.Tensor
    sensor: Sensor
    hsi_valid: torch.Tensor | None = None
    msi_valid: torch.Tensor | None = None
    origin: tuple[float, float] = (0.0, 0.0)

    @property
    def lr_shape(self) -> tuple[int, int]:
        """Rows and columns of the HSI."""
        return self.hsi.shape[-2], self.hsi.shape[-1]

    @property
    def varies(self) -> tuple[bool, bool]:
        """Whether any band of the HSI, and of the MSI, varies by more than rounding."""
        found = []
        for image, valid in ((self.hsi, self.hsi_valid), (self.msi, self.msi_valid)):
            values = image.flatten(1) if valid is None else image[:, valid]
            low, high = values.aminmax(dim=1) if values.shape[1] else (values.new_zeros(1), values.new_zeros(1))
            found.append(bool((high - low > _ROUNDING * torch.maximum(high.abs(), low.abs())).any()))
        return found[0], found[1]

    def moved(self, shift: tuple[float, float], psf: Psf | None = None) -> PairPart:
        """Return the part with ``shift`` (y, x) added to its phase, in HR pixels, and another PSF where given."""
        y, x = self.sensor.offset
        sensor = self.sensor.replace(phase=(y + shift[0], x + shift[1]), psf=self.sensor.psf if psf is None else psf)
        return replace(self, sensor=sensor)

    def spectra(self, pixels: NDArray[np.int64]) -> Array:
        """Return the HSI at LR pixels (n, 2), as float64 (n, bands)."""
        return np.asarray(self.hsi[:, pixels[:, 0], pixels[:, 1]].T.double().cpu().numpy())

    def degraded(self, pixels: NDArray[np.int64]) -> Array:
        """Return the MSI as the sensor degrades it to LR pixels (n, 2), as float64 (n, msi_bands)."""
        image = self.sensor.degrade(self.msi, self.lr_shape)
        return np.asarray(image[:, pixels[:, 0], pixels[:, 1]].T.double().cpu().numpy())

    def inner_pixels(self, margin: float, maximum: int | None = None) -> NDArray[np.int64]:
        """Return (row, col) of the LR pixels around which all HR pixels within ``margin`` exist and are valid, (n, 2).

        They are thinned evenly to ``maximum``.
        """
        inside = np.ones(self.lr_shape, np.bool_) if self.hsi_valid is None else self.hsi_valid.cpu().numpy()
        pixels = np.argwhere(inside)
        positions = lr_positions(self.sensor, pixels)
        last = np.array(self.msi.shape[-2:]) - 0.5 - margin
        clear = np.asarray(((positions >= margin - 0.5) & (positions <= last)).all(axis=1))
        if self.msi_valid is not None:
            clear[clear] = _clear_of_gaps(self.msi_valid, positions[clear], margin)
        return pixels[clear] if maximum is None else thinned(pixels[clear], maximum)

    def enough_pixels(self, margin: float, maximum: int | None = None) -> NDArray[np.int64]:
        """Return :meth:`inner_pixels` for a margin that is halved until enough remain; too few are an InputError."""
        while True:
            found = self.inner_pixels(margin, maximum)
            if len(found) >= 2 * LEAST_PIXELS or margin < 0.5:
                break
            margin /= 2
        if len(found) < LEAST_PIXELS:
            raise InputError(
                f"only {len(found)} LR pixels lie on the MSI; {LEAST_PIXELS} are needed to estimate a sensor"
            )
        return found


def from_each(parts: Sequence[PairPart], draw: Callable[[PairPart], T]) -> list[T]:
    """Return what ``draw`` makes of each part, without the parts too small for it; all too small is an InputError."""
    found: list[T] = []
    problem = InputError("there is no part of the scene to estimate a sensor from")
    for part in parts:
        try:
            found.append(draw(part))
        except InputError as error:
            problem = error
    if not found:
        raise problem
    return found


def thinned(pixels: NDArray[np.int64], maximum: int) -> NDArray[np.int64]:
    """Return at most ``maximum`` of some pixels (n, ...), evenly along the list, so that all of the image is in it."""
    if len(pixels) <= maximum:
        return pixels
    return pixels[np.linspace(0, len(pixels) - 1, maximum).round().astype(np.int64)]


def side_by_side(pixels: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Return the pixels (n, 2) of all parts in one grid, in which blocks of no two parts touch; of one, unchanged."""
    stacked, first = [], 0
    for one in pixels:
        stacked.append(one + np.array([first, 0]))
        first += _APART * (int(one[:, 0].max()) // _APART + 2)
    return np.concatenate(stacked)


def _clear_of_gaps(valid: torch.Tensor, positions: Array, margin: float) -> NDArray[np.bool_]:
    """Return which positions have no gap within ``margin``, by sums over rectangles."""
    gaps = np.zeros((valid.shape[0] + 1, valid.shape[1] + 1), np.int64)
    np.cumsum(np.cumsum(~valid.cpu().numpy(), axis=0), axis=1, out=gaps[1:, 1:])
    low = np.floor(positions - margin + 0.5).astype(np.int64)
    high = np.ceil(positions + margin + 0.5).astype(np.int64)
    y0, x0 = (np.clip(low[:, k], 0, valid.shape[k]) for k in (0, 1))
    y1, x1 = (np.clip(high[:, k], 0, valid.shape[k]) for k in (0, 1))
    count = gaps[y1, x1] - gaps[y0, x1] - gaps[y1, x0] + gaps[y0, x0]
    return np.asarray(count == 0)


def psf_deviation(sensor: Sensor) -> float:
    """Return the larger standard deviation of the PSF along y and x, in HR pixels."""
    psf = sensor.psf
    if psf.kind == "gaussian":
        return max(psf.sigma)
    if psf.kind == "box":
        return max(psf.width) / math.sqrt(12)
    kernel = np.abs(np.asarray(psf.weights, np.float64))
    kernel /= kernel.sum()
    y, x = (np.arange(size) - (size - 1) / 2 for size in kernel.shape)
    return math.sqrt(max(float(kernel.sum(1) @ y**2), float(kernel.sum(0) @ x**2)))
