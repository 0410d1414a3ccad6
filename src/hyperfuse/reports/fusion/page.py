"""The report of a fusion: one HTML page that holds all it shows, and needs no network."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from pathlib import Path
from string import Template

import numpy as np

from hyperfuse.io.encoding.atomic import replacing
from hyperfuse.reports.fusion.close_ups import close_ups, spectrum_points
from hyperfuse.reports.fusion.consistency import Consistency, measure_consistency
from hyperfuse.reports.fusion.content import ReportContent, Run, this_run
from hyperfuse.reports.fusion.images import displays
from hyperfuse.reports.fusion.inputs import inputs_section
from hyperfuse.reports.fusion.markup import Markup, bullets, counted, duration, escape, exact, join, memory, number, tag
from hyperfuse.reports.fusion.quality import consistency_section, reference_section
from hyperfuse.reports.fusion.record import record_section, uncertainty_section
from hyperfuse.reports.fusion.reference import Comparison, compare_with_reference
from hyperfuse.reports.fusion.results import close_ups_section, spectra_section, views_section
from hyperfuse.reports.fusion.sensor import sensor_section
from hyperfuse.version import __version__

__all__ = ["ReportContent", "Run", "render_report", "this_run", "write_report"]

_SECTIONS = {
    "views": "Before and after",
    "close-ups": "Close-ups",
    "spectra": "Spectra",
    "consistency": "Quality",
    "reference": "Reference",
    "uncertainty": "Uncertainty",
    "inputs": "Inputs",
    "sensor": "Sensor",
    "record": "How it was made",
}


def write_report(path: str | Path, content: ReportContent) -> None:
    """Write the report of a fusion as one HTML page, whole or not at all.

    The page holds its images, plots, style and script, asks for nothing from a network, and forbids itself to
    (Content-Security-Policy). Images are shown at no more than 900 pixels a side. Scores without a reference are those
    of :func:`hyperfuse.metrics.evaluate_without_reference`, of scenes beyond 600 pixels a side over their middle;
    scores with one are those of :func:`hyperfuse.metrics.evaluate`.

    Args:
        path: where to write; what is there is replaced.
        content: the fusion and what is known about it.

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
    windows = close_ups(content.msi, known, content.sensor)
    points = list(content.points) or spectrum_points(content.hsi, content.msi, known, content.sensor)
    views, overview = views_section(content, shown)
    built = {
        "views": views,
        "close-ups": close_ups_section(content, shown[0], windows),
        "spectra": spectra_section(content, overview, windows, points),
        "consistency": consistency_section(content, consistency),
        "reference": None if comparison is None else reference_section(content, comparison),
        "uncertainty": uncertainty_section(content),
        "inputs": inputs_section(content),
        "sensor": sensor_section(content),
        "record": record_section(content),
    }
    contents = tag(
        "ul", *(tag("li", tag("a", _SECTIONS[name], href=f"#{name}")) for name, part in built.items() if part)
    )
    script = _packaged("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    return Template(_packaged("page.html")).substitute(
        title=escape(content.title or f"{content.fused_name}: {content.hsi_name} with {content.msi_name}"),
        script_hash=f"sha256-{digest}",
        style=_packaged("page.css"),
        script=script,
        summary=_summary(content, consistency, comparison),
        contents=contents,
        body=join(built.values()),
        footer=escape(
            f"Written by hyperfuse {__version__}{', ' + content.run.created if content.run.created else ''}."
        ),
    )


def _summary(content: ReportContent, consistency: Consistency, comparison: Comparison | None) -> Markup:
    fused, run = content.fused, content.run
    last = fused.history[-1] if fused.history else {}
    cards: list[tuple[str, str, str]] = []
    if comparison is not None and comparison.fused is not None:
        scores = comparison.fused.scores
        plain = comparison.interpolated.scores if comparison.interpolated is not None else None
        for name, key, unit in (("PSNR", "psnr_db", "dB"), ("SAM", "sam_degrees", "°")):
            beside = "" if plain is None else f"interpolated {number(float(plain[key]), 4, unit)}"  # type: ignore[literal-required]
            cards.append((name, number(float(scores[key]), 4, unit), beside))  # type: ignore[literal-required]
    if consistency.scores is not None:
        cards.append(("HQNR", number(consistency.scores["hqnr"], 4), "without reference; 1 is best"))
        cards.append(("QNR", number(consistency.scores["qnr"], 4), "without reference; 1 is best"))
    if content.uncovered is not None:
        cards.append(
            (
                "extrapolated",
                counted(int(content.uncovered.sum()), "band"),
                f"of {int(np.count_nonzero(content.usable))}",
            )
        )
    if run.seconds is not None:
        largest = "" if run.peak_memory is None else f"{memory(run.peak_memory)} of memory at most"
        cards.append(("time", duration(run.seconds), largest))
    ratio = content.sensor.ratio
    times = exact(ratio[0]) if ratio[0] == ratio[1] else f"{exact(ratio[0])} (y) and {exact(ratio[1])} (x)"
    method = f" by the method {last['method']}" if "method" in last else ""
    lead = (
        f"{counted(fused.bands, 'band')} of {fused.rows} × {fused.cols} pixels, {times} times finer than the HSI, fused"
        f"{method} from {content.hsi_name} ({counted(content.hsi.bands, 'band')}) and {content.msi_name} "
        f"({counted(content.msi.bands, 'band')})."
    )
    shown = [
        tag("div", tag("dt", name), tag("dd", value, tag("small", beside) if beside else None))
        for name, value, beside in cards
    ]
    return join(
        [
            tag("p", lead, class_="lead"),
            tag("dl", *shown, class_="cards"),
            bullets(content.warnings, class_="alerts") if content.warnings else None,
        ]
    )


def _packaged(name: str) -> str:
    return (files("hyperfuse.reports") / name).read_text("utf-8")
