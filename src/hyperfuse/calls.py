"""Calls of public functions: an argument that does not fit its annotation is an InputError that names it."""

from __future__ import annotations

import functools
import inspect
import numbers
import sys
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from hyperfuse.errors import InputError, nearest_name
from hyperfuse.text import shortened

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C", bound=type)

_WORDS: dict[Any, str] = {
    str: "text",
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    Path: "a path",
    type(None): "None",
}
_LONGEST_LIST = 1000


def checked(function: Callable[P, R], converted: Collection[str] = ()) -> Callable[P, R]:
    """Make a function refuse arguments of another kind than it is annotated with, unknown and missing ones included.

    Annotations that state more than a kind (arrays, type variables) accept everything; the function checks those.
    ``None`` is refused where it is not annotated.

    Args:
        function: whose arguments are checked.
        converted: parameters that it converts from other kinds than those of their annotation, and checks itself.

    Example:
        >>> @checked
        ... def half(value: float) -> float:
        ...     return value / 2
        >>> half("4")
        Traceback (most recent call last):
        hyperfuse.errors.InputError: value is a number, got '4'
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*args: P.args, **keywords: P.kwargs) -> R:
        try:
            bound = signature.bind(*args, **keywords)
        except TypeError as error:
            raise _misuse(function, signature, keywords, error) from None
        annotations = {**_annotations(function), **dict.fromkeys(converted, Any)}
        for name, value in bound.arguments.items():
            kind = signature.parameters[name].kind
            if kind is inspect.Parameter.VAR_KEYWORD:
                _check_extra(function, annotations.get(name, Any), value)
            elif kind is not inspect.Parameter.VAR_POSITIONAL:
                _check(name, value, annotations.get(name, Any))
        return function(*args, **keywords)

    return call


def checked_fields(*converted: str) -> Callable[[C], C]:
    """Make the constructor of a class :func:`checked`, but for fields that it converts from other kinds."""

    def decorate(cls: C) -> C:
        cls.__init__ = checked(cls.__init__, converted)  # type: ignore[misc]
        return cls

    return decorate


def _misuse(function: Any, signature: inspect.Signature, keywords: Mapping[str, Any], error: TypeError) -> InputError:
    name = function.__qualname__.removesuffix(".__init__")
    known = [one for one in signature.parameters if one != "self"]
    unknown = next((key for key in keywords if key not in known), None)
    if unknown is not None:
        return InputError(f"{name} has no parameter {unknown!r}{nearest_name(unknown, known)}", unknown)
    missing = [
        key
        for key, one in signature.parameters.items()
        if key != "self" and one.default is one.empty and key not in keywords and one.kind not in (one.VAR_KEYWORD,)
    ]
    words = str(error).replace("'self', ", "")
    parameter = next((key for key in missing if f"'{key}'" in words), None)
    return InputError(f"{name}: {words}", parameter)


def _check_extra(function: Any, annotation: Any, values: Mapping[str, Any]) -> None:
    """Check keywords that are annotated by a TypedDict."""
    kind = typing.get_args(annotation)[0] if typing.get_origin(annotation) is typing.Unpack else None
    if kind is None:
        return
    known = {name: _resolved(text, kind.__module__) for name, text in kind.__annotations__.items()}
    for name, value in values.items():
        if name not in known:
            fields = [*known, *(one for one in inspect.signature(function).parameters)]
            raise InputError(f"{function.__qualname__} has no parameter {name!r}{nearest_name(name, fields)}", name)
        if value is not None:
            _check(name, value, known[name])


def _check(name: str, value: Any, annotation: Any) -> None:
    if not _fits(value, annotation):
        raise InputError(f"{name} is {_described(annotation)}, got {_shown(value)}", name)


@functools.cache
def _annotations(function: Any) -> dict[str, Any]:
    return {name: _resolved(text, function.__module__) for name, text in function.__annotations__.items()}


def _resolved(annotation: Any, module: str) -> Any:
    """Return an annotation that may be text; one that only type checkers can resolve is Any."""
    if isinstance(annotation, typing.ForwardRef):
        annotation = annotation.__forward_arg__
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, vars(sys.modules[module]))
    except (NameError, AttributeError, TypeError):
        return Any


def _fits(value: Any, annotation: Any) -> bool:
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, one) for one in args)
    if origin is typing.Literal:
        return isinstance(value, tuple({type(one) for one in args}))
    if origin is typing.Annotated:
        return _fits(value, args[0])
    if annotation is None or annotation is type(None):
        return value is None
    kind = annotation if origin is None else origin
    # Arrays and transforms are converted from whatever they can be made of by those who hold them.
    if not isinstance(kind, type) or kind.__module__.partition(".")[0] in ("typing", "numpy", "affine"):
        return True
    if kind is float:
        return isinstance(value, numbers.Real) or getattr(value, "ndim", None) == 0
    if kind is int:
        return isinstance(value, numbers.Integral)
    if kind is bool:
        return type(value).__name__ in ("bool", "bool_") or (isinstance(value, int) and value in (0, 1))
    if issubclass(kind, Path):
        return isinstance(value, Path)
    if kind.__name__ == "Callable" or getattr(kind, "_is_protocol", False):
        return callable(value) or "__call__" not in vars(kind)
    if issubclass(kind, tuple) and not hasattr(kind, "_fields"):
        return _is_list(value) and (not args or args[-1] is Ellipsis or len(value) == len(args))
    if kind in (Sequence, list, Iterable):
        each = args[0] if args else Any
        return _is_list(value) and (len(value) > _LONGEST_LIST or all(_fits(one, each) for one in value))
    return isinstance(value, kind)


def _is_list(value: Any) -> bool:
    return not isinstance(value, str | bytes | Mapping) and hasattr(value, "__len__") and hasattr(value, "__getitem__")


def _described(annotation: Any) -> str:
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(_described(one) for one in args if one is not type(None)))
    if origin is typing.Literal:
        return " or ".join(map(repr, args))
    if origin is typing.Annotated:
        return _described(args[0])
    kind = annotation if origin is None else origin
    if kind in _WORDS:
        return _WORDS[kind]
    if kind is tuple:
        return "a pair" if len(args) == 2 and args[-1] is not Ellipsis else "a list"
    if kind in (Sequence, list, Iterable):
        return "a list"
    if kind is Mapping:
        return "a mapping"
    if kind is Callable or "__call__" in vars(kind):
        return "a function"
    name = getattr(kind, "__name__", str(kind))
    return f"{'an' if name[:1].upper() in 'AEIO' else 'a'} {name}"


def _shown(value: Any) -> str:
    if value is None or isinstance(value, str | int | float):
        return shortened(repr(value), 60)
    return type(value).__name__
