"""Figure: methods side by side in pseudo-colour, with close-ups and maps of their errors."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from hyperfuse.benchmark.entries import method_entry
from hyperfuse.benchmark.reproduce.experiment import Experiment
from hyperfuse.benchmark.reproduce.networks import RequiredNetwork
from hyperfuse.benchmark.reproduce.results import SCORES, Artefact, Networks, Result, artefact, compare
from hyperfuse.cube.cube import Cube
from hyperfuse.cube.display import choose_display, render_rgb, stretch_limits
from hyperfuse.cube.window import Window
from hyperfuse.datasets import get_dataset
from hyperfuse.reports.figures import error_map
from hyperfuse.tables import Column

_METHODS = ("bicubic", "cnmf", "local-regression")
_NETWORK = "feinfn (trained)"
# Side of the close-up: the shorter side of the image over this, and at least a number of pixels.
_CLOSE_UP = 5
_CLOSE_UP_PIXELS = 20
_PANEL_WIDTH = 2.0  # inches


def comparison(kind: str) -> Artefact:
    """Return the figure of the first test scene of a data set, ratio 4."""
    title = f"{get_dataset(kind).title}: close-ups and errors in pseudo-colour"

    @artefact(f"comparison-{kind}", title, RequiredNetwork(_NETWORK, kind))
    def make(experiment: Experiment, networks: Networks) -> Result:
        entries = {name: method_entry(name) for name in _METHODS} | {_NETWORK: networks[_NETWORK].entry}
        reference = experiment.pair(kind).reference
        images: dict[str, Cube] = {}
        rows: list[dict[str, Any]] = []
        for name, entry in entries.items():
            images[name], record = experiment.fuse(entry, kind)
            assert record.scores is not None  # a failure would have been raised
            rows.append({"method": name, **record.scores})
        psnr = {row["method"]: float(row["psnr_db"]) for row in rows}
        figure, top = _figure(reference, images, psnr)
        figure.suptitle(
            f"{experiment.data(kind).test[0]}, ratio 4: pseudo-colour, close-ups, errors",
            fontsize="medium", x=0.01, ha="left",
        )  # fmt: skip
        text = (
            "The close-up is where the error of `bicubic` is largest. All error maps share one scale, which ends at "
            f"{top:.3g}."
        )
        best = max(_METHODS, key=lambda name: psnr[name])
        check = compare(f"the trained network above {best}", psnr[_NETWORK], psnr[best], whose="own")
        return Result((Column("method", "method"), *SCORES), rows, figure, [text], [check])

    return make


def _figure(reference: Cube, images: dict[str, Cube], psnr: dict[str, float]) -> tuple[Figure, float]:
    """Draw each image above its close-up and its error, starting with the reference; return the end of the scale."""
    errors = {name: error_map(image, reference) for name, image in images.items()}
    top = float(np.percentile(np.stack(list(errors.values())[1:]), 99.5)) or 1.0
    window = _largest_error(errors["bicubic"])
    display = choose_display(reference)
    limits = stretch_limits(reference, display)
    count = len(images) + 1
    height = _PANEL_WIDTH * reference.rows / reference.cols  # of a panel that keeps the shape of the image
    figure = Figure(figsize=(_PANEL_WIDTH * count + 0.9, 2 * height + _PANEL_WIDTH + 1.0), layout="constrained")
    axes = figure.subplots(3, count, height_ratios=[height, _PANEL_WIDTH, height])
    for (above, close, below), (name, cube) in zip(axes.T, {"reference": reference, **images}.items(), strict=True):
        image = render_rgb(cube, display, limits)
        above.imshow(image)
        above.set_title(f"{name}\n{f'{psnr[name]:.2f} dB' if name in psnr else display.name}", fontsize="small")
        corner = window.col - 0.5, window.row - 0.5
        above.add_patch(Rectangle(corner, window.cols, window.rows, fill=False, edgecolor="yellow", linewidth=1.4))
        close.imshow(image[window.slices], interpolation="nearest")
        if name in errors:
            shown = below.imshow(errors[name], cmap="inferno", vmin=0, vmax=top)
        else:
            below.set_visible(False)
    for axis, label in ((axes[0, 0], "image"), (axes[1, 0], "close-up"), (axes[2, 1], "error")):
        axis.set_ylabel(label, fontsize="small")
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    figure.colorbar(shown, ax=axes[2, :].tolist(), shrink=0.9, pad=0.01, label="RMSE over bands", extend="max")
    return figure, top


def _largest_error(errors: NDArray[np.float64]) -> Window:
    """Return the square window in which the errors (rows, cols) are largest in the mean."""
    side = min(max(_CLOSE_UP_PIXELS, min(errors.shape) // _CLOSE_UP), *errors.shape)
    means = uniform_filter(errors, side, mode="constant", origin=-(side // 2))[: 1 - side or None, : 1 - side or None]
    row, col = np.unravel_index(int(means.argmax()), means.shape)
    return Window(int(row), int(col), side, side)
