"""Parse a command line and run its command; commands import what they need when they run."""

from __future__ import annotations

import gc
import os
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from cyclopts import App, CycloptsError, Parameter

from hyperfuse.cli.events import EventLines
from hyperfuse.cli.failures import describe_failure, describe_misuse, with_options
from hyperfuse.cli.options import COMMON
from hyperfuse.cli.session import Session
from hyperfuse.cli.signals import signals_raised, signals_restored
from hyperfuse.cli.streams import asks_for_json, flush_stdout, prepare_stdout, reserve_descriptors, silence_stdout
from hyperfuse.errors import HyperfuseWarning, InputError
from hyperfuse.runtime.interruption import finish_removals
from hyperfuse.runtime.threads import check_threads, limit, limit_to_quota
from hyperfuse.version import __version__

# The first line of each command's own text, so that the list of commands needs none of their modules.
COMMANDS = {
    "fuse": "Fuse an LR-HSI with an HR-MSI into one image that has both resolutions.",
    "batch": "Fuse every pair of a folder into another folder.",
    "align": "Find how an HSI lies on an MSI, and write the MSI on the HSI's geometry.",
    "simulate": "Make a pair from a reference image: hsi, msi and sensor.yaml in a folder.",
    "evaluate": "Score a fused image against the reference.",
    "info": "Print the metadata of a file; several files are merged as tiles of one image.",
    "view": "Show images in the browser: linked, in any bands, with their spectra.",
    "data": "Pack the scenes of a dataset into one small file.",
    "train": "Train a network as specified in a configuration file.",
    "weights": "Convert weights that authors published to a file of this package.",
    "benchmark": "Fuse and score every scene of a dataset with every method and network.",
    "reproduce": "Make tables and figures of the FeINFN paper.",
    "methods": "List the fusion methods with their settings and papers.",
    "demo": "Simulate, fuse and score a real scene that needs no download.",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; see :func:`hyperfuse.cli.main`."""
    if argv is not None:
        with signals_restored():
            return _run(list(argv))
    # Read when Python starts: to no process that libraries start is a file torch.py in the working folder torch.
    os.environ["PYTHONSAFEPATH"] = "1"
    limit_to_quota()
    reserve_descriptors()
    return _run(sys.argv[1:], alone=True)


def _run(words: list[str], *, alone: bool = False) -> int:
    session = Session(
        words=words, debug="--debug" in words, alone=alone, events=EventLines() if asks_for_json(words) else None
    )
    prepare_stdout()
    with warnings.catch_warnings():
        # Warnings of libraries are for developers; those meant for users come as one line each.
        if not session.debug:
            warnings.simplefilter("ignore")
        warnings.simplefilter("default", category=HyperfuseWarning)
        warnings.showwarning = session.show_warning
        try:
            with signals_raised():
                run_words(words, session)
                session.flush()
                session.finish()
            return 0
        except CycloptsError as error:
            session.error(describe_misuse(error))
            return 2
        except BrokenPipeError:
            silence_stdout()
            return 1
        except (Exception, KeyboardInterrupt) as error:
            finish_removals()
            code, message = describe_failure(error)
            if session.debug:
                session.traceback()
            session.end(message, code)
            return code
        finally:
            flush_stdout()
            if alone:
                # The process ends: to search garbage among all objects of torch takes longer than some commands.
                gc.freeze()


def run_words(words: list[str], session: Session) -> None:
    """Run the words of a command line.

    Raises:
        CycloptsError: words that are no call.
        InputError: with parameters named as options of the command.
        Exception: whatever the command raises.
    """
    command, bound, injected = parse_words(words)
    if "session" not in injected:  # --help and --version
        command(*bound.args, **bound.kwargs)
        return
    common = bound.arguments.get("common", COMMON)
    session.quiet = common.quiet
    try:
        check_threads(common.threads)
        with limit(common.threads):
            command(*bound.args, **bound.kwargs, session=session)
    except InputError as error:
        raise type(error)(with_options(error, options_of(words))) from error


def options_of(words: list[str]) -> dict[str, str]:
    """Return the options of the command that a command line starts with, by the name of the parameter.

    Example:
        >>> options_of(["fuse"])["msi_nodata"]
        '--msi-nodata'
    """
    name = next((word for word in words if word in COMMANDS), None)
    arguments = [] if name is None else _create_app([name])[name].assemble_argument_collection()
    named = [argument.names for argument in arguments if argument.names[0].startswith("--")]
    options = {names[0].removeprefix("--").replace("-", "_"): names[0] for names in named}
    # A switch with a word for its opposite, as --mosaic is of --stack.
    switches = {
        names[0].removeprefix("--").replace("-", "_"): names[1]
        for names in named
        if len(names) == 2 and not names[1].startswith(("--no-", "--empty-"))
    }
    return options | {f"no_{name}": option for name, option in switches.items()}


def parse_words(words: list[str]) -> tuple[Any, Any, Any]:
    """Return the command of a command line, its arguments, and the parameters that the caller adds.

    Raises:
        CycloptsError: words that are no call.
    """
    return _create_app(words).parse_args(words, exit_on_error=False, print_error=False)


def _create_app(words: list[str]) -> App:
    app = App(
        name="hyperfuse",
        help="Fuse a hyperspectral image of low resolution with a multispectral one of high resolution.",
        version=f"hyperfuse {__version__}",
        help_format="plaintext",
        version_format="plaintext",
        default_parameter=Parameter(negative=(), show_default=_default_text),
        suppress_keyboard_interrupt=False,
    )
    for rank, (name, line) in enumerate(COMMANDS.items()):
        module = f"hyperfuse.cli.{name}"
        if name in words[:1]:
            app.command(getattr(import_module(module), name), name=name, sort_key=rank, help_format="markdown")
        else:
            app.command(f"{module}:{name}", name=name, sort_key=rank, help=line)
    return app


def _default_text(value: object) -> str | None:
    """Return a default as the help states it: None for one that is none, off or empty."""
    return None if value is None or value is False or value == () else str(value)
