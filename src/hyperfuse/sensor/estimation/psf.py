"""The PSF of the HSI from the images alone: the one through which its spectra explain the MSI best."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar

from hyperfuse.sensor.estimation.fit import Array, HeldOutFit, principal_images
from hyperfuse.sensor.estimation.noise import noise_gain, pixel_noise
from hyperfuse.sensor.estimation.sampling import PairPart, from_each, lr_positions, side_by_side
from hyperfuse.sensor.estimation.views import mix
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.psf import BoxPsf, GaussianPsf
from hyperfuse.statistics.folds import BLOCK

# Components of the MSI that are compared; later ones are mostly noise.
_COMPONENTS = 4
_WINDOW, _MIN_WINDOW = 64, 20  # LR pixels along a side of the window that is used, of one part and of many
# Standard deviations searched, in LR pixels, and at least in HR pixels: narrower ones sample single HR pixels.
_NARROWEST, _WIDEST, _NARROWEST_HR = 0.08, 1.5, 0.25
_STARTS = 13
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
        unexplained: mean over the MSI's components of the log fraction of variance that the HSI does not explain.
        shift: to add to the assumed phase along (y, x), in HR pixels; 0 where it was not free.
    """

    psf: GaussianPsf | BoxPsf
    evidence: float
    at_limit: bool
    unexplained: float
    shift: tuple[float, float] = (0.0, 0.0)

    @property
    def accepted(self) -> bool:
        """Whether the images determine the width."""
        return self.evidence >= _EVIDENCE and not self.at_limit


def fit_psf(parts: Sequence[PairPart], *, free_phase: bool = False) -> PsfFit:
    """Find the Gaussian, or box, through which the MSI is best predicted from the HSI's spectra.

    Both images come from one scene, ``hsi = degrade(X)`` and ``msi = R X``, so that ``R hsi = degrade(msi)``: the
    equation from which Simoes et al. (IEEE TGRS 53(6), 2015, HySure) estimate blur and responses alternately. Here any
    linear map stands for R, one for all parts, and the width is what maximises the squared correlation between
    prediction and degraded MSI, on LR pixels held out of the fit of the map. By Cauchy and Schwarz the correlation is
    greatest for the true blur whatever the noise of the HSI, unlike the plain residual, which shrinks as any blur
    widens.

    Args:
        parts: one or several of a scene, with ratio and phase; their PSF is not used.
        free_phase: also find the error of the phase, with the width: where the PSF is narrow, a wrong phase looks like
            another blur.

    Raises:
        InputError: too few LR pixels lie on the MSI.
    """
    view = _View(parts)
    ratio = parts[0].sensor.ratio
    psf: GaussianPsf | BoxPsf = GaussianPsf(sigma=(0.494 * ratio[0], 0.494 * ratio[1]))
    for _ in range(2):  # the ridge of the regression is chosen for the blur, and the other way round
        view.tune(psf)
        width, cost, at_limit = _search(view, _gaussian(ratio))
        psf = _gaussian(ratio)(width, width)
    found = [_search(view, _gaussian(ratio)), _search(view, _box(ratio))]
    families, shifts = (_gaussian(ratio), _box(ratio)), [(0.0, 0.0), (0.0, 0.0)]
    if free_phase:
        lowest = min(cost for _, cost, _ in found)
        for k, family in enumerate(families):
            # An error of the phase can swap the order of the two, but not by any amount.
            if found[k][1] < lowest + _CLOSE:
                found[k], shifts[k] = _with_phase(view, family, found[k])
    best = 1 if found[1][1] < found[0][1] - 2 / view.blocks else 0
    family, shift, (width, cost, at_limit) = families[best], shifts[best], found[best]
    both = minimize(
        lambda logs: view.cost(family(math.exp(logs[0]), math.exp(logs[1])), shift),
        np.log([width, width]),
        method="Nelder-Mead",
        bounds=[(math.log(_NARROWEST), math.log(_WIDEST))] * 2,
        options={
            "initial_simplex": np.log([[width, width], [1.15 * width, width], [width, 1.15 * width]]),
            "xatol": 1e-3,
            "fatol": 1e-5,
            "maxfev": 60,
        },
    )
    widths = (width, width)
    # Another width along x than along y is one more parameter: it must explain more than that.
    if float(both.fun) < cost - 2 / view.blocks:
        widths, cost = (math.exp(both.x[0]), math.exp(both.x[1])), float(both.fun)
    other = min(view.cost(family(widths[0] * by, widths[1] * by), shift) for by in (_TESTED_FACTOR, 1 / _TESTED_FACTOR))
    return PsfFit(family(*widths), view.blocks * (other - cost) / 2, at_limit, cost, shift)


Family = Callable[[float, float], GaussianPsf | BoxPsf]


def _gaussian(ratio: tuple[float, float]) -> Family:
    """Return Gaussians by their standard deviations in LR pixels."""
    return lambda y, x: GaussianPsf(sigma=(max(y * ratio[0], _NARROWEST_HR), max(x * ratio[1], _NARROWEST_HR)))


def _box(ratio: tuple[float, float]) -> Family:
    """Return boxes by their standard deviations in LR pixels; no narrower than an HR pixel."""
    full = math.sqrt(12)
    return lambda y, x: BoxPsf(width=(max(full * y * ratio[0], 1.0), max(full * x * ratio[1], 1.0)))


def _search(view: _View, family: Family) -> tuple[float, float, bool]:
    """Return the best width along both axes, its cost, and whether it lies at a limit."""
    widths = np.geomspace(_NARROWEST, _WIDEST, _STARTS)
    costs = [view.cost(family(width, width)) for width in widths]
    best = int(np.argmin(costs))
    low, high = np.log(widths[max(best - 1, 0)]), np.log(widths[min(best + 1, _STARTS - 1)])
    found = minimize_scalar(
        lambda log: view.cost(family(math.exp(log), math.exp(log))), bounds=(low, high), options={"xatol": 1e-3}
    )
    if found.fun < costs[best]:
        return math.exp(found.x), float(found.fun), best in (0, _STARTS - 1)
    return float(widths[best]), float(costs[best]), best in (0, _STARTS - 1)


def _with_phase(
    view: _View, family: Family, start: tuple[float, float, bool]
) -> tuple[tuple[float, float, bool], tuple[float, float]]:
    """Refine a width together with the phase; return what :func:`_search` returns, and the shift of the phase."""
    width, cost, at_limit = start
    corner = np.array([math.log(width), 0.0, 0.0])
    found = minimize(
        lambda x: view.cost(family(math.exp(x[0]), math.exp(x[0])), (x[1], x[2])),
        corner,
        method="Nelder-Mead",
        bounds=[(math.log(_NARROWEST), math.log(_WIDEST)), (-1, 1), (-1, 1)],
        options={
            "initial_simplex": np.vstack([corner, corner + np.diag([0.1, 0.2, 0.2])]),
            "xatol": 2e-3,
            "fatol": 1e-4,
            "maxfev": 150,
        },
    )
    if not float(found.fun) < cost:
        return start, (0.0, 0.0)
    return (math.exp(found.x[0]), float(found.fun), at_limit), (float(found.x[1]), float(found.x[2]))


@dataclass(eq=False)
class _Window:
    """The LR pixels of a part that are used, and the image that is degraded to them: the MSI, then its components."""

    part: PairPart
    pixels: NDArray[np.int64]
    noise: Array

    @classmethod
    def cut(cls, part: PairPart, side: int) -> _Window:
        """Cut a window of ``side`` LR pixels from the centre of those that lie on the MSI, with the MSI around it."""
        sensor, fine = part.sensor, part.hr_shape
        pixels = part.enough_pixels(max(sensor.ratio))
        centre = pixels[np.abs(pixels - np.median(pixels, axis=0)).max(axis=1).argmin()]
        near = pixels[np.abs(pixels - centre).max(axis=1) < side // 2]
        low, high = near.min(axis=0), near.max(axis=0) + 1
        starts, phase, stops = [], [], []
        for axis in (0, 1):
            first = sensor.offset[axis] + sensor.ratio[axis] * low[axis]
            last = sensor.offset[axis] + sensor.ratio[axis] * (high[axis] - 1)
            reach = 4 * _WIDEST * sensor.ratio[axis]
            starts.append(max(0, math.floor(first - reach)))
            stops.append(min(fine[axis], math.ceil(last + reach) + 1))
            phase.append(first - starts[-1])
        hsi = part.hsi[:, low[0] : high[0], low[1] : high[1]]
        msi = part.msi[:, starts[0] : stops[0], starts[1] : stops[1]]
        inner = PairPart(hsi, msi, sensor.replace(phase=(phase[0], phase[1]), boundary="reflect"))
        return cls(inner, near - low, np.zeros(msi.shape[0]))

    def sampled(self, sensor: Sensor) -> Array:
        """Return the image as ``sensor`` degrades it to the pixels, (n, k)."""
        degraded = sensor.degrade(self.part.msi, self.part.lr_shape)[:, self.pixels[:, 0], self.pixels[:, 1]]
        return np.asarray(degraded.T.double().cpu().numpy())

    def mixed(self, matrix: Array) -> _Window:
        """Return the window with the components that ``matrix`` (bands, k) makes of the image, and their noise."""
        image = mix(matrix, self.part.msi)
        return _Window(replace(self.part, msi=image), self.pixels, pixel_noise(image))

    def passed_noise(self, sensor: Sensor) -> Array:
        """Return the noise of each component that the PSF passes, summed over the pixels, (k,)."""
        some = self.pixels[:: max(1, len(self.pixels) // _GAIN_PIXELS)]
        return np.asarray(self.noise * len(self.pixels) * noise_gain(lr_positions(sensor, some), sensor.psf)[0].mean())


class _View:
    """Windows of all parts, their spectra as one held-out fit, and components of the MSI that are common to them."""

    def __init__(self, parts: Sequence[PairPart]) -> None:
        # A blur is the same everywhere: several parts make up about as many pixels as one.
        side = max(_MIN_WINDOW, round(_WINDOW / math.sqrt(len(parts))))
        windows = from_each(parts, lambda part: _Window.cut(part, side))
        self.pixels = side_by_side([window.pixels for window in windows])
        self.spectra: Array = np.concatenate([window.part.spectra(window.pixels) for window in windows])
        self.fit = HeldOutFit(self.spectra, self.pixels)
        sampled = np.concatenate([window.sampled(window.part.sensor) for window in windows])
        matrix = principal_images(sampled, _COMPONENTS)
        self.windows = [window.mixed(matrix) for window in windows]
        self.blocks = len(self.pixels) / BLOCK**2  # pixels of a block share errors and count as one

    def tune(self, psf: GaussianPsf | BoxPsf) -> None:
        """Choose the ridge of the regression for a PSF."""
        sampled = np.concatenate([window.sampled(window.part.moved((0, 0), psf).sensor) for window in self.windows])
        self.fit = HeldOutFit.choose(self.spectra, self.pixels, sampled)

    def cost(self, psf: GaussianPsf | BoxPsf, shift: tuple[float, float] = (0.0, 0.0)) -> float:
        """Return the mean log fraction of variance that is not explained through a PSF, at a shifted phase."""
        sensors = [window.part.moved(shift, psf).sensor for window in self.windows]
        pairs = list(zip(self.windows, sensors, strict=True))
        sampled = np.concatenate([window.sampled(sensor) for window, sensor in pairs])
        # The noise of the MSI that a narrow PSF passes would count against it.
        noise = np.sum([window.passed_noise(sensor) for window, sensor in pairs], axis=0)
        return float(np.log(self.fit.unexplained(sampled, noise)).mean())
