"""The end of a report: the uncertainty of the result, and how it was made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from hyperfuse.reports.fusion.content import ReportContent
from hyperfuse.reports.fusion.images import averaged, display_step
from hyperfuse.reports.fusion.markup import Markup, duration, facts, figure, join, memory, section, table, tag
from hyperfuse.reports.fusion.plots import FUSED, HALF, INK, lines_figure, map_figure
from hyperfuse.reports.fusion.quality import MAP_SIDE
from hyperfuse.reports.fusion.results import uncovered_intervals


def uncertainty_section(content: ReportContent) -> Markup | None:
    """Return the section on the uncertainty of the result; None where it is not known."""
    cube = content.uncertainty
    if cube is None:
        return None
    step = display_step((cube.rows, cube.cols), MAP_SIDE)
    known = cube.usable_bands if cube.bands == 1 else cube.usable_bands & content.usable
    bands = np.flatnonzero(known)
    total, count = np.zeros((cube.rows, cube.cols)), np.zeros((cube.rows, cube.cols))
    for band in bands:
        values = cube.data[band]
        total += np.nan_to_num(values)
        count += np.isfinite(values)
    mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    over = "" if cube.bands == 1 else ", mean over the bands"
    label = content.labelled(content.uncertainty_name)
    parts = [
        figure(
            map_figure(averaged(mean, step), name="uncertainty", description="map of the uncertainty", label=label),
            f"Where the result is less certain: {content.uncertainty_name}{over}. Bright places deserve less trust; "
            "the scale ends at the 99th percentile, gaps are grey.",
        )
    ]
    if cube.bands > 1:
        parts.append(_uncertainty_curve(content, known))
    return section("uncertainty", "Uncertainty", tag("div", *parts, class_="grid"))


def record_section(content: ReportContent) -> Markup:
    """Return the section on how the result was made: command, time, versions, settings, history."""
    run = content.run
    last = content.fused.history[-1] if content.fused.history else {}
    settings = last.get("settings")
    versions = ", ".join(f"{name} {value}" for name, value in run.versions.items())
    largest = None if run.peak_memory is None else f"{memory(run.peak_memory)} at most"
    listed = facts(
        [
            ("method", last.get("method")),
            ("time", None if run.seconds is None else duration(run.seconds)),
            ("memory", largest),
            ("device", last.get("device")),
            ("seed", last.get("seed")),
            ("made", run.created),
            ("versions", versions),
        ]
    )
    steps = [
        tag(
            "details",
            tag("summary", f"Step {place}: {step.get('step', 'unnamed')}"),
            tag("pre", _as_text(step), tabindex="0"),
        )
        for place, step in enumerate(content.fused.history, 1)
    ]
    return section(
        "record",
        "How it was made",
        tag("pre", run.command, class_="command", tabindex="0") if run.command else None,
        listed,
        _settings(settings),
        _told(last.get("run")),
        tag("h3", "History of the result") if steps else None,
        *steps,
    )


def _uncertainty_curve(content: ReportContent, known: NDArray[np.bool_]) -> Markup:
    assert content.uncertainty is not None
    levels = np.full((2, content.fused.bands), np.nan)
    for band in np.flatnonzero(known):
        values = content.uncertainty.data[band]
        values = values[np.isfinite(values)]
        if values.size:
            levels[:, band] = np.quantile(values, (0.5, 0.9))
    order = content.order
    body = lines_figure(
        [
            (levels[0, order], {"color": FUSED, "label": "median"}),
            (levels[1, order], {"color": INK, "label": "90 % of the pixels lie below", "linestyle": ":"}),
        ],
        content.positions[order],
        name="uncertainty-curve",
        description="uncertainty band by band",
        xlabel=content.axis_label,
        ylabel=content.labelled(content.uncertainty_name),
        shaded=uncovered_intervals(content),
        size=HALF,
        finish=Axes.legend,
    )
    return figure(body, "The same by band. Shaded bands lie outside the spectral coverage of the MSI.")


def _settings(settings: Any) -> Markup | None:
    if not isinstance(settings, Mapping) or not settings:
        return None
    rows = [[name, "chosen by the method" if value is None else _as_text(value)] for name, value in settings.items()]
    return join([tag("h3", "Settings"), table(["setting", "value"], rows)])


def _told(run: Any) -> Markup | None:
    """Return what a method tells about its run; longer records are left to the history."""
    if not isinstance(run, Mapping):
        return None
    rows = [[name, _as_text(value)] for name, value in run.items() if isinstance(value, str | int | float | bool)]
    return join([tag("h3", "Told by the method"), table(["", "value"], rows)]) if rows else None


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else dict(value) if isinstance(value, Mapping) else str(value)
