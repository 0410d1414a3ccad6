"""Figures of the analyses: they show the numbers that were measured, and refuse what cannot be drawn."""

import numpy as np
import pytest
import torch

from hyperfuse.errors import InputError
from hyperfuse.networks.analysis import (
    change_one_frequency,
    gabor_wavelet,
    latent_similarity,
    radial_power,
    spectrum_leakage,
)
from hyperfuse.reports.analysis import (
    global_effect_figure,
    leakage_figure,
    response_figure,
    similarity_figure,
    wavelet_figure,
)


def noise(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def titles(figure):
    return [axis.get_title() for axis in figure.axes if axis.get_title()]


def test_similarity_shows_one_channel_and_the_medians():
    latent = noise(3, 8, 8)
    figure = similarity_figure(latent_similarity(latent, latent), channel=2)
    assert "correlate by 1.00" in figure.get_suptitle()
    assert "coherent by 1.00" in figure.get_suptitle()
    left, right = (axis.images[0].get_array() for axis in figure.axes[:2])
    np.testing.assert_allclose(left, right)
    expected = np.log10(np.abs(np.fft.fftshift(np.fft.fft2(latent[2].numpy(), norm="ortho"))))
    np.testing.assert_allclose(left, expected, atol=1e-5)


def test_similarity_refuses_a_channel_that_is_not_there():
    with pytest.raises(InputError, match="channel 3 is not among 0 to 2"):
        similarity_figure(latent_similarity(noise(3, 4, 4), noise(3, 8, 8)), channel=3)


def test_leakage_states_the_fraction_of_each_kernel():
    kernels = {"1x1": torch.ones(1, 1), "3x3": torch.ones(3, 3)}
    figure = leakage_figure({name: spectrum_leakage(kernel, 8, 8, (0, 0)) for name, kernel in kernels.items()})
    assert titles(figure)[0] == "1x1: 0.0 % leaks"
    assert titles(figure)[2] == "3x3: 88.9 % leaks"  # eight of nine equal weights
    brightest = np.unravel_index(np.argmax(figure.axes[0].images[0].get_array()), (8, 8))
    assert brightest == (4, 4)  # DC in the centre


def test_the_wavelet_is_drawn_with_its_product():
    wavelet = gabor_wavelet(30.0, 10.0)
    figure = wavelet_figure(wavelet)
    assert f"{wavelet.product:.4f}" in figure.get_suptitle()
    line = figure.axes[1].lines[0]
    assert line.get_xdata()[np.argmax(line.get_ydata())] == pytest.approx(
        30.0, abs=float(wavelet.angular_frequency.diff()[0])
    )


def test_responses_are_curves_of_equal_area_in_a_panel_a_layer():
    features = [noise(2, 16, 16), noise(2, 16, 16) + 1]
    responses = {"Gabor": radial_power(features, 8), "ReLU": radial_power([3 * one for one in features], 8)}
    figure = response_figure(responses)
    assert titles(figure) == ["decoder layer 0", "decoder layer 1"]
    for axis in figure.axes:
        gabor, relu = (line.get_ydata() for line in axis.lines)
        np.testing.assert_allclose(gabor, relu, rtol=1e-5)  # a factor on the features is taken out
        assert gabor.sum() == pytest.approx(1.0)


@pytest.mark.parametrize(
    "responses", [{}, {"a": radial_power([noise(1, 8, 8)]), "b": radial_power([noise(1, 8, 8)] * 2)}]
)
def test_responses_that_do_not_compare_are_refused(responses):
    with pytest.raises(InputError, match="the same number of layers"):
        response_figure(responses)


def test_a_changed_frequency_is_seen_all_over_the_image():
    effect = change_one_frequency(noise(2, 3, 16, 16), (2, 3), 2.0)
    figure = global_effect_figure({"frequency (2, 3) doubled": effect})
    shown = figure.axes[0].images[0].get_array()
    np.testing.assert_allclose(shown, effect.change[0].abs().amax(0))
    assert f"{100 * effect.fraction_of_pixels:.0f} % of pixels" in titles(figure)[0]
