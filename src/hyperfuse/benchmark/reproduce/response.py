"""Figure: frequency response of the decoder's layers, with Gabor wavelets and with ReLU."""

from __future__ import annotations

import torch

from hyperfuse.benchmark.reproduce.activation import VARIANTS
from hyperfuse.benchmark.reproduce.experiment import Lab
from hyperfuse.benchmark.reproduce.results import Field, Finding, compare
from hyperfuse.benchmark.reproduce.trained import Wanted
from hyperfuse.networks.analysis import FrequencyResponse, radial_power
from hyperfuse.reports.analysis import response_figure

_CURVES = {name: VARIANTS[name] for name in ("Gabor", "ReLU")}
_HIGH = 0.125  # cycles a pixel; what lies beyond cannot be in an LR image at ratio 4


def wanted(lab: Lab) -> list[Wanted]:
    """Return the networks that the figure needs."""
    return list(_CURVES.values())


def make(lab: Lab) -> Finding:
    """Measure the power of every decoder layer over frequency, on the first test scene."""
    responses = {name: _response(lab, one) for name, one in _CURVES.items()}
    shares = {name: _high_share(one) for name, one in responses.items()}
    layers = len(shares["Gabor"])
    rows = [{"layer": layer, **{name: shares[name][layer] for name in shares}} for layer in range(layers)]
    verdicts = [
        compare(
            f"Gabor passes more of what the HSI lacks than ReLU, layer {layer}",
            100 * shares["Gabor"][layer],
            100 * shares["ReLU"][layer],
            "% of the power",
            whose="claim",
        )
        for layer in range(layers)
    ]
    text = (
        f"Share of a layer's power beyond {_HIGH} cycles a pixel, which an HSI at ratio 4 cannot hold: sum over rings "
        "of their mean power, channels taken without their means."
    )
    fields = (
        Field("layer", "decoder layer"),
        *(Field(name, f"{name}: share of high frequencies", ".4f") for name in shares),
    )
    title = "Frequency response of the decoder, Gabor and ReLU"
    return Finding(title, fields, rows, response_figure(responses), [text], verdicts, [lab.material().source])


def _response(lab: Lab, wanted: Wanted) -> FrequencyResponse:
    hsi, msi = lab.tensors()
    with torch.no_grad():
        layers = lab.trained(wanted).network().features(hsi, msi).decoder
    # How large the mean of a channel is says nothing about its detail, and would swamp all else.
    varying = [(layer - layer.mean((-2, -1), keepdim=True)).flatten(0, 1) for layer in layers]
    return radial_power(varying, min(32, min(msi.shape[-2:]) // 2))


def _high_share(response: FrequencyResponse) -> list[float]:
    high = response.power[:, response.cycles_per_pixel > _HIGH]
    return [float(share) for share in high.sum(1) / response.power.sum(1).clamp_min(1e-300)]
