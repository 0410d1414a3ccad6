"""The exceptions hyperfuse raises on purpose; each message is one line that says what is wrong and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class HyperfuseError(Exception):
    """The work failed although the call was right (no space left, a file vanished). Exit code 1."""

    exit_code = 1


class InputError(HyperfuseError, ValueError):
    """The call or its input is wrong. Exit code 2."""

    exit_code = 2


class MissingDependencyError(HyperfuseError, ImportError):
    """An optional package is needed for what was asked. Exit code 2."""

    exit_code = 2

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs the package {package}: pip install 'hyperfuse[{extra}]'")


class HyperfuseWarning(UserWarning):
    """Something the user should know, such as metadata that a format cannot hold."""


def nearest_name(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the closest of ``known``, or the list of all where none is close."""
    names = {candidate.lower(): candidate for candidate in sorted(known)}
    close = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.5)
    return f"; did you mean {names[close[0]]!r}?" if close else f"; known: {', '.join(names.values())}"
