"""Figure: frequency response of the decoder's layers, with Gabor wavelets and with ReLU."""

from __future__ import annotations

import torch

from hyperfuse.benchmark.reproduce.activation import VARIANTS
from hyperfuse.benchmark.reproduce.experiment import Experiment
from hyperfuse.benchmark.reproduce.networks import RequiredNetwork, always
from hyperfuse.benchmark.reproduce.results import Artefact, Result, compare
from hyperfuse.networks.analysis import FrequencyResponse, radial_power
from hyperfuse.reports.analysis import response_figure
from hyperfuse.tables import Column

_CURVES = {name: VARIANTS[name] for name in ("Gabor", "ReLU")}
_HIGH = 0.125  # cycles per pixel, the Nyquist frequency of an HSI at ratio 4
_COLUMNS = (
    Column("layer", "decoder layer"),
    *(Column(name, f"{name}: fraction of high frequencies", format=".4f") for name in _CURVES),
)


def make(experiment: Experiment) -> Result:
    """Measure the power of every decoder layer over frequency, on the first test scene."""
    responses = {name: _response(experiment, one) for name, one in _CURVES.items()}
    high = {name: _high_fraction(one) for name, one in responses.items()}
    layers = range(len(high["Gabor"]))
    rows = [{"layer": layer, **{name: high[name][layer] for name in high}} for layer in layers]
    checks = [
        compare(
            f"Gabor passes more of what the HSI lacks than ReLU, layer {layer}",
            100 * high["Gabor"][layer],
            100 * high["ReLU"][layer],
            "% of the power",
            whose="claim",
        )
        for layer in layers
    ]
    text = (
        f"Fraction of a layer's power beyond {_HIGH} cycles per pixel, which an HSI at ratio 4 cannot hold: sum over "
        "rings of their mean power, channels without their means."
    )
    return Result(_COLUMNS, rows, response_figure(responses), [text], checks)


def _response(experiment: Experiment, required: RequiredNetwork) -> FrequencyResponse:
    hsi, msi = experiment.tensors()
    with torch.no_grad():
        layers = experiment.trained(required).network().features(hsi, msi).decoder
    # The mean of a channel has nothing to do with its detail, and would exceed all else.
    varying = [(layer - layer.mean((-2, -1), keepdim=True)).flatten(0, 1) for layer in layers]
    return radial_power(varying, min(32, min(msi.shape[-2:]) // 2))


def _high_fraction(response: FrequencyResponse) -> list[float]:
    high = response.power[:, response.cycles_per_pixel > _HIGH]
    return [float(fraction) for fraction in high.sum(1) / response.power.sum(1).clamp_min(1e-300)]


ARTEFACT = Artefact(
    "response", "figure", "Frequency response of the decoder, Gabor and ReLU", always(*_CURVES.values()), make
)
