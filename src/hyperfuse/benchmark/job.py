"""One job of a benchmark: read the scene, degrade it, fuse it, score what came out."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import torch

from hyperfuse.benchmark.plan import Job
from hyperfuse.benchmark.records import Record
from hyperfuse.cube.cube import Cube
from hyperfuse.datasets import Scenes, get_dataset
from hyperfuse.errors import HyperfuseError
from hyperfuse.metrics import evaluate
from hyperfuse.runtime.memory import peak_bytes, reset_peak
from hyperfuse.scenes.simulate import Pair, simulate


def run_job(job: Job, *, at_once: int = 1, own_process: bool = False) -> Record:
    """Do a job in this process; what goes wrong is in the record.

    Args:
        job: what to do.
        at_once: jobs that run at the same time, for the record.
        own_process: whether this process does nothing else, so that its peak memory is the job's.
    """
    try:
        pair = _pair(job)
        _, record = run_on_pair(job, pair, own_process=own_process)
    except Exception as error:
        return Record(job, failure=failure_text(error), threads=torch.get_num_threads(), at_once=at_once)
    return replace(record, at_once=at_once)


def run_on_pair(job: Job, pair: Pair, *, own_process: bool = False) -> tuple[Cube, Record]:
    """Fuse a pair that is there already and score it.

    Returns:
        The fused image, and the record.

    Raises:
        HyperfuseError: what the fusion raises.
    """
    seed, device = job.pairs.seed, job.pairs.device
    torch.manual_seed(seed)
    fuse = job.contender.prepare(pair, seed, device)
    gpu = torch.cuda.is_available() and device != "cpu"
    if gpu:
        torch.cuda.reset_peak_memory_stats()
    reset_peak()
    start = time.perf_counter()
    fused = fuse()
    seconds = time.perf_counter() - start
    peak = peak_bytes() if own_process else None
    scores = dict(evaluate(pair.reference, fused, job.ratio))
    return fused, Record(
        job,
        scores=scores,
        seconds=seconds,
        threads=torch.get_num_threads(),
        at_once=1,
        peak_memory=peak,
        gpu_memory=int(torch.cuda.max_memory_allocated()) if gpu else None,
    )


def failure_text(error: BaseException) -> str:
    """Return why something failed, on one line."""
    text = " ".join(str(error).split())
    if isinstance(error, HyperfuseError):
        return text
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return f"not enough memory ({text or 'no details'})"
    return f"unexpected {type(error).__name__}: {text}"


def _pair(job: Job) -> Pair:
    pairs = job.pairs
    dataset = get_dataset(pairs.kind, scale=pairs.scale, offset=pairs.offset)
    cube = Scenes(dataset, Path(pairs.folder), (job.scene,)).load(job.scene)
    return simulate(cube, ratio=job.ratio, preset=pairs.preset, srf=pairs.srf, seed=pairs.seed)
