"""The report of a fusion: one HTML page that contains everything it shows, and needs no network."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from hyperfuse.io.encoding.atomic import replacing
from hyperfuse.reports.fusion import inputs, quality, record, registration, results, sensor
from hyperfuse.reports.fusion.close_ups import choose_points, find_close_ups
from hyperfuse.reports.fusion.consistency import Consistency, measure_consistency
from hyperfuse.reports.fusion.content import ReportContent
from hyperfuse.reports.fusion.images import displays
from hyperfuse.reports.fusion.reference import Comparison, compare_with_reference
from hyperfuse.reports.numbers import counted, duration, exact, memory, number
from hyperfuse.tables.html import render_html
from hyperfuse.text import printable
from hyperfuse.version import __version__

_PACKAGE = "hyperfuse.reports.fusion"


def write_report(path: str | Path, content: ReportContent) -> None:
    """Write the report of a fusion as one HTML page, whole or not at all.

    The page contains its images, plots, style and script, and its Content-Security-Policy allows no requests. Images
    are shown at no more than 900 pixels per side. Scores without a reference are those of
    :func:`hyperfuse.metrics.evaluate_without_reference`, over the centre of scenes larger than 600 pixels per side;
    scores with one are those of :func:`hyperfuse.metrics.evaluate`.

    Args:
        path: file to write; an existing one is replaced.
        content: the fusion, its inputs and its metadata.

    Raises:
        HyperfuseError: no space left, or another failure of the file system.

    Example:
        >>> import tempfile
        >>> import hyperfuse as hf
        >>> pair = hf.simulate(np.random.default_rng(0).random((6, 32, 32)), ratio=4, srf="boxes:2")
        >>> fused = hf.fuse(pair.hsi, pair.msi, sensor=pair.sensor, method="regression")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     page = Path(folder) / "report.html"
        ...     write_report(page, ReportContent(hsi=pair.hsi, msi=pair.msi, fused=fused, sensor=pair.sensor))
        ...     page.read_text("utf-8")[:15]
        '<!DOCTYPE html>'
    """
    text = render_report(content)
    with replacing(Path(path)) as scratch:
        scratch.write_text(text, "utf-8", newline="\n")


def render_report(content: ReportContent) -> str:
    """Return the page of :func:`write_report` as text."""
    consistency, comparison = measure_consistency(content), compare_with_reference(content)
    shown = displays(content.fused)
    known = content.fused.valid_pixels & content.msi.valid_pixels
    windows = find_close_ups(content.msi, known, content.sensor)
    points = list(content.points) or choose_points(content.hsi, content.msi, known, content.sensor)
    views, overview = results.views(content, shown)
    parts = {
        "views": views,
        "close-ups": results.close_ups(content, shown[0], windows),
        "spectra": results.spectra(content, overview, windows, points),
        "consistency": quality.consistency(content, consistency),
        "reference": None if comparison is None else quality.reference(content, comparison),
        "uncertainty": quality.uncertainty(content),
        "inputs": inputs.inputs(content),
        "registration": registration.registration(content),
        "sensor": sensor.sensor(content),
        "record": record.record(content),
    }
    script = _packaged("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    ratio = content.sensor.ratio
    return _environment().get_template("page.html.j2").render(
        content=content,
        parts=parts,
        title=content.title or f"{content.fused_name}: {content.hsi_name} with {content.msi_name}",
        cards=_cards(content, consistency, comparison),
        times=exact(ratio[0]) if ratio[0] == ratio[1] else f"{exact(ratio[0])} (y) and {exact(ratio[1])} (x)",
        method=content.fused.history[-1].get("method") if content.fused.history else None,
        version=__version__,
        style=Markup(_packaged("page.css")),
        script=Markup(script),
        script_hash=f"sha256-{digest}",
    )  # fmt: skip


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader(_PACKAGE),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        finalize=lambda value: value if isinstance(value, Markup) else printable(value),
    )
    environment.filters |= {"counted": counted, "table": lambda table: Markup(render_html(table))}
    return environment


def _cards(
    content: ReportContent, consistency: Consistency, comparison: Comparison | None
) -> list[tuple[str, str, str]]:
    """Return the figures at the top of the page: name, value, remark."""
    cards: list[tuple[str, str, str]] = []
    if comparison is not None and comparison.fused is not None:
        scores: Any = comparison.fused.scores
        plain: Any = None if comparison.interpolated is None else comparison.interpolated.scores
        for name, key, unit in (("PSNR", "psnr_db", "dB"), ("SAM", "sam_degrees", "°")):
            remark = "" if plain is None else f"interpolated {number(float(plain[key]), 4, unit)}"
            cards.append((name, number(float(scores[key]), 4, unit), remark))
    if consistency.scores is not None:
        cards.append(("HQNR", number(consistency.scores["hqnr"], 4), "without reference; 1 is best"))
        cards.append(("QNR", number(consistency.scores["qnr"], 4), "without reference; 1 is best"))
    if content.uncovered is not None:
        usable = int(np.count_nonzero(content.usable))
        cards.append(("extrapolated", counted(int(content.uncovered.sum()), "band"), f"of {usable}"))
    if content.made.seconds is not None:
        peak = content.made.peak_memory
        cards.append(
            ("time", duration(content.made.seconds), "" if peak is None else f"memory: {memory(peak)} at most")
        )
    return cards


def _packaged(name: str) -> str:
    return (files(_PACKAGE) / "templates" / name).read_text("utf-8")
