"""The tables and figures that there are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hyperfuse.benchmark.reproduce import (
    activation,
    comparison,
    domains,
    gabor,
    iterations,
    leakage,
    main_tables,
    parameters,
    response,
    similarity,
    spectrum_change,
    upsampling,
)
from hyperfuse.benchmark.reproduce.experiment import Experiment
from hyperfuse.benchmark.reproduce.results import Artefact, Result, write_result
from hyperfuse.errors import InputError, nearest_name

ALL = "all"

ARTEFACTS: tuple[Artefact, ...] = (
    main_tables.artefact("cave", 4),
    main_tables.artefact("cave", 8),
    main_tables.artefact("harvard", 4),
    main_tables.artefact("harvard", 8),
    parameters.ARTEFACT,
    domains.ARTEFACT,
    activation.ARTEFACT,
    upsampling.ARTEFACT,
    iterations.ARTEFACT,
    similarity.ARTEFACT,
    leakage.ARTEFACT,
    gabor.ARTEFACT,
    response.ARTEFACT,
    spectrum_change.ARTEFACT,
    comparison.artefact("cave", 4),
    comparison.artefact("harvard", 4),
)


def find_artefacts(names: Sequence[str]) -> list[Artefact]:
    """Return the artefacts of these names, ``all`` for all of them, each once and in the order of the list.

    Raises:
        InputError: an unknown name, or none.

    Example:
        >>> [artefact.name for artefact in find_artefacts(["gabor", "cave-x4"])]
        ['cave-x4', 'gabor']
    """
    known = {artefact.name: artefact for artefact in ARTEFACTS}
    if not names:
        raise InputError(f"name a table or figure, or all; there are {', '.join(known)}")
    for name in names:
        if name != ALL and name not in known:
            raise InputError(f"no table or figure {name!r}{nearest_name(name, [*known, ALL])}")
    return [artefact for artefact in ARTEFACTS if ALL in names or artefact.name in names]


def prepare(experiment: Experiment, artefacts: Sequence[Artefact], workers: int | None = None) -> None:
    """Open the data and train the networks that artefacts need, each once.

    Raises:
        InputError: data that are missing.
        HyperfuseError: a training that failed.
    """
    for kind in dict.fromkeys(kind for artefact in artefacts for kind in artefact.data):
        experiment.data(kind)
    experiment.prepare([one for artefact in artefacts for one in artefact.required(experiment)], workers)


def reproduce(experiment: Experiment, artefact: Artefact) -> tuple[Result, list[Path]]:
    """Make a table or figure and write it; return the result and the files."""
    result = artefact.make(experiment)
    return result, write_result(experiment, artefact, result)
