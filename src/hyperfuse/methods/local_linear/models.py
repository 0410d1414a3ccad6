"""Local linear models of an HSI from an MSI, windows and ridges averaged by how well they predict held-out pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch

from hyperfuse.methods.contract.method import WHOLE
from hyperfuse.methods.local_linear.neighbours import Neighbours, SimilarPixels
from hyperfuse.methods.local_linear.predictors import Predictors, pooled
from hyperfuse.methods.local_linear.windowed_ridge import WindowedRidge
from hyperfuse.progress import Progress, part, silent
from hyperfuse.runtime.parallel import in_threads, strips
from hyperfuse.statistics.linear import fit_linear
from hyperfuse.statistics.subspace import Subspace, model_subspace

WINDOWS = (0.5, 0.7, 1.0, 1.4, 2.0, 4.0, 16.0)  # sigma, in LR pixels
RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # relative to the variance of the whitened MSI

# Weight of a candidate: (held-out error / smallest) ** -SHARPNESS. Candidates 20 % worse in mean squared error get a
# third: similar ones are averaged, which predicts better than any alone, and poor ones do not count.
_SHARPNESS = 6.0
_MIN_WEIGHT = 0.05
# The noise is an estimate: at least this fraction of an error is attributed to the model.
_MIN_MODEL_FRACTION = 0.05
_HELD_OUT_PIXELS = 4096
_HR_BYTES = 8 * 2**20

Weights = dict[float, dict[float, float]]


@dataclass(frozen=True)
class LocalModels:
    """What local linear models of the bands of a scene have in common, whatever pixels they are fitted to.

    Bands are modelled in their leading principal components where there are many. A ridge shrinks every local model
    towards one for the whole scene; left to the pixels of a window, that one model, and the weights of windows and
    ridges, would differ from window to window.

    Attributes:
        weights: for each window, the weight of each of its ridges; all sum to 1.
        slopes: prior mean of the ridges: of every component on the predictors over all samples, float64
            (components, k).
        subspace: the components, or None for the bands themselves.
        similar: models over similar pixels that are blended in, or None.
    """

    weights: Weights
    slopes: torch.Tensor
    subspace: Subspace | None = None
    similar: SimilarPixels | None = None

    @classmethod
    def fit(
        cls,
        images: Sequence[torch.Tensor],
        predictors: Sequence[Predictors],
        noise: torch.Tensor,
        windows: Sequence[float] = WINDOWS,
        ridges: Sequence[float] = RIDGES,
        progress: Progress = silent,
    ) -> LocalModels:
        """Fit the slopes to all samples, and weight windows and ridges by cross-validation error.

        Every candidate predicts LR pixels left out of their own windows; what counts is the log of the mean squared
        error, averaged over bands.

        Args:
            images: of each sample the LR image, (bands, h, w).
            predictors: of each sample the MSI.
            noise: standard deviation of each band's noise, (bands,): the part of the error that no model can avoid.
            windows: sigmas in LR pixels to choose from.
            ridges: to choose from, relative to the variance of the predictors.
            progress: called with the fraction done.
        """
        subspace = model_subspace(pooled(images))
        targets = [image if subspace is None else subspace.project(image) for image in images]
        slopes = fit_linear(pooled([one.coarse for one in predictors]), pooled(targets))[:, 1:]
        if len(windows) * len(ridges) == 1:
            return cls({windows[0]: {ridges[0]: 1.0}}, slopes, subspace)
        pixels = sum(image[0].numel() for image in images)
        errors, variance = (torch.zeros(()).double().to(slopes) for _ in range(2))
        for index, (target, one) in enumerate(zip(targets, predictors, strict=True)):
            fraction, step = (
                target[0].numel() / pixels,
                part(progress, index / len(targets), (index + 1) / len(targets)),
            )
            errors = errors + fraction * _candidate_errors(target, one, slopes, windows, ridges, step)
            variance = variance + fraction * target.flatten(1).double().var(1, correction=0)
        if subspace is not None:
            errors, variance = subspace.band_errors(errors), subspace.band_errors(variance)
        return cls(_average_weights(errors, variance, noise.double().square(), windows, ridges), slopes, subspace)

    def with_similar_pixels(self, windows: Sequence[WindowModels]) -> LocalModels:
        """Return the models with those over similar pixels blended in, as far as held-out pixels support it.

        Args:
            windows: these models fitted to each sample.
        """
        similar = SimilarPixels.fit(
            [one.targets for one in windows],
            [one.predictors for one in windows],
            [one.held_out_targets() for one in windows],
            self.slopes,
        )
        return replace(self, similar=similar)

    def on(self, image: torch.Tensor, predictors: Predictors) -> WindowModels:
        """Return the models fitted to the LR image (bands, h, w) of a window."""
        targets = image if self.subspace is None else self.subspace.project(image)
        return WindowModels(self, targets, predictors)


@dataclass(frozen=True)
class WindowModels:
    """Local models of one window.

    Attributes:
        models: of the scene.
        targets: the LR image in the components that are modelled, (components, h, w).
        predictors: the MSI.
    """

    models: LocalModels
    targets: torch.Tensor
    predictors: Predictors
    _neighbours: list[Neighbours] = field(default_factory=list, repr=False)  # of HR pixels, once they are found
    # Of LR pixels, likewise: with every pixel among its own, and without it.
    _lr_neighbours: list[tuple[Neighbours, Neighbours]] = field(default_factory=list, repr=False)
    # Of the models in windows alone, once they are made: with every LR pixel and without it.
    _predictions: list[tuple[torch.Tensor, torch.Tensor]] = field(default_factory=list, repr=False)

    def apply(self, known: torch.Tensor | None = None, progress: Progress = silent) -> torch.Tensor:
        """Fit at LR, interpolate the coefficients bilinearly and evaluate at HR: (bands, H, W).

        Args:
            known: bool (h, w), False for LR pixels that are held out; None for all.
            progress: called with the fraction done.
        """
        sensor, fine, shape = self.predictors.sensor, self.predictors.fine, self.predictors.fine_shape
        targets, slopes = self.targets, self._slopes(known)
        fused = torch.empty((targets.shape[0], *shape), dtype=targets.dtype, device=targets.device)
        progress(0.0, "applying the local models")
        coefficients = self._coefficients(known, slopes).to(targets.dtype)

        def fill(bands: slice) -> None:
            upsampled = sensor.upsample(coefficients[bands], shape, "linear")
            image = fused[bands]
            torch.mul(upsampled[:, 1], fine[0], out=image)
            for k in range(1, len(fine)):
                image.addcmul_(upsampled[:, k + 1], fine[k])
            image += upsampled[:, 0]

        step = max(1, _HR_BYTES // (fused.element_size() * shape[0] * shape[1] * (fine.shape[0] + 1)))
        in_threads(fill, strips(len(fused), step), fused.device)
        progress(0.6, "applying the local models")
        similar = self.models.similar
        if similar is not None:
            if not self._neighbours:
                self._neighbours.append(similar.search_hr(targets, self.predictors))
            fused = similar.blend(fused, self._neighbours[0], slopes, known)
        return self._bands(fused)

    def _coefficients(self, known: torch.Tensor | None, slopes: torch.Tensor) -> torch.Tensor:
        """Return the blended models of all windows at LR, the offset first: float64 (components, k + 1, h, w)."""
        weight, targets = None if known is None else known.double(), self.targets.double()

        def of_window(sigma: float) -> torch.Tensor:
            ridge = WindowedRidge(self.predictors.coarse, sigma, weight)
            return ridge.blend(targets, slopes, self.models.weights[sigma])

        blended: torch.Tensor = sum(in_threads(of_window, list(self.models.weights), targets.device))  # type: ignore[assignment]
        return blended

    def held_out(self) -> torch.Tensor:
        """Return the prediction of every LR pixel by models fitted without it, (bands, h, w)."""
        predicted, similar = self.held_out_targets(), self.models.similar
        if similar is not None:
            predicted = similar.blend(predicted, self._similar_lr_pixels()[1], self.models.slopes, None)
        return self._bands(predicted)

    def own_influence(self) -> torch.Tensor:
        """Return what the measurement of every LR pixel adds to its own prediction, (bands, h, w)."""
        (fitted, predicted), similar = self._window_predictions(), self.models.similar
        if similar is not None:
            with_itself, without = self._similar_lr_pixels()
            fitted = similar.blend(fitted, with_itself, self.models.slopes, None)
            predicted = similar.blend(predicted, without, self.models.slopes, None)
        change, subspace = fitted - predicted, self.models.subspace
        return change if subspace is None else subspace.expand_change(change)

    def held_out_targets(self) -> torch.Tensor:
        """Return the same in components, and by the models in windows alone."""
        return self._window_predictions()[1]

    def _window_predictions(self) -> tuple[torch.Tensor, torch.Tensor]:
        if not self._predictions:
            targets, slopes = self.targets.double(), self.models.slopes

            def of_window(sigma: float) -> tuple[torch.Tensor, torch.Tensor]:
                return WindowedRidge(self.predictors.coarse, sigma).predictions(
                    targets, slopes, self.models.weights[sigma]
                )

            parts = in_threads(of_window, list(self.models.weights), targets.device)
            fitted, held_out = (sum(kind).to(self.targets) for kind in zip(*parts, strict=True))
            self._predictions.append((fitted, held_out))
        return self._predictions[0]

    def _similar_lr_pixels(self) -> tuple[Neighbours, Neighbours]:
        assert self.models.similar is not None
        if not self._lr_neighbours:
            self._lr_neighbours.append(self.models.similar.search_lr(self.targets, self.predictors))
        return self._lr_neighbours[0]

    def _slopes(self, known: torch.Tensor | None) -> torch.Tensor:
        """Return the prior mean of the slopes; of a whole scene the held-out pixels must not decide it either."""
        if known is None or self.predictors.extent != WHOLE:
            return self.models.slopes
        return fit_linear(self.predictors.coarse, self.targets, known)[:, 1:]

    def _bands(self, modelled: torch.Tensor) -> torch.Tensor:
        return modelled if self.models.subspace is None else self.models.subspace.expand(modelled)


def _average_weights(
    errors: torch.Tensor,
    variance: torch.Tensor,
    noise: torch.Tensor,
    windows: Sequence[float],
    ridges: Sequence[float],
) -> Weights:
    """Return the weight of each ridge in each window by the log of their errors, averaged over bands.

    Args:
        errors: mean squared ones, (windows, ridges, bands).
        variance: of each band, (bands,).
        noise: variance of each band's noise, (bands,).
        windows: those of the errors.
        ridges: those of the errors.
    """
    scores = _log_error(errors, variance, noise)
    weights = torch.exp(-_SHARPNESS * (scores - scores.min()))
    weights = torch.where(weights >= _MIN_WEIGHT, weights, 0.0)
    weights = weights / weights.sum()
    chosen = {
        window: {ridge: float(weight) for ridge, weight in zip(ridges, row, strict=True) if weight > 0}
        for window, row in zip(windows, weights, strict=True)
    }
    return {window: by_ridge for window, by_ridge in chosen.items() if by_ridge}


def _candidate_errors(
    targets: torch.Tensor,
    predictors: Predictors,
    slopes: torch.Tensor,
    windows: Sequence[float],
    ridges: Sequence[float],
    progress: Progress,
) -> torch.Tensor:
    """Return the mean squared error of predicting pixels without themselves, (windows, ridges, components)."""
    # Pixels of a regular grid stand for all.
    step = math.ceil(math.sqrt(targets[0].numel() / _HELD_OUT_PIXELS))
    progress(0.0, "weighting windows by held-out pixels")

    def of_window(sigma: float) -> torch.Tensor:
        return WindowedRidge(predictors.coarse, sigma, step=step).held_out_errors(targets.double(), slopes, ridges)

    return torch.stack(in_threads(of_window, windows, targets.device))


def _log_error(errors: torch.Tensor, variance: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """Return the mean over bands of the log of the mean squared error, (windows, ridges): what PSNR averages."""
    # One amount per band for all candidates: cut off at each of them, the differences between them would vanish.
    smallest = errors.flatten(0, -2).amin(0)
    errors = errors - torch.minimum(noise, (1 - _MIN_MODEL_FRACTION) * smallest)
    varied = variance > 0
    if not bool(varied.any()):
        return torch.zeros(errors.shape[:2], dtype=errors.dtype, device=errors.device)
    return (errors[..., varied] + 1e-12 * variance[varied]).log().mean(-1)
