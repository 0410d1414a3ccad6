"""Figures of what :mod:`hyperfuse.networks.analysis` measures, after those of the FeINFN paper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hyperfuse.errors import InputError
from hyperfuse.networks.analysis import FrequencyResponse, GlobalEffect, LatentSimilarity, Leakage, Wavelet

_PANEL = (3.3, 3.1)  # inches


def similarity_figure(similarity: LatentSimilarity, channel: int = 0) -> Figure:
    """Draw log amplitudes and phases of one channel of an LR and an HR latent, DC in the centre.

    The title gives the correlation of the amplitudes and the coherence of the phases, medians over channels.

    Raises:
        InputError: no such channel.
    """
    if not 0 <= channel < similarity.lr_amplitude.shape[0]:
        raise InputError(f"channel {channel} is not among 0 to {similarity.lr_amplitude.shape[0] - 1}")
    figure, axes = _panels(4)
    logs = [
        _array(image[channel].clamp_min(1e-12).log10()) for image in (similarity.lr_amplitude, similarity.hr_amplitude)
    ]
    low, high = float(min(log.min() for log in logs)), float(max(log.max() for log in logs))
    for axis, image, name in zip(axes[:2], logs, ("LR", "HR"), strict=True):
        shown = axis.imshow(image, cmap="viridis", vmin=low, vmax=high)
        axis.set_title(f"{name} latent, log10 amplitude")
    figure.colorbar(shown, ax=axes[:2], shrink=0.75)
    for axis, phase, name in zip(axes[2:], (similarity.lr_phase, similarity.hr_phase), ("LR", "HR"), strict=True):
        shown = axis.imshow(_array(phase[channel]), cmap="twilight", vmin=-np.pi, vmax=np.pi)
        axis.set_title(f"{name} latent, phase (radians)")
    figure.colorbar(shown, ax=axes[2:], shrink=0.75)
    for axis in axes:
        axis.set_axis_off()
    figure.suptitle(
        f"amplitudes correlate by {float(similarity.amplitude_correlation.median()):.2f}, "
        f"phases are coherent by {float(similarity.phase_coherence.median()):.2f} (medians over channels)"
    )
    return figure


def leakage_figure(leakages: Mapping[str, Leakage]) -> Figure:
    """Draw, for each kernel by name, where the energy of one frequency goes and which factor acts on the image."""
    figure, axes = _panels(2 * len(leakages))
    for (name, leakage), energy, envelope in zip(leakages.items(), axes[::2], axes[1::2], strict=True):
        response = np.fft.fftshift(_array(leakage.response))
        shown = energy.imshow(np.log10(np.maximum(response, 1e-6)), cmap="magma", vmin=-6, vmax=0)
        energy.set_title(f"{name}: {100 * leakage.leaked:.1f} % leaks")
        figure.colorbar(shown, ax=energy, shrink=0.75, label="log10 fraction of energy")
        shown = envelope.imshow(_array(leakage.envelope), cmap="viridis", vmin=0)
        envelope.set_title(f"{name}: factor on the image")
        figure.colorbar(shown, ax=envelope, shrink=0.75)
    for axis in axes:
        axis.set_axis_off()
    return figure


def wavelet_figure(wavelet: Wavelet) -> Figure:
    """Draw a Gabor wavelet in time and frequency, with its time-frequency product and the bound."""
    figure, (time, frequency) = _panels(2)
    t, values = _array(wavelet.time), wavelet.values.detach().cpu().numpy()
    near = np.abs(t) <= 5 * wavelet.time_spread
    time.plot(t[near], values.real[near], label="real part")
    if np.iscomplexobj(values) and np.abs(values.imag).max() > 0:
        time.plot(t[near], values.imag[near], label="imaginary part", linewidth=0.8)
    time.plot(t[near], np.abs(values)[near], "k--", linewidth=0.8, label="magnitude")
    time.set(xlabel="time", title=f"spread in time {wavelet.time_spread:.4g}")
    time.legend(fontsize="small")
    w, power = _array(wavelet.angular_frequency), np.abs(wavelet.spectrum.detach().cpu().numpy()) ** 2
    lit = power > 1e-6 * power.max()
    centre, reach = float(w[lit].mean()), max(float(np.ptp(w[lit])), 1e-9)
    frequency.plot(w, power / power.max())
    frequency.set(
        xlabel="angular frequency",
        ylabel="power (largest = 1)",
        xlim=(centre - 0.6 * reach, centre + 0.6 * reach),
        title=f"spread in frequency {wavelet.frequency_spread:.4g}",
    )
    figure.suptitle(f"time-frequency product {wavelet.product:.4f}; no signal is below {wavelet.bound:g}")
    return figure


def response_figure(responses: Mapping[str, FrequencyResponse]) -> Figure:
    """Draw the power of decoder features over frequency, one curve per named network, one panel per layer.

    Raises:
        InputError: no responses, or numbers of layers that differ.
    """
    layers = {response.power.shape[0] for response in responses.values()}
    if len(layers) != 1:
        raise InputError(f"responses need the same number of layers, got {sorted(layers) or 'none'}")
    figure, axes = _panels(layers.pop())
    for layer, axis in enumerate(axes):
        for name, response in responses.items():
            power = _array(response.power[layer])
            axis.semilogy(_array(response.cycles_per_pixel), np.maximum(power / max(power.sum(), 1e-300), 1e-12))
            axis.lines[-1].set_label(name)
        axis.set(xlabel="cycles per pixel", title=f"decoder layer {layer}")
        axis.legend(fontsize="small")
    axes[0].set_ylabel("fraction of power in the ring")
    return figure


def global_effect_figure(effects: Mapping[str, GlobalEffect]) -> Figure:
    """Draw how much one frequency changes every pixel, a panel per effect (first image of a batch)."""
    figure, axes = _panels(len(effects))
    for axis, (name, effect) in zip(axes, effects.items(), strict=True):
        change = effect.change
        while change.dim() > 3:
            change = change[0]
        size = _array(change.abs().reshape(-1, *change.shape[-2:]).amax(0))
        # A few pixels far beyond the others would leave the rest dark.
        shown = axis.imshow(size, cmap="magma", vmin=0, vmax=float(np.percentile(size, 99)) or None)
        axis.set_axis_off()
        axis.set_title(f"{name}: {100 * effect.fraction_of_pixels:.0f} % of pixels change", fontsize="small")
        figure.colorbar(shown, ax=axis, shrink=0.75, label="largest change over channels", extend="max")
    return figure


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    if count < 1:
        raise InputError("there is nothing to draw")
    figure = Figure(figsize=(_PANEL[0] * count, _PANEL[1] + 0.4), layout="constrained")
    return figure, list(figure.subplots(1, count, squeeze=False)[0])


def _array(values: torch.Tensor) -> NDArray[Any]:
    return np.asarray(values.detach().cpu().numpy())
