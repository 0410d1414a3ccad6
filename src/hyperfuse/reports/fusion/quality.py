"""What a report shows of the quality: agreement with the inputs, errors against a reference, and uncertainty."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hyperfuse.metrics import METRIC_COLUMNS
from hyperfuse.reports.fusion.consistency import Consistency, SpatialAgreement
from hyperfuse.reports.fusion.content import ReportContent
from hyperfuse.reports.fusion.images import averaged, display_step, mean_image
from hyperfuse.reports.fusion.plots import FUSED, HALF, INK, LR, draw, lines_figure, map_figure
from hyperfuse.reports.fusion.reference import Comparison, ScoredImage
from hyperfuse.reports.numbers import number
from hyperfuse.tables import Column, Table

_MAP_SIDE = 500
_CURVE_POINTS = 400
_STYLES: dict[str, dict[str, Any]] = {"fused": {"color": FUSED}, "HSI interpolated": {"color": LR, "linewidth": 1.0}}
_SCORES = (
    ("QNR", "qnr", "1 is best", "quality with no reference: (1 − D_lambda) (1 − D_s)"),
    ("HQNR", "hqnr", "1 is best", "the same with D_lambda after Khan, by the sensor's blur"),
    ("D_lambda", "d_lambda", "0 is best", "how much the relations between the bands changed"),
    ("D_lambda, Khan", "d_lambda_khan", "0 is best", "how far the degraded result is from the HSI"),
    ("D_s", "d_s", "0 is best", "how much the bands' relations to the MSI changed"),
)


def consistency(content: ReportContent, found: Consistency) -> dict[str, Any]:
    """Return the agreement of the result with its inputs, and which bands are extrapolated."""
    return {
        "found": found,
        "scores": None if found.scores is None else _scores_table(found.scores),
        "curve": lines_figure(
            [(found.spectral_rmse, {"color": FUSED})],
            content.bands,
            name="spectral-consistency",
            description="difference of the degraded result from the HSI per band",
            ylabel=content.labelled("RMSE"),
            finish=lambda axes: axes.set_ylim(bottom=0),
        ),
        "map": _map(
            found.spectral_map, "spectral-map", "map of the difference of the degraded result from the HSI",
            content.labelled("RMSE over the bands"),
        ),
        "fraction": None if math.isnan(found.spectral_fraction) else f"{found.spectral_fraction:.3%}",
        "spatial": None if found.spatial is None else _spatial_table(content, found.spatial),
        "uncovered": _uncovered_runs(content),
    }  # fmt: skip


def reference(content: ReportContent, found: Comparison) -> dict[str, Any]:
    """Return the errors against the reference; the doubt alone where it cannot be compared."""
    if found.fused is None:
        return {"doubt": found.doubt}
    compared = {"fused": found.fused, "HSI interpolated": found.interpolated}
    images = {name: image for name, image in compared.items() if image is not None}
    units = {"sam_degrees": "°", "sam_bright_degrees": "°", "rmse": content.units}
    rows = [
        {
            "metric": column.title,
            "better": f"{column.better}er is better",
            **{
                name: number(float(image.scores[column.key]), 4, units.get(column.key, column.unit))  # type: ignore[literal-required]
                for name, image in images.items()
            },
        }
        for column in METRIC_COLUMNS
    ]
    columns = (Column("metric", "metric"), *(Column(name, name, format="s") for name in images), Column("better", ""))
    label = content.labelled("RMSE over the bands")
    return {
        "doubt": "",
        "scores": found.fused.scores,
        "table": Table(columns, rows),
        "psnr": lines_figure(
            [
                (np.where(np.isfinite(one.psnr_db), one.psnr_db, np.nan), {"label": name, **_STYLES[name]})
                for name, one in images.items()
            ],
            content.bands,
            name="psnr",
            description="PSNR per band",
            ylabel="PSNR (dB)",
            finish=Axes.legend,
        ),
        "angles": _angle_figure(images),
        "error_map": _map(found.fused.errors, "error-map", "map of the error", label),
        "angle_map": _map(found.fused.angles, "angle-map", "map of the spectral angle", "spectral angle (degrees)"),
        "step": display_step(found.fused.errors.shape, _MAP_SIDE),
    }


def uncertainty(content: ReportContent) -> dict[str, Any] | None:
    """Return the uncertainty of the result as a map, and per band where it has bands; None where it is not known."""
    cube = content.uncertainty
    if cube is None:
        return None
    known = cube.usable_bands if cube.bands == 1 else cube.usable_bands & content.usable
    mean = mean_image(cube.data[band] for band in np.flatnonzero(known))
    quantiles = np.full((2, cube.bands), np.nan)
    for band in np.flatnonzero(known):
        values = cube.data[band][np.isfinite(cube.data[band])]
        if values.size:
            quantiles[:, band] = np.quantile(values, (0.5, 0.9))
    label = content.labelled(content.uncertainty_name)
    curve = None
    if cube.bands > 1:
        curve = lines_figure(
            [
                (quantiles[0], {"color": FUSED, "label": "median"}),
                (quantiles[1], {"color": INK, "label": "90 % of the pixels lie below", "linestyle": ":"}),
            ],
            content.bands,
            name="uncertainty-curve",
            description="uncertainty per band",
            ylabel=label,
            finish=Axes.legend,
        )
    return {"map": _map(mean, "uncertainty", "map of the uncertainty", label), "curve": curve, "bands": cube.bands}


def _map(values: NDArray[np.float64], name: str, description: str, label: str) -> Markup:
    step = display_step(values.shape, _MAP_SIDE)
    return map_figure(averaged(values, step), name=name, description=description, label=label)


def _scores_table(scores: Any) -> Table:
    keys = ("score", "value", "best", "meaning")
    columns = [Column(key, "" if key == "best" else key, format="s" if key == "value" else "") for key in keys]
    rows = [dict(zip(keys, (title, number(scores[key]), *rest), strict=True)) for title, key, *rest in _SCORES]
    return Table(columns, rows)


def _spatial_table(content: ReportContent, found: SpatialAgreement) -> Table:
    columns = [
        Column("band", "MSI band"),
        Column("rmse", content.labelled("RMSE"), format="s"),
        Column("fraction", "fraction of the band", format=".2%"),
        Column("correlation", "correlation", format="s"),
    ]
    explained = content.msi_explained
    if explained is not None:
        columns.append(Column("explained", "explained by the HSI", format=".1%"))
    values = {
        "band": content.msi_band_names,
        "rmse": [number(float(rmse), 3) for rmse in found.rmse],
        "fraction": found.fraction.tolist(),
        "correlation": [number(float(cc), 4) for cc in found.correlation],
        "explained": np.full(content.msi.bands, np.nan) if explained is None else np.asarray(explained, np.float64),
    }
    return Table(columns, [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)])


def _uncovered_runs(content: ReportContent) -> list[dict[str, Any]] | None:
    """Return span, length and position of each sequence of uncovered bands; None where the coverage is unknown."""
    if content.uncovered is None:
        return None
    bands = content.bands
    order = bands.order[content.usable[bands.order]]
    known = bands.label.startswith("wavelength")
    runs = []
    for a, b in content.uncovered_runs(bands.order):
        first, last = bands.positions[order[a]], bands.positions[order[b]]
        span = f"{first:.0f}" if a == b else f"{first:.0f} to {last:.0f}"
        side = "before the first" if a == 0 else "beyond the last" if b == order.size - 1 else "between"
        position = f"{side} MSI band{'s' if side == 'between' else ''}"
        runs.append({"span": f"{span} nm" if known else f"number {span}", "count": b - a + 1, "position": position})
    return runs


def _angle_figure(images: Mapping[str, ScoredImage]) -> Markup:
    fractions = np.linspace(0, 1, _CURVE_POINTS)
    finite = {name: image.angles[np.isfinite(image.angles)] for name, image in images.items()}
    curves = {name: np.quantile(angles, fractions) for name, angles in finite.items() if angles.size}

    def build(drawing: Figure) -> None:
        axes = drawing.add_subplot()
        for name, angles in curves.items():
            axes.plot(angles, 100 * fractions, color=_STYLES[name]["color"], label=name)
        end = max((float(np.quantile(angles, 0.99)) for angles in curves.values()), default=0.0)
        axes.set(xlabel="spectral angle (degrees)", ylabel="pixels with less (%)", ylim=(0, 101))
        if end > 0:
            axes.set_xlim(0, end)
        axes.legend(loc="lower right")

    return draw(build, HALF, "sam", "fraction of the pixels below a spectral angle")
