"""The process of one job: ``python -m hyperfuse.benchmark.worker`` with the job as a line of JSON on its stdin.

A process of its own, so that its peak memory is the job's, its threads are as many as it was given, and nothing that
goes wrong in it ends the benchmark.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path

from hyperfuse.benchmark.entries import from_json, to_json
from hyperfuse.benchmark.job import run_job
from hyperfuse.benchmark.plan import Job, Pairs
from hyperfuse.benchmark.records import write_record
from hyperfuse.runtime.processes import serve


def job_line(job: Job, folder: Path, *, at_once: int) -> str:
    """Return the line that :func:`do_job` reads."""
    values = {
        "contender": to_json(job.contender),
        "scene": job.scene,
        "ratio": job.ratio,
        "pairs": {**vars(job.pairs), "folder": str(job.pairs.folder)},
        "shape": job.shape,
        "stamp": job.stamp,
        "out": str(folder),
        "at_once": at_once,
    }
    return json.dumps(values)


def do_job(line: str) -> None:
    """Do the job that a line tells and write its record."""
    values = json.loads(line)
    pairs = Pairs(**{**values["pairs"], "folder": Path(values["pairs"]["folder"])})
    shape = None if values["shape"] is None else tuple(values["shape"])
    job = Job(from_json(values["contender"]), values["scene"], values["ratio"], pairs, shape, values["stamp"])
    warnings.simplefilter("ignore")
    write_record(Path(values["out"]), run_job(job, at_once=values["at_once"], own_process=True))


if __name__ == "__main__":
    serve(do_job)
