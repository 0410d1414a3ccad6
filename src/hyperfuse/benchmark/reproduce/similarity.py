"""Figure: the latents' amplitudes are similar, their phases differ."""

from __future__ import annotations

import torch

from hyperfuse.benchmark.reproduce.ablations import PROPOSED
from hyperfuse.benchmark.reproduce.experiment import Experiment
from hyperfuse.benchmark.reproduce.results import Check, Networks, Result, artefact
from hyperfuse.networks.analysis import latent_similarity
from hyperfuse.reports.analysis import similarity_figure
from hyperfuse.tables import Column

_COLUMNS = (
    Column("channel", "channel"),
    Column("amplitude", "correlation of log amplitudes", format=".3f"),
    Column("phase", "coherence of phases", format=".3f"),
)
_TEXT = (
    "Amplitude: correlation of the log amplitudes of LR and HR latent at the frequencies that both hold. Phase: "
    "length of the mean of exp(j difference), 1 for a constant difference, 0 for unrelated ones."
)


@artefact("similarity", "Similarity of the latents' amplitudes and phases", PROPOSED)
def similarity(experiment: Experiment, networks: Networks) -> Result:
    """Compare the spectra of the LR latent of the HSI and the HR latent of the pair, on the first test scene."""
    with torch.no_grad():
        features = networks[PROPOSED.name].network().features(*experiment.tensors())
    found = latent_similarity(features.spectral_latent[0], features.spatial_latent[0])
    amplitudes, phases = found.amplitude_correlation, found.phase_coherence
    # The channel that is drawn: that of the median correlation of amplitudes.
    channel = int((amplitudes - amplitudes.median()).abs().argmin())
    values = zip(amplitudes.tolist(), phases.tolist(), strict=True)
    rows = [{"channel": index, "amplitude": a, "phase": p} for index, (a, p) in enumerate(values)]
    amplitude, phase = float(amplitudes.median()), float(phases.median())
    check = Check(
        "amplitudes similar (correlation above 0.5), phases different (coherence below 0.5)",
        amplitude > 0.5 > phase,
        f"correlation {amplitude:.2f}, coherence {phase:.2f}, medians over {len(rows)} channels",
    )
    return Result(_COLUMNS, rows, similarity_figure(found, channel), [_TEXT], [check])
