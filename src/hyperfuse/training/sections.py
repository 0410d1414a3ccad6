"""The sections of a training configuration; docs/training.md explains every key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    NonNegativeFloat,
    PlainSerializer,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from hyperfuse.sensor.presets import PresetName
from hyperfuse.settings import Settings

Preset = Literal["uestc", "dhif", "mtf", "stored"]
assert set(get_args(Preset)) == {*get_args(PresetName), "stored"}
Fraction = Annotated[float, Field(ge=0, le=1)]


class Duration(NamedTuple):
    """A duration of training, in optimisation steps, in epochs (as many patches as the grid has), or in wall time."""

    number: float
    unit: Literal["steps", "epochs", "minutes"]

    @property
    def milliseconds(self) -> int | None:
        """The wall time, where it is one."""
        return round(60_000 * self.number) if self.unit == "minutes" else None

    def patches(self, epoch_patches: int, step_patches: int) -> int:
        """Return the number of patches seen in that time, which is none of wall time."""
        assert self.unit != "minutes"
        return int(self.number) * (step_patches if self.unit == "steps" else epoch_patches)

    def position(self, epoch_patches: int, step_patches: int) -> int:
        """Return what a schedule counts: patches seen, or milliseconds of wall time."""
        timed = self.milliseconds
        return self.patches(epoch_patches, step_patches) if timed is None else timed

    def steps(self, epoch_patches: int, step_patches: int) -> int:
        """Return the number of steps, at least 1, rounded up."""
        return max(1, -(-self.patches(epoch_patches, step_patches) // step_patches))

    def __str__(self) -> str:
        number = int(self.number) if float(self.number).is_integer() else self.number
        return f"{number} {self.unit}"


def _parse_duration(value: Any) -> Duration:
    text = str(value).strip()
    if (timed := re.fullmatch(r"(\d+(?:\.\d+)?)\s+minutes?", text)) and float(timed[1]) > 0:
        return Duration(float(timed[1]), "minutes")
    match = re.fullmatch(r"(\d+)(?:\s+(steps?|epochs?))?", text)
    if match is None or isinstance(value, bool) or int(match[1]) < 1:
        raise ValueError("write a number of steps such as 5000, of epochs such as '300 epochs', or '8 minutes'")
    return Duration(int(match[1]), "epochs" if (match[2] or "").startswith("epoch") else "steps")


def _counted(value: Duration) -> Duration:
    if value.milliseconds is not None:
        raise ValueError("write steps or epochs here; minutes are for length and schedule")
    return value


def _names(value: Any) -> Any:
    if isinstance(value, list | tuple) and all(isinstance(name, str) for name in value):
        return tuple(value)
    if isinstance(value, str):
        return value
    raise ValueError("write the name of a split, or names of scenes such as [paints, sponges] (numbers in quotes)")


DurationField = Annotated[Duration, BeforeValidator(_parse_duration), PlainSerializer(str)]
CountedField = Annotated[DurationField, AfterValidator(_counted)]
Names = Annotated[str | tuple[str, ...], BeforeValidator(_names)]


class NetworkSection(Settings):
    """Which network is trained, and from which weights.

    The zero-initialised output layer (Zhang, Dauphin and Ma, Fixup, 2019) outputs the image that the network adds to at
    the start, so that a short run need not unlearn what random weights add. ``intermediate`` takes the losses of the
    network's intermediate outputs too, each as its authors' loss does.
    """

    renamed: ClassVar[Mapping[str, str]] = {"begin_with_nothing": "zero_output", "begin_whitened": "whitened_input"}

    name: str = "feinfn"
    options: dict[str, Any] = Field(default_factory=dict)
    weights: Path | None = None
    intermediate: bool = False
    zero_output: bool = False
    whitened_input: bool = False

    @model_validator(mode="after")
    def _check(self) -> NetworkSection:
        for name in ("zero_output", "whitened_input"):
            if self.weights is not None and getattr(self, name):
                raise ValueError(f"network.weights and network.{name} exclude each other; set one of them")
        return self


class DataSection(Settings):
    """Scenes, and how patches are cut from them.

    ``all`` trains on all scenes there are. Of a patch file (kind ``patches``) ``folder`` is the file, and ``hold_out``
    the fraction of its patches, at its end. The grid of ``stride`` leaves out the last start that would fit, as the
    authors' patches do (starts ``range(0, 448, 32)`` of 512). Every process that prepares patches keeps scenes in
    memory up to ``memory_gb``; where data are ``resident`` on the network's device there are no such processes (see
    ``open_batches``). ``test`` is not used, but named so that an overlap can be refused.
    """

    kind: str
    folder: Path
    train: Names
    validation: Names = ()
    test: Names = ()
    hold_out: Annotated[float, Field(ge=0, lt=1)] = 0.0
    patch: PositiveInt = 64
    stride: PositiveInt = 32
    srf: str = "nikon-d700"
    memory_gb: PositiveFloat = 4.0
    resident: Literal["auto"] | bool = "auto"
    scale: float | None = None
    offset: float | None = None

    @model_validator(mode="after")
    def _check(self) -> DataSection:
        if isinstance(self.train, tuple) and not self.train:
            raise ValueError("data.train names no scene")
        if not self.validation and not self.hold_out:
            raise ValueError("nothing to validate on: name scenes in data.validation, or set data.hold_out such as 0.2")
        if self.validation and self.hold_out:
            raise ValueError("data.validation and data.hold_out exclude each other; set one of them")
        for first, second in (("train", "test"), ("validation", "test"), ("train", "validation")):
            one, other = getattr(self, first), getattr(self, second)
            # A split is the same as itself; whether two splits overlap is known once they are resolved.
            same = [one] if isinstance(one, str) and one == other else _shared(one, other)
            if same:
                raise ValueError(f"{same[0]!r} is both in data.{first} and in data.{second}; name it once")
        return self


class DegradationSection(Settings):
    """How the pair is made from a patch, with new random numbers every time a patch is drawn.

    More than one of ``ratios`` is for networks of any ratio only.
    """

    preset: Preset = "uestc"
    ratios: Annotated[tuple[Annotated[float, Field(ge=1)], ...], Field(min_length=1)] = (4,)
    width_jitter: NonNegativeFloat = 0.0
    phase_jitter: NonNegativeFloat = 0.0

    @model_validator(mode="after")
    def _check(self) -> DegradationSection:
        if self.preset == "stored" and (self.width_jitter or self.phase_jitter or len(self.ratios) > 1):
            raise ValueError("stored pairs are as they are: no jitter and one ratio with degradation.preset=stored")
        return self


class AugmentationSection(Settings):
    """Augmentation of a patch before it is degraded; default: none."""

    symmetries: bool = False
    random_starts: bool = False
    gain: Annotated[float, Field(ge=0, lt=1)] = 0.0
    scales: Annotated[tuple[Annotated[float, Field(ge=1)], ...], Field(min_length=1)] = (1.0,)
    mix: Fraction = 0.0


class BaseSection(Settings):
    """A fusion method whose image the network improves, in place of the interpolated HSI.

    ``scale`` is the unit of what the network adds: where the residual is small, such as 0.01, the weights of the output
    layer then learn at the pace of the others. With ``cache`` the images are kept in the user's cache folder.
    """

    renamed: ClassVar[Mapping[str, str]] = {"as_guide": "guidance"}

    method: str
    settings: dict[str, Any] = Field(default_factory=dict)
    versions: PositiveInt = 4
    guidance: bool = True
    scale: PositiveFloat = 1.0
    cache: bool = True


class OptimiserSection(Settings):
    """AdamW (Loshchilov and Hutter, 2019), or Adam (Kingma and Ba, 2015).

    The first takes ``weight_decay`` off the weights, the second adds it to the gradient. Larger gradients are scaled
    down to ``gradient_norm``.
    """

    name: Literal["adamw", "adam"] = "adamw"

    learning_rate: PositiveFloat = 2e-4
    weight_decay: NonNegativeFloat = 0.0
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.999)
    gradient_norm: PositiveFloat | None = None


class ConstantScheduleSection(Settings):
    """The learning rate stays."""

    name: Literal["constant"] = "constant"


class CosineScheduleSection(Settings):
    """The learning rate falls as half a cosine wave, over the whole run where ``period`` is None."""

    name: Literal["cosine"] = "cosine"
    per: Literal["step", "epoch"] = "step"
    period: DurationField | None = None
    minimum: NonNegativeFloat = 0.0
    after: Literal["rise", "restart", "stay"] = "rise"


class OneCycleScheduleSection(Settings):
    """The learning rate rises and falls once over the whole run, each as half a cosine wave (Smith and Topin, 2018).

    ``rise`` is the fraction of the run in which it rises, ``start`` is a fraction of the highest rate.
    """

    name: Literal["one-cycle"] = "one-cycle"
    per: Literal["step", "epoch"] = "step"
    rise: Annotated[float, Field(gt=0, lt=1)] = 0.3
    start: Annotated[float, Field(gt=0, le=1)] = 0.04
    minimum: NonNegativeFloat = 0.0


class StepsScheduleSection(Settings):
    """The learning rate is multiplied by ``factor`` at the times ``at``, or ``every`` so often.

    In the second case from ``first`` on (by default after the first such time), ``times`` times where that is given.
    """

    name: Literal["steps"] = "steps"
    factor: Annotated[float, Field(gt=0, lt=1)]
    at: tuple[DurationField, ...] = ()
    every: DurationField | None = None
    first: DurationField | None = None
    times: PositiveInt | None = None

    @model_validator(mode="after")
    def _check(self) -> StepsScheduleSection:
        if bool(self.at) == (self.every is not None):
            raise ValueError("a schedule in steps needs either schedule.at, such as [80 epochs], or schedule.every")
        if self.every is None and (self.first is not None or self.times is not None):
            raise ValueError("schedule.first and schedule.times belong to schedule.every; set it, or remove them")
        return self

    def milestones(self, epoch_patches: int, step_patches: int, whole: int) -> list[int]:
        """Return the positions of each change of the rate, patches seen or wall time, in a run up to ``whole``."""
        if self.every is None:
            return [one.position(epoch_patches, step_patches) for one in self.at]
        every = self.every.position(epoch_patches, step_patches)
        first = (self.first or self.every).position(epoch_patches, step_patches)
        return list(range(first, whole, every))[: self.times]


class AverageSection(Settings):
    """An exponential moving average of the weights, which is validated and kept: see ``WeightAverage``."""

    decay: Annotated[float, Field(gt=0, lt=1)] = 0.999
    warm_up: bool = True


class ValidationSection(Settings):
    """When (also at the end of the run) and at which ratios (default: those of the degradation) scenes are scored.

    Validations that together would take more than ``time_fraction`` of the time of training are put off; default: 0.1
    of a run whose length is a time, no bound of another, which is to keep the same best weights on every machine.
    """

    every: CountedField = Duration(1, "epochs")
    time_fraction: Annotated[float, Field(gt=0, le=1)] | None = None
    ratios: tuple[Annotated[float, Field(ge=1)], ...] | None = None


class CheckpointSection(Settings):
    """When the run is saved (also at its end), and how many checkpoints are kept in addition to the best weights."""

    every: CountedField = Duration(1, "epochs")
    keep: PositiveInt = 2


class LogSection(Settings):
    """The steps over which loss and speed are averaged for an entry, and whether TensorBoard files are written too."""

    every: PositiveInt = 20
    tensorboard: bool = True


def _shared(first: str | tuple[str, ...], second: str | tuple[str, ...]) -> list[str]:
    if isinstance(first, str) or isinstance(second, str):
        return []
    return sorted({name.lower() for name in first} & {name.lower() for name in second})
