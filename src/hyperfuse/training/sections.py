"""The sections of a training configuration."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, get_args

from pydantic import (
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
    """A duration of training, in optimisation steps or in epochs (as many patches as the grid has)."""

    number: int
    unit: Literal["steps", "epochs"]

    def patches(self, epoch_patches: int, step_patches: int) -> int:
        """Return the number of patches seen in that time."""
        return self.number * (step_patches if self.unit == "steps" else epoch_patches)

    def steps(self, epoch_patches: int, step_patches: int) -> int:
        """Return the number of steps, at least 1, rounded up."""
        return max(1, -(-self.patches(epoch_patches, step_patches) // step_patches))

    def __str__(self) -> str:
        return f"{self.number} {self.unit}"


def _parse_duration(value: Any) -> Duration:
    match = re.fullmatch(r"(\d+)(?:\s+(steps?|epochs?))?", str(value).strip())
    if match is None or isinstance(value, bool) or int(match[1]) < 1:
        raise ValueError("write a number of steps such as 5000, or of epochs such as '300 epochs'")
    return Duration(int(match[1]), "epochs" if (match[2] or "").startswith("epoch") else "steps")


def _names(value: Any) -> Any:
    if isinstance(value, list | tuple) and all(isinstance(name, str) for name in value):
        return tuple(value)
    if isinstance(value, str):
        return value
    raise ValueError("write the name of a split, or names of scenes such as [paints, sponges] (numbers in quotes)")


DurationField = Annotated[Duration, BeforeValidator(_parse_duration), PlainSerializer(str)]
Names = Annotated[str | tuple[str, ...], BeforeValidator(_names)]


class NetworkSection(Settings):
    """Which network is trained.

    Attributes:
        name: as :func:`hyperfuse.networks.create_network` knows it.
        options: its options; unset ones keep their defaults.
        weights: folder of a pretrained network of the same shape to start from, or None for fresh weights.
        zero_output: zero-initialised output layer (Zhang, Dauphin and Ma, Fixup, 2019): at the start the output is the
            image that the network adds to, and a short run need not unlearn what random weights add.
        whitened_input: whitening initialisation: fresh first layers over the leading principal components of the
            training scenes' spectra, at unit variance, in place of bands.
    """

    renamed: ClassVar[Mapping[str, str]] = {"begin_with_nothing": "zero_output", "begin_whitened": "whitened_input"}

    name: str = "feinfn"
    options: dict[str, Any] = Field(default_factory=dict)
    weights: Path | None = None
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

    Attributes:
        kind: ``cave``, ``harvard``, ``folder`` (of any cubes) or ``patches`` (an HDF5 patch file).
        folder: where the data lie, relative to the working folder; of the kind ``patches``, the file.
        train: names of the training scenes, or the name of a split; ``all`` for all scenes there are.
        validation: names of the scenes that choose the best weights, or the name of a split; none where parts of the
            training scenes are held out instead.
        test: test scenes, or the name of a split: not used, named so that an overlap can be refused.
        hold_out: fraction of the rows of every training scene, at its bottom, that is held out for validation; of a
            patch file, the fraction of its patches, at its end.
        patch: side of a patch in HR pixels; less where the ratio does not divide it.
        stride: distance between the starts of neighbouring patches; the last start that would fit is left out, as in
            the authors' patches (starts ``range(0, 448, 32)`` of 512).
        srf: spectral responses of the MSI, as ``hyperfuse.create_srf`` reads them.
        memory_gb: scenes are kept in memory up to this size, in every process that prepares patches.
        scale: kind ``folder``: value = scale * stored + offset, for files that do not say.
        offset: see ``scale``.
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

    Attributes:
        preset: ``uestc``, ``dhif`` or ``mtf``; or ``stored`` for the pairs that a patch file carries.
        ratios: every step draws one of these; more than one only for networks of any ratio.
        width_jitter: the PSF's width is multiplied by a factor between 1/(1 + j) and 1 + j.
        phase_jitter: maximum shift of the phase along either axis, in HR pixels.
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
    """Augmentation of a patch before it is degraded; default: none.

    Attributes:
        symmetries: one of the eight rotations and reflections of the square.
        random_starts: patches start anywhere in the scene instead of on the grid.
        gain: bands are dimmed by a smooth random curve down to 1 - gain.
        scales: a scene is shrunk by one of these factors, with equal probability.
        mix: probability that a random rectangle is replaced by that of another patch (CutMix).
    """

    symmetries: bool = False
    random_starts: bool = False
    gain: Annotated[float, Field(ge=0, lt=1)] = 0.0
    scales: Annotated[tuple[Annotated[float, Field(ge=1)], ...], Field(min_length=1)] = (1.0,)
    mix: Fraction = 0.0


class BaseSection(Settings):
    """A fusion method whose image the network improves, in place of the interpolated HSI.

    Attributes:
        method: as ``hyperfuse methods`` lists it.
        settings: of the method.
        versions: augmented, degraded and fused versions of each scene, per ratio, made before the first step.
        guidance: whether the method's image is a further input of the network, as bands next to those of the MSI.
        scale: unit of what the network adds to that image, such as 0.01 where the residual is small: the weights of the
            output layer then learn at the pace of the others.
    """

    renamed: ClassVar[Mapping[str, str]] = {"as_guide": "guidance"}

    method: str
    settings: dict[str, Any] = Field(default_factory=dict)
    versions: PositiveInt = 4
    guidance: bool = True
    scale: PositiveFloat = 1.0


class OptimiserSection(Settings):
    """AdamW (Loshchilov and Hutter, 2019).

    Attributes:
        learning_rate: the highest one of the schedule.
        weight_decay: decoupled weight decay.
        betas: decay of the two moments.
        gradient_norm: gradients are scaled down to this norm where theirs is larger; None leaves them.
    """

    learning_rate: PositiveFloat = 2e-4
    weight_decay: NonNegativeFloat = 0.0
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.999)
    gradient_norm: PositiveFloat | None = None


class ConstantScheduleSection(Settings):
    """The learning rate stays."""

    name: Literal["constant"] = "constant"


class CosineScheduleSection(Settings):
    """The learning rate falls as half a cosine wave.

    Attributes:
        per: whether it changes every step or every epoch.
        period: how long the fall takes; the whole run where None.
        minimum: where it ends.
        after: what follows: it rises again as it fell, restarts from the top, or stays at the minimum.
    """

    name: Literal["cosine"] = "cosine"
    per: Literal["step", "epoch"] = "step"
    period: DurationField | None = None
    minimum: NonNegativeFloat = 0.0
    after: Literal["rise", "restart", "stay"] = "rise"


class OneCycleScheduleSection(Settings):
    """The learning rate rises and falls once over the whole run, each as half a cosine wave (Smith and Topin, 2018).

    Attributes:
        per: whether it changes every step or every epoch.
        rise: fraction of the run in which it rises.
        start: where it starts, as a fraction of the highest rate.
        minimum: where it ends.
    """

    name: Literal["one-cycle"] = "one-cycle"
    per: Literal["step", "epoch"] = "step"
    rise: Annotated[float, Field(gt=0, lt=1)] = 0.3
    start: Annotated[float, Field(gt=0, le=1)] = 0.04
    minimum: NonNegativeFloat = 0.0


class AverageSection(Settings):
    """An exponential moving average of the weights, which is validated and kept as the result.

    Attributes:
        decay: weight of the previous average in each step.
        warm_up: start with a smaller decay, (1 + n) / (10 + n) in step n.
    """

    decay: Annotated[float, Field(gt=0, lt=1)] = 0.999
    warm_up: bool = True


class ValidationSection(Settings):
    """When and at which ratios the validation scenes are scored.

    Attributes:
        every: how often; also at the end of the run.
        ratios: default: those of the degradation.
    """

    every: DurationField = Duration(1, "epochs")
    ratios: tuple[Annotated[float, Field(ge=1)], ...] | None = None


class CheckpointSection(Settings):
    """When the run is saved, and how many checkpoints are kept.

    Attributes:
        every: how often; also at the end of the run.
        keep: number of the latest that are kept, in addition to the best weights.
    """

    every: DurationField = Duration(1, "epochs")
    keep: PositiveInt = 2


class LogSection(Settings):
    """What is logged.

    Attributes:
        every: steps over which loss and speed are averaged for an entry.
        tensorboard: whether TensorBoard files are written in addition to ``log.jsonl``.
    """

    every: PositiveInt = 20
    tensorboard: bool = True


def _shared(first: str | tuple[str, ...], second: str | tuple[str, ...]) -> list[str]:
    if isinstance(first, str) or isinstance(second, str):
        return []
    return sorted({name.lower() for name in first} & {name.lower() for name in second})
