"""The LR pixels from which the position of the HSI on the MSI is estimated, and how well a position explains them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from hyperfuse.sensor.estimation.fit import LEAST_PIXELS, Array, HeldOutFit, principal_images
from hyperfuse.sensor.estimation.noise import noise_gain, pixel_noise
from hyperfuse.sensor.estimation.radiometry import OUTLYING, OUTLYING_DEVIATIONS
from hyperfuse.sensor.estimation.sampling import PairPart, lr_positions, psf_deviation, sample_through, thinned

# Components of the MSI that are compared; later ones are mostly noise.
COMPONENTS = 4
_PIXELS = 2048
_NOISE_WINDOW = 256  # HR pixels to either side of the centre
# LR pixels to either side of the centre of the first window: over them a rotation of half a degree displaces the image
# by little, so that one shift describes it.
_FIRST_RADIUS = 20.0
_SUPPORT = 2.0  # standard deviations of the PSF: what lies farther beyond the MSI's border matters little


@dataclass(frozen=True)
class Motion:
    """The true grid as a map of the assumed one: ``p' = c + (1 + scale) Rot(rotation) (p - c) + shift``.

    Attributes:
        shift: along (y, x), HR pixels.
        rotation: radians, positive from the +x axis towards -y (counter-clockwise on the screen).
        scale: relative change of the ratio.
        centre: c, (y, x) in HR pixels.
    """

    shift: tuple[float, float]
    rotation: float
    scale: float
    centre: tuple[float, float]

    def apply(self, positions: Array) -> Array:
        """Return the true positions (n, 2) of assumed ones."""
        y, x = (positions - np.asarray(self.centre)).T
        cos, sin = math.cos(self.rotation), math.sin(self.rotation)
        rotated = np.stack([cos * y - sin * x, sin * y + cos * x], axis=1)
        return np.asarray((1 + self.scale) * rotated + np.asarray(self.centre) + np.asarray(self.shift))

    def displacement(self, position: tuple[float, float]) -> tuple[float, float]:
        """Return how far one position (y, x) is displaced along (y, x)."""
        point = np.array([position])
        y, x = (self.apply(point) - point)[0]
        return float(y), float(x)


class PartView:
    """A part, from which LR pixels near a position are drawn."""

    def __init__(self, part: PairPart) -> None:
        self.part = part
        self.support = _SUPPORT * psf_deviation(part.sensor)
        self.extent = math.hypot(*part.lr_shape)

    def first_window(self, limit: float) -> tuple[Array, float]:
        """Return centre and radius, in LR pixels, of the window that the search starts from: one with contrast."""
        pixels = self.part.enough_pixels(limit + self.support)
        centre = pixels.mean(axis=0)
        radius = _FIRST_RADIUS
        if self.extent <= 2.5 * radius:
            return centre, self.extent
        # Of nine centres, the one around which neighbouring LR pixels differ most.
        low, high = pixels.min(axis=0), pixels.max(axis=0)
        candidates = [low + (high - low) * np.array([y, x]) / 4 for y in (1, 2, 3) for x in (1, 2, 3)]

        def contrast(candidate: Array) -> float:
            near = pixels[np.abs(pixels - candidate).max(axis=1) <= radius]
            if len(near) < 2 * LEAST_PIXELS:
                return -1.0
            spectra = self.part.hsi[:, near[:, 0], near[:, 1]].double()
            return float((spectra.var(1) / spectra.square().mean(1).clamp_min(1e-300)).mean()) * len(near)

        best = max(candidates, key=contrast)
        return (best if contrast(best) >= 0 else centre), radius

    def near(self, centre: Array, radius: float, motion: Motion | None, margin: float | None = None) -> PixelSample:
        """Return the LR pixels within ``radius`` of ``centre`` that lie on the MSI where ``motion`` puts them."""
        beyond = 0.0 if motion is None else math.hypot(*motion.shift)
        pixels = self.part.enough_pixels(self.support + (beyond if margin is None else margin))
        near = pixels[np.abs(pixels - centre).max(axis=1) <= radius]
        pixels = near if len(near) >= 2 * LEAST_PIXELS else pixels
        return PixelSample.draw(self.part, thinned(pixels, _PIXELS))


@dataclass(frozen=True)
class PixelSample:
    """Some LR pixels: their spectra as a held-out fit, the MSI's components, the positions assumed for them."""

    part: PairPart
    pixels: NDArray[np.int64]
    positions: Array
    matrix: Array
    fit: HeldOutFit
    noise: Array

    @classmethod
    def draw(cls, part: PairPart, pixels: NDArray[np.int64]) -> PixelSample:
        """Draw the given LR pixels (n, 2)."""
        positions = lr_positions(part.sensor, pixels)
        sampled = sample_through(part.msi, positions, part.sensor.psf)
        matrix = principal_images(sampled, COMPONENTS)
        # Components are linear in the bands and made of the samples: an image of them would cost memory.
        centre = positions.mean(axis=0).round().astype(int)
        rows, cols = (slice(max(0, int(at) - _NOISE_WINDOW), int(at) + _NOISE_WINDOW) for at in centre)
        noise = pixel_noise(mix(matrix, part.msi[:, rows, cols]))
        return cls(part, pixels, positions, matrix, HeldOutFit(part.spectra(pixels), pixels, 1e-4), noise)

    @property
    def count(self) -> int:
        """Number of pixels."""
        return len(self.pixels)

    @property
    def centre(self) -> tuple[float, float]:
        """Mean of the positions, (y, x)."""
        y, x = self.positions.mean(axis=0)
        return float(y), float(x)

    @property
    def distances(self) -> Array:
        """Distances of the positions from the centre, (n,), in HR pixels."""
        return np.asarray(np.linalg.norm(self.positions - np.asarray(self.centre), axis=1))

    @property
    def radius(self) -> float:
        """Root mean square of the distances, which rotation and scale are counted in; at least an HR pixel."""
        return max(float(np.sqrt(np.square(self.distances).mean())), 1.0)

    def sampled(self, motion: Motion, *, gradient: bool = False) -> Array:
        """Return the MSI's bands where ``motion`` puts the pixels, (n, msi_bands); as :func:`sample_through`."""
        positions, psf = motion.apply(self.positions), self.part.sensor.psf
        return sample_through(self.part.msi, positions, psf, gradient=gradient)

    def cost(self, motion: Motion) -> float:
        """Return the mean log fraction of the components' variance, less their noise, that is not explained."""
        passed = noise_gain(motion.apply(self.positions), self.part.sensor.psf)[0].sum()
        unexplained = self.fit.unexplained(self.sampled(motion) @ self.matrix, self.noise * passed)
        return float(np.log(unexplained).mean())

    def explained(self, motion: Motion) -> float:
        """Return the fraction of variance explained, of the MSI's components weighted as they are in the MSI."""
        sampled = self.sampled(motion)
        missed = np.square(self.fit.residual(sampled)).sum()
        return 1 - float(missed / max(float(np.square(sampled - sampled.mean(axis=0)).sum()), 1e-300))

    def tuned(self, motion: Motion) -> PixelSample:
        """Return the sample with the ridge that explains most where ``motion`` puts the pixels."""
        sampled = self.sampled(motion) @ self.matrix
        return replace(self, fit=HeldOutFit.choose(self.part.spectra(self.pixels), self.pixels, sampled))

    def agreeing(self, motion: Motion) -> NDArray[np.int64]:
        """Return the indices of the pixels without an outlying residual that a shift by an HR pixel would not cause."""
        values, along_y, along_x = self.sampled(motion, gradient=True) @ self.matrix
        size = np.sqrt(np.square(self.fit.residual(values)).mean(axis=1))
        slope = np.sqrt((np.square(along_y) + np.square(along_x)).mean(axis=1))
        # Flat ground makes the typical residual small, and edges, which determine the position, must not be dropped.
        limit = np.maximum(OUTLYING * float(np.median(size)), np.maximum(OUTLYING_DEVIATIONS, slope))
        agreeing = np.flatnonzero(size <= limit)
        return agreeing if len(agreeing) >= 2 * LEAST_PIXELS else np.arange(len(size))

    def select(self, which: NDArray[np.int64]) -> PixelSample:
        """Return the sample of the pixels with the given indices, ascending."""
        if len(which) == self.count:
            return self
        pixels = self.pixels[which]
        fit = HeldOutFit(self.part.spectra(pixels), pixels, self.fit.ridge)
        return replace(self, pixels=pixels, positions=self.positions[which], fit=fit)


def mix(matrix: Array, image: torch.Tensor) -> torch.Tensor:
    """Return the components (k, rows, cols) that ``matrix`` (bands, k) makes of an image (bands, rows, cols)."""
    return torch.einsum("bk,byx->kyx", torch.as_tensor(matrix, dtype=image.dtype, device=image.device), image)
