"""Benchmark tables as CSV, with every metric and full precision."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from hyperfuse import __version__
from hyperfuse.benchmark.plan import Plan, scoring_convention
from hyperfuse.benchmark.records import Record
from hyperfuse.benchmark.tables import summarise
from hyperfuse.metrics import METRICS


def scenes_csv(plan: Plan, records: Sequence[Record]) -> str:
    """Return a row for each job."""
    rows = []
    for record in records:
        scores = record.scores or {}
        rows.append(
            {
                "ratio": f"{record.job.ratio:g}",
                "scene": record.job.scene,
                "method": record.job.contender.name,
                **{name: scores.get(name, "") for name in METRICS},
                "seconds": _cell(record.seconds),
                "threads": _cell(record.threads),
                "jobs_at_a_time": _cell(record.at_once),
                "peak_memory_bytes": _cell(record.peak_memory),
                "gpu_memory_bytes": _cell(record.gpu_memory),
                "parameters": _cell(record.job.contender.parameters),
                "failure": record.failure or "",
                **_conditions(plan),
            }
        )
    return _text(rows)


def summary_csv(plan: Plan, records: Sequence[Record]) -> str:
    """Return a row for each ratio and contender: mean and standard deviation of every metric."""
    rows = [
        {
            "ratio": f"{one.ratio:g}",
            "method": one.name,
            "scenes": one.scenes,
            "scored": one.scored,
            **{f"{name}_mean": one.mean.get(name, "") for name in METRICS},
            **{f"{name}_std": one.std.get(name, "") for name in METRICS},
            "seconds_mean": _cell(one.seconds),
            "peak_memory_bytes": _cell(one.peak_memory),
            "gpu_memory_bytes": _cell(one.gpu_memory),
            "parameters": _cell(one.parameters),
            **_conditions(plan),
        }
        for one in summarise(records)
    ]
    return _text(rows)


def _conditions(plan: Plan) -> dict[str, Any]:
    pairs = plan.pairs
    return {
        "kind": pairs.kind,
        "split": plan.split or "",
        "preset": pairs.preset,
        "srf": pairs.srf,
        "seed": pairs.seed,
        "version": __version__,
        "convention": scoring_convention(),
    }


def _cell(value: float | int | None) -> Any:
    return "" if value is None else value


def _text(rows: Sequence[dict[str, Any]]) -> str:
    stream = io.StringIO()
    if rows:
        writer = csv.DictWriter(stream, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return stream.getvalue()
