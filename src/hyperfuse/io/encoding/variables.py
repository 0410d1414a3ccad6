"""Which of the variables of a file is the cube."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

import numpy as np

from hyperfuse.errors import InputError

DEFAULT_NAME = "cube"

# Shape and type name of each variable of a file.
Shapes = Mapping[str, tuple[tuple[int, ...], str]]


def choose_variable(shapes: Shapes, named: str | None, own: str | None = None) -> str:
    """Return the name of the variable that holds the cube.

    That is the one that the caller has ``named``, else ``own``, which a file of this package states, else the only
    3-D array of numbers, else the only 2-D one.

    Raises:
        InputError: no such variable, or several that could be meant; the message lists what there is.

    Example:
        >>> choose_variable({"wl": ((31,), "float64"), "scene": ((512, 512, 31), "uint8")}, None)
        'scene'
    """
    if named is not None:
        if named not in shapes:
            raise InputError(f"has no variable {named!r}; it holds {_listing(shapes)}")
        return named
    if own in shapes and own is not None:
        return own
    for dimensions in (3, 2):
        found = {name: what for name, what in shapes.items() if _is_cube(*what, dimensions)}
        first = next(iter(found), None)
        if first is not None and len(found) == 1:
            return first
        if first is not None:
            raise InputError(f"holds several arrays; name one, as in FILE:{first}: {_listing(found)}")
    raise InputError(f"holds no 2-D or 3-D array of numbers; it holds {_listing(shapes)}")


def check_name(name: str | None, taken: Collection[str]) -> str:
    """Return the name of the variable to write (default: "cube"), checked: letters, digits and _, and not ``taken``."""
    if name is None:
        return DEFAULT_NAME
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,62}", name):
        raise InputError(f"{name!r} cannot name a variable; use letters, digits and _ after a letter")
    if name in taken:
        raise InputError(f"{name!r} is the name of another variable of the file; give the cube another")
    return name


def _is_cube(shape: tuple[int, ...], kind: str, dimensions: int) -> bool:
    try:
        numeric = np.dtype(kind).kind in "fiub"
    except TypeError:
        return False
    return numeric and len(shape) == dimensions and (dimensions == 3 or min(shape) > 1)


def _listing(shapes: Shapes) -> str:
    shown = [f"{name} ({' x '.join(map(str, shape))} {kind})" for name, (shape, kind) in sorted(shapes.items())]
    if len(shown) > 12:
        shown = [*shown[:12], f"and {len(shown) - 12} more"]
    return ", ".join(shown) or "nothing"
