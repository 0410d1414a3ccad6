"""Results of jobs on disk: one JSON file a job, there whole or not at all."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hyperfuse.benchmark.plan import Job
from hyperfuse.io.encoding.atomic import replacing

JOBS = "jobs"
_FORMAT = 1


@dataclass(frozen=True)
class Record:
    """What came of a job.

    Attributes:
        job: which.
        scores: as :func:`hyperfuse.evaluate` returns them, or None where it failed.
        failure: why it failed, or None.
        seconds: wall time of the one run of the fusion, without reading, degrading and scoring.
        threads: that it computed with.
        at_once: jobs that ran at the same time, at most.
        peak_memory: of the job's process during the fusion, bytes, program and images included; None if not measured.
        gpu_memory: the most that tensors took on a GPU, bytes, or None.
        reused: whether it was read back from an earlier run.
    """

    job: Job
    scores: Mapping[str, Any] | None = None
    failure: str | None = None
    seconds: float | None = None
    threads: int | None = None
    at_once: int | None = None
    peak_memory: int | None = None
    gpu_memory: int | None = None
    reused: bool = False


_MEASURED = ("seconds", "threads", "at_once", "peak_memory", "gpu_memory")


def write_record(folder: Path, record: Record) -> Path:
    """Write a record to ``folder/jobs``.

    Raises:
        HyperfuseError: no space left, or another failure of the file system.
    """
    place = folder / JOBS / record.job.file
    place.parent.mkdir(parents=True, exist_ok=True)
    values = {
        "format": _FORMAT,
        "name": record.job.contender.name,
        "conditions": record.job.conditions(),
        "parameters": record.job.contender.parameters,
        "scores": None if record.scores is None else _plain(dict(record.scores)),
        "failure": record.failure,
        **{name: getattr(record, name) for name in _MEASURED},
    }
    with replacing(place) as scratch:
        scratch.write_text(json.dumps(values, indent=2, allow_nan=False, ensure_ascii=False) + "\n", "utf-8")
    return place


def read_record(folder: Path, job: Job) -> Record | None:
    """Return the record of a job, or None where there is none, or one that was made under other conditions."""
    place = folder / JOBS / job.file
    try:
        values = json.loads(place.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(values, dict) or values.get("format") != _FORMAT:
        return None
    # Through JSON, as what is stored went: tuples are lists there.
    if values.get("conditions") != json.loads(json.dumps(job.conditions())):
        return None
    scores = values["scores"]
    return Record(
        job,
        None if scores is None else {name: _score(name, value) for name, value in scores.items()},
        values["failure"],
        **{name: values[name] for name in _MEASURED},
        reused=True,
    )


def _plain(value: Any) -> Any:
    """Return scores as JSON can hold them: what is not finite as text."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _score(name: str, value: Any) -> Any:
    """Return a score as ``evaluate`` gave it."""
    if isinstance(value, list):
        return tuple(value)  # the interval of clipping
    return float(value) if isinstance(value, str) and name != "convention" else value
