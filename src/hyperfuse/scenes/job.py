"""What is to be done with a pair: the method, its settings, and what the caller specifies."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from hyperfuse.errors import InputError
from hyperfuse.methods import list_methods
from hyperfuse.methods.contract.method import Method, MethodSettings, Model
from hyperfuse.scenes.record import describe_geometry
from hyperfuse.scenes.tiling.memory import default_memory_gb
from hyperfuse.sensor.geometry import PairGeometry
from hyperfuse.sensor.model import Sensor

Settings = Mapping[str, Any] | MethodSettings


@dataclass(frozen=True, kw_only=True)
class FusionJob:
    """What is to be done with a pair.

    Attributes:
        method: to fuse with.
        settings: of the method.
        geometry: what is specified of the pair.
        device: to compute on.
        seed: of methods that draw random numbers.
        tile: side of a tile without its margins in HR pixels; None for one window.
        overlap: LR pixels read around a tile; None for what the method needs.
        memory_gb: memory for samples and tiles.
        workers: processes that fuse tiles at the same time.
        images: how many images will be written.
        inputs: names of the inputs for the history.
        digest: of what is computed, by which a result that is complete is recognised.
        started: ``time.monotonic`` from which a budget counts.
        notes: on what was done to the pair before.
        computed: ``time.process_time`` at that moment.
    """

    method: Method[Any]
    settings: MethodSettings
    geometry: PairGeometry
    device: torch.device
    seed: int = 0
    tile: int | None = None
    overlap: int | None = None
    memory_gb: float = field(default_factory=default_memory_gb)
    workers: int = 1
    images: int = 0
    inputs: Mapping[str, str] | None = None
    digest: str | None = None
    notes: tuple[str, ...] = ()
    started: float = field(default_factory=time.monotonic)
    computed: float = field(default_factory=time.process_time)

    @property
    def budget_seconds(self) -> float | None:
        """Wall time for everything, or None."""
        known = self.method.capabilities.budget
        seconds: float | None = self.settings.model_dump()["budget_seconds"] if known else None
        return seconds

    def margin(self, sensor: Sensor, model: Model | None = None) -> int:
        """Return the LR pixels to read around a tile."""
        if self.overlap is not None:
            return self.overlap
        return self.method.capabilities.margin(sensor, self.settings) if model is None else model.margin


def as_mapping(settings: Settings | None) -> dict[str, Any]:
    """Return settings by name."""
    if isinstance(settings, MethodSettings):
        return settings.model_dump()
    values = dict(settings or {})
    if not all(isinstance(name, str) for name in values):
        raise InputError(f"settings are values by name, got {settings!r}", "settings")
    return values


def configure(method: Method[Any], given: Settings | None, seed: int) -> MethodSettings:
    """Return the settings of a method; the seed is that of the call where none is given.

    Raises:
        InputError: an unknown setting, a value out of range, or ``uncertainty`` of a method that predicts none.
    """
    if isinstance(given, MethodSettings):
        return given
    values = as_mapping(given)
    if "uncertainty" in values and not method.capabilities.uncertainty:
        able = " or ".join(one.name for one in list_methods() if one.capabilities.uncertainty)
        raise InputError(f"the method {method.name} predicts no uncertainty; choose {able}", parameter="uncertainty")
    if method.capabilities.seed:
        values.setdefault("seed", seed)
    configured: MethodSettings = method.configure(**values)
    return configured


def predicts_uncertainty(method: Method[Any], settings: MethodSettings) -> bool:
    """Return whether a method is to predict the uncertainty of its result."""
    return method.capabilities.uncertainty and bool(settings.model_dump()["uncertainty"])


def specified_geometry(geometry: PairGeometry | None, **fields: Any) -> PairGeometry:
    """Return what is specified of a pair, as a whole or by fields.

    Raises:
        InputError: by both.
    """
    specified = PairGeometry(**fields)
    if geometry is None:
        return specified
    if describe_geometry(specified) != describe_geometry(PairGeometry()):
        raise InputError("geometry and its fields both describe the pair; pass one of them", parameter="geometry")
    return geometry
