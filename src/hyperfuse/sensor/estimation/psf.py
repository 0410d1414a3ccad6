"""The PSF of the HSI from the images alone: the one through which its spectra explain the MSI best."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar

from hyperfuse.sensor.estimation.fit import Array, HeldOutFit, principal_images
from hyperfuse.sensor.estimation.noise import noise_gain, pixel_noise
from hyperfuse.sensor.estimation.sampling import PairPart, from_each, lr_positions, side_by_side
from hyperfuse.sensor.estimation.views import COMPONENTS, mix
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.psf import BoxPsf, GaussianPsf
from hyperfuse.sensor.published import PsfPrior
from hyperfuse.statistics.folds import BLOCK

_WINDOW, _MIN_WINDOW = 64, 20  # LR pixels along a side of the window that is used, of one part and of many
# Standard deviations searched, in LR pixels, and at least in HR pixels: narrower ones sample single HR pixels.
_NARROWEST, _WIDEST, _NARROWEST_HR = 0.08, 1.5, 0.25
_LOG_WIDTHS = (math.log(_NARROWEST), math.log(_WIDEST))
_STARTS = 13
_USUAL_WIDTH = 0.494  # standard deviation of a modulation of 0.3 at Nyquist, in LR pixels
_BOX_DEVIATIONS = math.sqrt(12)  # in the width of a box
# A width changed by this factor must make a difference beyond chance, or the width is not accepted.
_TESTED_FACTOR = 1.3
_EVIDENCE = 2.0  # log-likelihood
_CLOSE = 1.0  # in the log fraction of variance that is not explained
_GAIN_PIXELS = 256  # LR pixels from which the mean noise gain is taken


@dataclass(frozen=True)
class PsfFit:
    """What :func:`fit_psf` found.

    Attributes:
        psf: Gaussian or box.
        evidence: log-likelihood lost by a width 1.3 times as large or small, the smaller of the two.
        at_limit: the best width is the narrowest or widest tried.
        shift: to add to the assumed phase along (y, x), in HR pixels; 0 where it was not free.
    """

    psf: GaussianPsf | BoxPsf
    evidence: float
    at_limit: bool
    shift: tuple[float, float] = (0.0, 0.0)

    @property
    def accepted(self) -> bool:
        """Whether the images determine the width."""
        return self.evidence >= _EVIDENCE and not self.at_limit


def fit_psf(parts: Sequence[PairPart], *, free_phase: bool = False, prior: PsfPrior | None = None) -> PsfFit:
    """Find the Gaussian, or box, through which the MSI is best predicted from the HSI's spectra.

    Both images come from one scene, ``hsi = degrade(X)`` and ``msi = R X``, so that ``R hsi = degrade(msi)``: the
    equation from which Simoes et al. (IEEE TGRS 53(6), 2015, HySure) estimate blur and responses alternately. Here any
    linear map stands for R, one for all parts of a scene, and the width is what maximises the squared correlation
    between prediction and degraded MSI, on LR pixels held out of the fit of the map. By Cauchy and Schwarz the
    correlation is greatest for the true blur whatever the noise of the HSI, unlike the plain residual, which shrinks as
    any blur widens. With ``free_phase`` the error of the phase is found too: where the PSF is narrow, a wrong phase
    looks like another blur. What is published of the sensor (``prior``) is the prior of the logarithm of the width. Too
    few LR pixels on the MSI are an InputError.
    """
    view = _View(parts, prior)
    ratio = parts[0].sensor.ratio
    start = _USUAL_WIDTH if prior is None else prior.width
    psf: GaussianPsf | BoxPsf = GaussianPsf(sigma=(start * ratio[0], start * ratio[1]))
    for _ in range(2):  # the ridge of the regression is chosen for the blur, and the other way round
        view.tune(psf)
        gaussian = _search(view, _gaussian(ratio))
        psf = gaussian.psf
    box = _search(view, _box(ratio))
    if free_phase:
        # An error of the phase can swap the order of the two, but not by any amount.
        limit = min(gaussian.cost, box.cost) + _CLOSE
        gaussian, box = (_with_phase(view, one) if one.cost < limit else one for one in (gaussian, box))
    best = box if box.cost < gaussian.cost - 2 / view.blocks else gaussian

    def cost(widths: Array) -> float:
        return view.cost(best.family(*np.exp(widths).tolist()), best.shift)

    both = np.log([best.width, best.width])
    uneven = _minimum(cost, both, [math.log(1.15)] * 2, [_LOG_WIDTHS] * 2, xatol=1e-3, fatol=1e-5, maxfev=60)
    # Another width along x than along y is one more parameter: it must explain more than that.
    lowest = best.cost
    if float(uneven.fun) < best.cost - 2 / view.blocks:
        both, lowest = uneven.x, float(uneven.fun)
    other = min(cost(both + by) for by in (math.log(_TESTED_FACTOR), -math.log(_TESTED_FACTOR)))
    return PsfFit(best.family(*np.exp(both).tolist()), view.blocks * (other - lowest) / 2, best.at_limit, best.shift)


Family = Callable[[float, float], GaussianPsf | BoxPsf]


class _Candidate(NamedTuple):
    """The best width of a family along both axes, in LR pixels, its cost, and whether it lies at a limit."""

    family: Family
    width: float
    cost: float
    at_limit: bool
    shift: tuple[float, float] = (0.0, 0.0)

    @property
    def psf(self) -> GaussianPsf | BoxPsf:
        return self.family(self.width, self.width)


def _gaussian(ratio: tuple[float, float]) -> Family:
    """Return Gaussians by their standard deviations in LR pixels."""
    return lambda y, x: GaussianPsf(sigma=(max(y * ratio[0], _NARROWEST_HR), max(x * ratio[1], _NARROWEST_HR)))


def _box(ratio: tuple[float, float]) -> Family:
    """Return boxes by their standard deviations in LR pixels; no narrower than an HR pixel."""
    return lambda y, x: BoxPsf(
        width=(max(_BOX_DEVIATIONS * y * ratio[0], 1.0), max(_BOX_DEVIATIONS * x * ratio[1], 1.0))
    )


def _search(view: _View, family: Family) -> _Candidate:
    widths = np.geomspace(_NARROWEST, _WIDEST, _STARTS)
    costs = [view.cost(family(width, width)) for width in widths]
    best = int(np.argmin(costs))
    at_limit = best in (0, _STARTS - 1)
    low, high = np.log(widths[max(best - 1, 0)]), np.log(widths[min(best + 1, _STARTS - 1)])
    found = minimize_scalar(
        lambda log: view.cost(family(math.exp(log), math.exp(log))), bounds=(low, high), options={"xatol": 1e-3}
    )
    if found.fun < costs[best]:
        return _Candidate(family, math.exp(found.x), float(found.fun), at_limit)
    return _Candidate(family, float(widths[best]), costs[best], at_limit)


def _with_phase(view: _View, start: _Candidate) -> _Candidate:
    """Refine a width together with the phase."""

    def cost(x: Array) -> float:
        return view.cost(start.family(math.exp(x[0]), math.exp(x[0])), (x[1], x[2]))

    corner = np.array([math.log(start.width), 0.0, 0.0])
    bounds = [_LOG_WIDTHS, (-1.0, 1.0), (-1.0, 1.0)]
    found = _minimum(cost, corner, [0.1, 0.2, 0.2], bounds, xatol=2e-3, fatol=1e-4, maxfev=150)
    if not float(found.fun) < start.cost:
        return start
    width, y, x = math.exp(found.x[0]), float(found.x[1]), float(found.x[2])
    return start._replace(width=width, cost=float(found.fun), shift=(y, x))


def _minimum(
    cost: Callable[[Array], float],
    start: Array,
    steps: Sequence[float],
    bounds: list[tuple[float, float]],
    **stop: float,
) -> Any:
    """Return what scipy's Nelder-Mead search finds from a simplex of ``start`` and a step along each axis."""
    simplex = np.vstack([start, start + np.diag(steps)])
    return minimize(cost, start, method="Nelder-Mead", bounds=bounds, options={"initial_simplex": simplex, **stop})


class _Window(NamedTuple):
    """LR pixels of a part, the components of the MSI in place of the MSI, and the noise of each."""

    part: PairPart
    pixels: NDArray[np.int64]
    noise: Array

    def passed_noise(self, sensor: Sensor) -> Array:
        """Return the noise of each component that the PSF passes, summed over the pixels, (k,)."""
        some = self.pixels[:: max(1, len(self.pixels) // _GAIN_PIXELS)]
        return np.asarray(self.noise * len(self.pixels) * noise_gain(lr_positions(sensor, some), sensor.psf)[0].mean())


def _cut(part: PairPart, side: int) -> tuple[PairPart, NDArray[np.int64]]:
    """Return a window of ``side`` LR pixels from the centre of those on the MSI, with the MSI around it; the pixels."""
    sensor, fine = part.sensor, np.array(part.msi.shape[-2:])
    pixels = part.enough_pixels(max(sensor.ratio))
    centre = pixels[np.abs(pixels - np.median(pixels, axis=0)).max(axis=1).argmin()]
    near = pixels[np.abs(pixels - centre).max(axis=1) < side // 2]
    low, high = near.min(axis=0), near.max(axis=0) + 1
    reach = 4 * _WIDEST * np.array(sensor.ratio)
    positions = lr_positions(sensor, near)
    start = np.maximum(0, np.floor(positions.min(axis=0) - reach)).astype(int)
    stop = np.minimum(fine, np.ceil(positions.max(axis=0) + reach) + 1).astype(int)
    hsi = part.hsi[:, low[0] : high[0], low[1] : high[1]]
    msi = part.msi[:, start[0] : stop[0], start[1] : stop[1]]
    y, x = (np.asarray(sensor.offset) + np.asarray(sensor.ratio) * low - start).tolist()
    window = sensor.window((int(low[0]), int(low[1])), (y, x))
    return PairPart(hsi, msi, window.replace(boundary="reflect")), near - low


class _View:
    """Windows of all parts, their spectra as one held-out fit, and components of the MSI that are common to them."""

    def __init__(self, parts: Sequence[PairPart], prior: PsfPrior | None) -> None:
        known = prior is not None and prior.log_deviation is not None
        self.prior = prior if known else None
        self.ratio = parts[0].sensor.ratio
        # A blur is the same everywhere: several parts make up about as many pixels as one.
        side = max(_MIN_WINDOW, round(_WINDOW / math.sqrt(len(parts))))
        cuts = from_each(parts, lambda part: _cut(part, side))
        self.pixels = side_by_side([pixels for _, pixels in cuts])
        self.spectra: Array = np.concatenate([part.spectra(pixels) for part, pixels in cuts])
        self.fit = HeldOutFit(self.spectra, self.pixels)
        matrix = principal_images(np.concatenate([part.degraded(pixels) for part, pixels in cuts]), COMPONENTS)
        self.windows = []
        for part, pixels in cuts:
            image = mix(matrix, part.msi)
            self.windows.append(_Window(replace(part, msi=image), pixels, pixel_noise(image)))
        self.blocks = len(self.pixels) / BLOCK**2  # pixels of a block share errors and count as one

    def tune(self, psf: GaussianPsf | BoxPsf) -> None:
        """Choose the ridge of the regression for a PSF."""
        self.fit = HeldOutFit.choose(self.spectra, self.pixels, self._sampled(psf, (0.0, 0.0))[0])

    def cost(self, psf: GaussianPsf | BoxPsf, shift: tuple[float, float] = (0.0, 0.0)) -> float:
        """Return the mean log fraction of variance that is not explained through a PSF, at a shifted phase.

        With a prior, minus two log-likelihoods of the width per block are added.
        """
        return float(np.log(self.fit.unexplained(*self._sampled(psf, shift))).mean()) + self._improbability(psf)

    def _improbability(self, psf: GaussianPsf | BoxPsf) -> float:
        if self.prior is None or self.prior.log_deviation is None:
            return 0.0
        widths = psf.sigma if isinstance(psf, GaussianPsf) else [width / _BOX_DEVIATIONS for width in psf.width]
        logs = np.log([width / ratio / self.prior.width for width, ratio in zip(widths, self.ratio, strict=True)])
        return float((np.square(logs) / self.prior.log_deviation**2).mean() / self.blocks)

    def _sampled(self, psf: GaussianPsf | BoxPsf, shift: tuple[float, float]) -> tuple[Array, Array]:
        """Return the degraded components, (n, k), and the noise that the PSF passes, which would count against it."""
        moved = [(window, window.part.moved(shift, psf)) for window in self.windows]
        sampled = np.concatenate([part.degraded(window.pixels) for window, part in moved])
        return sampled, np.sum([window.passed_noise(part.sensor) for window, part in moved], axis=0)
