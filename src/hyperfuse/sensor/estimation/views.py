"""The LR pixels from which the position of the HSI on the MSI is found, and how well a position explains them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from hyperfuse.errors import InputError
from hyperfuse.sensor.estimation.fit import LEAST_PIXELS, Array, HeldOutFit, principal_images
from hyperfuse.sensor.estimation.noise import noise_gain, pixel_noise
from hyperfuse.sensor.estimation.sampling import inner_pixels, lr_positions, psf_deviation, sample_through
from hyperfuse.sensor.model import Sensor

# Components of the MSI that are compared; later ones are mostly noise.
_COMPONENTS = 4
_PIXELS = 2048
_NOISE_WINDOW = 256  # HR pixels to either side of the middle
# The first window sees so many LR pixels to either side of its centre: over them a rotation of half a degree moves the
# image by little, so that one shift describes it.
_FIRST_RADIUS = 20.0
_SUPPORT = 2.0  # standard deviations of the PSF: what lies beyond the MSI's edge farther than that matters little
# Pixels whose residual is so many times the typical one, this share of the MSI's deviation, and more than a shift by
# an HR pixel would make it, show change, cloud or parallax.
_OUTLYING, _OUTLYING_DEVIATIONS = 5.0, 0.5


@dataclass(frozen=True)
class Motion:
    """How the true grid lies to the assumed one: ``p' = c + (1 + scale) Rot(rotation) (p - c) + shift``.

    Attributes:
        shift: along (y, x), HR pixels.
        rotation: radians, positive where the +x axis turns towards -y (counter-clockwise on the screen).
        scale: relative change of the ratio.
        centre: c, (y, x) in HR pixels.
    """

    shift: tuple[float, float]
    rotation: float
    scale: float
    centre: tuple[float, float]

    def apply(self, positions: Array) -> Array:
        """Return where the positions (n, 2) truly lie."""
        y, x = (positions - np.asarray(self.centre)).T
        cos, sin = math.cos(self.rotation), math.sin(self.rotation)
        turned = np.stack([cos * y - sin * x, sin * y + cos * x], axis=1)
        return np.asarray((1 + self.scale) * turned + np.asarray(self.centre) + np.asarray(self.shift))


class PairViews:
    """The pair, from which LR pixels near a place are drawn."""

    def __init__(
        self,
        hsi: torch.Tensor,
        msi: torch.Tensor,
        sensor: Sensor,
        hsi_valid: torch.Tensor | None,
        msi_valid: torch.Tensor | None,
    ) -> None:
        self.hsi, self.msi, self.sensor = hsi, msi, sensor
        self.hsi_valid, self.msi_valid = hsi_valid, msi_valid
        self.lr_shape = (hsi.shape[-2], hsi.shape[-1])
        self.hr_shape = (msi.shape[-2], msi.shape[-1])
        self.support = _SUPPORT * psf_deviation(sensor)
        self.extent = math.hypot(*self.lr_shape)

    def places(self, margin: float) -> NDArray[np.int64]:
        """Return the LR pixels that see the MSI with a margin, halved until enough do."""
        while True:
            found = inner_pixels(
                self.sensor,
                self.lr_shape,
                self.hr_shape,
                margin,
                hsi_valid=self.hsi_valid,
                msi_valid=self.msi_valid,
            )
            if len(found) >= 2 * LEAST_PIXELS or (margin < 0.5 and len(found) >= LEAST_PIXELS):
                return found
            if margin < 0.5:
                raise InputError(f"only {len(found)} LR pixels see the MSI; {LEAST_PIXELS} are needed to align a pair")
            margin /= 2

    def first_window(self, limit: float) -> tuple[Array, float]:
        """Return centre and radius, in LR pixels, of the part that the search starts from: one with contrast."""
        places = self.places(limit + self.support)
        centre = places.mean(axis=0)
        radius = _FIRST_RADIUS
        if self.extent <= 2.5 * radius:
            return centre, self.extent
        # Of nine centres, the one around which neighbouring LR pixels differ most.
        low, high = places.min(axis=0), places.max(axis=0)
        candidates = [low + (high - low) * np.array([y, x]) / 4 for y in (1, 2, 3) for x in (1, 2, 3)]
        best, most = centre, -1.0
        for candidate in candidates:
            near = places[np.abs(places - candidate).max(axis=1) <= radius]
            if len(near) < 2 * LEAST_PIXELS:
                continue
            spectra = self.hsi[:, near[:, 0], near[:, 1]].double()
            contrast = float((spectra.var(1) / spectra.square().mean(1).clamp_min(1e-300)).mean()) * len(near)
            if contrast > most:
                best, most = candidate, contrast
        return best, radius

    def near(self, centre: Array, radius: float, motion: Motion | None, margin: float | None = None) -> PairPart:
        """Return the LR pixels within ``radius`` of ``centre``, those that see the MSI where ``motion`` puts them."""
        beyond = 0.0 if motion is None else math.hypot(*motion.shift)
        places = self.places(self.support + (beyond if margin is None else margin))
        near = places[np.abs(places - centre).max(axis=1) <= radius]
        places = near if len(near) >= 2 * LEAST_PIXELS else places
        if len(places) > _PIXELS:
            places = places[np.linspace(0, len(places) - 1, _PIXELS).round().astype(np.int64)]
        return PairPart.draw(self, places, _COMPONENTS)


@dataclass(frozen=True)
class PairPart:
    """Some LR pixels: their spectra as a held-out fit, the MSI's components, where they are assumed to lie."""

    views: PairViews
    places: NDArray[np.int64]
    positions: Array
    matrix: Array
    fit: HeldOutFit
    noise: Array

    @classmethod
    def draw(cls, views: PairViews, places: NDArray[np.int64], components: int) -> PairPart:
        """Draw the given LR pixels (n, 2); ``components`` of the MSI are compared at most."""
        positions = lr_positions(views.sensor, places)
        spectra = views.hsi[:, places[:, 0], places[:, 1]].T.double().cpu().numpy()
        seen = sample_through(views.msi, positions, views.sensor.psf)
        matrix = principal_images(seen, components)
        # Components are linear in the bands, and made of what is sampled: an image of them would cost memory.
        middle = positions.mean(axis=0).round().astype(int)
        rows, cols = (slice(max(0, int(place) - _NOISE_WINDOW), int(place) + _NOISE_WINDOW) for place in middle)
        noise = pixel_noise(mix(matrix, views.msi[:, rows, cols]))
        return cls(views, places, positions, matrix, HeldOutFit(spectra, places, 1e-4), noise)

    @property
    def count(self) -> int:
        """Number of pixels."""
        return len(self.places)

    @property
    def centre(self) -> tuple[float, float]:
        """Mean of the positions, (y, x)."""
        y, x = self.positions.mean(axis=0)
        return float(y), float(x)

    @property
    def reach(self) -> float:
        """Distance of the farthest position from the centre."""
        return float(np.linalg.norm(self.positions - np.asarray(self.centre), axis=1).max())

    def seen(self, motion: Motion) -> Array:
        """Return the MSI's components where ``motion`` puts the pixels, (n, k)."""
        return sample_through(self.views.msi, motion.apply(self.positions), self.views.sensor.psf) @ self.matrix

    def seen_with_slopes(self, motion: Motion) -> Array:
        """Return the same with its derivatives along y and x, (3, n, k)."""
        positions, psf = motion.apply(self.positions), self.views.sensor.psf
        return sample_through(self.views.msi, positions, psf, gradient=True) @ self.matrix

    def cost(self, motion: Motion) -> float:
        """Return the mean log share of the components' variance, less their noise, that is not explained."""
        passed = noise_gain(motion.apply(self.positions), self.views.sensor.psf)[0].sum()
        return float(np.log(self.fit.unexplained(self.seen(motion), self.noise * passed)).mean())

    def explained(self, motion: Motion) -> float:
        """Return the share of variance explained, of the MSI's components weighted as they are in the MSI."""
        seen = sample_through(self.views.msi, motion.apply(self.positions), self.views.sensor.psf)
        missed = np.square(self.fit.residual(seen)).sum()
        return 1 - float(missed / max(float(np.square(seen - seen.mean(axis=0)).sum()), 1e-300))

    def tuned(self, motion: Motion) -> PairPart:
        """Return the part with the ridge that explains most where ``motion`` puts the pixels."""
        spectra = self.views.hsi[:, self.places[:, 0], self.places[:, 1]].T.double().cpu().numpy()
        return replace(self, fit=HeldOutFit.choose(spectra, self.places, self.seen(motion)))

    def agreeing(self, motion: Motion) -> NDArray[np.bool_]:
        """Return which pixels show no more than a wrong position would."""
        values, along_y, along_x = self.seen_with_slopes(motion)
        size = np.sqrt(np.square(self.fit.residual(values)).mean(axis=1))
        slope = np.sqrt((np.square(along_y) + np.square(along_x)).mean(axis=1))
        # Flat ground makes the typical residual small, and edges, which tell the position, must not fall to it.
        limit = np.maximum(_OUTLYING * float(np.median(size)), np.maximum(_OUTLYING_DEVIATIONS, slope))
        agreeing = size <= limit
        return np.asarray(agreeing if agreeing.sum() >= 2 * LEAST_PIXELS else np.ones(len(size), np.bool_))

    def keep(self, which: NDArray[np.bool_]) -> PairPart:
        """Return the part without the pixels where ``which`` (n,) is False."""
        if which.all():
            return self
        places = self.places[which]
        spectra = self.views.hsi[:, places[:, 0], places[:, 1]].T.double().cpu().numpy()
        fit = HeldOutFit(spectra, places, self.fit.ridge)
        return replace(self, places=places, positions=self.positions[which], fit=fit)


def mix(matrix: Array, image: torch.Tensor) -> torch.Tensor:
    """Return the components (k, rows, cols) that ``matrix`` (bands, k) makes of an image (bands, rows, cols)."""
    return torch.einsum("bk,byx->kyx", torch.as_tensor(matrix, dtype=image.dtype, device=image.device), image)
