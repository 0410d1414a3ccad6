"""Runs the jobs of a plan, several at a time where memory allows, and goes on with what an earlier run left."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from hyperfuse.benchmark.job import run_job
from hyperfuse.benchmark.plan import Job, Plan
from hyperfuse.benchmark.records import JOBS, Record, read_record, write_record
from hyperfuse.benchmark.worker import job_line
from hyperfuse.errors import InputError
from hyperfuse.progress import Progress, silent
from hyperfuse.runtime.memory import available_bytes, estimate_bytes
from hyperfuse.runtime.processes import Child, usable_threads

_WORKER = "hyperfuse.benchmark.worker"
# Of the memory that is free; the rest is for whatever else the machine does.
_SHARE = 0.8
_POLL_SECONDS = 0.05

Done = Callable[[Record], None]


def run_plan(
    plan: Plan,
    folder: str | Path,
    *,
    workers: int | None = None,
    threads: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
    done: Done = lambda record: None,
    progress: Progress = silent,
) -> list[Record]:
    """Do every job of a plan; a record of each is in ``folder/jobs`` as soon as it is done.

    Args:
        plan: from :func:`~hyperfuse.benchmark.make_plan`.
        folder: where records go.
        workers: processes at a time, each doing one job and then ending; as many as there are threads unless given (1
            on a GPU). 0 does the jobs in this process, one after the other: methods that only this process has
            registered can take part, and peak memory is not measured.
        threads: over all processes; those of the machine unless given.
        resume: take over records of the same version, convention, settings, scene and seed; jobs that failed, or that
            were done under other conditions, are done again.
        overwrite: remove the records that the folder holds.
        done: told of each record as it comes.
        progress: told the share done.

    Returns:
        The records, in the order of the plan.

    Raises:
        InputError: the folder holds records, and neither ``resume`` nor ``overwrite`` is set.
        HyperfuseError: records cannot be written.
    """
    folder = Path(folder)
    check_folder(folder, resume=resume, overwrite=overwrite)
    if overwrite and (folder / JOBS).is_dir():
        shutil.rmtree(folder / JOBS)
    records = {job.file: found for job in plan.jobs if (found := read_record(folder, job)) and not found.failure}
    todo = [job for job in plan.jobs if job.file not in records]
    total = len(plan.jobs)
    progress(len(records) / max(total, 1))

    def keep(record: Record) -> None:
        records[record.job.file] = record
        done(record)
        progress(len(records) / total, f"{len(records)} of {total} jobs")

    if workers == 0:
        for job in todo:
            record = run_job(job)
            write_record(folder, record)
            keep(record)
    elif todo:
        count = threads or usable_threads()
        many = min(len(todo), workers or (1 if _on_gpu(plan) else count))
        _run_processes(todo, folder, many, max(1, count // many), keep)
    return [records[job.file] for job in plan.jobs]


def check_folder(folder: Path, *, resume: bool = False, overwrite: bool = False) -> None:
    """Refuse a folder of results that must not be written to.

    Raises:
        InputError: a file, or a folder with records that are neither gone on with nor removed.
    """
    if resume and overwrite:
        raise InputError("a benchmark is either gone on with (resume) or started anew (overwrite), not both")
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; name a folder")
    held = (folder / JOBS).is_dir() and any((folder / JOBS).iterdir())
    if held and not (resume or overwrite):
        raise InputError(f"{folder} holds a benchmark already; --resume goes on with it, --overwrite starts it anew")


@dataclass
class _Running:
    job: Job
    child: Child
    memory: float


def _run_processes(jobs: Sequence[Job], folder: Path, many: int, threads: int, keep: Done) -> None:
    """Do jobs in processes of their own, ``many`` at a time; one starts where its memory fits beside the others'."""
    waiting = list(jobs)
    running: list[_Running] = []
    room = _SHARE * available_bytes()
    # What jobs really took, by contender and size of scene, where that is more than was thought.
    seen: dict[tuple[str, tuple[int, int, int] | None], float] = {}
    try:
        while waiting or running:
            while waiting and len(running) < many:
                used = sum(other.memory for other in running)
                # One job runs in any case: an estimate must not keep a benchmark from starting.
                fits = [job for job in waiting if not running or used + _estimate(job, seen) <= room]
                if not fits:
                    break
                job = fits[0]
                waiting.remove(job)
                child = Child(_WORKER, job_line(job, folder, at_once=many), threads)
                running.append(_Running(job, child, _estimate(job, seen)))
            time.sleep(_POLL_SECONDS)
            for one in [one for one in running if one.child.ended]:
                running.remove(one)
                record = _finish(one, folder, threads, many)
                if record.peak_memory is not None:
                    key = (one.job.contender.name, one.job.shape)
                    seen[key] = max(seen.get(key, 0.0), float(record.peak_memory))
                keep(record)
    finally:
        for one in running:
            one.child.kill()


def _estimate(job: Job, seen: dict[tuple[str, tuple[int, int, int] | None], float]) -> float:
    known = seen.get((job.contender.name, job.shape), 0.0)
    return max(known, estimate_bytes(job.shape, network=job.contender.learned))


def _finish(one: _Running, folder: Path, threads: int, many: int) -> Record:
    """Return the record that an ended process wrote; where it wrote none, one that says how it ended."""
    failure = one.child.failure()
    found = read_record(folder, one.job)
    if failure is None and found is not None:
        return replace(found, reused=False)
    record = Record(one.job, failure=failure or "its process wrote no record", threads=threads, at_once=many)
    write_record(folder, record)
    return record


def _on_gpu(plan: Plan) -> bool:
    return torch.cuda.is_available() and plan.pairs.device != "cpu"
