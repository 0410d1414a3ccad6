"""Failures of commands as one line each, and the exit code that goes with it."""

from __future__ import annotations

import errno
import re
from collections.abc import Mapping

from cyclopts import CycloptsError, UnusedCliTokensError

from hyperfuse.cli.signals import Interrupted
from hyperfuse.errors import HyperfuseError, InputError
from hyperfuse.text import single_line

# Options whose name is not that of the library's parameter.
_OPTION_NAMES = {
    "memory_gb": "memory",
    "settings": "set",
    "hsi_snr_db": "snr_hsi",
    "msi_snr_db": "snr_msi",
    "budget_seconds": "budget",
    "keep_best": "best_so_far",
    "cave": "data",
    "displacement": "displacement_from",
}
# A parameter as messages write it: ratio=4, ratio=(4, 2), srf=... or psf= alone.
_PARAMETER = re.compile(r"(?<![\w.'\"/-])([a-z][a-z_]*)=(\([^()]*\)|'[^']*'|[^\s,;:)`]*)")


def with_options(error: InputError, options: Mapping[str, str]) -> str:
    """Return the message of an error with its parameters written as options of a command.

    Args:
        error: raised by the library; :mod:`hyperfuse.errors` states how its messages name parameters.
        options: the command's options by parameter, as ``options_of`` returns them. Other parameters stay as they are.

    Example:
        >>> with_options(InputError("pass nodata=nan or align=False"), {"nodata": "--nodata", "no_align": "--no-align"})
        'pass --nodata nan or --no-align'
        >>> with_options(InputError("memory_gb is more than 0, got -1", "memory_gb"), {"memory": "--memory"})
        '--memory is more than 0, got -1'
    """
    message, name = with_options_in_text(str(error), options), error.parameter or ""
    option = options.get(_OPTION_NAMES.get(name, name))
    if option is not None and name and message.startswith(f"{name} "):  # as in "tile is 1 or more, got 0"
        return f"{option}{message.removeprefix(name)}"
    return message if option is None or option in message else f"{option}: {message}"


def with_options_in_text(text: str, options: Mapping[str, str]) -> str:
    """Return a note with its parameters written as options of a command; see :func:`with_options`."""

    def replace(match: re.Match[str]) -> str:
        name, value = _OPTION_NAMES.get(match[1], match[1]), match[2]
        if value.lower() == "false":
            return options.get(f"no_{name}", match[0])
        if name not in options:
            return match[0]
        if value.lower() == "true" or not value:
            return options[name]
        if value.startswith("("):
            value = value[1:-1].replace(" ", "")
        return f"{options[name]} {value}"

    return _PARAMETER.sub(replace, text)


def describe_misuse(error: CycloptsError) -> str:
    """Return the message for a call that cannot be parsed."""
    if isinstance(error, UnusedCliTokensError) and error.unused_tokens:
        word = error.unused_tokens[0]
        hint = "; write --set before each name=value" if "=" in word else "; see --help"
        return f"one argument too many: {word}{hint}"
    text = single_line(error)
    return text[:1].lower() + text[1:].rstrip(".")


def describe_failure(error: BaseException) -> tuple[int, str]:
    """Return the exit code and the message for an exception that ended a command."""
    message = single_line(error)
    if isinstance(error, Interrupted):
        return error.exit_code, error.message
    if isinstance(error, KeyboardInterrupt):
        return 130, "interrupted"
    if isinstance(error, HyperfuseError):
        return error.exit_code, message
    if isinstance(error, OSError) and error.errno is not None:
        return 1, _describe_os_error(error)
    if isinstance(error, UnicodeEncodeError) and "surrogates" in error.reason:
        return 2, f"a name is not UTF-8 ({error.object.encode(errors='backslashreplace').decode()}); rename the file"
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return 1, f"not enough memory ({message or 'no details'}); use fewer bands (--bands) or a smaller image"
    return 1, f"unexpected {type(error).__name__}: {message}; --debug shows where"


def _describe_os_error(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{where}no space left on the device; free some or write elsewhere (no output was written)"
    return f"{where}{(error.strerror or str(error)).lower()}"
