"""The table of methods, and the decorator that enters one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

import torch

from hyperfuse.calls import checked
from hyperfuse.errors import InputError, nearest_name
from hyperfuse.methods.contract.by_detector import ByDetector
from hyperfuse.methods.contract.method import (
    DEFAULT_MARGIN,
    Capabilities,
    Method,
    Model,
    Outcome,
    PairTensors,
    S,
)
from hyperfuse.progress import Progress, silent
from hyperfuse.sensor.model import Sensor

# (hsi, msi, sensor, settings, progress) -> image (bands, H, W), or an outcome with details for the record
FusionFunction = Callable[[torch.Tensor, torch.Tensor, Sensor, S, Progress], torch.Tensor | Outcome]
T = TypeVar("T")

_METHODS: dict[str, Method[Any]] = {}
_UNLISTED: set[str] = set()
_SETTINGS_OF = {
    "uncertainty": "uncertainty",
    "budget": "budget_seconds",
    "effort": "effort",
    "weights": "weights",
    "seed": "seed",
}


def register_method(
    name: str,
    *,
    settings: type[S],
    summary: str,
    reference: str,
    cost: Literal["seconds", "minutes"],
    capabilities: Capabilities | None = None,
    listed: bool = True,
) -> Callable[[T], T]:
    """Return the decorator that registers a method; arguments as in :class:`~.method.Method`.

    A method that is not ``listed`` needs something that only some pairs have, such as a network for their bands.

    It decorates the class of the method's models (see :class:`~.method.ModelFactory`), or a plain function
    ``(hsi, msi, sensor, settings, progress) -> image`` (or an :class:`~.method.Outcome`), which then fuses every
    window by itself.

    Raises:
        ValueError: the name is taken, or capabilities and settings disagree.
    """

    def register(target: T) -> T:
        if name in _METHODS:
            raise ValueError(f"a method {name!r} is registered already")
        able = capabilities or Capabilities()
        for capability, setting in _SETTINGS_OF.items():
            if getattr(able, capability) != (setting in settings.model_fields):
                raise ValueError(f"{name}: the capability {capability} and the setting {setting} go together")
        models: Any = target if isinstance(target, type) else _FunctionModels(target)  # type: ignore[arg-type]
        made = ByDetector(models, able.fuses_by_detector)
        _METHODS[name] = Method(name, summary, reference, cost, settings, able, made)
        if not listed:
            _UNLISTED.add(name)
        return target

    return register


@checked
def get_method(name: str) -> Method[Any]:
    """Return the method of that name.

    Raises:
        InputError: there is none; the message states the nearest name.
    """
    if name not in _METHODS:
        raise InputError(f"no method {name!r}{nearest_name(name, _METHODS)}")
    return _METHODS[name]


def list_methods() -> list[Method[Any]]:
    """Return the registered methods that fuse any pair, by name."""
    return [_METHODS[name] for name in sorted(set(_METHODS) - _UNLISTED)]


@dataclass(frozen=True)
class _FunctionModels(Generic[S]):
    """Makes models of a plain function, which learns nothing of a scene."""

    function: FusionFunction[S]

    def fit(self, samples: Sequence[PairTensors], settings: S, progress: Progress) -> Model:
        return _FunctionModel(self.function, settings)

    def restore(self, settings: S, state: Mapping[str, Any]) -> Model:
        return _FunctionModel(self.function, settings)


@dataclass(frozen=True)
class _FunctionModel(Generic[S]):
    function: FusionFunction[S]
    settings: S
    margin: int = DEFAULT_MARGIN
    details: Mapping[str, Any] = field(default_factory=dict)

    def apply(self, pair: PairTensors, progress: Progress = silent) -> Outcome:
        found = self.function(pair.hsi, pair.msi, pair.sensor, self.settings, progress)
        return found if isinstance(found, Outcome) else Outcome(found)

    def state(self) -> dict[str, Any]:
        return {}
