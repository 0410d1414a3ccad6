"""Runs the jobs of a plan, several at a time where memory allows, and resumes a benchmark that was interrupted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from hyperfuse.benchmark.plan import BenchmarkJob, BenchmarkPlan
from hyperfuse.benchmark.records import Record, read_record, record_files, write_record
from hyperfuse.benchmark.worker import job_line, run_job
from hyperfuse.errors import InputError
from hyperfuse.progress import Progress, silent
from hyperfuse.runtime.locks import exclusive
from hyperfuse.runtime.memory import free_bytes
from hyperfuse.runtime.processes import Child, run_children
from hyperfuse.runtime.threads import check_threads, usable_threads

_WORKER = "hyperfuse.benchmark.worker:do_job"
# Of the free memory; the rest is for other programs.
_MEMORY_FRACTION = 0.8
# What the program takes before it reads an image: Python, torch and the rest.
_PROGRAM = 500e6
# Peak over the size of the reference in float32, measured on 512 x 512 x 31 and rounded up.
_METHOD_FACTOR = 16.0
# A network holds latent images of many channels in addition; 128 channels are FeINFN's own width.
_NETWORK_CHANNELS = 4 * 128

Done = Callable[[Record], None]


def run_plan(
    plan: BenchmarkPlan,
    folder: str | Path,
    *,
    workers: int | None = None,
    threads: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
    done: Done = lambda record: None,
    progress: Progress = silent,
) -> list[Record]:
    """Do every job of a plan; its record is in ``folder/jobs`` as soon as a job is done.

    Args:
        plan: from :func:`~hyperfuse.benchmark.make_plan`.
        folder: of the records.
        workers: processes at a time, each for one job; default: the number of threads (1 on a GPU). 0 does the jobs in
            this process, one after the other: methods that only this process has registered can take part, and peak
            memory is not measured.
        threads: over all processes; default: those of the machine.
        resume: reuse records of the same version, convention, settings, scene and seed; jobs that failed, or that were
            done under other conditions, are done again.
        overwrite: remove the records that the folder holds.
        done: called with each new record.
        progress: called with the fraction done.

    Returns:
        The records, in the order of the plan.

    Raises:
        InputError: the folder holds records, and neither ``resume`` nor ``overwrite`` is set.
        HyperfuseError: records cannot be written.
    """
    folder = Path(folder)
    check_threads(threads)
    check_folder(folder, resume=resume, overwrite=overwrite)
    folder.mkdir(parents=True, exist_ok=True)
    with exclusive(folder / ".lock", f"{folder}: another benchmark writes to it; wait for it, or name another folder"):
        for path in record_files(folder) if overwrite else ():
            path.unlink()
        return _run_jobs(plan, folder, workers, threads, done, progress)


def _run_jobs(
    plan: BenchmarkPlan, folder: Path, workers: int | None, threads: int | None, done: Done, progress: Progress
) -> list[Record]:
    """Do the jobs of which ``folder`` has no records; return the records of all."""
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
        on_gpu = torch.cuda.is_available() and plan.pairs.device != "cpu"
        processes = min(len(todo), workers or (1 if on_gpu else count))
        _run_processes(todo, folder, processes, max(1, count // processes), keep)
    return [records[job.file] for job in plan.jobs]


def check_folder(folder: Path, *, resume: bool = False, overwrite: bool = False) -> None:
    """Refuse a folder of results that must not be written to.

    Raises:
        InputError: a file, or a folder with records that are neither resumed nor removed.
    """
    if resume and overwrite:
        raise InputError("pass resume=True or overwrite=True, not both")
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; name a folder")
    if record_files(folder) and not (resume or overwrite):
        raise InputError(f"{folder} holds a benchmark already; resume=True continues it, overwrite=True restarts it")


def estimate_bytes(shape: tuple[int, int, int] | None, *, network: bool) -> float:
    """Return roughly the bytes that a job takes: the program, and images by the scene's (bands, rows, cols), if known.

    Example:
        >>> 5e8 < estimate_bytes((31, 512, 512), network=False) < 2e9
        True
    """
    if shape is None:
        return _PROGRAM
    bands, rows, cols = shape
    factor = _METHOD_FACTOR * bands + (_NETWORK_CHANNELS if network else 0)
    return _PROGRAM + 4 * rows * cols * factor


def _run_processes(jobs: Sequence[BenchmarkJob], folder: Path, workers: int, threads: int, keep: Done) -> None:
    """Do each job in a process of its own; one starts where its memory fits next to that of the others."""
    room = _MEMORY_FRACTION * free_bytes()
    # By entry and size of scene.
    measured: defaultdict[tuple[str, tuple[int, int, int] | None], int] = defaultdict(int)

    def estimate(job: BenchmarkJob) -> float:
        return max(measured[job.entry.name, job.shape], estimate_bytes(job.shape, network=job.entry.uses_network))

    def fits(job: BenchmarkJob, running: Sequence[BenchmarkJob]) -> bool:
        return sum(map(estimate, running)) + estimate(job) <= room

    def start(job: BenchmarkJob) -> Child:
        return Child(_WORKER, job_line(job, folder, at_once=workers), threads)

    def finish(job: BenchmarkJob, child: Child) -> None:
        failure = child.failure()
        record = read_record(folder, job)
        if failure is not None or record is None:
            failure = failure or "its process wrote no record"
            record = Record(job, failure=failure, threads=threads, at_once=workers)
            write_record(folder, record)
        key = job.entry.name, job.shape
        measured[key] = max(measured[key], record.peak_memory or 0)
        keep(replace(record, reused=False))

    run_children(jobs, start, finish, workers=workers, fits=fits)
