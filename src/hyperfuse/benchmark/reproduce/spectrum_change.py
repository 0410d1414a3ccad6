"""Figure: a local change of a spectrum changes the image everywhere."""

from __future__ import annotations

import torch

from hyperfuse.benchmark.reproduce.ablations import PROPOSED
from hyperfuse.benchmark.reproduce.experiment import Experiment
from hyperfuse.benchmark.reproduce.results import Check, Networks, Result, artefact
from hyperfuse.networks.analysis import change_one_frequency, effect_on_fusion
from hyperfuse.reports.analysis import global_effect_figure
from hyperfuse.tables import Column

_BIN, _FACTOR = (3, 4), 2.0
_COLUMNS = (
    Column("change", "change"),
    Column("where", "measured in"),
    Column("fraction", "fraction of pixels that change", format=".5f"),
)


@artefact("spectrum-change", "A local change of a spectrum and its effect on the image", PROPOSED)
def spectrum_change(experiment: Experiment, networks: Networks) -> Result:
    """Double one frequency of the frequency branch's output, and one pixel of it, and measure the effects."""
    network = networks[PROPOSED.name].network()
    hsi, msi = experiment.tensors()
    with torch.no_grad():
        frequency = network.features(hsi, msi).frequency
    assert frequency is not None  # the network has both branches
    effects = {
        "output of the frequency branch": change_one_frequency(frequency, _BIN, _FACTOR),
        "fused image": effect_on_fusion(network, hsi, msi, _BIN, _FACTOR),
    }
    rows = [
        {"change": "one frequency doubled", "where": where, "fraction": effect.fraction_of_pixels}
        for where, effect in effects.items()
    ]
    # The decoder's convolutions are 1x1, so a pixel of the branch changes no other one.
    one_pixel = 1 / (msi.shape[-2] * msi.shape[-1])
    rows += [{"change": "one pixel doubled", "where": where, "fraction": one_pixel} for where in effects]
    changed = effects["fused image"].fraction_of_pixels
    check = Check(
        "a change of one frequency acts on the whole image (more than half of the pixels)",
        changed > 0.5,
        f"{100 * changed:.0f} % of the pixels of the fused image change by more than a hundredth of the largest change",
    )
    text = f"The frequency {_BIN} of the frequency branch's output is doubled, in every channel."
    return Result(_COLUMNS, rows, global_effect_figure(effects), [text], [check])
