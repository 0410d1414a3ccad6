"""How good a result is, in a report: its agreement with the inputs, and with a reference where there is one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hyperfuse.reports.fusion.consistency import Consistency
from hyperfuse.reports.fusion.content import ReportContent
from hyperfuse.reports.fusion.images import averaged, display_step
from hyperfuse.reports.fusion.markup import (
    Markup,
    bullets,
    counted,
    figure,
    join,
    number,
    section,
    table,
    tag,
)
from hyperfuse.reports.fusion.plots import FUSED, HALF, LR, draw, lines_figure, map_figure
from hyperfuse.reports.fusion.reference import Comparison, Image
from hyperfuse.reports.fusion.results import uncovered_intervals
from hyperfuse.sensor.srf.coverage import true_runs

MAP_SIDE = 500
_CURVE_POINTS = 400
_METRICS = (
    ("PSNR", "psnr_db", "dB", "higher"),
    ("SAM", "sam_degrees", "°", "lower"),
    ("SAM, bright pixels", "sam_bright_degrees", "°", "lower"),
    ("ERGAS", "ergas", "", "lower"),
    ("SSIM", "ssim", "", "higher"),
    ("UIQI", "uiqi", "", "higher"),
    ("correlation", "cc", "", "higher"),
    ("RMSE", "rmse", None, "lower"),
)


def consistency_section(content: ReportContent, found: Consistency) -> Markup:
    """Return the section on the agreement of the result with its inputs, and on what is extrapolated."""
    where = "the whole image"
    if found.part is not None:
        where = f"{found.part[0]} × {found.part[1]} pixels in the middle of the scene, as all of it would take too long"
    intro = (
        f"The result against its own inputs, over {where}. Good values say that it agrees with what was measured, not "
        "that it is right."
    )
    return section(
        "consistency",
        "Quality without a reference",
        tag("p", intro),
        _scores_table(found),
        _spectral_figures(content, found),
        _spatial_table(content, found),
        _extrapolation(content),
    )


def reference_section(content: ReportContent, found: Comparison) -> Markup:
    """Return the section on the errors against the reference."""
    if found.fused is None:
        return section("reference", "Against the reference", tag("p", f"Not scored: {found.doubt}.", class_="notes"))
    scores = found.fused.scores
    images = [found.fused] if found.interpolated is None else [found.fused, found.interpolated]
    rows = [
        [
            name,
            *(number(float(one.scores[key]), 4, content.units if unit is None else unit) for one in images),  # type: ignore[literal-required]
            f"{better} is better",
        ]
        for name, key, unit, better in _METRICS
    ]
    head = ["metric", "fused", "HSI interpolated", ""] if found.interpolated else ["metric", "fused", ""]
    clipped = (
        "not clipped"
        if scores["clipped"] is None
        else f"clipped to {scores['clipped'][0]:g} to {scores['clipped'][1]:g}"
    )
    details = (
        f"{counted(scores['bands_used'], 'band')} and {counted(scores['pixels'], 'pixel')} scored, "
        f"{counted(scores['bands_left_out'], 'band')} and {counted(scores['pixels_left_out'], 'pixel')} left out; "
        f"peak {scores['peak']:g}, values {clipped}, ratio {scores['ratio']:g}. {scores['convention']}."
    )
    return section(
        "reference",
        "Against the reference",
        table(head, rows, numbers=(1, 2) if found.interpolated else (1,)),
        tag("p", details, class_="hint"),
        tag("div", _psnr_figure(content, images), _angle_figure(images), class_="grid"),
        tag("div", *_error_maps(content, found.fused), class_="grid"),
    )


def _scores_table(found: Consistency) -> Markup:
    scores = found.scores
    if scores is None:
        return tag("p", f"QNR and HQNR are not computed: {found.doubt}.", class_="notes")
    rows = [
        ["QNR", number(scores["qnr"]), "1 is best", "quality with no reference: (1 − D_lambda) (1 − D_s)"],
        ["HQNR", number(scores["hqnr"]), "1 is best", "the same with D_lambda after Khan, by the sensor's blur"],
        ["D_lambda", number(scores["d_lambda"]), "0 is best", "how much the relations between the bands changed"],
        ["D_lambda, Khan", number(scores["d_lambda_khan"]), "0 is best", "how far the degraded result is from the HSI"],
        ["D_s", number(scores["d_s"]), "0 is best", "how much the bands' relations to the MSI changed"],
    ]
    left_out = scores["bands_left_out"]
    details = f"{counted(scores['bands_used'], 'band')} scored, {left_out} left out. {scores['convention']}."
    return join([table(["score", "value", "", "meaning"], rows, numbers=(1,)), tag("p", details, class_="hint")])


def _spectral_figures(content: ReportContent, found: Consistency) -> Markup:
    order = content.order
    curve = lines_figure(
        [(found.spectral_rmse[order], {"color": FUSED})],
        content.positions[order],
        name="spectral-consistency",
        description="difference of the degraded result from the HSI, band by band",
        xlabel=content.axis_label,
        ylabel=content.labelled("RMSE"),
        shaded=uncovered_intervals(content),
        size=HALF,
        finish=_from_zero,
    )
    step = display_step(found.spectral_map.shape, MAP_SIDE)
    left = map_figure(
        averaged(found.spectral_map, step),
        name="spectral-map",
        description="where the degraded result differs from the HSI",
        label=content.labelled("RMSE over the bands"),
    )
    share = (
        "not defined"
        if math.isnan(found.spectral_share)
        else f"{found.spectral_share:.3%} of the HSI's root mean square"
    )
    captions = (
        f"Spectral consistency: the result, blurred and sampled as the sensor would, beside the HSI. Over all bands "
        f"they differ by {share}. Peaks are bands whose measured values the result does not give back.",
        "The same difference by place, on the pixels of the HSI; a structure in it is a place where the two images do "
        "not fit together (change, cloud, a shift). Gaps are grey.",
    )
    return tag("div", figure(curve, captions[0]), figure(left, captions[1]), class_="grid")


def _spatial_table(content: ReportContent, found: Consistency) -> Markup:
    heading = tag("h3", "Spatial consistency")
    if found.spatial_rmse is None or found.spatial_share is None or found.spatial_correlation is None:
        text = "Not computed: it needs the spectral responses of the MSI, and these are not known."
        return join([heading, tag("p", text, class_="notes")])
    explained = None if content.msi_explained is None else np.asarray(content.msi_explained, np.float64)
    rows = []
    for band, name in enumerate(content.msi_band_names):
        share = found.spatial_share[band]
        row = [
            name,
            number(float(found.spatial_rmse[band]), 3),
            "–" if math.isnan(share) else f"{share:.2%}",
            number(float(found.spatial_correlation[band]), 4),
        ]
        rows.append(row if explained is None else [*row, f"{explained[band]:.1%}"])
    head = ["MSI band", content.labelled("RMSE"), "share of the band", "correlation"]
    head += [] if explained is None else ["explained by the HSI"]
    text = (
        "The result, seen through the spectral responses, beside the measured MSI. A band with a large share or a low "
        "correlation holds detail that did not go into the result, or responses that do not fit."
    )
    return join([heading, table(head, rows, numbers=range(1, len(head))), tag("p", text, class_="hint")])


def _extrapolation(content: ReportContent) -> Markup:
    heading = tag("h3", "Where the result is extrapolated")
    if content.uncovered is None:
        text = "Not known: neither spectral responses nor wavelengths of both images tell which bands the MSI covers."
        return join([heading, tag("p", text, class_="notes")])
    count, usable = int(content.uncovered.sum()), int(content.usable.sum())
    if count == 0:
        return join([heading, tag("p", f"Nowhere: every one of the {usable} bands lies within a band of the MSI.")])
    text = (
        f"{counted(count, 'band')} of {usable} lie outside the bands of the MSI (shaded in the plots). Their detail is "
        "not measured but inferred from bands that go along with them in the HSI; check it before you rely on it."
    )
    return join([heading, tag("p", text), bullets(_uncovered_runs(content))])


def _uncovered_runs(content: ReportContent) -> Sequence[str]:
    assert content.uncovered is not None
    order = content.order[content.usable[content.order]]
    flags = content.uncovered[order]
    runs = []
    for a, b in true_runs(flags):
        first, last = content.positions[order[a]], content.positions[order[b]]
        place = (
            "before the first MSI band"
            if a == 0
            else "beyond the last MSI band"
            if b == order.size - 1
            else "between MSI bands"
        )
        span = f"{first:.0f}" if a == b else f"{first:.0f} to {last:.0f}"
        known = content.axis_label.startswith("wavelength")
        runs.append(f"{f'{span} nm' if known else f'number {span}'}: {counted(b - a + 1, 'band')}, {place}")
    return runs


def _psnr_figure(content: ReportContent, images: Sequence[Image]) -> Markup:
    order = content.order
    styles: tuple[dict[str, Any], ...] = (
        {"color": FUSED, "label": "fused"},
        {"color": LR, "label": "HSI interpolated", "linewidth": 1.0},
    )
    body = lines_figure(
        [(_finite(image.psnr_db[order]), style) for image, style in zip(images, styles, strict=False)],
        content.positions[order],
        name="psnr",
        description="PSNR band by band",
        xlabel=content.axis_label,
        ylabel="PSNR (dB)",
        shaded=uncovered_intervals(content),
        size=HALF,
        finish=Axes.legend,
    )
    return figure(body, "PSNR of every band; higher is better. 20 dB more are errors ten times smaller.")


def _angle_figure(images: Sequence[Image]) -> Markup:
    curves = []
    for image in images:
        angles = np.sort(image.angles[np.isfinite(image.angles)])
        share = np.linspace(0, 1, _CURVE_POINTS)
        curves.append((np.quantile(angles, share) if angles.size else np.full(share.size, np.nan), share))

    def build(drawing: Figure) -> None:
        axes = drawing.add_subplot()
        for (angles, share), colour, name in zip(curves, (FUSED, LR), ("fused", "HSI interpolated"), strict=False):
            axes.plot(angles, 100 * share, color=colour, label=name)
        ends = [float(np.quantile(angles, 0.99)) for angles, _ in curves if np.isfinite(angles).all()]
        if ends and max(ends) > 0:
            axes.set_xlim(0, max(ends))
        axes.set(xlabel="spectral angle (degrees)", ylabel="pixels with less (%)", ylim=(0, 101))
        axes.legend(loc="lower right")

    body = draw(build, HALF, "sam", "share of the pixels below a spectral angle")
    return figure(body, "Spectral angle of the pixels: the further left and up the curve, the truer the spectra.")


def _error_maps(content: ReportContent, image: Image) -> list[Markup]:
    step = display_step(image.errors.shape, MAP_SIDE)
    label = content.labelled("RMSE over the bands")
    size = f" Each pixel shown is the mean of {step} × {step}." if step > 1 else ""
    end = f"The scale ends at the 99th percentile, gaps are grey.{size}"
    return [
        figure(
            map_figure(averaged(image.errors, step), name="error-map", description="error by place", label=label),
            f"Error of the result by place. {end}",
        ),
        figure(
            map_figure(
                averaged(image.angles, step),
                name="angle-map",
                description="spectral angle by place",
                label="spectral angle (degrees)",
            ),
            f"Spectral angle between result and reference by place: errors of shape, blind to brightness. {end}",
        ),
    ]


def _finite(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.isfinite(values), values, np.nan)


def _from_zero(axes: Axes) -> None:
    axes.set_ylim(bottom=0)
