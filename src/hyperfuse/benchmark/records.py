"""Results of jobs on disk: one JSON file per job, whole or absent."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hyperfuse.benchmark.plan import BenchmarkJob
from hyperfuse.io.encoding.atomic import replacing

JOBS = "jobs"
_FORMAT = 2
# As BenchmarkJob.file makes them.
_NAME = re.compile(r"x[-+.0-9e]+-.+-[0-9a-f]{6}\.json")


@dataclass(frozen=True)
class Record:
    """The result of a job.

    Attributes:
        job: its job.
        scores: as :func:`hyperfuse.evaluate` returns them, or None where it failed.
        failure: why it failed, or None.
        seconds: wall time of the fusion, without reading, degrading and scoring.
        threads: that it computed with.
        at_once: largest number of jobs at the same time.
        peak_memory: of the job's process during the fusion, bytes, program and images included; None if not measured.
        gpu_memory: largest sum of tensors on a GPU, bytes, or None.
        reused: whether it was read from the folder of an earlier benchmark.
    """

    job: BenchmarkJob
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
    path = folder / JOBS / record.job.file
    path.parent.mkdir(parents=True, exist_ok=True)
    values = {
        "format": _FORMAT,
        "name": record.job.entry.name,
        "conditions": record.job.conditions(),
        "parameters": record.job.entry.parameters,
        "scores": None if record.scores is None else {name: _plain(value) for name, value in record.scores.items()},
        "failure": record.failure,
        **{name: getattr(record, name) for name in _MEASURED},
    }
    with replacing(path) as scratch:
        scratch.write_text(json.dumps(values, indent=2, allow_nan=False, ensure_ascii=False) + "\n", "utf-8")
    return path


def record_files(folder: Path) -> list[Path]:
    """Return the files of records in ``folder/jobs``; what else lies there belongs to others."""
    return [path for path in (folder / JOBS).glob("x*.json") if _NAME.fullmatch(path.name) and path.is_file()]


def read_record(folder: Path, job: BenchmarkJob) -> Record | None:
    """Return the record of a job; None where there is none, or one under other conditions."""
    path = folder / JOBS / job.file
    try:
        values = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    # Through JSON like the stored ones: tuples become lists.
    expected = {"format": _FORMAT, "conditions": json.loads(json.dumps(job.conditions()))}
    if not isinstance(values, dict) or any(values.get(key) != value for key, value in expected.items()):
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
    """Return a score as JSON can hold it: as text where it is not finite."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _score(name: str, value: Any) -> Any:
    """Return a score as ``evaluate`` gave it."""
    if isinstance(value, list):
        return tuple(value)  # the interval of clipping
    return float(value) if isinstance(value, str) and name != "convention" else value
