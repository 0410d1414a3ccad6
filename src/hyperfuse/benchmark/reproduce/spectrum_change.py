"""Figure: a local change of a spectrum changes the image everywhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hyperfuse.benchmark.reproduce.charts import mark_axes, new_figure
from hyperfuse.benchmark.reproduce.domains import VARIANTS
from hyperfuse.benchmark.reproduce.experiment import Lab
from hyperfuse.benchmark.reproduce.results import Field, Finding, Verdict
from hyperfuse.benchmark.reproduce.trained import Wanted
from hyperfuse.networks.analysis import GlobalEffect, change_one_frequency, effect_on_fusion

_NETWORK = VARIANTS["both"]
_BIN = (3, 4)
_FACTOR = 2.0


def wanted(lab: Lab) -> list[Wanted]:
    """Return the networks that the figure needs."""
    return [_NETWORK]


def make(lab: Lab) -> Finding:
    """Double one frequency of the frequency branch's output, and change one pixel of it, and see what they do."""
    network = lab.trained(_NETWORK).network()
    hsi, msi = lab.tensors()
    with torch.no_grad():
        frequency = network.features(hsi, msi).frequency
    assert frequency is not None  # the network has both branches
    latent = change_one_frequency(frequency, _BIN, _FACTOR)
    fused = effect_on_fusion(network, hsi, msi, _BIN, _FACTOR)
    pixels = msi.shape[-2] * msi.shape[-1]
    rows = [
        {"change": "one frequency doubled", "where": "output of the frequency branch", "share": latent.share_of_pixels},
        {"change": "one frequency doubled", "where": "fused image", "share": fused.share_of_pixels},
        {"change": "one pixel doubled", "where": "output of the frequency branch", "share": 1 / pixels},
        # The decoder's convolutions are 1x1, so a pixel of the branch reaches no other one.
        {"change": "one pixel doubled", "where": "fused image", "share": 1 / pixels},
    ]
    verdict = Verdict(
        "a change of one frequency acts on the whole image (more than half of the pixels)",
        fused.share_of_pixels > 0.5,
        f"{100 * fused.share_of_pixels:.0f} % of the pixels of the fused image change by more than a hundredth of the "
        "largest change",
    )
    figure = new_figure(8.4, 3.9)
    axes = figure.subplots(1, 2)
    for axis, effect, name in zip(axes, (latent, fused), ("frequency branch", "fused image"), strict=True):
        size = _size(effect)
        # A few pixels far beyond the others would leave the rest dark.
        shown = axis.imshow(size, cmap="magma", vmin=0, vmax=float(np.percentile(size, 99)) or None)
        axis.set_title(f"{name}: {100 * effect.share_of_pixels:.0f} % of pixels change", fontsize="medium", loc="left")
        figure.colorbar(shown, ax=axis, shrink=0.8, label="largest change over channels", extend="max")
    mark_axes(list(axes))
    fields = (
        Field("change", "change"),
        Field("where", "seen in"),
        Field("share", "share of pixels that change", ".5f"),
    )
    title = "A local change of a spectrum, seen in the image"
    text = f"The frequency {_BIN} of the frequency branch's output is doubled, in every channel."
    return Finding(title, fields, rows, figure, [text], [verdict], [lab.material().source])


def _size(effect: GlobalEffect) -> NDArray[Any]:
    change = effect.change[0].abs().amax(0)
    return np.asarray(change.cpu().numpy())
