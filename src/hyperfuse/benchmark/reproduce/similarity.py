"""Figure: the latents' amplitudes are alike, their phases differ."""

from __future__ import annotations

import torch

from hyperfuse.benchmark.reproduce.domains import VARIANTS
from hyperfuse.benchmark.reproduce.experiment import Lab
from hyperfuse.benchmark.reproduce.results import Field, Finding, Verdict
from hyperfuse.benchmark.reproduce.trained import Wanted
from hyperfuse.networks.analysis import latent_likeness
from hyperfuse.reports.analysis import likeness_figure

_NETWORK = VARIANTS["both"]


def wanted(lab: Lab) -> list[Wanted]:
    """Return the networks that the figure needs."""
    return [_NETWORK]


def make(lab: Lab) -> Finding:
    """Compare the spectra of the LR latent of the HSI and the HR latent of the pair, on the first test scene."""
    network = lab.trained(_NETWORK).network()
    with torch.no_grad():
        features = network.features(*lab.tensors())
    likeness = latent_likeness(features.spectral_latent[0], features.spatial_latent[0])
    amplitudes, phases = likeness.amplitude_correlation, likeness.phase_coherence
    # The channel that stands for all: the one whose amplitudes are as alike as the median's.
    channel = int((amplitudes - amplitudes.median()).abs().argmin())
    rows = [
        {"channel": index, "amplitude": float(amplitude), "phase": float(phase)}
        for index, (amplitude, phase) in enumerate(zip(amplitudes, phases, strict=True))
    ]
    middle = float(amplitudes.median()), float(phases.median())
    verdict = Verdict(
        "amplitudes alike (correlation above 0.5), phases unlike (coherence below 0.5)",
        middle[0] > 0.5 > middle[1],
        f"correlation {middle[0]:.2f}, coherence {middle[1]:.2f}, medians over {len(rows)} channels",
    )
    text = (
        "Amplitude: correlation of the log amplitudes of LR and HR latent at the frequencies that both hold. Phase: "
        "length of the mean of exp(j difference), 1 for a constant difference, 0 for unrelated ones."
    )
    fields = (
        Field("channel", "channel"),
        Field("amplitude", "correlation of log amplitudes", ".3f"),
        Field("phase", "coherence of phases", ".3f"),
    )
    figure = likeness_figure(likeness, channel)
    title = "Likeness of the latents' amplitudes and phases"
    return Finding(title, fields, rows, figure, [text], [verdict], [lab.material().source])
