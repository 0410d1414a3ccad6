"""From records to tables: mean and standard deviation over scenes, and the files that report them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from hyperfuse.benchmark.entries import Entry, Kind, Missing
from hyperfuse.benchmark.plan import BenchmarkPlan, same_scene, scoring_convention
from hyperfuse.benchmark.records import Record
from hyperfuse.io.encoding.atomic import replacing
from hyperfuse.metrics import MAIN_COLUMNS, METRICS, aggregate
from hyperfuse.tables import Code, Column, MeanStd, Table
from hyperfuse.tables.csv import render_csv
from hyperfuse.tables.latex import render_latex
from hyperfuse.tables.markdown import escape_markdown, render_markdown
from hyperfuse.version import __version__

_SCORES = tuple(column.key for column in MAIN_COLUMNS)
_SECONDS = Column("seconds", "seconds", format=".2f")
_PARAMETERS = Column("parameters", "parameters", format=",d")


@dataclass(frozen=True)
class Summary:
    """An entry over all scenes at one ratio.

    Attributes:
        name: of the entry.
        ratio: of the pairs.
        scenes: number of scenes it had to fuse.
        scored: number of scenes it fused.
        mean: of each metric over those, empty where there are none.
        std: standard deviation of each metric over them (dividing by their number).
        seconds: mean wall time per fusion, or None.
        peak_memory: largest of its jobs, bytes, or None.
        gpu_memory: likewise.
        parameters: of a trained network, or None.
        failures: ``scene: reason`` per failed job.
        weights: where those of a network come from, or why there are none; None for methods.
        kind: of what was compared.
    """

    name: str
    ratio: float
    scenes: int
    scored: int
    mean: dict[str, float]
    std: dict[str, float]
    seconds: float | None
    peak_memory: int | None
    gpu_memory: int | None
    parameters: int | None
    failures: tuple[str, ...]
    weights: str | None = None
    kind: Kind = "trained network"

    @property
    def complete(self) -> bool:
        """Whether it fused every scene, so that its mean can be compared with those of others."""
        return 0 < self.scored == self.scenes

    @property
    def missing(self) -> bool:
        """Whether it is a network that could not take part."""
        return self.scenes == 0


class Point(NamedTuple):
    """What was compared, as a point of a figure.

    Attributes:
        name: next to the point.
        psnr_db: mean over scenes.
        parameters: trained ones; None for a method without.
        seconds: per fusion; None where it was not computed here.
        kind: which decides the colour.
    """

    name: str
    psnr_db: float
    parameters: int | None
    seconds: float | None
    kind: Kind


def points_of(summaries: Sequence[Summary]) -> list[Point]:
    """Return the points of those that fused every scene."""
    return [
        Point(one.name, one.mean["psnr_db"], one.parameters, one.seconds, one.kind) for one in summaries if one.complete
    ]


def summarise(records: Sequence[Record]) -> list[Summary]:
    """Return a summary for each ratio and entry, in the order of the records.

    Example:
        >>> summarise([])
        []
    """
    groups: dict[float, dict[str, list[Record]]] = {}
    for record in records:
        groups.setdefault(record.job.ratio, {}).setdefault(record.job.entry.name, []).append(record)
    return [_summary(name, ratio, group) for ratio, named in groups.items() for name, group in named.items()]


def summarise_plan(plan: BenchmarkPlan, records: Sequence[Record]) -> list[Summary]:
    """Return :func:`summarise` for each ratio, followed by the networks that cannot take part at it."""
    found = summarise(records)
    return [
        one
        for ratio in plan.ratios
        for one in (
            *(summary for summary in found if summary.ratio == ratio),
            *(_absent(one) for one in plan.missing if one.ratio == ratio),
        )
    ]


def summary_table(summaries: Sequence[Summary], *, deviations: bool = True) -> Table:
    """Return the table of summaries of one ratio, of which those that miss scenes take no part in the marks."""
    rows = []
    for one in summaries:
        scores: dict[str, Any] = dict.fromkeys(_SCORES, None if one.missing else "failed")
        if one.mean:
            scores = {key: MeanStd(one.mean[key], one.std[key]) if deviations else one.mean[key] for key in _SCORES}
        rows.append(
            {
                "name": Code(one.name),
                **scores,
                "seconds": one.seconds,
                "memory": one.peak_memory and one.peak_memory / 1e6,
                "gpu_memory": one.gpu_memory and one.gpu_memory / 1e6,
                "parameters": one.parameters,
                "scenes": one.scored
                if one.complete or one.missing
                else f"{one.scored} of {one.scenes}, the rest failed",
                "weights": one.weights,
            }
        )
    memory = Column("memory", "memory", "MB", ".0f"), Column("gpu_memory", "GPU memory", "MB", ".0f")
    measured = [column for column in memory if any(row[column.key] is not None for row in rows)]
    stated = (Column("weights", "weights"),) if any(row["weights"] for row in rows) else ()
    columns = (
        Column("name", "method"), *MAIN_COLUMNS, _SECONDS, *measured, _PARAMETERS, Column("scenes", "scenes"), *stated,
    )  # fmt: skip
    caption = f"Ratio {summaries[0].ratio:g}: mean{' ± standard deviation' if deviations else ''} over scenes"
    return Table(columns, rows, caption, groups=["" if one.complete else None for one in summaries])


def write_tables(folder: str | Path, plan: BenchmarkPlan, records: Sequence[Record]) -> list[Path]:
    """Write the tables of a benchmark: ``benchmark.md``, ``benchmark.tex``, ``summary.csv`` and ``scenes.csv``.

    They are made from the records alone, so a benchmark that was interrupted has them as soon as it is resumed.

    Raises:
        HyperfuseError: no space left, or another failure of the file system.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "benchmark.md": _markdown(plan, records),
        "benchmark.tex": _latex(plan, records),
        "summary.csv": render_csv(_all_means(plan, records)),
        "scenes.csv": render_csv(_all_scores(plan, records)),
    }
    for name, text in texts.items():
        with replacing(folder / name) as scratch:
            scratch.write_text(text, "utf-8", newline="")
    return [folder / name for name in texts]


def _by_ratio(plan: BenchmarkPlan, records: Sequence[Record]) -> list[list[Summary]]:
    summaries = summarise_plan(plan, records)
    return [[one for one in summaries if one.ratio == ratio] for ratio in plan.ratios]


def _markdown(plan: BenchmarkPlan, records: Sequence[Record]) -> str:
    """Return a summary for each ratio, the failures, then every scene."""
    blocks = ["# Benchmark\n", _describe_plan(plan) + "\n"]
    blocks += [render_markdown(summary_table(group), heading=2) for group in _by_ratio(plan, records)]
    failures = [
        f"- {escape_markdown(f'{one.name}, x{one.ratio:g}, {failure}')}"
        for one in summarise(records)
        for failure in one.failures
    ]
    if failures:
        blocks += ["## Failures\n", "\n".join(failures) + "\n"]
    blocks.append(f"**Best**, <ins>second</ins>. {_describe_times(records)} {describe_scoring()}\n")
    blocks += [render_markdown(_scenes_table(records, ratio), heading=2) for ratio in plan.ratios]
    return "\n".join(blocks)


def _latex(plan: BenchmarkPlan, records: Sequence[Record]) -> str:
    blocks = [f"% {describe_scoring()}\n% {_describe_times(records)}\n"]
    for group in _by_ratio(plan, records):
        failed = [
            f"{one.name} failed on {len(one.failures)} of {one.scenes} scenes."
            for one in group
            if not one.complete and not one.missing
        ]
        failed += [f"{one.name}: {one.weights}." for one in group if one.missing]
        table = summary_table(group).only("name", *_SCORES, "seconds", "parameters")
        blocks.append(render_latex(replace(table, notes=(_describe_plan(plan), *failed))))
    return "\n".join(blocks)


def _scenes_table(records: Sequence[Record], ratio: float) -> Table:
    """Return the table of every scene at one ratio; entries are compared scene by scene."""
    chosen = [one for one in records if one.job.ratio == ratio]
    rows = []
    for one in chosen:
        scores = one.scores or {_SCORES[0]: f"failed: {one.failure}"}
        rows.append({"scene": one.job.scene, "name": Code(one.job.entry.name), "seconds": one.seconds, **scores})
    columns = (Column("scene", "scene"), Column("name", "method"), *MAIN_COLUMNS, _SECONDS)
    return Table(columns, rows, f"Ratio {ratio:g}: every scene", groups=[one.job.scene for one in chosen])


def _all_scores(plan: BenchmarkPlan, records: Sequence[Record]) -> Table:
    """Return a row for each job, with every metric and the conditions."""
    rows = [
        {
            "ratio": f"{one.job.ratio:g}",
            "scene": one.job.scene,
            "method": one.job.entry.name,
            **{name: (one.scores or {}).get(name) for name in METRICS},
            "seconds": one.seconds,
            "threads": one.threads,
            "jobs_at_a_time": one.at_once,
            "peak_memory_bytes": one.peak_memory,
            "gpu_memory_bytes": one.gpu_memory,
            "parameters": one.job.entry.parameters,
            "failure": one.failure,
        }
        for one in records
    ]
    return _with_conditions(plan, rows)


def _all_means(plan: BenchmarkPlan, records: Sequence[Record]) -> Table:
    """Return a row for each ratio and entry, with mean and standard deviation of every metric and the conditions."""
    rows = [
        {
            "ratio": f"{one.ratio:g}",
            "method": one.name,
            "scenes": one.scenes,
            "scored": one.scored,
            **{name: MeanStd(one.mean.get(name, math.nan), one.std.get(name, math.nan)) for name in METRICS},
            "seconds_mean": one.seconds,
            "peak_memory_bytes": one.peak_memory,
            "gpu_memory_bytes": one.gpu_memory,
            "parameters": one.parameters,
            "weights": one.weights,
        }
        for one in summarise_plan(plan, records)
    ]
    return _with_conditions(plan, rows)


def _with_conditions(plan: BenchmarkPlan, rows: Sequence[dict[str, Any]]) -> Table:
    pairs = plan.pairs
    conditions = {"kind": pairs.kind, "split": plan.split, "preset": pairs.preset, "srf": pairs.srf, "seed": pairs.seed}
    conditions |= {"version": __version__, "convention": scoring_convention()}
    rows = [row | conditions for row in rows]
    return Table([Column(key, key) for key in (rows[0] if rows else ())], rows)


def _describe_plan(plan: BenchmarkPlan) -> str:
    pairs = plan.pairs
    scenes = f"{_span([len(plan.scenes)], 'scene')} of {pairs.kind}"
    split = "" if plan.split is None else f" (split {plan.split})"
    ratios = " and ".join(f"{ratio:g}" for ratio in plan.ratios)
    return f"{scenes}{split}; preset {pairs.preset}, ratio {ratios}, MSI {pairs.srf}, seed {pairs.seed}."


def describe_scoring() -> str:
    """Return the version and the convention of the metrics."""
    return f"hyperfuse {__version__}. Convention: {scoring_convention()}."


def _describe_times(records: Sequence[Record]) -> str:
    """Return what times and memory mean, with the threads they were taken with."""
    timed = [record for record in records if record.seconds is not None]
    if not timed:
        return "No times were taken."
    threads = _span([record.threads for record in timed if record.threads is not None], "thread")
    at_once = _span([record.at_once for record in timed if record.at_once is not None], "job")
    measured = any(record.peak_memory is not None for record in timed)
    text = (
        f"Seconds: wall time of one fusion{' in a fresh process' if measured else ''}, mean over scenes, {threads} "
        f"each, {at_once} at a time; reading, degrading and scoring are not in it."
    )
    if measured:
        text += " Memory: largest that the process of a job held while fusing, program and images included."
    if any(record.gpu_memory is not None for record in timed):
        text += " GPU memory: largest sum of tensors on it."
    return text


def _span(values: Sequence[int], unit: str) -> str:
    low, high = min(values, default=1), max(values, default=1)
    return f"{low} {unit}{'' if low == 1 else 's'}" if low == high else f"{low} to {high} {unit}s"


def _summary(name: str, ratio: float, group: Sequence[Record]) -> Summary:
    scored = [record for record in group if record.scores]
    total = aggregate([record.scores for record in scored if record.scores]) if scored else {"mean": {}, "std": {}}
    times = [record.seconds for record in scored if record.seconds is not None]
    return Summary(
        name=name,
        ratio=ratio,
        scenes=len(group),
        scored=len(scored),
        mean=total["mean"],
        std=total["std"],
        seconds=sum(times) / len(times) if times else None,
        peak_memory=_largest(one.peak_memory for one in scored),
        gpu_memory=_largest(one.gpu_memory for one in scored),
        parameters=group[0].job.entry.parameters,
        failures=tuple(f"{one.job.scene}: {one.failure}" for one in group if one.scores is None),
        weights=describe_weights(group[0].job.entry, [one.job.scene for one in group]),
        kind=group[0].job.entry.kind,
    )


def describe_weights(entry: Entry, scenes: Sequence[str]) -> str | None:
    """Return where weights or features come from, and how many of the scenes they learnt from; None without any."""
    if entry.origin is None:
        return None
    known = sum(any(same_scene(scene, other) for other in entry.seen) for scene in scenes)
    return entry.origin + (f"; learnt from {known} of these {len(scenes)} scenes" if known else "")


def _absent(one: Missing) -> Summary:
    return Summary(one.name, one.ratio, 0, 0, {}, {}, None, None, None, None, (), one.reason)


def _largest(values: Iterable[int | None]) -> int | None:
    return max((value for value in values if value is not None), default=None)
