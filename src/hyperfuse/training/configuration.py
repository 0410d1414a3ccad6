"""The configuration of a training run: frozen, typed, unknown keys refused; read from YAML with overrides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, NonNegativeInt, PositiveInt, ValidationError, model_validator

from hyperfuse.errors import InputError, nearest_name
from hyperfuse.networks.kernels.precision import Precision
from hyperfuse.settings import Settings, describe
from hyperfuse.training.losses import LOSS_TERMS, SSIM_WINDOW
from hyperfuse.training.schedules import Schedule, constant, cosine, one_cycle, steps
from hyperfuse.training.sections import (
    AugmentationSection,
    AverageSection,
    BaseSection,
    CheckpointSection,
    ConstantScheduleSection,
    CosineScheduleSection,
    DataSection,
    DegradationSection,
    Duration,
    DurationField,
    LogSection,
    NetworkSection,
    OneCycleScheduleSection,
    OptimiserSection,
    StepsScheduleSection,
    ValidationSection,
)
from hyperfuse.yaml_text import load_yaml, parse_yaml


class TrainingConfig(Settings):
    """All that a training run depends on; docs/training.md explains every key.

    Example:
        >>> config = TrainingConfig(output="run", length="2 epochs", data={
        ...     "kind": "folder", "folder": "scenes", "train": ["a"], "validation": ["b"]})
        >>> config.length.steps(epoch_patches=3920, step_patches=8)
        980
    """

    output: Path
    resume: bool = False
    seed: NonNegativeInt = 0
    length: DurationField
    batch: PositiveInt = 4
    accumulation: PositiveInt = 1
    precision: Precision = "float32"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    deterministic: bool = False
    compiled: bool = False
    workers: NonNegativeInt = 0
    network: NetworkSection = NetworkSection()
    base: BaseSection | None = None
    data: DataSection
    degradation: DegradationSection = DegradationSection()
    augmentation: AugmentationSection = AugmentationSection()
    losses: dict[str, float] = Field(default_factory=lambda: {"l1": 1.0})
    optimiser: OptimiserSection = OptimiserSection()
    schedule: Annotated[
        ConstantScheduleSection | CosineScheduleSection | OneCycleScheduleSection | StepsScheduleSection,
        Field(discriminator="name"),
    ] = ConstantScheduleSection()
    average: AverageSection | None = None
    validation: ValidationSection = ValidationSection()
    checkpoints: CheckpointSection = CheckpointSection()
    log: LogSection = LogSection()

    @model_validator(mode="after")
    def _check(self) -> TrainingConfig:
        for name, weight in self.losses.items():
            if name not in LOSS_TERMS:
                raise ValueError(f"no loss is called {name!r}{nearest_name(name, LOSS_TERMS)}")
            if weight < 0:
                raise ValueError(f"the weight of the loss {name!r} is negative")
        if not any(self.losses.values()):
            raise ValueError("losses: every weight is 0; give at least one term, such as {l1: 1}")
        if self.losses.get("ssim") and self.data.patch < SSIM_WINDOW:
            raise ValueError(f"the SSIM loss has windows of {SSIM_WINDOW} pixels, data.patch is {self.data.patch}")
        if self.compiled and self.accumulation > 1:
            raise ValueError("compiled=true is for steps of one pass; set accumulation=1, or compiled=false")
        changed = [
            name for name, value in self.augmentation if value != type(self.augmentation).model_fields[name].default
        ]
        if self.base is not None and self.network.intermediate:
            raise ValueError("network.intermediate does not work with a base, which the fused image alone adds to")
        if self.base is not None and self.augmentation.mix:
            raise ValueError("augmentation.mix does not work with a base, which is made of whole scenes; set it to 0")
        if self.degradation.preset == "stored" and changed:
            raise ValueError(f"stored pairs cannot be augmented: remove augmentation.{changed[0]}")
        timed = self.length.unit == "minutes"
        for name, value in self.schedule:
            for one in value if name == "at" else (value,):
                if isinstance(one, Duration) and (one.unit == "minutes") != timed:
                    raise ValueError(
                        f"schedule.{name} is in {one.unit}, length in {self.length.unit}; write both in one unit"
                    )
            if timed and value == "epoch":
                raise ValueError(f"schedule.{name}=epoch counts patches, length is in minutes; set it to step")
        return self

    @property
    def step_patches(self) -> int:
        """Patches of an optimisation step, over all processes."""
        return self.batch * self.accumulation

    def with_names(
        self, train: Sequence[str], validation: Sequence[str] = (), test: Sequence[str] = ()
    ) -> TrainingConfig:
        """Return the configuration with splits replaced by the scenes that they name.

        Raises:
            InputError: scenes that are in two of them, or nothing to learn from or to validate on.
        """
        values = self.model_dump()
        values["data"] |= {"train": tuple(train), "validation": tuple(validation), "test": tuple(test)}
        if self.data.kind == "patches":
            values["data"]["hold_out"] = 0.0  # the patches held out are named
        try:
            return TrainingConfig.model_validate(values)
        except ValidationError as error:
            raise InputError(describe(error, TrainingConfig)) from None

    def create_schedule(self, epoch_patches: int) -> Schedule:
        """Return the learning rate as a function of the patches seen, or of milliseconds where the length is a time."""
        highest, section = self.optimiser.learning_rate, self.schedule
        if isinstance(section, ConstantScheduleSection):
            return constant(highest)
        whole = self.length.position(epoch_patches, self.step_patches)
        if isinstance(section, StepsScheduleSection):
            return steps(highest, section.factor, at=section.milestones(epoch_patches, self.step_patches, whole))
        timed = self.length.unit == "minutes"
        unit = 1 if timed else epoch_patches if section.per == "epoch" else self.step_patches
        if isinstance(section, CosineScheduleSection):
            period = section.period.position(epoch_patches, self.step_patches) if section.period else whole
            return cosine(highest, section.minimum, period=period, unit=unit, after=section.after)
        return one_cycle(
            highest, section.minimum, start=section.start * highest, rise=section.rise, length=whole, unit=unit
        )


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> TrainingConfig:
    """Read a configuration from a YAML file and apply overrides.

    Overrides are ``key=value`` texts; dots separate sections (``optimiser.learning_rate=1e-3``), values are YAML
    (``augmentation.scales=[1,2]``, ``average=null``).

    Raises:
        InputError: a file that is missing or no YAML, or a key that is wrong or renamed, or a wrong value: one line.

    Example:
        >>> import tempfile, pathlib
        >>> folder = tempfile.TemporaryDirectory()
        >>> file = pathlib.Path(folder.name) / "run.yaml"
        >>> _ = file.write_text(
        ...     "{output: run, length: 100, data: {kind: cave, folder: data, train: uestc-train, hold_out: 0.2}}")
        >>> load_config(file, ["batch=8"]).batch
        8
    """
    path = Path(path)
    values = load_yaml(path)
    if not isinstance(values, dict):
        raise InputError(f"{path}: a training configuration is a mapping of keys, such as 'output: runs/first'")
    for word in overrides:
        _override(values, word)
    try:
        return TrainingConfig.model_validate(values)
    except ValidationError as error:
        raise InputError(f"{path}: {describe(error, TrainingConfig)}") from None


def to_yaml(config: TrainingConfig) -> str:
    """Return the configuration with every key as YAML; :func:`load_config` reads it back."""
    values = config.model_dump(mode="json")
    return yaml.safe_dump(values, sort_keys=False, default_flow_style=None, width=120, allow_unicode=True)


def differences(first: TrainingConfig, second: TrainingConfig) -> Iterator[tuple[str, Any, Any]]:
    """Give each dotted key whose value differs, with both values (None where a section does not have the key)."""
    one, other = (dict(_flat(config.model_dump(mode="json"))) for config in (first, second))
    for key in dict.fromkeys([*one, *other]):
        if one.get(key) != other.get(key):
            yield key, one.get(key), other.get(key)


def _override(values: dict[str, Any], word: str) -> None:
    key, equals, text = word.partition("=")
    names = key.strip().split(".")
    if not equals or not all(names):
        raise InputError(f"an override is key=value, such as optimiser.learning_rate=1e-3; got {word!r}")
    try:
        value = parse_yaml(text)
    except InputError as error:
        raise InputError(f"the override {word!r} is not a value in YAML ({error})") from error
    section = values
    for depth, name in enumerate(names[:-1], 1):
        if section.get(name) is None:  # not there, or a section that was switched off
            section[name] = {}
        section = section[name]
        if not isinstance(section, dict):
            raise InputError(f"the override {word!r}: {'.'.join(names[:depth])} is a value, it has no keys below it")
    section[names[-1]] = value


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
