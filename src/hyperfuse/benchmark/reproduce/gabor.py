"""Figure: the Gabor wavelet of the decoder in time and frequency."""

from __future__ import annotations

from hyperfuse.benchmark.reproduce.ablations import PROPOSED
from hyperfuse.benchmark.reproduce.experiment import Experiment
from hyperfuse.benchmark.reproduce.results import Check, Networks, Result, artefact
from hyperfuse.networks.analysis import gabor_wavelet
from hyperfuse.networks.blocks.gabor import RealGabor
from hyperfuse.reports.analysis import wavelet_figure
from hyperfuse.tables import Column

_PUBLISHED = 30.0, 10.0
_COLUMNS = (
    Column("wavelet", "wavelet"),
    Column("frequency", "w", format=".2f"),
    Column("scale", "s", format=".2f"),
    Column("time", "spread in time", format=".4f"),
    Column("band", "spread in frequency", format=".3f"),
    Column("product", "product", format=".4f"),
    Column("real", "product of the real part", format=".3f"),
)


@artefact("gabor", "The Gabor wavelet in time and frequency", PROPOSED)
def gabor(experiment: Experiment, networks: Networks) -> Result:
    """Draw the published initial wavelet; list it with those that a network learned."""
    found = [("initial, published", *_PUBLISHED)]
    for index, layer in enumerate(networks[PROPOSED.name].network().decoder.activations):
        assert isinstance(layer, RealGabor)
        found.append((f"learned, layer {index}", layer.frequency.item(), abs(layer.scale.item())))
    rows = []
    for name, frequency, scale in found:
        one, real = gabor_wavelet(frequency, scale), gabor_wavelet(frequency, scale, real=True)
        measured = {"time": one.time_spread, "band": one.frequency_spread, "product": one.product, "real": real.product}
        rows.append({"wavelet": name, "frequency": frequency, "scale": scale, **measured})
    wavelet = gabor_wavelet(*_PUBLISHED)
    check = Check(
        "the complex wavelet is as narrow in time and frequency at once as a signal can be",
        abs(wavelet.product - wavelet.bound) < 1e-3,
        f"product {wavelet.product:.4f}, bound {wavelet.bound:g}",
    )
    text = "exp(j w x - (s x)^2): standard deviations in time and angular frequency, and their product."
    return Result(_COLUMNS, rows, wavelet_figure(wavelet), [text], [check])
