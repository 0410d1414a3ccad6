"""Figures: what went into a fusion, what came out, and how far it is from the reference."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.display import Display, choose_display, match_display, render_rgb, stretch_limits
from hyperfuse.errors import InputError
from hyperfuse.io.encoding.atomic import replacing

# Inches. Panels have explicit positions and one size, with any number of pixels; the colour bar is next to the last.
_CELL = 2.9
_CELL_HEIGHTS = (1.9, 4.5)
_GAP = 0.2
_MARGIN = 0.2
_HEAD = 0.5
_TITLES = 0.5
_BAR = 0.14
_BAR_LABELS = 0.65
_CAPTION_COLUMNS = 46


def error_map(fused: Cube, reference: Cube) -> NDArray[np.float64]:
    """Return the root mean square error over the usable bands at each pixel, shape (rows, cols), NaN in gaps.

    Raises:
        InputError: cubes of different shapes.

    Example:
        >>> zero, half = Cube(data=np.zeros((3, 2, 2))), Cube(data=np.full((3, 2, 2), 0.5))
        >>> error_map(half, zero).tolist()
        [[0.5, 0.5], [0.5, 0.5]]
    """
    if fused.data.shape != reference.data.shape:
        raise InputError(f"the fused image has the shape {fused.data.shape}, the reference {reference.data.shape}")
    bands = fused.usable_bands & reference.usable_bands
    difference = fused.data[bands].astype(np.float64) - reference.data[bands]
    return np.asarray(np.sqrt(np.mean(difference**2, axis=0)))


def comparison_figure(
    hsi: Cube,
    msi: Cube,
    fused: Cube,
    reference: Cube,
    *,
    title: str = "",
    fused_label: str = "fused",
    footnote: str = "",
) -> Figure:
    """Draw LR-HSI, HR-MSI, fused image and reference in colour, and the error of the fused image with a scale.

    The four images share one stretch, the percentiles 1 and 99 of the reference's three bands, so that their colours
    can be compared. The error is the root mean square over the bands; its scale ends at its 99th percentile.

    Args:
        hsi: LR-HSI (bands, h, w).
        msi: HR-MSI (msi_bands, H, W), in the units of the HSI.
        fused: fused image (bands, H, W).
        reference: (bands, H, W).
        title: line over all panels.
        fused_label: title of the fused image, such as its method and score.
        footnote: end of the caption, such as the source of the data.

    Returns:
        A figure; :func:`save_figure` writes it.

    Raises:
        InputError: the fused image and the reference differ in shape.

    Example:
        >>> cube = Cube(data=np.random.default_rng(0).random((4, 8, 8)))
        >>> figure = comparison_figure(cube.crop(0, 0, 2, 2), cube, cube, cube)
        >>> len(figure.axes)  # five panels, a colour bar and the caption
        7
    """
    errors = error_map(fused, reference)
    msi_display = match_display(msi, choose_display(reference))
    # The few bands of the MSI lead, so that all panels show the same colours where both have wavelengths.
    display = match_display(reference, msi_display)
    limits = stretch_limits(reference, display)
    panels = (
        ("LR-HSI", hsi, display),
        ("HR-MSI", msi, msi_display),
        (fused_label, fused, display),
        ("reference", reference, display),
    )
    # A panel keeps the shape of the image in its cell.
    cell = float(np.clip(_CELL * reference.rows / reference.cols, *_CELL_HEIGHTS))
    scale = min(_CELL / reference.cols, cell / reference.rows)
    width, height, step = scale * reference.cols, scale * reference.rows, cell + _TITLES
    total = (2 * _MARGIN + 3 * _CELL + 3 * _GAP + _BAR + _BAR_LABELS, _MARGIN + 2 * step + _GAP + _HEAD)
    figure = Figure(figsize=total)

    def add_axes(column: int, row: int, *, shift: float = 0.0, wide: float = width) -> Axes:
        x = _MARGIN + column * (_CELL + _GAP) + shift
        low = total[1] - _HEAD - _TITLES - row * (step + _GAP) - height
        return figure.add_axes((x / total[0], low / total[1], wide / total[0], height / total[1]))

    for index, (name, cube, bands) in enumerate(panels):
        size = f"{cube.rows} x {cube.cols}, {cube.bands} {'band' if cube.bands == 1 else 'bands'}"
        _show(add_axes(index % 2, index // 2), render_rgb(cube, bands, limits), f"{name}\n{size}")
    top = float(np.nanpercentile(errors, 99)) if np.isfinite(errors).any() else 0.0
    units = textwrap.shorten(reference.units or "the images' units", _CAPTION_COLUMNS, placeholder="…")
    name = f"error: RMSE over the bands,\nin {units}"
    shown = _show(add_axes(2, 1), errors, name, cmap=colormaps["inferno"].with_extremes(bad="0.85"), top=top or 1.0)
    bar = figure.colorbar(shown, cax=add_axes(2, 1, shift=width + _GAP / 2, wide=_BAR), extend="max")
    bar.ax.tick_params(labelsize=9)
    figure.text(_MARGIN / total[0], 1 - 0.15 / total[1], title, fontsize=13, weight="bold", va="top")
    caption = add_axes(2, 0)
    caption.set_axis_off()
    caption.text(0, 1, _caption(display, footnote), fontsize=9.5, color="0.3", va="top", linespacing=1.4)
    return figure


def save_figure(figure: Figure, path: str | Path, *, dpi: int = 150) -> None:
    """Write a figure, whole or not at all, in the format of the path's extension (.png, .pdf, .svg).

    Raises:
        InputError: an extension that matplotlib cannot write.
        HyperfuseError: no space left, or another failure of the file system.
    """
    target = Path(path)
    known = figure.canvas.get_supported_filetypes()
    kind = target.suffix[1:].lower()
    if kind not in known:
        raise InputError(f"{target}: figures are written as {', '.join(sorted(known))}; take one of these extensions")
    with replacing(target) as scratch:
        figure.savefig(scratch, dpi=dpi, format=kind)


def _caption(display: Display, footnote: str) -> str:
    paragraphs = (
        f"Images in {display.label}, all in one stretch: percentiles 1 and 99 of the reference.",
        "The scale of the error ends at its 99th percentile.",
        footnote,
    )
    return "\n\n".join(textwrap.fill(text, _CAPTION_COLUMNS) for text in paragraphs if text)


def _show(axes: Axes, image: NDArray[Any], name: str, *, cmap: Colormap | None = None, top: float = 1.0) -> AxesImage:
    # Every panel covers the same ground: the LR image's pixels are drawn as large as they are.
    shown = axes.imshow(image, cmap=cmap, vmin=0, vmax=top, interpolation="nearest", aspect="auto")
    axes.set_title(name, fontsize=11, loc="left", linespacing=1.3)
    axes.set(xticks=[], yticks=[])
    return shown
