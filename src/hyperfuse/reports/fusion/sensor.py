"""What a report shows of the sensor: ratio, phase, PSF, responses, and the shift between the images."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from hyperfuse.reports.fusion.content import ReportContent
from hyperfuse.reports.fusion.plots import FAINT, FULL, INK, LR, SERIES, draw, legend_text
from hyperfuse.reports.numbers import exact
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.psf import BoxPsf, GaussianPsf, KernelPsf, Psf
from hyperfuse.sensor.srf.srf import Srf

if TYPE_CHECKING:
    from hyperfuse.scenes.matching.align import Alignment
    from hyperfuse.scenes.matching.evidence import Evidence

_FWHM = 2 * math.sqrt(2 * math.log(2))
_PSF_SAMPLES = 161
_LONGEST_LEGEND = 16


def sensor(content: ReportContent) -> dict[str, Any]:
    """Return ratio, phase, PSF and responses, and the shift between the images where it was estimated."""
    model = content.sensor
    srf = model.srf
    facts = [
        ("source", content.sensor_source),
        ("ratio", f"{_pair(model.ratio)} HR pixels per LR pixel"),
        (
            "phase",
            f"{_pair(model.offset)} HR pixels from the centre of the first HR pixel to that of the first LR pixel",
        ),
        *_displacement(model, (content.hsi.rows, content.hsi.cols)),
        ("point spread function", _describe_psf(model.psf)),
        ("spectral responses", "not known; not used by the method" if srf is None else srf.source or "specified"),
    ]
    return {
        "facts": facts,
        "shift": _shift(content.alignment) or _mean_shift(content.evidence),
        "notes": content.sensor_notes,
        "psf": _psf_figure(content),
        "srf": None if srf is None else _srf_figure(content, srf),
    }


def _displacement(model: Sensor, shape: tuple[int, int]) -> list[tuple[str, str]]:
    field = model.displacement
    if field is None:
        return []
    size, (rows, cols) = np.abs(field.bounds((0, 0), shape)).max(axis=1), field.coefficients.shape[1:]
    far = f"up to {_pair(size.round(2).tolist())} HR pixels (y,x) from these positions"
    return [("displacement", f"{far}, by {rows} x {cols} control points")]


def _shift(found: Alignment | None) -> list[tuple[str, str]]:
    if found is None:
        return []
    shift = f"{found.shift_y:+.2f} (y), {found.shift_x:+.2f} (x) HR pixels"
    error = f", standard error {found.shift_error:.2g}" if math.isfinite(found.shift_error) else ""
    facts = [
        ("shift", shift + error),
        ("rotation", f"{found.rotation_degrees:+.3f}°" if found.rotation_degrees else ""),
        ("scale", f"{found.scale:+.3%}" if found.scale else ""),
        ("MSI explained by the HSI", f"{found.explained_before:.2%} before, {found.explained_after:.2%} after"),
        ("accepted", "yes" if found.accepted else f"no: {found.doubt}"),
    ]
    return [(name, text.replace("-", "−") if name in ("shift", "rotation", "scale") else text) for name, text in facts]


def _mean_shift(found: Evidence | None) -> list[tuple[str, str]]:
    """Return the shift of an HSI that a field displaces: its mean, and how much the field differs from it."""
    if found is None or found.displacement.displacement is None:
        return []
    vectors = found.displacement.vectors.reshape(2, -1)
    y, x = vectors.mean(axis=1)
    bends = float(np.hypot(*(vectors - vectors.mean(axis=1, keepdims=True))).max())
    return [
        ("shift", f"{y:+.2f} (y), {x:+.2f} (x) HR pixels, the mean over the HSI".replace("-", "−")),
        ("displacement from it", f"up to {exact(bends, digits=3)} HR pixels: see the registration"),
    ]


def _pair(values: tuple[float, float]) -> str:
    y, x = values
    return exact(y, digits=4) if y == x else f"{exact(y, digits=4)} (y), {exact(x, digits=4)} (x)"


def _describe_psf(psf: Psf) -> str:
    if isinstance(psf, GaussianPsf):
        y, x = psf.sigma
        width = _pair((y * _FWHM, x * _FWHM))
        return f"Gaussian, sigma {_pair(psf.sigma)} HR pixels (full width at half maximum {width})"
    if isinstance(psf, BoxPsf):
        return f"box, {_pair(psf.width)} HR pixels wide"
    assert isinstance(psf, KernelPsf)
    box = "" if psf.box is None else f", averaged over {_pair(psf.box)} HR pixels"
    return f"kernel of {len(psf.weights)} × {len(psf.weights[0])} HR pixels{box}"


def _psf_figure(content: ReportContent) -> Markup:
    model = content.sensor
    reach_y, reach_x = (max(size, 0.75 * ratio) for size, ratio in zip(model.reach, model.ratio, strict=True))
    y, x = np.linspace(-reach_y, reach_y, _PSF_SAMPLES), np.linspace(-reach_x, reach_x, _PSF_SAMPLES)
    image = np.asarray(sum(np.outer(factor.y.at(y), factor.x.at(x)) for factor in model.psf.factors()), np.float64)
    image /= np.abs(image).max()

    def build(drawing: Figure) -> None:
        weights, profile = drawing.subplots(1, 2, width_ratios=(1, 1.9))
        low = min(0.0, float(image.min()))
        weights.imshow(image, extent=(-reach_x, reach_x, reach_y, -reach_y), cmap="Greys", vmin=low, vmax=1)
        high, wide = model.ratio
        weights.add_patch(Rectangle((-wide / 2, -high / 2), wide, high, fill=False, edgecolor=LR, linewidth=1.4))
        weights.set(xlabel="x (HR pixels)", ylabel="y (HR pixels)", title="weights")
        weights.grid(False)
        centre = _PSF_SAMPLES // 2
        for edge in (-wide / 2, wide / 2):
            profile.axvline(edge, color=LR, linewidth=1, linestyle=":")
        profile.plot(x, image[centre], color=INK, label="along x")
        profile.plot(y, image[:, centre], color=SERIES[1], linestyle="--", label="along y")
        profile.set(xlabel="offset from the centre (HR pixels)", ylabel="weight (largest = 1)", title="profiles")
        profile.legend()

    return draw(build, FULL, "psf", "point spread function, as an image and in profile")


def _srf_figure(content: ReportContent, srf: Srf) -> Markup:
    order = content.bands.order
    positions = content.bands.positions[order]
    names = content.msi_band_names
    own = srf.names if len(srf.names) == len(names) else names

    def build(drawing: Figure) -> None:
        axes = drawing.add_subplot()
        for index, row in enumerate(srf.matrix[:, order]):
            style = ("-", "--", ":", "-.")[index // len(SERIES) % 4]
            axes.plot(positions, row / row.max(), color=SERIES[index % len(SERIES)], linestyle=style, linewidth=1.1)
            axes.lines[-1].set_label(legend_text(own[index]) if index < _LONGEST_LEGEND else "_")
        axes.set(xlabel=content.bands.label, ylabel="response (largest = 1)")
        axes.margins(x=0.01)
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.05), ncols=1 + (min(len(own), _LONGEST_LEGEND) - 1) // 11)
        marks = positions[np.isfinite(positions)]
        axes.plot(marks, np.full(marks.size, -0.04), "|", color=FAINT, markersize=4)

    return draw(build, FULL, "srf", "spectral responses of the MSI over the bands of the HSI")
