"""How long work reports on itself."""

from __future__ import annotations

import html
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Protocol


class Progress(Protocol):
    """Called by long work with the fraction done in [0, 1] and a short message about the current step."""

    def __call__(self, fraction: float, message: str = "") -> None:
        """Report progress."""


def silent(fraction: float, message: str = "") -> None:
    """Report nothing: the progress of callers that do not ask for any."""


def part(progress: Progress, first: float, last: float) -> Progress:
    """Return the progress of a step that takes ``progress`` from the fraction ``first`` to ``last``.

    Example:
        >>> half = part(lambda fraction, message="": print(fraction, message), 0.5, 1.0)
        >>> half(0.5, "tile 3 of 6")
        0.75 tile 3 of 6
    """

    def report(fraction: float, message: str = "") -> None:
        progress(first + (last - first) * fraction, message)

    return report


@contextmanager
def showing(progress: Progress | bool, title: str) -> Iterator[Progress]:
    """Give the progress to report to: a function as it is, for True a bar in the notebook or on the terminal.

    Example:
        >>> with showing(False, "fusing") as report:
        ...     report(0.5, "shown nowhere")
    """
    if not isinstance(progress, bool):
        yield progress
    elif progress and _in_notebook():
        yield _notebook_bar(title)
    elif progress and sys.stderr.isatty():
        with terminal_bar(title) as report:
            yield report
    else:
        yield silent


@contextmanager
def terminal_bar(title: str) -> Iterator[Progress]:
    """Show a bar with the time remaining on stderr, and remove it at the end."""
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as ProgressBar

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    # stdout stays the results' own: rich would otherwise send it to the bar's console.
    with ProgressBar(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False) as bar:
        task = bar.add_task(title, total=1.0)

        def report(fraction: float, message: str = "") -> None:
            bar.update(task, completed=fraction, description=f"{title}: {message}" if message else title)

        yield report


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and hasattr(shell, "kernel")


def _notebook_bar(title: str) -> Progress:
    """Return the progress of a bar in the output of a notebook's cell, which needs none of its extensions."""
    # The notebook's own package, which states no types.
    notebook: Any = import_module("IPython.display")
    handle = notebook.display(notebook.HTML(""), display_id=True)

    def report(fraction: float, message: str = "") -> None:
        text = html.escape(f"{title}: {message}" if message else title)
        handle.update(notebook.HTML(f'<progress max="1" value="{fraction:.3f}"></progress> {fraction:.0%} {text}'))

    return report
