"""Spectral responses of the MSI from the images: non-negative, smooth, and no wider than the images require."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from hyperfuse.errors import InputError
from hyperfuse.sensor.estimation.fit import LEAST_PIXELS, Array, without_noise
from hyperfuse.sensor.estimation.radiometry import RadiometricModel, RadiometryFit, excess, explained_fraction
from hyperfuse.statistics.folds import block_labels, position_folds

# Stiffnesses tried, relative to the mean variance of the bands: of steps between neighbouring weights, and of weights
# away from the window that by itself explains the MSI band best; the stiffest first.
_SMOOTHNESS = (1e-2, 1e-5, 1e-8)
_LOCALITY = (1.0, 1e-2, 1e-4, 1e-6, 0.0)
_NOMINAL = (1e4, 1.0, 1e-2)  # of weights away from a response that is known beforehand
_RIDGE = 1e-10
# A stiffer response is taken where its additional error is not significant: at most this many standard errors, and at
# most this fraction of the best error plus this fraction of the band's variance.
_TOLERANCE = 1.0
_TOLERATED_FRACTION = 0.2
_TOLERATED_VARIANCE = 1e-4
_SUM_WEIGHT = 1e4  # of the row of ones that holds the sum at 1, relative to the mean variance of the bands
_FARTHEST = 20.0  # half widths of the window, beyond which penalties do not grow


@dataclass(frozen=True)
class SrfFit(RadiometryFit):
    """What :func:`fit_srf` found: ``msi = gain * (matrix @ hsi) + offset``, gain 0 where no response explains a band.

    Attributes:
        matrix: (msi_bands, hsi_bands), non-negative, rows sum to 1; equal weights where no response explains the band.
        kept: (msi_bands,), True where it is the response that was known beforehand.
    """

    matrix: Array
    kept: NDArray[np.bool_]


def fit_srf(
    spectra: Array,
    targets: Array,
    pixels: NDArray[np.int64],
    wavelengths: Array | None = None,
    prior: Array | None = None,
) -> SrfFit:
    """Estimate the responses that turn HSI spectra into the degraded MSI.

    For every MSI band z, ``min_{r >= 0, o} |Y r + o - z|^2 + a |D r|^2 + b |W r|^2``: non-negative least squares with
    steps D between neighbouring bands held small, as in Simoes et al. (IEEE TGRS 53(6), 2015) and Lanaras et al. (IEEE
    JSTARS 10(1), 2017), and a penalty W on weights away from the window of bands whose mean explains z best. ``a`` and
    ``b`` are the stiffest whose error on held-out blocks of pixels is that of the best (one standard error): where the
    images determine no more, responses stay compact. Sum 1 and no offset, where held-out pixels show no significant
    gain, or gain and offset. Fewer than ``LEAST_PIXELS`` pixels are an InputError.

    Args:
        spectra: HSI pixels (pixels, hsi_bands).
        targets: the MSI degraded to the same pixels (pixels, msi_bands).
        pixels: (row, col) of each pixel on the LR grid, (pixels, 2).
        wavelengths: centres of the HSI bands in nm, any order; without them the order of the bands defines neighbours.
        prior: responses that are known beforehand, (msi_bands, hsi_bands), rows of NaN where they are not. ``c |r - p
            sum(r)|^2`` holds a band at its response p up to a gain; the largest c is taken whose error is that of the
            best, so that it is p itself unless held-out pixels show another.
    """
    if len(spectra) < LEAST_PIXELS:
        raise InputError(f"{len(spectra)} LR pixels are too few to estimate responses from; {LEAST_PIXELS} are needed")
    axis = _Axis.of(spectra.shape[1], wavelengths)
    data = _Data(without_noise(spectra, axis.order)[:, axis.order], pixels)
    known = [None] * targets.shape[1] if prior is None else [row if np.isfinite(row).all() else None for row in prior]
    bands = [
        _fit_band(data, axis, targets[:, k], None if row is None else row[axis.order]) for k, row in enumerate(known)
    ]
    matrix = np.zeros((len(bands), spectra.shape[1]))
    for row, band in zip(matrix, bands, strict=True):
        row[axis.order] = band.weights
    _, gain, offset, explained, models, kept = zip(*bands, strict=True)
    return SrfFit(np.array(gain), np.array(offset), np.array(explained), models, matrix, np.array(kept))


class _Band(NamedTuple):
    weights: Array
    gain: float
    offset: float
    explained: float
    model: RadiometricModel
    kept: bool


class _Axis(NamedTuple):
    """The HSI's bands in the order of their wavelengths, the width each stands for, and steps between neighbours."""

    order: NDArray[np.int64]
    position: Array
    width: Array
    steps: Array

    @classmethod
    def of(cls, bands: int, wavelengths: Array | None) -> _Axis:
        known = wavelengths is not None and wavelengths.size == bands and bool(np.isfinite(wavelengths).all())
        position = np.asarray(wavelengths, np.float64) if known else np.arange(float(bands))
        order = np.argsort(position, kind="stable")
        position = position[order]
        if bands == 1:
            return cls(order, position, np.ones(1), np.zeros((0, 1)))
        gaps = np.diff(position)
        typical = max(float(np.median(gaps)), 1e-9)
        # Bands of two detectors can have one wavelength, and bands can be missing: neither may make a width absurd.
        gaps = np.clip(gaps, 0.2 * typical, 3 * typical)
        width = np.convolve(np.concatenate([gaps[:1], gaps, gaps[-1:]]), [0.5, 0.5], "valid") / typical
        steps = np.diff(np.eye(bands) / width, axis=0) / np.sqrt(gaps / typical)[:, None]
        return cls(order, position, width, steps)


class _Data:
    """Spectra, and for every fold the products that a least squares fit needs."""

    def __init__(self, spectra: Array, pixels: NDArray[np.int64]) -> None:
        self.spectra = spectra
        self.folds = position_folds(pixels)
        self.blocks = block_labels(pixels)
        self.known = [np.ones(len(spectra), np.bool_)] + [self.folds != fold for fold in np.unique(self.folds)]
        if len(self.known) == 2:
            raise InputError("the LR pixels to estimate responses from all lie in one block; give a larger pair")
        self.products = {offset: [self._product(which, offset) for which in self.known] for offset in (False, True)}
        self.variance = max(float(np.diag(self.products[True][0]).mean()), 1e-300)

    def _product(self, which: NDArray[np.bool_], offset: bool) -> Array:
        part = self.spectra[which]
        part = part - part.mean(axis=0) if offset else part
        return np.asarray(part.T @ part)

    def solve(self, target: Array, number: int, model: RadiometricModel, penalty: Array) -> tuple[Array, float]:
        """Return weights and offset of a fit to one fold's known pixels (0: to all pixels)."""
        which = self.known[number]
        part, goal = self.spectra[which], target[which]
        product = self.products[model.offset][number]
        cross = part.T @ (goal - goal.mean() if model.offset else goal)
        fraction = which.sum() / len(which)
        normal = product + fraction * self.variance * (penalty + _RIDGE * np.eye(len(product)))
        if not model.gain:
            normal = normal + _SUM_WEIGHT * fraction * self.variance
            cross = cross + _SUM_WEIGHT * fraction * self.variance
        factor = np.linalg.cholesky(normal)
        weights = nnls(factor.T, np.linalg.solve(factor, cross), maxiter=30 * len(normal))[0]
        if not model.gain and weights.sum() > 0:
            weights = weights / weights.sum()
        return weights, float(goal.mean() - part.mean(axis=0) @ weights) if model.offset else 0.0

    def held_out(self, target: Array, model: RadiometricModel, penalty: Array) -> Array:
        """Return the squared error of every pixel, predicted by a fit without it."""
        errors = np.empty(len(target))
        for number in range(1, len(self.known)):
            out = ~self.known[number]
            weights, offset = self.solve(target, number, model, penalty)
            errors[out] = (target[out] - self.spectra[out] @ weights - offset) ** 2
        return errors


# Stiffness of steps, of locality, and of the response that is known beforehand.
_Key = tuple[RadiometricModel, float, float, float]


def _fit_band(data: _Data, axis: _Axis, target: Array, known: Array | None = None) -> _Band:
    @functools.cache
    def away(model: RadiometricModel) -> Array:
        return _distance_from(_best_window(data, axis, target, model), axis)

    def penalty(model: RadiometricModel, smooth: float, local: float, nominal: float) -> Array:
        if nominal and known is not None:
            other = np.eye(known.size) - known[:, None]  # takes r to r - p sum(r)
            return np.asarray(nominal * other.T @ other)
        return np.asarray(smooth * axis.steps.T @ axis.steps + local * np.diag(away(model) ** 2))

    found: dict[_Key, Array] = {}

    def tried(key: _Key) -> Array:
        if key not in found:
            found[key] = data.held_out(target, key[0], penalty(*key))
        return found[key]

    variance = float(np.square(target - target.mean()).mean())
    # Others are compared with the error of the freest fits; a stiff one may still be the best of all.
    for model in (RadiometricModel.GAIN_AND_OFFSET, RadiometricModel.IDENTICAL):
        for smooth in (_SMOOTHNESS[0], _SMOOTHNESS[-1]):
            tried((model, smooth, 0.0, 0.0))
    keys: list[_Key] = []
    if known is not None:
        keys += [(model, 0.0, 0.0, nominal) for nominal in _NOMINAL for model in RadiometricModel]
    # Locality first: it decides which bands take part at all.
    keys += [(model, smooth, local, 0.0) for local in _LOCALITY for model in RadiometricModel for smooth in _SMOOTHNESS]
    for key in keys:
        errors = tried(key)
        best = min(found.values(), key=lambda values: float(values.mean()))
        allowed = (1 + _TOLERATED_FRACTION) * best.mean() + _TOLERATED_VARIANCE * variance
        if errors is best or (errors.mean() <= allowed and excess(errors, best, data.blocks) <= _TOLERANCE):
            break
    else:
        key = min(found, key=lambda key: float(found[key].mean()))
    weights, offset = data.solve(target, 0, key[0], penalty(*key))
    gain = float(weights.sum())
    weights = weights / gain if gain > 0 else np.full(len(weights), 1 / len(weights))
    return _Band(weights, gain, offset, explained_fraction(found[key], target), key[0], key[3] == _NOMINAL[0])


def _best_window(data: _Data, axis: _Axis, target: Array, model: RadiometricModel) -> tuple[int, int]:
    """Return first and last band of the window whose mean explains ``target`` best, with the model's gain and offset.

    With C the spectra summed up to each band, a window's sum is a difference of two columns of C, so that every
    window's error follows from the products of C alone.
    """
    spectra, goal = data.spectra, target
    if model.offset:
        spectra, goal = spectra - spectra.mean(axis=0), goal - goal.mean()
    summed = np.concatenate([np.zeros((len(spectra), 1)), np.cumsum(spectra * axis.width, axis=1)], axis=1)
    length = np.concatenate([[0.0], np.cumsum(axis.width)])
    product, cross = summed.T @ summed, summed.T @ goal
    energy = np.diag(product)
    window_energy = energy[:, None] + energy[None, :] - 2 * product
    window_cross = cross[None, :] - cross[:, None]
    long = np.triu(np.ones_like(product, np.bool_), 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        if model.gain:
            # Only a positive gain makes a response.
            score = np.where(window_cross > 0, window_cross**2 / window_energy, 0.0)
        else:
            mean = length[None, :] - length[:, None]
            score = 2 * window_cross / mean - window_energy / mean**2
    score = np.where(long & np.isfinite(score), score, -np.inf)
    first, after = np.unravel_index(int(np.argmax(score)), score.shape)
    return int(first), int(after) - 1


def _distance_from(window: tuple[int, int], axis: _Axis) -> Array:
    """Return how far each band lies outside a window, in half widths of it, 0 inside."""
    low, high = axis.position[window[0]], axis.position[window[1]]
    spacing = float(np.median(np.diff(axis.position))) if axis.position.size > 1 else 1.0
    half = max((high - low) / 2 + spacing, 1e-9)
    outside = np.maximum(low - axis.position, axis.position - high)
    return np.asarray(np.clip(outside / half, 0, _FARTHEST))
