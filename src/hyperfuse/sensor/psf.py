"""Point spread functions of the hyperspectral sensor, as profiles along y and x in HR pixels."""

from __future__ import annotations

import math
from functools import partial
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field, field_validator

from hyperfuse.calls import checked
from hyperfuse.errors import InputError
from hyperfuse.sensor.axis import AxisProfile, Floats
from hyperfuse.settings import Settings
from hyperfuse.text import shortened

Pair = tuple[float, float]
# In HR pixels: far beyond any sensor, and its kernel still fits into memory.
_LONGEST = 4096
# Singular values of a kernel below this fraction of the largest are rounding.
_ROUNDING = 1e-6
Length = Annotated[float, Field(gt=0, le=4 * _LONGEST, allow_inf_nan=False)]


class SeparableFactor(NamedTuple):
    """One separable term of a PSF: its profiles along y and x."""

    y: AxisProfile
    x: AxisProfile


class GaussianPsf(Settings):
    """Gaussian, sampled at pixel centres, cut at a radius and made to sum to 1.

    Attributes:
        sigma: standard deviation along (y, x), in HR pixels.
        radius: largest offset with a weight along (y, x), in HR pixels; default: 4 sigma.
    """

    kind: Literal["gaussian"] = "gaussian"
    sigma: tuple[Length, Length]
    radius: tuple[Length, Length] | None = None

    def factors(self) -> list[SeparableFactor]:
        """Return the separable terms: one."""
        # Half a pixel at least, so that a PSF between two pixel centres still finds both.
        reach = self.radius or (max(4 * self.sigma[0], 0.5), max(4 * self.sigma[1], 0.5))
        return [SeparableFactor(*map(_gaussian, self.sigma, reach))]


class BoxPsf(Settings):
    """Uniform over a rectangle; pixels that it covers in part count in part.

    Attributes:
        width: full width along (y, x), in HR pixels.
    """

    kind: Literal["box"] = "box"
    width: tuple[Length, Length]

    def factors(self) -> list[SeparableFactor]:
        """Return the separable terms: one."""
        return [SeparableFactor(*map(_box, self.width))]


class KernelPsf(Settings):
    """Any kernel given on the HR grid, its centre at ((rows - 1) / 2, (cols - 1) / 2); made to sum to 1.

    At sampling positions between pixel centres the kernel is interpolated linearly. ``weights[i][j]`` is the weight
    of the pixel at offset (i, j) from the centre (a correlation kernel; flip it for a convolution kernel).

    Attributes:
        weights: of the pixels, rows of one length.
        box: full width along (y, x) of a rectangle, in HR pixels, such as a detector, over which what the kernel has
            blurred is averaged; pixels that it covers in part count in part, so that no position is interpolated.
    """

    kind: Literal["kernel"] = "kernel"
    weights: tuple[tuple[float, ...], ...]
    box: tuple[Length, Length] | None = None

    @field_validator("weights")
    @classmethod
    def _check(cls, weights: tuple[tuple[float, ...], ...]) -> tuple[tuple[float, ...], ...]:
        if not weights or not weights[0] or len({len(row) for row in weights}) != 1:
            raise ValueError("a kernel needs rows of one length")
        array = np.asarray(weights)
        if not np.isfinite(array).all() or abs(array.sum()) < 1e-12:
            raise ValueError("a kernel needs finite weights with a sum other than 0")
        return weights

    def factors(self) -> list[SeparableFactor]:
        """Return as many separable terms as the kernel has singular values: their sum is the kernel exactly."""
        kernel = np.asarray(self.weights, np.float64)
        kernel = kernel / kernel.sum()
        left, values, right = np.linalg.svd(kernel)
        keep = values > values[0] * 1e-12
        along_y, along_x = (
            (_sampled, _sampled) if self.box is None else (partial(_averaged, width) for width in self.box)
        )
        return [
            SeparableFactor(along_y(value * column), along_x(row))
            for value, column, row in zip(values[keep], left.T, right, strict=False)
        ]


def convolution_psf(kernel: ArrayLike, box: Pair | None = None) -> KernelPsf:
    """Return the PSF of an image that was convolved with a kernel, stated in float32 or better.

    Args:
        kernel: (rows, cols), made to sum to 1; its centre lies at ((rows - 1) / 2, (cols - 1) / 2).
        box: see :class:`KernelPsf`.

    Raises:
        InputError: not two-dimensional, not finite, or of sum 0.

    Example:
        >>> [round(weight, 3) for weight in convolution_psf([[0.0, 0.25, 0.75]]).weights[0]]
        [0.75, 0.25, 0.0]
    """
    weights = np.asarray(kernel, np.float64)
    if weights.ndim != 2 or not np.isfinite(weights).all() or abs(weights.sum()) < 1e-12:
        raise InputError(f"a kernel is a finite image (rows, cols) of a sum other than 0, got {weights.shape}", "psf")
    left, values, right = np.linalg.svd(weights[::-1, ::-1] / weights.sum())
    # Terms of rounding alone would cost as much as the others.
    count = int((values > values[0] * _ROUNDING).sum())
    exact = (left[:, :count] * values[:count]) @ right[:count]
    exact[np.abs(exact) < _ROUNDING**2] = 0.0
    return KernelPsf(weights=tuple(map(tuple, exact.tolist())), box=box)


Psf = Annotated[GaussianPsf | BoxPsf | KernelPsf, Field(discriminator="kind")]


def number_pair(value: Any, name: str) -> tuple[float, float]:
    """Return one number, or a pair along (y, x), as a pair; ``name`` is the parameter that an error names.

    Raises:
        InputError: anything else, or numbers that are not finite.
    """
    try:
        values = np.atleast_1d(np.asarray(value, dtype=np.float64)).ravel()
    except (TypeError, ValueError, OverflowError):
        values = np.empty(0)
    if values.size not in (1, 2) or not np.isfinite(values).all():
        raise InputError(f"the {name} is one number or a pair (y, x), got {shortened(repr(value))}", parameter=name)
    return float(values[0]), float(values[-1])


def ratio_pair(value: Any) -> tuple[float, float]:
    """Return the ratio along (y, x) of one number or a pair.

    Raises:
        InputError: anything else, or a ratio below 1 or beyond any sensor's.
    """
    ratio = number_pair(value, "ratio")
    if min(ratio) < 1:
        raise InputError(
            f"a ratio is 1 or more, got {min(ratio):g}: it counts MSI pixels per HSI pixel; are HSI and MSI swapped?",
            parameter="ratio",
        )
    if max(ratio) > _LONGEST:
        raise InputError(
            f"a ratio of {max(ratio):.6g} MSI pixels per HSI pixel is beyond {_LONGEST}; are the pixel sizes right?",
            parameter="ratio",
        )
    return ratio


def gaussian_from_fwhm(fwhm: Pair) -> GaussianPsf:
    """Return the Gaussian of the given full width at half maximum along (y, x), in HR pixels."""
    factor = 2 * math.sqrt(2 * math.log(2))
    return GaussianPsf(sigma=(fwhm[0] / factor, fwhm[1] / factor))


def gaussian_from_mtf(mtf_at_nyquist: float, ratio: Pair, radius: Pair | None = None) -> GaussianPsf:
    """Return the Gaussian whose modulation at the Nyquist frequency of the LR grid is ``mtf_at_nyquist``.

    The Fourier transform of a Gaussian is ``exp(-2 (pi sigma f)^2)``; at ``f = 1 / (2 ratio)`` it is the modulation
    ``m`` for ``sigma = ratio sqrt(2 ln(1/m)) / pi``, 0.494 ratio for m = 0.3 (Aiazzi et al., 2006).
    """
    if not 0 < mtf_at_nyquist < 1:
        raise InputError(f"the modulation at Nyquist lies between 0 and 1, got {mtf_at_nyquist}")
    factor = math.sqrt(2 * math.log(1 / mtf_at_nyquist)) / math.pi
    if factor * max(ratio) > _LONGEST:
        raise InputError(
            f"a modulation of {mtf_at_nyquist:g} at Nyquist makes a PSF wider than {_LONGEST} MSI pixels", "psf"
        )
    return GaussianPsf(sigma=(factor * ratio[0], factor * ratio[1]), radius=radius)


@checked
def create_psf(text: str, ratio: Pair) -> GaussianPsf | BoxPsf:
    """Build a PSF from its text form.

    Args:
        text: ``sigma:S`` or ``sigma:SY,SX`` (HR pixels), ``fwhm:F``, ``mtf:M`` (modulation at the Nyquist frequency
            of the LR grid), ``box`` (as wide as an LR pixel) or ``box:W``.
        ratio: HR pixels per LR pixel along (y, x).

    Raises:
        InputError: a text that is none of these, or a PSF or ratio beyond any sensor's.
    """
    ratio, (kind, _, rest) = ratio_pair(ratio), text.partition(":")
    try:
        numbers = [float(part) for part in rest.split(",")] if rest else []
    except ValueError:
        numbers = []
    pair = (numbers[0], numbers[-1]) if len(numbers) in (1, 2) and all(0 < n < math.inf for n in numbers) else None
    if pair is not None and max(pair) > _LONGEST:
        raise InputError(f"the PSF {text!r} is wider than {_LONGEST} MSI pixels; its unit is the MSI pixel", "psf")
    match kind, pair:
        case "sigma", (y, x):
            return GaussianPsf(sigma=(y, x))
        case "fwhm", (y, x):
            return gaussian_from_fwhm((y, x))
        case "mtf", (modulation, _) if len(numbers) == 1:
            return gaussian_from_mtf(modulation, ratio)
        case "box", (y, x):
            return BoxPsf(width=(y, x))
        case "box", None if not rest:
            return BoxPsf(width=ratio)
    raise InputError(
        f"no PSF {text!r}; write sigma:1.5, sigma:1.5,2 (y,x), fwhm:3, mtf:0.3, box or box:4", parameter="psf"
    )


def _gaussian(sigma: float, radius: float) -> AxisProfile:
    return AxisProfile(lambda offset: np.exp(-0.5 * (offset / sigma) ** 2), radius)


def _box(width: float) -> AxisProfile:
    def overlap(offset: Floats) -> Floats:
        low = np.maximum(offset - 0.5, -width / 2)
        return np.asarray(np.clip(np.minimum(offset + 0.5, width / 2) - low, 0, None))

    return AxisProfile(overlap, (width + 1) / 2)


def _averaged(width: float, weights: Floats) -> AxisProfile:
    box, centres = _box(width), np.arange(weights.size) - (weights.size - 1) / 2

    def weight(offset: Floats) -> Floats:
        return np.asarray(sum(one * box.at(offset - at) for one, at in zip(weights, centres, strict=True)) / width)

    return AxisProfile(weight, centres[-1] + box.radius, normalise=False)


def _sampled(weights: Floats) -> AxisProfile:
    # A zero on either side lets the interpolation run out linearly, which keeps the sum at any position.
    radius = (weights.size + 1) / 2
    grid, padded = np.arange(-radius, radius + 0.5), np.pad(weights, 1)
    return AxisProfile(lambda offset: np.interp(offset, grid, padded, left=0.0, right=0.0), radius, normalise=False)
