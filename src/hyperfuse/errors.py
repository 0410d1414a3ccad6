"""The exceptions hyperfuse raises on purpose; each message is one line that says what is wrong and what to do.

How a message names a parameter:

- Written as in Python, with an equals sign: ``nodata=nan``, ``ratio=4``, ``align=False``, ``srf=...`` for any value.
  The command line replaces each by its option (``--nodata nan``, ``--ratio 4``, ``--no-align``, ``--srf ...``), in the
  commands that have such an option; it finds the option by the parameter's name (``memory_gb`` and ``settings`` are
  listed in ``cli/failures.py``, because their options have other names).
- ``InputError(message, parameter="ratio")`` says in addition whose value is refused. The command line puts the option
  before a message that does not name it: ``--ratio: 0.5 is less than 1``. Set it for a parameter that the caller
  passed; leave it out where a file is wrong, or where several parameters are.

Example: ``InputError("the HSI holds NaN that is not declared as a gap; pass nodata=nan", parameter="nodata")`` becomes
``error: hsi.tif: the HSI holds NaN that is not declared as a gap; pass --nodata nan``.
"""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Iterable
from typing import Any

from hyperfuse.text import shortened, single_line

_LONGEST_MESSAGE = 2000


class HyperfuseError(Exception):
    """The work failed although the call was right (no space left, a file vanished). Exit code 1."""

    exit_code = 1

    def __str__(self) -> str:
        # A message quotes names and values of files, which may hold anything and be of any length.
        return shortened(single_line(super().__str__()), _LONGEST_MESSAGE)


class InputError(HyperfuseError, ValueError):
    """The call or its input is wrong. Exit code 2.

    Args:
        message: one line: the file, what is wrong, what to do.
        parameter: name of the parameter whose value is refused, or None.

    Example:
        >>> InputError("ratio=0.5 is less than 1", parameter="ratio").parameter
        'ratio'
    """

    exit_code = 2

    def __init__(self, message: str, parameter: str | None = None) -> None:
        super().__init__(message)
        self.parameter = parameter


class FinishedError(InputError):
    """The work that is asked for is done already. Exit code 0."""

    exit_code = 0


class MissingDependencyError(HyperfuseError, ImportError):
    """An optional package is not installed. Exit code 2.

    Args:
        package: name on PyPI.
        extra: the extra of hyperfuse that installs it.
        purpose: what needs it, as the subject of the sentence: ``"reading Zarr"``.
    """

    exit_code = 2

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs the package {package}: pip install 'hyperfuse[{extra}]'")
        self._arguments = (package, extra, purpose)

    def __reduce__(self) -> tuple[Any, ...]:
        # An exception that comes from a worker process is built again from its arguments, not from its message.
        return type(self), self._arguments


class HyperfuseWarning(UserWarning):
    """Something the user should know, such as metadata that a format cannot hold."""


def warn(message: str) -> None:
    """Warn with a :class:`HyperfuseWarning`; the message is one line, like that of an error."""
    warnings.warn(shortened(single_line(message), _LONGEST_MESSAGE), HyperfuseWarning, stacklevel=3)


def nearest_name(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the closest of ``known``, or the list of all where none is close."""
    names = {candidate.lower(): candidate for candidate in sorted(known)}
    if not names:
        return "; there are none"
    close = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.5)
    return f"; did you mean {names[close[0]]!r}?" if close else f"; known: {', '.join(names.values())}"
