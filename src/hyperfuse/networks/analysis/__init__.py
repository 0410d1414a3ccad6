"""Measurements behind the paper's figures: spectra of latents, leakage, the Gabor wavelet, frequency responses.

Functions take tensors or a network in any state and return data; :mod:`hyperfuse.reports.analysis` plots them.
"""

from hyperfuse.networks.analysis.globality import GlobalEffect, change_one_frequency, effect_on_fusion
from hyperfuse.networks.analysis.leakage import Leakage, spectrum_leakage
from hyperfuse.networks.analysis.response import FrequencyResponse, decoder_response, radial_power
from hyperfuse.networks.analysis.similarity import LatentSimilarity, latent_similarity
from hyperfuse.networks.analysis.wavelet import Wavelet, gabor_wavelet

__all__ = [
    "FrequencyResponse",
    "GlobalEffect",
    "LatentSimilarity",
    "Leakage",
    "Wavelet",
    "change_one_frequency",
    "decoder_response",
    "effect_on_fusion",
    "gabor_wavelet",
    "latent_similarity",
    "radial_power",
    "spectrum_leakage",
]
