"""Figure: frequency response of the decoder's layers, with Gabor wavelets and with ReLU."""

from __future__ import annotations

import torch

from hyperfuse.benchmark.reproduce.ablations import ACTIVATION_VARIANTS
from hyperfuse.benchmark.reproduce.experiment import Experiment
from hyperfuse.benchmark.reproduce.results import Networks, Result, artefact, compare
from hyperfuse.networks.analysis import FrequencyResponse, radial_power
from hyperfuse.networks.feinfn import FeINFN
from hyperfuse.reports.analysis import response_figure
from hyperfuse.tables import Column

_CURVES = [ACTIVATION_VARIANTS[name] for name in ("Gabor", "ReLU")]
_HIGH = 0.125  # cycles per pixel, the Nyquist frequency of an HSI at ratio 4
_COLUMNS = (
    Column("layer", "decoder layer"),
    *(Column(one.name, f"{one.name}: fraction of high frequencies", format=".4f") for one in _CURVES),
)
_TEXT = (
    f"Fraction of a layer's power beyond {_HIGH} cycles per pixel, which an HSI at ratio 4 cannot hold: sum over "
    "rings of their mean power, channels without their means."
)


@artefact("response", "Frequency response of the decoder, Gabor and ReLU", *_CURVES)
def response(experiment: Experiment, networks: Networks) -> Result:
    """Measure the power of every decoder layer over frequency, on the first test scene."""
    pair = experiment.tensors()
    responses = {name: _response(one.network(), *pair) for name, one in networks.items()}
    high = {name: _high_fraction(one) for name, one in responses.items()}
    rows = [{"layer": layer, "Gabor": g, "ReLU": r} for layer, (g, r) in enumerate(zip(*high.values(), strict=True))]
    checks = [
        compare(
            f"Gabor passes more of what the HSI lacks than ReLU, layer {row['layer']}",
            100 * row["Gabor"],
            100 * row["ReLU"],
            "% of the power",
            whose="claim",
        )
        for row in rows
    ]
    return Result(_COLUMNS, rows, response_figure(responses), [_TEXT], checks)


def _response(network: FeINFN, hsi: torch.Tensor, msi: torch.Tensor) -> FrequencyResponse:
    with torch.no_grad():
        layers = network.features(hsi, msi).decoder
    # The mean of a channel has nothing to do with its detail, and would exceed all else.
    varying = [(layer - layer.mean((-2, -1), keepdim=True)).flatten(0, 1) for layer in layers]
    return radial_power(varying, min(32, min(msi.shape[-2:]) // 2))


def _high_fraction(response: FrequencyResponse) -> list[float]:
    high = response.power[:, response.cycles_per_pixel > _HIGH].sum(1)
    return [float(fraction) for fraction in high / response.power.sum(1).clamp_min(1e-300)]
