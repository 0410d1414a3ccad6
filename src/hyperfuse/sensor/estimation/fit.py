"""How well spectra explain an MSI at the same pixels, judged on pixels held out of the fit."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hyperfuse.errors import InputError
from hyperfuse.statistics.folds import position_folds

Array = NDArray[np.float64]

# Ridges tried, relative to the largest variance of the standardised spectra: from nearly none to very stiff.
_RIDGES = tuple(10.0**power for power in range(-9, 0))
_MIN_UNEXPLAINED = 0.2
# With fewer pixels in all, too few can be held out.
LEAST_PIXELS = 36


class _Fold(NamedTuple):
    """A fold of held-out pixels; their scores and those of the other pixels in components of the latter; energies."""

    held_out: NDArray[np.bool_]
    known: Array
    tested: Array
    energy: Array


class HeldOutFit:
    """Ridge regression on spectra (pixels, bands) that predicts every pixel from the pixels of other blocks.

    The spectra never change, only what is to be explained (an MSI at other positions, or through another PSF), so that
    the residual is one fixed linear map of the targets: it can be differentiated like the targets themselves.
    ``pixels``, (row, col) on the LR grid, defines the blocks; ``ridge`` is relative to the largest variance. Fewer than
    ``LEAST_PIXELS`` pixels, or all in one fold, are an InputError.
    """

    def __init__(self, spectra: Array, pixels: NDArray[np.int64], ridge: float = 1e-6) -> None:
        if len(spectra) < LEAST_PIXELS:
            raise InputError(
                f"{len(spectra)} LR pixels are too few to estimate a sensor from; {LEAST_PIXELS} are needed"
            )
        self.ridge = ridge
        spread = spectra.std(axis=0)
        varied = spread > 1e-12 * max(float(np.abs(spectra).max()), 1e-300)
        standard = (spectra[:, varied] - spectra[:, varied].mean(axis=0)) / spread[varied]
        number = position_folds(pixels)
        self._folds = []
        for fold in np.unique(number):
            held_out = number == fold
            if held_out.all():
                raise InputError("the LR pixels to estimate a sensor from all lie in one block; give a larger pair")
            known = standard[~held_out]
            centre = known.mean(axis=0)
            centred = known - centre
            values, vectors = np.linalg.eigh(centred.T @ centred)
            tested = (standard[held_out] - centre) @ vectors
            self._folds.append(_Fold(held_out, centred @ vectors, tested, np.maximum(values, 0)))

    @classmethod
    def choose(cls, spectra: Array, pixels: NDArray[np.int64], targets: Array) -> HeldOutFit:
        """Return the fit with the ridge that predicts ``targets`` (pixels, k) best."""
        fit = cls(spectra, pixels)

        def cost(ridge: float) -> float:
            fit.ridge = ridge
            return float(np.log(fit.unexplained(targets)).mean())

        fit.ridge = min(_RIDGES, key=cost)
        return fit

    def residual(self, targets: Array) -> Array:
        """Return targets (pixels, k) less their held-out prediction: linear in the targets."""
        result = np.empty_like(targets)
        for fold in self._folds:
            known = targets[~fold.held_out]
            mean = known.mean(axis=0)
            largest = float(fold.energy.max()) if fold.energy.size else 0.0
            damped = fold.energy + max(self.ridge * largest, 1e-300)
            weights = (fold.known.T @ (known - mean)) / damped[:, None]
            result[fold.held_out] = targets[fold.held_out] - mean - fold.tested @ weights
        return result

    def unexplained(self, targets: Array, noise: Array | float = 0.0) -> Array:
        """Return the fraction of the variance of targets (pixels, k) that held-out predictions miss; 1 if constant.

        ``noise``, the sum over the pixels of the variance of each target's noise, (k,), is subtracted.
        """
        missed = np.square(self.residual(targets)).sum(axis=0)
        varied = np.square(targets - targets.mean(axis=0)).sum(axis=0)
        # The noise is an estimate, and must not explain all of the residual.
        noise = np.minimum(noise, (1 - _MIN_UNEXPLAINED) * missed)
        missed, varied = missed - noise, varied - np.minimum(noise, 0.5 * varied)
        constant = varied <= 1e-14 * np.square(targets).sum(axis=0)
        # No fit explains more digits than float32 images hold: logarithms stay finite and comparable.
        return np.asarray(np.where(constant, 1.0, missed / np.where(constant, 1.0, varied)) + 1e-12)


def principal_images(pixels: Array, maximum: int) -> Array:
    """Return up to ``maximum`` vectors (bands, k) that turn MSI pixels (n, bands) into components of unit variance.

    Components with less than a ten-thousandth of the first one's variance are noise or rounding, and dropped; one is
    always returned, unscaled where all pixels are the same.
    """
    centred = pixels - pixels.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred / max(len(pixels), 1))
    order = np.argsort(values)[::-1][:maximum]
    if values[order[0]] <= 1e-14 * float(np.square(pixels).mean()):
        return np.asarray(vectors[:, order[:1]])
    signal = order[values[order] > 1e-4 * values[order[0]]]
    return np.asarray(vectors[:, signal] / np.sqrt(values[signal]))


def without_noise(spectra: Array, order: NDArray[np.int64]) -> Array:
    """Return the spectra (pixels, bands) without the noise of single bands; ``order`` sorts these by wavelength.

    Noise of the predictors makes a regression spread over many bands, which averages it: the prediction gains, the
    responses are lost. Each band's noise is its residual after regression on the nearest bands (Roger and Arnold, Int.
    J. Remote Sensing 17(10), 1996); of the spectra divided by it, those principal components are retained that exceed
    such noise (limit of Marchenko and Pastur, 1967).
    """
    pixels, bands = spectra.shape
    mean = spectra.mean(axis=0)
    centred = spectra - mean
    product = centred.T @ centred
    near = min(bands - 1, pixels // 8)
    if near < 2:
        return spectra
    residual = np.empty(bands)
    for rank, band in enumerate(order):
        first = int(np.clip(rank - near // 2, 0, bands - near - 1))
        others = order[first : first + near + 1]
        others = others[others != band]
        inner = product[np.ix_(others, others)]
        inner = inner + 1e-12 * np.trace(inner) / near * np.eye(near)
        weights = np.linalg.solve(inner, product[others, band])
        residual[band] = max(float(product[band, band] - weights @ product[others, band]), 0.0) / (pixels - near)
    largest = float(np.diag(product).max()) / pixels
    if not largest > 0:
        return spectra
    # Rounding of float32 images is noise too.
    deviation = np.sqrt(np.maximum(residual, 1e-12 * largest))
    vectors, values, axes = np.linalg.svd(centred / deviation, full_matrices=False)
    signal = values > np.sqrt(pixels) + np.sqrt(bands)
    if not signal.any():
        return spectra
    return np.asarray(mean + (vectors[:, signal] * values[signal]) @ axes[signal] * deviation)
