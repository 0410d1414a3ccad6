"""What a fusion method is: fitted to samples of a scene, then applied to windows of it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, NamedTuple, Protocol, TypeVar

import torch
from pydantic import ValidationError

from hyperfuse.errors import InputError
from hyperfuse.progress import Progress, part, silent
from hyperfuse.runtime.threads import let_idle_threads_sleep
from hyperfuse.sensor.model import Sensor
from hyperfuse.settings import Settings, describe

# LR pixels read around a window where a method does not state how many it needs; farther pixels change little.
DEFAULT_MARGIN = 12
_FIT_FRACTION = 0.9  # of the progress of a pair that is fitted and applied at once


class MethodSettings(Settings):
    """Base of every method's settings."""

    @property
    def learnt_from(self) -> tuple[str, ...]:
        """Names of the scenes that features or weights among the settings were trained on, where that is known."""
        return ()


S = TypeVar("S", bound=MethodSettings)
Values = Mapping[str, Any]
S_contra = TypeVar("S_contra", bound=MethodSettings, contravariant=True)

# First and last row, first and last column of a window (centres of HR pixels) where those of the scene are -1 and 1.
Extent = tuple[float, float, float, float]
WHOLE: Extent = (-1.0, 1.0, -1.0, 1.0)


class PairTensors(NamedTuple):
    """A scene or a window of it, gaps filled.

    Attributes:
        hsi: LR-HSI (bands, h, w), finite, floating.
        msi: HR-MSI (msi_bands, H, W), finite, same dtype and device.
        sensor: the forward model that relates the two.
        extent: position in the scene.
    """

    hsi: torch.Tensor
    msi: torch.Tensor
    sensor: Sensor
    extent: Extent = WHOLE


def covered_fraction(samples: Sequence[PairTensors]) -> float:
    """Return the fraction of a scene that samples cover, by their extents; 1 at most."""
    areas = [
        math.prod((last - first) / 2 if last > first else 1.0 for first, last in (one.extent[:2], one.extent[2:]))
        for one in samples
    ]
    return min(1.0, sum(areas))


@dataclass(frozen=True)
class Outcome:
    """A fused window.

    Attributes:
        image: (bands, H, W).
        uncertainty: expected standard deviation of its error, (bands, H, W); None where it was not requested.
        details: plain values about this window.
    """

    image: torch.Tensor
    uncertainty: torch.Tensor | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


class Model(Protocol):
    """What a method has learnt of a scene."""

    @property
    def margin(self) -> int:
        """LR pixels that a window needs around it, at most what the method's capabilities state."""

    @property
    def details(self) -> Mapping[str, Any]:
        """Plain values about the fit, for the history: ``steps``, ``end``, ``held_out_rmse`` (one per band), ….

        ``held_out_rmse``, where it is known: root mean squared error of held-out LR pixels of each band.
        ``network_fraction``, where a network was fitted: the fraction of its correction that is applied in each band,
        or ``[0.0]`` where none is.
        """

    def apply(self, pair: PairTensors, progress: Progress = silent) -> Outcome:
        """Fuse a window of the scene."""

    def state(self) -> dict[str, Any]:
        """Return the model as nested dictionaries and lists of tensors, numbers, text and None."""


class ModelFactory(Protocol[S_contra]):
    """What makes the models of a method: usually their class, with these two as class methods."""

    def fit(self, samples: Sequence[PairTensors], settings: S_contra, progress: Progress) -> Model:
        """Fit a model to samples of a scene; see :meth:`Method.fit`."""

    def restore(self, settings: S_contra, state: Mapping[str, Any]) -> Model:
        """Return the model whose :meth:`Model.state` is given."""


class BytesPerPixel(NamedTuple):
    """Memory that a window takes, in bytes per HR pixel for each band of either image."""

    hsi_band: float = 40
    msi_band: float = 110


def default_margin(sensor: Sensor, settings: MethodSettings) -> int:
    """Return the margin of a method that does not state its own, in LR pixels."""
    return DEFAULT_MARGIN


def no_notes(sensor: Sensor, settings: MethodSettings) -> Sequence[str]:
    """Return the notes of a method that assumes nothing which a sensor may not fulfil."""
    return ()


def never(settings: MethodSettings) -> bool:
    """Return False, whatever the settings."""
    return False


def always(settings: MethodSettings) -> bool:
    """Return True, whatever the settings."""
    return True


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """All that the code around a method needs to know of it.

    Attributes:
        uncertainty: takes the setting ``uncertainty`` and then returns :attr:`Outcome.uncertainty`.
        budget: takes the setting ``budget_seconds``: wall time for fitting, and applying to the whole scene; where
            every window is fitted by itself, for one window.
        effort: takes the settings ``effort`` and ``keep_best``.
        weights: takes the setting ``weights``: a network that was trained before.
        seed: takes the setting ``seed``.
        needs_srf: needs the spectral responses of the MSI.
        nonnegative: reads negative values as 0, which a note then says.
        displaced: fuses samples at displaced positions; others are refused.
        whole_ratios: fuses at whole ratios only; others are refused.
        shared_model: one model holds for the whole scene; otherwise every window is fitted as its own sample.
        by_detector: ``settings -> bool``: the bands of one detector can be fused without those of the others; never
            where responses are needed, which mix them.
        margin: ``(sensor, settings) -> LR pixels`` that a window needs around it at most, before anything is fitted.
        bytes_per_pixel: memory of a window.
        notes: ``(sensor, settings) -> sentences`` on what the method assumes of a pair, for the record.
    """

    uncertainty: bool = False
    budget: bool = False
    effort: bool = False
    weights: bool = False
    seed: bool = False
    needs_srf: bool = False
    nonnegative: bool = False
    displaced: bool = True
    whole_ratios: bool = False
    shared_model: bool = False
    by_detector: Callable[[Any], bool] = always
    margin: Callable[[Sensor, Any], int] = default_margin
    bytes_per_pixel: BytesPerPixel = field(default_factory=BytesPerPixel)
    notes: Callable[[Sensor, Any], Sequence[str]] = no_notes

    def fuses_by_detector(self, settings: MethodSettings) -> bool:
        """Return whether the bands of one detector can be fused without those of the others."""
        return not self.needs_srf and self.by_detector(settings)


@dataclass(frozen=True)
class Method(Generic[S]):
    """A registered method; called, it fuses one pair of tensors.

    Attributes:
        name: by which it is found.
        summary: one line.
        reference: the paper it is built from.
        cost: ``seconds`` or ``minutes`` for a 512x512x31 image on two cores.
        settings: class of its settings.
        capabilities: see there.
        models: makes its models.
    """

    name: str
    summary: str
    reference: str
    cost: Literal["seconds", "minutes"]
    settings: type[S]
    capabilities: Capabilities
    models: ModelFactory[S]

    @property
    def year(self) -> int | None:
        """Year of the paper: the first that the reference states, None without one."""
        found = re.search(r"\b(?:19|20)\d\d\b", self.reference)
        return int(found[0]) if found else None

    def configure(self, **values: Any) -> S:
        """Build the method's settings from keyword values.

        Raises:
            InputError: an unknown setting or a value out of range, in one line.
        """
        try:
            return self.settings(**values)
        except ValidationError as error:
            text = describe(error, self.settings, noun="setting")
            raise InputError(f"method {self.name!r}: {text}") from None

    def fit(
        self, samples: Sequence[PairTensors], settings: S | Values | None = None, progress: Progress = silent
    ) -> Model:
        """Learn what holds for a whole scene from samples of it.

        A scene that is fused whole is one sample with the extent ``WHOLE``.

        Args:
            samples: one or more, of the same bands and one sensor but for its phase.
            settings: of this method's class, or a mapping; its defaults if None.
            progress: called with the fraction done.

        Raises:
            InputError: shapes, types or values that do not fit together.
        """
        let_idle_threads_sleep()
        chosen = self.configure(**(settings or {})) if settings is None or isinstance(settings, Mapping) else settings
        if not isinstance(chosen, self.settings):
            raise InputError(f"the method {self.name} takes {self.settings.__name__}, got {type(chosen).__name__}")
        for sample in samples:
            self._check(sample)
        return _CheckedModel(self, chosen, self.models.fit(samples, chosen, progress))

    def restore(self, state: Mapping[str, Any]) -> Model:
        """Return the fitted model of which ``state`` was taken; it is applied on the device of the state's tensors."""
        if not isinstance(state, Mapping) or not {"settings", "model"} <= state.keys():
            raise InputError("state is what the state() of a model returned", "state")
        settings = self.configure(**state["settings"])
        return _CheckedModel(self, settings, self.models.restore(settings, state["model"]))

    def fuse(self, pair: PairTensors, settings: S | Values | None = None, progress: Progress = silent) -> Outcome:
        """Fit to one pair and apply to it; the details are those of both."""
        reached = 0.0

        def fitting(fraction: float, message: str = "") -> None:
            nonlocal reached
            reached = _FIT_FRACTION * fraction
            progress(reached, message)

        model = self.fit([pair], settings, fitting)
        outcome = model.apply(pair, part(progress, reached, 1.0))
        return Outcome(outcome.image, outcome.uncertainty, {**model.details, **outcome.details})

    def __call__(
        self,
        hsi: torch.Tensor,
        msi: torch.Tensor,
        sensor: Sensor,
        settings: S | Values | None = None,
        progress: Progress = silent,
    ) -> torch.Tensor:
        """Fuse one pair: LR-HSI (bands, h, w) and HR-MSI (msi_bands, H, W) give (bands, H, W).

        Raises:
            InputError: shapes, types or values that do not fit together.
        """
        return self.fuse(PairTensors(hsi, msi, sensor), settings, progress).image

    def _check(self, pair: PairTensors) -> None:
        check_pair(pair)
        if self.capabilities.needs_srf and pair.sensor.srf is None:
            raise InputError(
                f"the method {self.name} needs the spectral responses of the MSI; pass srf=...", parameter="srf"
            )
        if not self.capabilities.displaced and pair.sensor.displacement is not None:
            raise InputError(
                f"the method {self.name} needs HSI pixels at regular positions, and these are displaced; choose another"
                " method=...",
                parameter="method",
            )
        if self.capabilities.whole_ratios and any(abs(one - round(one)) > 1e-9 for one in pair.sensor.ratio):
            raise InputError(
                f"the method {self.name} needs whole ratios, and these are {pair.sensor.ratio[0]:g} and"
                f" {pair.sensor.ratio[1]:g}; choose another method=...",
                parameter="method",
            )


@dataclass(frozen=True)
class _CheckedModel:
    """A fitted model that checks the windows it is given."""

    _method: Method[Any]
    _settings: MethodSettings
    _model: Model

    @property
    def margin(self) -> int:
        return self._model.margin

    @property
    def details(self) -> Mapping[str, Any]:
        return self._model.details

    def apply(self, pair: PairTensors, progress: Progress = silent) -> Outcome:
        self._method._check(pair)
        return self._model.apply(pair, progress)

    def state(self) -> dict[str, Any]:
        return {"settings": self._settings.model_dump(), "model": self._model.state()}


def check_pair(pair: PairTensors) -> None:
    """Refuse a pair that no method can fuse.

    Raises:
        InputError: shapes, types or values that do not fit together.
    """
    hsi, msi, sensor = pair.hsi, pair.msi, pair.sensor
    given: Any = sensor
    if not isinstance(given, Sensor):
        raise InputError(f"sensor is a Sensor, got {type(given).__name__}", "sensor")
    for name, image in (("HSI", hsi), ("MSI", msi)):
        given = image
        if not isinstance(given, torch.Tensor):
            kind = type(given).__name__
            raise InputError(f"the {name} is a {kind}; a method takes tensors, hyperfuse.fuse images", name.lower())
        if image.ndim != 3 or 0 in image.shape:
            raise InputError(f"the {name} has the shape {tuple(image.shape)}; (bands, rows, cols) is needed")
        if not image.is_floating_point():
            raise InputError(f"the {name} holds {image.dtype}; floating-point values are needed")
        if not bool(torch.isfinite(image).all()):
            raise InputError(f"the {name} holds NaN or infinite values that are not declared as gaps; pass nodata=nan")
    if hsi.dtype != msi.dtype or hsi.device != msi.device:
        raise InputError(f"HSI and MSI differ in type or device ({hsi.dtype}, {hsi.device}; {msi.dtype}, {msi.device})")
    for axis, name in ((0, "rows"), (1, "columns")):
        coarse, fine = hsi.shape[axis + 1], msi.shape[axis + 1]
        last = sensor.offset[axis] + sensor.ratio[axis] * (coarse - 1)
        # Every sample lies in the image, and no LR pixel is missing where the image continues.
        reach = 1.5 * sensor.ratio[axis]
        # Displaced samples may lie as far away as the field is large.
        slack = 0.0 if sensor.displacement is None else sensor.displacement.limits[axis]
        starts = -sensor.ratio[axis] - slack < sensor.offset[axis] < reach + slack
        if not (starts and -reach - slack < last - (fine - 1) < sensor.ratio[axis] + slack):
            raise InputError(f"{coarse} HSI {name} at a ratio of {sensor.ratio[axis]:g} do not fit {fine} MSI {name}")
    if sensor.srf is not None and sensor.srf.matrix.shape != (msi.shape[0], hsi.shape[0]):
        made, read = sensor.srf.matrix.shape
        raise InputError(
            f"the spectral responses turn {read} bands into {made};"
            f" the HSI has {hsi.shape[0]} and the MSI {msi.shape[0]}"
        )
