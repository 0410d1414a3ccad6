"""The sensor of a fusion, in a report: ratio, phase, PSF, responses, and the shift between the images."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from hyperfuse.reports.fusion.content import ReportContent
from hyperfuse.reports.fusion.markup import Markup, bullets, exact, facts, figure, join, section, tag
from hyperfuse.reports.fusion.plots import FAINT, FULL, INK, LR, SERIES, draw, shown_text
from hyperfuse.sensor.psf import BoxPsf, GaussianPsf, KernelPsf

_FWHM = 2 * math.sqrt(2 * math.log(2))
_PSF_SAMPLES = 161
_MOST_NAMED = 16


def sensor_section(content: ReportContent) -> Markup:
    """Return the section on ratio, phase, PSF and responses, and on the shift between the images."""
    sensor = content.sensor
    srf = sensor.srf
    told = "not known; the method worked without" if srf is None else srf.source or "given"
    listed = facts(
        [
            ("source", content.sensor_source),
            ("ratio", f"{_pair(sensor.ratio)} HR pixels an LR pixel"),
            (
                "phase",
                f"{_pair(sensor.offset)} HR pixels from the centre of the first HR pixel to that of the first LR pixel",
            ),
            ("point spread function", _psf_words(content)),
            ("spectral responses", told),
        ]
    )
    return section(
        "sensor",
        "Sensor",
        listed,
        _alignment(content),
        bullets(content.sensor_notes, class_="notes") if content.sensor_notes else None,
        _psf_figure(content),
        None if srf is None else _srf_figure(content),
    )


def _alignment(content: ReportContent) -> Markup | None:
    found = content.alignment
    if found is None:
        return None
    shift = f"{found.shift_y:+.2f} (y), {found.shift_x:+.2f} (x) HR pixels".replace("-", "−")
    rows = [
        (
            "shift",
            shift + ("" if not math.isfinite(found.shift_error) else f", standard error {found.shift_error:.2g}"),
        ),
        ("rotation", f"{found.rotation_degrees:+.3f}°".replace("-", "−") if found.rotation_degrees else None),
        ("scale", f"{found.scale:+.3%}".replace("-", "−") if found.scale else None),
        ("MSI explained by the HSI", f"{found.explained_before:.2%} before, {found.explained_after:.2%} after"),
        ("trusted", "yes" if found.trusted else f"no: {found.doubt}"),
    ]
    how = (
        "Where the HSI lies on the MSI beside where its metadata place it. A shift that is not trusted was not applied."
    )
    return join([tag("h3", "Shift between the images"), facts(rows), tag("p", how, class_="hint")])


def _pair(values: tuple[float, float]) -> str:
    y, x = values
    return _told(y) if y == x else f"{_told(y)} (y), {_told(x)} (x)"


def _told(value: float) -> str:
    return exact(value, digits=4)


def _psf_words(content: ReportContent) -> str:
    psf = content.sensor.psf
    if isinstance(psf, GaussianPsf):
        width = (psf.sigma[0] * _FWHM, psf.sigma[1] * _FWHM)
        return f"Gaussian, sigma {_pair(psf.sigma)} HR pixels (full width at half maximum {_pair(width)})"
    if isinstance(psf, BoxPsf):
        return f"box, {_pair(psf.width)} HR pixels wide"
    assert isinstance(psf, KernelPsf)
    return f"kernel of {len(psf.weights)} × {len(psf.weights[0])} HR pixels"


def _psf_figure(content: ReportContent) -> Markup:
    sensor = content.sensor
    factors = sensor.psf.factors()
    reach = [max(getattr(factor, f"radius_{axis}") for factor in factors) for axis in "yx"]
    reach = [max(size, 0.75 * ratio) for size, ratio in zip(reach, sensor.ratio, strict=True)]
    y, x = (np.linspace(-size, size, _PSF_SAMPLES) for size in reach)
    weights = sum(
        np.outer(_cut(factor.y(y), y, factor.radius_y), _cut(factor.x(x), x, factor.radius_x)) for factor in factors
    )
    image = np.asarray(weights, np.float64)
    image = image / np.abs(image).max()

    def build(drawing: Figure) -> None:
        seen, profile = drawing.subplots(1, 2, width_ratios=(1, 1.9))
        low = min(0.0, float(image.min()))
        seen.imshow(image, extent=(-reach[1], reach[1], reach[0], -reach[0]), cmap="Greys", vmin=low, vmax=1)
        half = sensor.ratio[0] / 2, sensor.ratio[1] / 2
        corner = (-half[1], -half[0])
        seen.add_patch(Rectangle(corner, 2 * half[1], 2 * half[0], fill=False, edgecolor=LR, linewidth=1.4))
        seen.set(xlabel="x (HR pixels)", ylabel="y (HR pixels)", title="weights")
        seen.grid(False)
        middle = _PSF_SAMPLES // 2
        profile.axvline(-half[1], color=LR, linewidth=1, linestyle=":")
        profile.axvline(half[1], color=LR, linewidth=1, linestyle=":")
        profile.plot(x, image[middle], color=INK, label="along x")
        profile.plot(y, image[:, middle], color=SERIES[1], linestyle="--", label="along y")
        profile.set(xlabel="offset from the centre (HR pixels)", ylabel="weight (largest = 1)", title="profiles")
        profile.legend()

    caption = (
        "Point spread function: how much each place around its centre adds to one HSI pixel. The orange square, and "
        "the dotted lines, are the ground of that pixel: weights beyond it mix light of its neighbours in."
    )
    return figure(draw(build, FULL, "psf", "point spread function, as an image and in profile"), caption)


def _cut(weights: NDArray[np.float64], offset: NDArray[np.float64], radius: float) -> NDArray[np.float64]:
    return np.where(np.abs(offset) <= radius + 1e-9, weights, 0.0)


def _srf_figure(content: ReportContent) -> Markup:
    srf = content.sensor.srf
    assert srf is not None
    order = content.order
    positions = content.positions[order]
    names = content.msi_band_names
    own = srf.names if len(srf.names) == len(names) else names

    def build(drawing: Figure) -> None:
        axes = drawing.add_subplot()
        for index, row in enumerate(srf.matrix[:, order]):
            style = ("-", "--", ":", "-.")[index // len(SERIES) % 4]
            axes.plot(positions, row / row.max(), color=SERIES[index % len(SERIES)], linestyle=style, linewidth=1.1)
            axes.lines[-1].set_label(shown_text(own[index]) if index < _MOST_NAMED else "_")
        axes.set(xlabel=content.axis_label, ylabel="response (largest = 1)")
        axes.margins(x=0.01)
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.05), ncols=1 + (min(len(own), _MOST_NAMED) - 1) // 11)
        marks = positions[np.isfinite(positions)]
        axes.plot(marks, np.full(marks.size, -0.04), "|", color=FAINT, markersize=4)

    caption = (
        "Spectral responses: the weight of each HSI band in each MSI band. Ticks below the curves are the HSI bands; "
        "where no curve rises, the MSI holds no direct information."
    )
    return figure(draw(build, FULL, "srf", "spectral responses of the MSI over the bands of the HSI"), caption)
