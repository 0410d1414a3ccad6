"""Writes what a table or figure found: NAME.md, NAME.csv and NAME.png."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hyperfuse.benchmark.plan import scoring_convention
from hyperfuse.benchmark.reproduce.charts import caption
from hyperfuse.benchmark.reproduce.experiment import Lab
from hyperfuse.benchmark.reproduce.results import Finding
from hyperfuse.io.encoding.atomic import replacing
from hyperfuse.reports import save_figure
from hyperfuse.tables.markdown import escape_markdown as escaped
from hyperfuse.version import __version__

SUFFIXES = (".md", ".csv", ".png")


def quick_words(lab: Lab, kinds: Sequence[str]) -> str:
    """Return what is said on every output of ``--quick``, empty in full.

    Args:
        lab: how the output was made.
        kinds: the data sets of the paper that it is about; none where it rests on no data.
    """
    if not lab.quick or not kinds:
        return ""
    base, budget = lab.sizes()["base"], lab.budget
    words = (
        f"QUICK: small data, narrow networks (width {base['width']}, the paper's has 128), {budget.steps} steps of "
        f"{budget.batch} patches of {budget.patch}x{budget.patch}, one training each (seed {lab.seed}). Not to be set "
        "beside the paper's numbers."
    )
    for kind in kinds:
        material = lab.material(kind)
        if material.name != kind:
            title = {"cave": "CAVE", "harvard": "Harvard"}[kind]
            words += f" {material.title} stands in for {title}, which was not given."
    return words


def write_finding(lab: Lab, name: str, finding: Finding, kinds: Sequence[str]) -> list[Path]:
    """Write a finding to ``lab.out``; return the files.

    Raises:
        HyperfuseError: no space left, or another failure of the file system.
    """
    lab.out.mkdir(parents=True, exist_ok=True)
    words = quick_words(lab, kinds)
    data = [lab.material(kind).told for kind in kinds]
    under = [words, *map(str, finding.verdicts), *(f"Data: {source}." for source in finding.sources if source)]
    caption(finding.figure, "\n".join(line for line in under if line))
    paths = [lab.out / f"{name}{suffix}" for suffix in SUFFIXES]
    texts = (_markdown(name, finding, words, list(dict.fromkeys(data))), _csv(finding, words))
    for path, text in zip(paths, texts, strict=False):
        with replacing(path) as scratch:
            scratch.write_text(text, "utf-8", newline="")
    save_figure(finding.figure, paths[-1])
    return paths


def _markdown(name: str, finding: Finding, words: str, data: Sequence[str]) -> str:
    lines = [f"# {finding.title}", ""]
    if words:
        lines += [f"**{words}**", ""]
    for told in data:
        lines += [told, ""]
    for paragraph in finding.text:
        lines += [paragraph, ""]
    if finding.rows:
        lines += ["| " + " | ".join(one.title for one in finding.fields) + " |", "|" + " --- |" * len(finding.fields)]
        for row in finding.rows:
            cells = [_shown(row.get(one.key), one.form) for one in finding.fields]
            lines.append("| " + " | ".join(cells) + " |")
        lines.append("")
    lines += [f"- {verdict}" for verdict in finding.verdicts]
    lines += [""] * bool(finding.verdicts)
    lines += [f"![{finding.title}]({name}.png)", ""]
    lines += [f"Data: {source}." for source in finding.sources if source]
    lines += ["", f"hyperfuse {__version__}. Convention: {scoring_convention()}.", ""]
    return "\n".join(lines)


def _csv(finding: Finding, words: str) -> str:
    stream = io.StringIO()
    keys = [one.key for one in finding.fields]
    writer = csv.DictWriter(stream, [*keys, "version", "made"], lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    for row in finding.rows:
        writer.writerow({**row, "version": __version__, "made": words or "in full"})
    return stream.getvalue()


def _shown(value: Any, form: str) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return format(value, form) if form and not isinstance(value, str) else escaped(str(value))
