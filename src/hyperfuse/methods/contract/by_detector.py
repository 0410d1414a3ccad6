"""Models of an HSI whose detectors see the ground from apart: one for the bands of each, with its own sensor."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch

from hyperfuse.errors import InputError
from hyperfuse.methods.contract.method import MethodSettings, Model, ModelFactory, Outcome, PairTensors
from hyperfuse.progress import Progress, part, silent

# Details that hold a value for each band.
_PER_BAND = ("held_out_rmse", "network_fraction")
# Of details that differ, in this order, what is said of all: a fit that ended early.
_ENDS = ("interrupted", "no time")
_MIN_SECONDS, _STATE = 0.1, "models_by_detector"


class DetectorModel(NamedTuple):
    """The model of the bands of one detector.

    Attributes:
        name: of the detector.
        bands: their indices among those of the image.
        model: fitted to them.
    """

    name: str
    bands: list[int]
    model: Model


class DetectorModels:
    """The models of all detectors, as one.

    Args:
        models: of the detectors.
        fitted: pairs that they were fitted to, and these by detector: a method may know them again.
    """

    def __init__(self, models: Sequence[DetectorModel], fitted: Sequence[tuple[PairTensors, list[PairTensors]]] = ()):
        self._models = list(models)
        self._fitted = list(fitted)

    @property
    def margin(self) -> int:
        """LR pixels that a window needs around it."""
        return max(one.model.margin for one in self._models)

    @property
    def details(self) -> Mapping[str, Any]:
        """Of all bands what is known of each; all else, where it differs, by detector."""
        return _joined([(one.name, one.bands, one.model.details) for one in self._models])

    def apply(self, pair: PairTensors, progress: Progress = silent) -> Outcome:
        """Fuse a window, the bands of each detector by its model."""
        known = next((parts for whole, parts in self._fitted if whole is pair), None)
        self._fitted = [one for one in self._fitted if one[0] is not pair]
        parts = split(pair) if known is None else known
        outcomes, bands = [], sum(len(one.bands) for one in self._models)
        for number, (one, own) in enumerate(zip(self._models, parts, strict=True)):
            progress(number / len(parts), one.name)
            outcomes.append(one.model.apply(own, part(progress, number / len(parts), (number + 1) / len(parts))))
        image = _merged([(one.bands, out.image) for one, out in zip(self._models, outcomes, strict=True)], bands)
        errors = [
            (one.bands, out.uncertainty)
            for one, out in zip(self._models, outcomes, strict=True)
            if out.uncertainty is not None
        ]
        details = _joined([(one.name, one.bands, out.details) for one, out in zip(self._models, outcomes, strict=True)])
        return Outcome(image, _merged(errors, bands) if len(errors) == len(parts) else None, details)

    def state(self) -> dict[str, Any]:
        """Return the models as plain values."""
        return {
            _STATE: [{"name": one.name, "bands": list(one.bands), "model": one.model.state()} for one in self._models]
        }


def split(pair: PairTensors) -> list[PairTensors]:
    """Return a pair by detector: its bands, all of the MSI, and its own sensor."""
    return [PairTensors(pair.hsi[bands], pair.msi, own, pair.extent) for bands, own in pair.sensor.by_detector()]


class ByDetector:
    """Makes the models of a method: by detector where the sensor states detectors that lie apart, else as it is.

    Args:
        models: of the method.
        able: whether the method can do without the other detectors' bands, by its settings.
    """

    def __init__(self, models: ModelFactory[Any], able: Callable[[Any], bool]) -> None:
        self._models = models
        self._able = able

    def fit(self, samples: Sequence[PairTensors], settings: Any, progress: Progress) -> Model:
        """Fit a model to the bands of each detector; a budget is divided by their number.

        Raises:
            InputError: a method that fuses all bands at once.
        """
        detectors, total = samples[0].sensor.detectors, len(samples[0].hsi)
        if not detectors:
            return self._models.fit(samples, settings, progress)
        if not self._able(settings):
            raise InputError(
                "the sensor states detectors that lie apart, and this method fuses all bands at once; choose another"
                " method, or leave out the detectors",
                "method",
            )
        by_sample = [split(one) for one in samples]
        end, fitted, done = _end(settings), [], 0
        for number, detector in enumerate(detectors):
            own, count = [one[number] for one in by_sample], len(detector.bands)
            chosen = settings
            if end is not None:
                seconds = (end - time.monotonic()) * count / (total - done)
                chosen = settings.model_copy(update={"budget_seconds": max(seconds, _MIN_SECONDS)})
            reached = part(progress, done / total, (done + count) / total)
            fitted.append(DetectorModel(detector.name, list(detector.bands), self._models.fit(own, chosen, reached)))
            done += count
        return DetectorModels(fitted, list(zip(samples, by_sample, strict=True)) if len(samples) == 1 else [])

    def restore(self, settings: Any, state: Mapping[str, Any]) -> Model:
        """Return the model, or the models of all detectors, of which the state is given."""
        if _STATE not in state:
            return self._models.restore(settings, state)
        return DetectorModels(
            [
                DetectorModel(one["name"], list(one["bands"]), self._models.restore(settings, one["model"]))
                for one in state[_STATE]
            ]
        )


def _end(settings: MethodSettings) -> float | None:
    """Return when a budget ends, None without one."""
    seconds = settings.model_dump().get("budget_seconds")
    return None if seconds is None else time.monotonic() + seconds


def _merged(parts: Sequence[tuple[list[int], torch.Tensor]], bands: int) -> torch.Tensor:
    image = parts[0][1]
    whole = image.new_empty((bands, *image.shape[1:]))
    for index, values in parts:
        whole[index] = values
    return whole


def _joined(parts: Sequence[tuple[str, list[int], Mapping[str, Any]]]) -> dict[str, Any]:
    bands = sum(len(index) for _, index, _ in parts)
    found: dict[str, Any] = {}
    for key in dict.fromkeys(key for _, _, details in parts for key in details):
        values: list[Any] = [details.get(key) for _, _, details in parts]
        if key in _PER_BAND and None not in values:
            every = [0.0] * bands
            for (_, index, _), value in zip(parts, values, strict=True):
                for band, one in zip(index, value if len(value) == len(index) else value * len(index), strict=True):
                    every[band] = one
            found[key] = every
        elif all(value == values[0] for value in values):
            found[key] = values[0]
        elif key == "steps":
            found[key] = max(value or 0 for value in values)
        elif key == "end" and any(value in _ENDS for value in values):
            found[key] = next(value for value in _ENDS if value in values)
        else:
            found[key] = {name: value for (name, _, _), value in zip(parts, values, strict=True) if value is not None}
    return found
