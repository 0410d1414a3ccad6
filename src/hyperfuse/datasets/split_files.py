"""Splits into training and test scenes: text files of names."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

from hyperfuse.errors import InputError, nearest_name


def list_splits(kind: str) -> tuple[str, ...]:
    """Return the names of the splits that ship for a kind of dataset, in alphabetical order.

    Example:
        >>> list_splits("cave")
        ('dhif-test', 'dhif-train', 'uestc-test', 'uestc-train')
    """
    prefix, suffix = f"{kind}-", ".txt"
    found = [entry.name for entry in files(__package__).joinpath("splits").iterdir()]
    splits = [name for name in found if name.startswith(prefix) and name.endswith(suffix)]
    return tuple(sorted(name.removeprefix(prefix).removesuffix(suffix) for name in splits))


def read_split(kind: str, split: str | Path, canonical: Callable[[str], str] = str) -> tuple[str, ...]:
    """Return the names of the scenes of a split, in the order of its file.

    A split is one of :func:`list_splits` (``"uestc-test"``, also ``"cave-uestc-test"``), or the path of another text
    file with one name per line; what follows a ``#`` is a comment. ``canonical`` gives a name the spelling of the kind.

    Raises:
        InputError: no such split or file, no name in it, or one that it names twice.

    Example:
        >>> len(read_split("cave", "uestc-train")), len(read_split("cave", "dhif-test"))
        (20, 12)
    """
    shipped = list_splits(kind)
    name = str(split).removeprefix(f"{kind}-")
    if name in shipped:
        text = files(__package__).joinpath("splits", f"{kind}-{name}.txt").read_text("utf-8")
    else:
        text = _user_file(kind, split, shipped)
    lines = [line.split("#")[0].strip() for line in text.splitlines()]
    names = [canonical(line) for line in lines if line]
    if not names:
        raise InputError(f"the split {split} names no scene; write one name per line")
    for index, entry in enumerate(names):
        if entry in names[:index]:
            raise InputError(f"the split {split} names the scene {entry} twice")
    return tuple(names)


def _user_file(kind: str, split: str | Path, shipped: tuple[str, ...]) -> str:
    path = Path(split)
    if not path.is_file():
        hint = nearest_name(str(split), shipped) if shipped else ""
        raise InputError(
            f"no split {str(split)!r} of {kind}{hint}; otherwise give the path of a text file, one name per line"
        )
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not a text file (UTF-8) of scene names") from error
