"""What is said when a command fails: one line, and the exit code that goes with it."""

from __future__ import annotations

import errno
import os
import sys

from cyclopts import CycloptsError, UnusedCliTokensError

from hyperfuse.errors import HyperfuseError


def describe_misuse(error: CycloptsError) -> str:
    """Return the line for a call that cannot be parsed."""
    if isinstance(error, UnusedCliTokensError) and error.unused_tokens:
        word = error.unused_tokens[0]
        hint = "; write --set before each name=value" if "=" in word else "; see --help"
        return f"one argument too many: {word}{hint}"
    text = " ".join(str(error).split())
    return text[:1].lower() + text[1:].rstrip(".")


def describe_failure(error: BaseException) -> tuple[int, str]:
    """Return the exit code and the line for an exception that ended a command."""
    message = " ".join(str(error).split())
    if isinstance(error, KeyboardInterrupt):
        return 130, "interrupted"
    if isinstance(error, HyperfuseError):
        return error.exit_code, message
    if isinstance(error, OSError) and error.errno is not None:
        return 1, _describe_os_error(error)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return 1, f"not enough memory ({message or 'no details'}); take fewer bands (--bands) or a smaller image"
    return 1, f"unexpected {type(error).__name__}: {message}; --debug shows where"


def silence_stdout() -> None:
    """Point stdout to nowhere after its reader has gone, so that the interpreter's last flush stays silent."""
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError, AttributeError):  # a stdout that is no file, as in tests
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _describe_os_error(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{where}no space left on the device; free some or write elsewhere (nothing was kept of the output)"
    return f"{where}{(error.strerror or str(error)).lower()}"
