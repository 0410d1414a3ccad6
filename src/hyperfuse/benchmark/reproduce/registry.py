"""The tables and figures that there are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hyperfuse.benchmark.reproduce.ablations import ACTIVATION, DOMAINS, UPSAMPLING
from hyperfuse.benchmark.reproduce.compared import compared_table
from hyperfuse.benchmark.reproduce.comparison import comparison
from hyperfuse.benchmark.reproduce.experiment import Experiment
from hyperfuse.benchmark.reproduce.gabor import gabor
from hyperfuse.benchmark.reproduce.iterations import iterations
from hyperfuse.benchmark.reproduce.leakage import leakage
from hyperfuse.benchmark.reproduce.main_tables import main_table
from hyperfuse.benchmark.reproduce.parameters import parameters
from hyperfuse.benchmark.reproduce.response import response
from hyperfuse.benchmark.reproduce.results import Artefact, Result, write_result
from hyperfuse.benchmark.reproduce.similarity import similarity
from hyperfuse.benchmark.reproduce.spectrum_change import spectrum_change
from hyperfuse.errors import InputError, nearest_name

ALL = "all"

ARTEFACTS: tuple[Artefact, ...] = (
    *(main_table(kind, ratio) for kind in ("cave", "harvard") for ratio in (4, 8)),
    *(compared_table("cave", ratio) for ratio in (4, 8)),
    parameters,
    DOMAINS,
    ACTIVATION,
    UPSAMPLING,
    iterations,
    similarity,
    leakage,
    gabor,
    response,
    spectrum_change,
    comparison("cave"),
    comparison("harvard"),
)


def find_artefacts(names: Sequence[str]) -> list[Artefact]:
    """Return the artefacts of these names, ``all`` for all of them, each once and in the order of the list.

    Raises:
        InputError: an unknown name, or none.

    Example:
        >>> [artefact.name for artefact in find_artefacts(["gabor", "cave-x4"])]
        ['cave-x4', 'gabor']
    """
    known = [artefact.name for artefact in ARTEFACTS]
    if not names:
        raise InputError(f"name a table or figure, or all; there are {', '.join(known)}")
    for name in names:
        if name not in (*known, ALL):
            raise InputError(f"no table or figure {name!r}{nearest_name(name, [*known, ALL])}")
    return [artefact for artefact in ARTEFACTS if ALL in names or artefact.name in names]


def prepare(experiment: Experiment, artefacts: Sequence[Artefact], workers: int | None = None) -> None:
    """Open the data and train the networks that artefacts need, each once.

    Raises:
        InputError: data that are missing.
        HyperfuseError: a training that failed.
    """
    experiment.prepare([one for artefact in artefacts for one in artefact.required(experiment)], workers)


def reproduce(experiment: Experiment, artefact: Artefact) -> tuple[Result, list[Path]]:
    """Make a table or figure and write it; return the result and the files."""
    result = artefact.make(experiment)
    return result, write_result(experiment, artefact, result)
