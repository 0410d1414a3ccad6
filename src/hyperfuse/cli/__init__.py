"""The command ``hyperfuse``: a module per command, each of which parses, calls and prints."""

from __future__ import annotations

from collections.abc import Sequence

from hyperfuse.cli.signals import signals_end_at_once


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: the words after ``hyperfuse``; default: those of the process.

    Returns:
        The exit code: 0 done, 1 the work failed, 2 the call or its input is wrong, 130 interrupted,
        143 terminated, 129 terminal closed.

    Example:
        >>> main(["--version"])
        hyperfuse 0.1.0
        0
    """
    if argv is None:
        signals_end_at_once()
    from hyperfuse.cli.app import main as run

    return run(argv)


__all__ = ["main"]
