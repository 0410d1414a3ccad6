"""One job of a benchmark: read the scene, degrade it, fuse it, score the result.

A job is a line of JSON and has a process of its own (see ``runtime.processes``), so that the peak memory is the job's,
its threads can be set, and a crash does not end the benchmark.
"""

from __future__ import annotations

import time
import warnings
from dataclasses import replace
from pathlib import Path

import torch
from pydantic import TypeAdapter

from hyperfuse.benchmark.plan import BenchmarkJob
from hyperfuse.benchmark.records import Record, write_record
from hyperfuse.cube.cube import Cube
from hyperfuse.datasets import Scenes, get_dataset
from hyperfuse.errors import HyperfuseError
from hyperfuse.metrics import evaluate
from hyperfuse.runtime.memory import peak_bytes, reset_peak
from hyperfuse.scenes.simulate import Pair, simulate


def run_job(job: BenchmarkJob, *, at_once: int = 1, own_process: bool = False) -> Record:
    """Do a job in this process, one of ``at_once`` at the same time; a failure is part of its record.

    In its ``own_process``, which does nothing else, the peak memory is the job's and is recorded.
    """
    try:
        _, record = run_on_pair(job, _pair(job), own_process=own_process)
    except Exception as error:
        return Record(job, failure=failure_text(error), threads=torch.get_num_threads(), at_once=at_once)
    return replace(record, at_once=at_once)


def run_on_pair(job: BenchmarkJob, pair: Pair, *, own_process: bool = False) -> tuple[Cube, Record]:
    """Fuse a pair and score the result; return the fused image and the record.

    Raises:
        HyperfuseError: the fusion fails.
    """
    seed, device = job.pairs.seed, job.pairs.device
    torch.manual_seed(seed)
    fuse = job.entry.prepare(pair, seed, device)
    gpu = torch.cuda.is_available() and device != "cpu"
    if gpu:
        torch.cuda.reset_peak_memory_stats()
    reset_peak()
    start = time.perf_counter()
    fused = fuse()
    record = Record(
        job,
        seconds=time.perf_counter() - start,
        threads=torch.get_num_threads(),
        at_once=1,
        peak_memory=peak_bytes() if own_process else None,
        gpu_memory=int(torch.cuda.max_memory_allocated()) if gpu else None,
    )
    return fused, replace(record, scores=dict(evaluate(pair.reference, fused, job.ratio)))


def failure_text(error: BaseException) -> str:
    """Return why something failed, on one line."""
    text = " ".join(str(error).split())
    if isinstance(error, HyperfuseError):
        return text
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return f"not enough memory ({text or 'no details'})"
    return f"unexpected {type(error).__name__}: {text}"


_LINE = TypeAdapter(tuple[BenchmarkJob, Path, int])


def job_line(job: BenchmarkJob, folder: Path, *, at_once: int) -> str:
    """Return the line that :func:`do_job` reads."""
    return _LINE.dump_json((job, folder, at_once)).decode()


def do_job(line: str) -> None:
    """Do the job of a line from :func:`job_line` and write its record."""
    job, folder, at_once = _LINE.validate_json(line)
    warnings.simplefilter("ignore")
    write_record(folder, run_job(job, at_once=at_once, own_process=True))


def _pair(job: BenchmarkJob) -> Pair:
    pairs = job.pairs
    dataset = get_dataset(pairs.kind, scale=pairs.scale, offset=pairs.offset)
    cube = Scenes(dataset, Path(pairs.folder), (job.scene,)).load(job.scene)
    return simulate(
        cube,
        ratio=job.ratio,
        preset=pairs.preset,
        srf=pairs.srf,
        seed=pairs.seed,
        drop_uncovered=pairs.drop_uncovered,
    )
