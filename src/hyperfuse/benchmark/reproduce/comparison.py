"""Figure: methods side by side in pseudo-colour, with close-ups and maps of their errors."""

from __future__ import annotations

from functools import partial

import numpy as np
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from hyperfuse.benchmark.entries import Entry, method_entry
from hyperfuse.benchmark.reproduce.charts import new_figure, remove_ticks
from hyperfuse.benchmark.reproduce.experiment import Experiment
from hyperfuse.benchmark.reproduce.networks import RequiredNetwork, always
from hyperfuse.benchmark.reproduce.results import SCORES, Artefact, Result, compare
from hyperfuse.cube.cube import Cube
from hyperfuse.reports.colours import choose_display, render_rgb, stretch_limits
from hyperfuse.reports.figures import error_map
from hyperfuse.tables import Column

_METHODS = ("bicubic", "cnmf", "local-regression")
_NETWORK = "feinfn (trained)"
# Side of the close-up: the shorter side of the image over this, and at least a number of pixels.
_CLOSE_UP = 5
_CLOSE_UP_PIXELS = 20
_TITLES = {"cave": "CAVE", "harvard": "Harvard"}


def artefact(kind: str, ratio: int) -> Artefact:
    """Return the figure of the first test scene of a data set."""
    title = f"{_TITLES[kind]}: close-ups and errors in pseudo-colour"
    network = RequiredNetwork(_NETWORK, kind, ratio)
    return Artefact(f"comparison-{kind}", "figure", title, always(network), partial(_make, network), (kind,))


def _make(network: RequiredNetwork, experiment: Experiment) -> Result:
    """Fuse the first test scene with methods and the trained network, and draw the results."""
    kind, ratio = network.kind, network.ratio
    entries: dict[str, Entry] = {name: method_entry(name) for name in _METHODS}
    entries[_NETWORK] = experiment.trained(network).entry
    reference = experiment.pair(kind, ratio).reference
    images: dict[str, Cube] = {"reference": reference}
    rows = []
    for name, entry in entries.items():
        images[name], record = experiment.fuse(entry, kind, ratio)
        assert record.scores is not None  # a failure would have been raised
        rows.append({"method": name, **record.scores})
    errors = {name: error_map(image, reference) for name, image in images.items() if name != "reference"}
    display = choose_display(reference)
    limits = stretch_limits(reference, display)
    colours = {name: render_rgb(image, display, limits) for name, image in images.items()}
    window = _most_detail(errors["bicubic"])
    top = float(np.percentile(np.stack(list(errors.values())[1:]), 99.5)) or 1.0

    # Inches: of a panel's width, and of its height where it keeps the shape of the image.
    wide = 2.0
    tall = wide * reference.rows / reference.cols
    figure = new_figure(wide * len(images) + 0.9, 2 * tall + wide + 1.0)
    axes = figure.subplots(3, len(images), height_ratios=[tall, wide, tall])
    psnr = {str(row["method"]): float(row["psnr_db"]) for row in rows}
    for column, (name, image) in enumerate(colours.items()):
        above, close, below = axes[:, column]
        score = f"\n{psnr[name]:.2f} dB" if name in psnr else f"\n{display.name}"
        above.imshow(image)
        above.set_title(name + score, fontsize="small")
        row, col, side = window
        above.add_patch(Rectangle((col - 0.5, row - 0.5), side, side, fill=False, edgecolor="yellow", linewidth=1.4))
        close.imshow(image[row : row + side, col : col + side], interpolation="nearest")
        if name in errors:
            shown = below.imshow(errors[name], cmap="inferno", vmin=0, vmax=top)
        else:
            below.set_visible(False)
    for text, axis in zip(("image", "close-up"), axes[:2, 0], strict=True):
        axis.set_ylabel(text, fontsize="small")
    axes[2, 1].set_ylabel("error", fontsize="small")
    remove_ticks(list(axes.flat))
    figure.colorbar(shown, ax=axes[2, :].tolist(), shrink=0.9, pad=0.01, label="RMSE over bands", extend="max")
    scene = experiment.data(kind).test[0]
    title = f"{scene}, ratio {ratio}: pseudo-colour, close-ups, errors"
    figure.suptitle(title, fontsize="medium", x=0.01, ha="left")
    text = (
        f"The close-up is where the error of `bicubic` is largest. All error maps share one scale, which ends at "
        f"{top:.3g}."
    )
    best = max(_METHODS, key=lambda name: psnr[name])
    checks = [compare(f"the trained network above {best}", psnr[_NETWORK], psnr[best], whose="own")]
    columns = (Column("method", "method"), *SCORES)
    return Result(columns, rows, figure, [text], checks)


def _most_detail(errors: NDArray[np.float64]) -> tuple[int, int, int]:
    """Return (row, col, side) of the square window in which the errors are largest in the mean."""
    side = min(max(_CLOSE_UP_PIXELS, min(errors.shape) // _CLOSE_UP), *errors.shape)
    total = np.zeros((errors.shape[0] + 1, errors.shape[1] + 1))
    total[1:, 1:] = errors.cumsum(0).cumsum(1)
    sums = total[side:, side:] - total[:-side, side:] - total[side:, :-side] + total[:-side, :-side]
    row, col = np.unravel_index(int(sums.argmax()), sums.shape)
    return int(row), int(col), side
