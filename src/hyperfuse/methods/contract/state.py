"""Models as plain values: nested dataclasses to dictionaries and back; no class is named in what is stored."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

import torch

T = TypeVar("T")
ModelT = TypeVar("ModelT", bound="StoredModel")
_PLAIN = (torch.Tensor, str, bool, int, float, types.NoneType)


class StoredModel:
    """Base of models that are dataclasses: their fields are their state."""

    @classmethod
    def restore(cls: type[ModelT], settings: Any, state: Mapping[str, Any]) -> ModelT:
        """Return the model whose :meth:`state` is given."""
        return from_state(cls, state)

    def state(self) -> dict[str, Any]:
        """Return the model as plain values."""
        return dict(to_state(self))


def to_state(value: Any) -> Any:
    """Return a value as nested dictionaries and lists of tensors, numbers, text and None.

    Dataclasses become dictionaries of their fields but for those that start with an underscore, which hold what can
    be computed again.

    Raises:
        TypeError: a value of another kind.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: to_state(getattr(value, name)) for name in _stored(type(value))}
    if isinstance(value, Mapping):
        return {key: to_state(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [to_state(one) for one in value]
    if isinstance(value, _PLAIN):
        return value
    raise TypeError(f"a {type(value).__name__} cannot be stored")


def from_state(kind: type[T], state: Any) -> T:
    """Return the value of which :func:`to_state` was taken.

    Args:
        kind: its class, a dataclass; fields are rebuilt by their types. Of a union of dataclasses the one is taken
            that has the stored fields.
        state: as stored.
    """
    result: T = _rebuild(kind, state)
    return result


def _rebuild(kind: Any, state: Any) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if state is None:
            return None
        kinds = [one for one in arguments if one is not types.NoneType]
        matching = [one for one in kinds if dataclasses.is_dataclass(one) and set(_stored(one)) == set(state)]
        return _rebuild((matching or kinds)[0], state)
    if origin is not None and issubclass(origin, Mapping):
        return {key: _rebuild(arguments[1], one) for key, one in state.items()}
    if origin in (list, tuple):
        kinds = [arguments[0]] * len(state) if origin is list or arguments[1:] == (...,) else list(arguments)
        return origin(_rebuild(*pair) for pair in zip(kinds, state, strict=True))
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        hints = typing.get_type_hints(kind)
        return kind(**{name: _rebuild(hints[name], state[name]) for name in _stored(kind)})
    return state


def _stored(kind: Any) -> list[str]:
    return [one.name for one in dataclasses.fields(kind) if not one.name.startswith("_")]
