"""From records to tables: mean and deviation over scenes, who is best, and the files that tell it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hyperfuse.benchmark.plan import Plan
from hyperfuse.benchmark.records import Record
from hyperfuse.io.encoding.atomic import replacing
from hyperfuse.metrics import METRICS, aggregate

Mark = Literal["best", "second", ""]


@dataclass(frozen=True)
class Column:
    """A metric as tables show it: its key in the scores, its title, how it is written, and which end is better."""

    key: str
    title: str
    form: str
    better: Literal["high", "low"]


COLUMNS = (
    Column("psnr_db", "PSNR (dB)", ".2f", "high"),
    Column("sam_degrees", "SAM (degrees)", ".3f", "low"),
    Column("ergas", "ERGAS", ".3f", "low"),
    Column("ssim", "SSIM", ".4f", "high"),
)


@dataclass(frozen=True)
class Summary:
    """A contender over all scenes at one ratio.

    Attributes:
        name: of the contender.
        ratio: of the pairs.
        scenes: how many it was to fuse.
        scored: how many it did.
        mean: of each metric over those, empty where there are none.
        std: standard deviation of each metric over them (dividing by their number).
        seconds: mean wall time of a fusion, or None.
        peak_memory: largest of its jobs, bytes, or None.
        gpu_memory: likewise.
        parameters: of a trained network, or None.
        failures: ``scene: why``, one a failed job.
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

    @property
    def complete(self) -> bool:
        """Whether it fused every scene, so that its mean can be set beside others."""
        return self.scored == self.scenes


def summarise(records: Sequence[Record]) -> list[Summary]:
    """Return a summary for each ratio and contender, in the order of the records.

    Example:
        >>> summarise([])
        []
    """
    groups: dict[tuple[float, str], list[Record]] = {}
    for record in sorted(records, key=lambda one: _first(records, one.job.ratio)):
        groups.setdefault((record.job.ratio, record.job.contender.name), []).append(record)
    return [_summary(name, ratio, group) for (ratio, name), group in groups.items()]


def marks(values: Sequence[float | None], column: Column) -> list[Mark]:
    """Tell which values are best and second best, as they are shown: equal ones share a mark.

    Args:
        values: None for what takes no part.
        column: how they are written, and which end is better.

    Example:
        >>> marks([46.714, 46.709, 44.0, None], COLUMNS[0])
        ['best', 'best', 'second', '']
    """
    shown = [None if value is None or math.isnan(value) else float(format(value, column.form)) for value in values]
    places = sorted({value for value in shown if value is not None}, reverse=column.better == "high")
    named: dict[float, Mark] = dict(zip(places, ("best", "second"), strict=False))
    return ["" if value is None else named.get(value, "") for value in shown]


def write_tables(folder: str | Path, plan: Plan, records: Sequence[Record]) -> list[Path]:
    """Write the tables of a benchmark: ``benchmark.md``, ``benchmark.tex``, ``summary.csv`` and ``scenes.csv``.

    They are made from the records alone, so a benchmark that was interrupted has them as soon as it is resumed.

    Raises:
        HyperfuseError: no space left, or another failure of the file system.
    """
    # Here, because the texts need the marks and the columns above.
    from hyperfuse.benchmark.csv_text import scenes_csv, summary_csv
    from hyperfuse.benchmark.latex_text import latex
    from hyperfuse.benchmark.markdown_text import markdown

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "benchmark.md": markdown(plan, records),
        "benchmark.tex": latex(plan, records),
        "summary.csv": summary_csv(plan, records),
        "scenes.csv": scenes_csv(plan, records),
    }
    for name, text in texts.items():
        with replacing(folder / name) as scratch:
            scratch.write_text(text, "utf-8", newline="")
    return [folder / name for name in texts]


def _first(records: Sequence[Record], ratio: float) -> int:
    return next(place for place, one in enumerate(records) if one.job.ratio == ratio)


def _summary(name: str, ratio: float, group: Sequence[Record]) -> Summary:
    scored = [record for record in group if record.scores is not None]
    total: dict[str, Any] = {"mean": {}, "std": {}}
    if scored:
        total = aggregate([record.scores for record in scored if record.scores is not None])
    times = [record.seconds for record in scored if record.seconds is not None]
    return Summary(
        name=name,
        ratio=ratio,
        scenes=len(group),
        scored=len(scored),
        mean={key: total["mean"][key] for key in METRICS if key in total["mean"]},
        std={key: total["std"][key] for key in METRICS if key in total["std"]},
        seconds=sum(times) / len(times) if times else None,
        peak_memory=max((one.peak_memory for one in scored if one.peak_memory is not None), default=None),
        gpu_memory=max((one.gpu_memory for one in scored if one.gpu_memory is not None), default=None),
        parameters=group[0].job.contender.parameters,
        failures=tuple(f"{one.job.scene}: {one.failure}" for one in group if one.scores is None),
    )
