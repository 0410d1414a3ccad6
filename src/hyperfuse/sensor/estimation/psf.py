"""The blur of the HSI from the pair alone: the PSF through which its spectra explain the MSI best."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar

from hyperfuse.errors import InputError
from hyperfuse.sensor.estimation.fit import LEAST_PIXELS, Array, HeldOutFit, principal_images
from hyperfuse.sensor.estimation.noise import noise_gain, pixel_noise
from hyperfuse.sensor.estimation.sampling import inner_pixels, lr_positions
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.psf import BoxPsf, GaussianPsf
from hyperfuse.statistics.folds import BLOCK

# Components of the MSI that are compared; later ones are mostly noise.
_COMPONENTS = 4
# LR pixels along one side of the window that is looked at: a blur is the same everywhere.
_WINDOW = 64
# Standard deviations searched, in LR pixels, and at least in HR pixels: narrower ones sample single HR pixels.
_NARROWEST, _WIDEST, _NARROWEST_HR = 0.08, 1.5, 0.25
_STARTS = 13
# A width changed by this factor must make a difference beyond chance, or the pair does not tell the width.
_DOUBT = 1.3
_EVIDENCE = 2.0  # log-likelihood
_CLOSE = 1.0  # in the log share of variance that is not explained
_GAIN_PIXELS = 256  # LR pixels from which the mean noise gain is taken


@dataclass(frozen=True)
class PsfFit:
    """What :func:`fit_psf` found.

    Attributes:
        psf: Gaussian or box.
        evidence: log-likelihood lost by a width 1.3 times as large or small, the smaller of the two.
        at_limit: the best width is the narrowest or widest tried.
        unexplained: mean over the MSI's components of the log share of variance that the HSI does not explain.
        shift: by how much the sensor's phase is off along (y, x), in HR pixels; 0 unless it was left free.
    """

    psf: GaussianPsf | BoxPsf
    evidence: float
    at_limit: bool
    unexplained: float
    shift: tuple[float, float] = (0.0, 0.0)

    @property
    def trusted(self) -> bool:
        """Whether the pair tells the width."""
        return self.evidence >= _EVIDENCE and not self.at_limit


def fit_psf(
    hsi: torch.Tensor,
    msi: torch.Tensor,
    sensor: Sensor,
    *,
    free_phase: bool = False,
    hsi_valid: torch.Tensor | None = None,
    msi_valid: torch.Tensor | None = None,
) -> PsfFit:
    """Find the Gaussian, or box, through which the MSI is best predicted from the HSI's spectra.

    Both images come from one scene, ``hsi = degrade(X)`` and ``msi = R X``, so that ``R hsi = degrade(msi)``: the
    equation from which Simoes et al. (IEEE TGRS 53(6), 2015, HySure) estimate blur and responses by turns. Here any
    linear map stands for R, and the width is what maximises the squared correlation between prediction and degraded
    MSI, on LR pixels held out of the fit of the map. By Cauchy and Schwarz the correlation is greatest for the true
    blur whatever the noise of the HSI, which the plain residual is not: it shrinks as any blur widens.

    Args:
        hsi: LR-HSI (bands, h, w), finite.
        msi: HR-MSI (msi_bands, H, W), finite.
        sensor: ratio and phase; its PSF is not used.
        free_phase: also find by how much the phase is off, with the width: a wrong phase looks like another blur where
            the PSF is narrow.
        hsi_valid: bool (h, w), or None where all is valid.
        msi_valid: bool (H, W), or None.

    Raises:
        InputError: too few LR pixels see the MSI.
    """
    view = _View.cut(hsi, msi, sensor, hsi_valid, msi_valid)
    ratio = sensor.ratio
    psf: GaussianPsf | BoxPsf = GaussianPsf(sigma=(0.494 * ratio[0], 0.494 * ratio[1]))
    for _ in range(2):  # the stiffness of the regression is chosen for the blur, and the other way round
        view.tune(psf)
        width, cost, at_limit = _search(view, _gaussian(ratio))
        psf = _gaussian(ratio)(width, width)
    found = [_search(view, _gaussian(ratio)), _search(view, _box(ratio))]
    families, shifts = (_gaussian(ratio), _box(ratio)), [(0.0, 0.0), (0.0, 0.0)]
    if free_phase:
        lowest = min(cost for _, cost, _ in found)
        for k, family in enumerate(families):
            # A phase that is a little off can turn the two round, but not by any amount.
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
    # Another width along x than along y is one more number: it must explain more than that.
    if float(both.fun) < cost - 2 / view.blocks:
        widths, cost = (math.exp(both.x[0]), math.exp(both.x[1])), float(both.fun)
    other = min(view.cost(family(widths[0] * by, widths[1] * by), shift) for by in (_DOUBT, 1 / _DOUBT))
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


class _View:
    """The part of a pair that is looked at, its spectra as a held-out fit, and the MSI's components."""

    def __init__(self, hsi: torch.Tensor, image: torch.Tensor, sensor: Sensor, places: NDArray[np.int64]) -> None:
        self.shape = (hsi.shape[-2], hsi.shape[-1])
        self.sensor, self.places = sensor, places
        self.spectra: Array = hsi[:, places[:, 0], places[:, 1]].T.double().cpu().numpy()
        self.fit = HeldOutFit(self.spectra, places)
        seen = self._seen(image, sensor)
        matrix = torch.as_tensor(principal_images(seen, _COMPONENTS).T, dtype=image.dtype, device=image.device)
        self.image = torch.einsum("kb,byx->kyx", matrix, image)
        self.noise = pixel_noise(self.image)
        self.blocks = len(places) / BLOCK**2  # pixels of a block share errors and count as one

    @classmethod
    def cut(
        cls,
        hsi: torch.Tensor,
        msi: torch.Tensor,
        sensor: Sensor,
        hsi_valid: torch.Tensor | None,
        msi_valid: torch.Tensor | None,
    ) -> _View:
        """Cut a window of LR pixels from the middle of those that see the MSI, with the MSI around it."""
        fine = (msi.shape[-2], msi.shape[-1])
        margin = max(sensor.ratio)
        while True:
            places = inner_pixels(
                sensor, (hsi.shape[-2], hsi.shape[-1]), fine, margin, hsi_valid=hsi_valid, msi_valid=msi_valid
            )
            if len(places) >= 2 * LEAST_PIXELS or (margin < 0.5 and len(places) >= LEAST_PIXELS):
                break
            if margin < 0.5:
                raise InputError(
                    f"only {len(places)} LR pixels see the MSI; {LEAST_PIXELS} are needed to estimate a PSF"
                )
            margin /= 2
        middle = places[np.abs(places - np.median(places, axis=0)).max(axis=1).argmin()]
        near = places[np.abs(places - middle).max(axis=1) < _WINDOW // 2]
        low, high = near.min(axis=0), near.max(axis=0) + 1
        starts, phase, stops = [], [], []
        for axis in (0, 1):
            first = sensor.offset[axis] + sensor.ratio[axis] * low[axis]
            last = sensor.offset[axis] + sensor.ratio[axis] * (high[axis] - 1)
            reach = 4 * _WIDEST * sensor.ratio[axis]
            starts.append(max(0, math.floor(first - reach)))
            stops.append(min(fine[axis], math.ceil(last + reach) + 1))
            phase.append(first - starts[-1])
        part = hsi[:, low[0] : high[0], low[1] : high[1]]
        image = msi[:, starts[0] : stops[0], starts[1] : stops[1]]
        return cls(part, image, sensor.replace(phase=(phase[0], phase[1]), boundary="reflect"), near - low)

    def _seen(self, image: torch.Tensor, sensor: Sensor) -> Array:
        degraded = sensor.degrade(image, self.shape)[:, self.places[:, 0], self.places[:, 1]]
        return np.asarray(degraded.T.double().cpu().numpy())

    def tune(self, psf: GaussianPsf | BoxPsf) -> None:
        """Choose the stiffness of the regression for a PSF."""
        self.fit = HeldOutFit.choose(self.spectra, self.places, self._seen(self.image, self.sensor.replace(psf=psf)))

    def cost(self, psf: GaussianPsf | BoxPsf, shift: tuple[float, float] = (0.0, 0.0)) -> float:
        """Return the mean log share of variance that is not explained through a PSF, at a shifted phase."""
        y, x = self.sensor.offset
        sensor = self.sensor.replace(psf=psf, phase=(y + shift[0], x + shift[1]))
        seen = self._seen(self.image, sensor)
        # What a narrow blur lets through of the MSI's noise would count against it.
        some = self.places[:: max(1, len(self.places) // _GAIN_PIXELS)]
        noise = self.noise * len(self.places) * noise_gain(lr_positions(sensor, some), psf)[0].mean()
        return float(np.log(self.fit.unexplained(seen, noise)).mean())
