"""Benchmark tables as Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hyperfuse.benchmark.conditions_text import describe_plan, describe_scoring, describe_times
from hyperfuse.benchmark.plan import Plan
from hyperfuse.benchmark.records import Record
from hyperfuse.benchmark.tables import COLUMNS, Column, Mark, Summary, marks, summarise


def markdown(plan: Plan, records: Sequence[Record]) -> str:
    """Return the tables of a benchmark: a summary for each ratio, then every scene."""
    lines = ["# Benchmark", "", describe_plan(plan), ""]
    summaries = summarise(records)
    for ratio in plan.ratios:
        lines += [f"## Ratio {ratio:g}: mean ± standard deviation over scenes", ""]
        lines += [*summary_table([one for one in summaries if one.ratio == ratio]), ""]
    failures = [f"- {one.name}, x{one.ratio:g}, {failure}" for one in summaries for failure in one.failures]
    if failures:
        lines += ["## What failed", "", *(escaped(line) for line in failures), ""]
    lines += ["**Best**, <ins>second</ins>. " + describe_times(records) + " " + describe_scoring(), ""]
    for ratio in plan.ratios:
        lines += [f"## Ratio {ratio:g}: every scene", "", *_scenes_table(plan, records, ratio), ""]
    return "\n".join(lines)


def summary_table(summaries: Sequence[Summary]) -> list[str]:
    """Return the lines of a table of summaries of one ratio."""
    memory = any(one.peak_memory is not None for one in summaries)
    gpu = any(one.gpu_memory is not None for one in summaries)
    titles = ["method", *(column.title for column in COLUMNS), "seconds"]
    titles += ["memory (MB)"] * memory + ["GPU memory (MB)"] * gpu + ["parameters", "scenes"]
    ranked = {column.key: marks([_ranked(one, column) for one in summaries], column) for column in COLUMNS}
    lines = [_row(titles), "|" + " --- |" * len(titles)]
    for place, one in enumerate(summaries):
        cells = [_name(one.name)]
        cells += [_mean(one, column, ranked[column.key][place]) for column in COLUMNS]
        cells.append("-" if one.seconds is None else f"{one.seconds:.2f}")
        cells += [_megabytes(one.peak_memory)] * memory + [_megabytes(one.gpu_memory)] * gpu
        cells.append("-" if one.parameters is None else f"{one.parameters:,}")
        cells.append(f"{one.scored}" if one.complete else f"{one.scored} of {one.scenes}, the rest failed")
        lines.append(_row(cells))
    return lines


def marked(text: str, mark: Mark) -> str:
    """Return a cell with its mark: best is bold, second underlined."""
    return {"best": f"**{text}**", "second": f"<ins>{text}</ins>", "": text}[mark]


def escaped(text: str) -> str:
    """Return text that cannot break a table or start markup."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;").replace("\n", " ")


def _scenes_table(plan: Plan, records: Sequence[Record], ratio: float) -> list[str]:
    titles = ["scene", "method", *(column.title for column in COLUMNS), "seconds"]
    lines = [_row(titles), "|" + " --- |" * len(titles)]
    for scene in plan.scenes:
        here = [record for record in records if record.job.scene == scene and record.job.ratio == ratio]
        ranked = {
            column.key: marks([None if one.scores is None else one.scores[column.key] for one in here], column)
            for column in COLUMNS
        }
        for place, record in enumerate(here):
            cells = [escaped(scene), _name(record.job.contender.name)]
            if record.scores is None:
                cells += [escaped(f"failed: {record.failure}"), *[""] * (len(titles) - 3)]
            else:
                scores = record.scores
                cells += [
                    marked(format(scores[column.key], column.form), ranked[column.key][place]) for column in COLUMNS
                ]
                cells.append("-" if record.seconds is None else f"{record.seconds:.2f}")
            lines.append(_row(cells))
    return lines


def _ranked(one: Summary, column: Column) -> float | None:
    # A mean over the scenes that did not fail is not the mean of the others.
    return one.mean.get(column.key) if one.complete else None


def _mean(one: Summary, column: Column, mark: Mark) -> str:
    if column.key not in one.mean:
        return "failed"
    mean, deviation = one.mean[column.key], one.std[column.key]
    spread = "" if math.isnan(deviation) else f" ± {format(deviation, column.form)}"
    return marked(format(mean, column.form), mark) + spread


def _megabytes(size: int | None) -> str:
    return "-" if size is None else f"{size / 1e6:.0f}"


def _name(name: str) -> str:
    return f"`{name}`" if "`" not in name and "|" not in name else escaped(name)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
