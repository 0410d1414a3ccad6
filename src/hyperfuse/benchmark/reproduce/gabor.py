"""Figure: the Gabor wavelet of the decoder in time and frequency."""

from __future__ import annotations

from hyperfuse.benchmark.reproduce.domains import VARIANTS
from hyperfuse.benchmark.reproduce.experiment import Lab
from hyperfuse.benchmark.reproduce.results import Field, Finding, Verdict
from hyperfuse.benchmark.reproduce.trained import Wanted
from hyperfuse.networks.analysis import gabor_wavelet
from hyperfuse.networks.blocks.gabor import RealGabor
from hyperfuse.reports.analysis import wavelet_figure

_NETWORK = VARIANTS["both"]
_PUBLISHED = 30.0, 10.0


def wanted(lab: Lab) -> list[Wanted]:
    """Return the networks that the figure needs."""
    return [_NETWORK]


def make(lab: Lab) -> Finding:
    """Draw the published start of the wavelet; list it with those that a network learned."""
    wavelet = gabor_wavelet(*_PUBLISHED)
    found = [("start, published", *_PUBLISHED)]
    for index, layer in enumerate(lab.trained(_NETWORK).network().decoder.activations):
        assert isinstance(layer, RealGabor)
        found.append((f"learned, layer {index}", layer.frequency.item(), abs(layer.scale.item())))
    rows = []
    for name, frequency, scale in found:
        one = gabor_wavelet(frequency, scale)
        rows.append(
            {
                "wavelet": name,
                "frequency": frequency,
                "scale": scale,
                "time": one.time_spread,
                "band": one.frequency_spread,
                "product": one.product,
                "real": gabor_wavelet(frequency, scale, real=True).product,
            }
        )
    verdict = Verdict(
        "the complex wavelet is as narrow in time and frequency at once as a signal can be",
        abs(wavelet.product - wavelet.bound) < 1e-3,
        f"product {wavelet.product:.4f}, bound {wavelet.bound:g}",
    )
    text = "exp(j w x - (s x)^2): standard deviations in time and angular frequency, and their product."
    fields = (
        Field("wavelet", "wavelet"),
        Field("frequency", "w", ".2f"),
        Field("scale", "s", ".2f"),
        Field("time", "spread in time", ".4f"),
        Field("band", "spread in frequency", ".3f"),
        Field("product", "product", ".4f"),
        Field("real", "product of the real part", ".3f"),
    )
    figure = wavelet_figure(wavelet)
    return Finding("The Gabor wavelet in time and frequency", fields, rows, figure, [text], [verdict])
