"""Figure: the latents' amplitudes are similar, their phases differ."""

from __future__ import annotations

import torch

from hyperfuse.benchmark.reproduce.domains import PROPOSED
from hyperfuse.benchmark.reproduce.experiment import Experiment
from hyperfuse.benchmark.reproduce.networks import always
from hyperfuse.benchmark.reproduce.results import Artefact, Check, Result
from hyperfuse.networks.analysis import latent_similarity
from hyperfuse.reports.analysis import similarity_figure
from hyperfuse.tables import Column

_COLUMNS = (
    Column("channel", "channel"),
    Column("amplitude", "correlation of log amplitudes", format=".3f"),
    Column("phase", "coherence of phases", format=".3f"),
)


def make(experiment: Experiment) -> Result:
    """Compare the spectra of the LR latent of the HSI and the HR latent of the pair, on the first test scene."""
    network = experiment.trained(PROPOSED).network()
    with torch.no_grad():
        features = network.features(*experiment.tensors())
    similarity = latent_similarity(features.spectral_latent[0], features.spatial_latent[0])
    amplitudes, phases = similarity.amplitude_correlation, similarity.phase_coherence
    # The channel that is drawn: that of the median correlation of amplitudes.
    channel = int((amplitudes - amplitudes.median()).abs().argmin())
    rows = [
        {"channel": index, "amplitude": float(amplitude), "phase": float(phase)}
        for index, (amplitude, phase) in enumerate(zip(amplitudes, phases, strict=True))
    ]
    medians = float(amplitudes.median()), float(phases.median())
    check = Check(
        "amplitudes similar (correlation above 0.5), phases different (coherence below 0.5)",
        medians[0] > 0.5 > medians[1],
        f"correlation {medians[0]:.2f}, coherence {medians[1]:.2f}, medians over {len(rows)} channels",
    )
    text = (
        "Amplitude: correlation of the log amplitudes of LR and HR latent at the frequencies that both hold. Phase: "
        "length of the mean of exp(j difference), 1 for a constant difference, 0 for unrelated ones."
    )
    return Result(_COLUMNS, rows, similarity_figure(similarity, channel), [text], [check])


ARTEFACT = Artefact("similarity", "figure", "Similarity of the latents' amplitudes and phases", always(PROPOSED), make)
