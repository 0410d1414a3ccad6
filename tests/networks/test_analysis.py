import math

import plain_feinfn as plain
import pytest
import torch

from hyperfuse.errors import InputError
from hyperfuse.networks import create_network
from hyperfuse.networks.analysis import (
    change_one_frequency,
    decoder_response,
    effect_on_fusion,
    gabor_wavelet,
    latent_similarity,
    radial_power,
    spectrum_leakage,
)


def wave(height, width, ky, kx, phase=0.0):
    """A cosine of ky, kx cycles over the scene at pixel centres."""
    y = (torch.arange(height, dtype=torch.float64)[:, None] + 0.5) / height
    x = (torch.arange(width, dtype=torch.float64)[None, :] + 0.5) / width
    return torch.cos(2 * math.pi * (ky * y + kx * x) + phase)


def build(**options):
    torch.manual_seed(0)
    sizes = {"width": 8, "encoder_blocks": 1, "hidden": (12, 8), "decoder_width": 10}
    return create_network("feinfn", hsi_bands=5, msi_bands=2, **sizes, **options)


def scene(height, width, shift):
    """A band-limited scene whose phases differ from another ``shift``'s, its amplitudes not."""
    total = torch.zeros(height, width, dtype=torch.float64)
    for ky in range(3):
        for kx in range(1, 4):
            total += wave(height, width, ky, kx, phase=shift * (ky * 1.7 + kx * kx)) / (1 + ky + kx)
    return total


def test_one_scene_on_two_grids_has_equal_phases_and_amplitudes():
    similarity = latent_similarity(scene(8, 8, 0)[None], scene(32, 24, 0)[None])
    held = similarity.lr_amplitude > 1e-6
    ratio = (similarity.hr_amplitude / similarity.lr_amplitude)[held]
    torch.testing.assert_close(ratio, torch.full_like(ratio, math.sqrt(32 * 24 / 64)))
    torch.testing.assert_close(similarity.hr_phase[held], similarity.lr_phase[held], rtol=0, atol=1e-9)


def test_other_phases_with_the_same_amplitudes():
    noise = torch.rand(3, 16, 16, dtype=torch.float64)
    spectrum = torch.fft.fft2(noise)
    random = torch.fft.fft2(torch.rand(3, 16, 16, dtype=torch.float64)).angle()
    scrambled = torch.fft.ifft2(spectrum.abs() * torch.exp(1j * random)).real
    same = latent_similarity(noise, scrambled)
    assert bool((same.amplitude_correlation > 0.99).all())
    assert bool((same.phase_coherence < 0.3).all())
    itself = latent_similarity(noise, noise)
    torch.testing.assert_close(itself.phase_coherence, torch.ones(3, dtype=torch.float64))


def test_latents_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="smaller"):
        latent_similarity(torch.rand(2, 8, 8), torch.rand(2, 4, 8))
    with pytest.raises(InputError, match="latents must be"):
        latent_similarity(torch.rand(2, 8, 8), torch.rand(3, 8, 8))


def test_only_a_1x1_kernel_does_not_leak():
    assert spectrum_leakage(torch.tensor([[0.3]]), 8, 9, (2, 3)).leaked == 0
    leak = spectrum_leakage(torch.tensor([[0.0, 0, 0], [1, 2, 1], [0, 0, 0]]), 8, 9, (2, 0))
    assert leak.leaked == pytest.approx(2 / 6)
    assert float(leak.response[2, 8]) == pytest.approx(1 / 6)  # frequencies wrap around
    # The image is multiplied by 2 + 2 cos(2 pi x / 9).
    x = torch.arange(9, dtype=torch.float64)
    torch.testing.assert_close(leak.envelope[0], 2 + 2 * torch.cos(2 * math.pi * x / 9))


def test_leakage_is_modulation_of_the_image():
    """Convolving the spectrum is multiplying the image by the envelope, whatever the kernel."""
    kernel = torch.rand(3, 3, dtype=torch.float64)
    kernel = kernel + kernel.flip(0, 1)  # symmetric, so the envelope is real
    leak = spectrum_leakage(kernel, 6, 8, (1, 2))
    signed = torch.zeros(6, 8, dtype=torch.float64)
    y = torch.arange(6, dtype=torch.float64)[:, None] / 6
    x = torch.arange(8, dtype=torch.float64)[None, :] / 8
    for a in range(3):
        for b in range(3):
            signed += kernel[a, b] * torch.cos(2 * math.pi * ((a - 1) * y + (b - 1) * x))
    torch.testing.assert_close(leak.envelope, signed.abs(), rtol=0, atol=1e-12)
    single = torch.exp(2j * math.pi * (y * 1 + x * 2))
    energy = plain.dft2_complex(single * signed).abs().square()
    torch.testing.assert_close(leak.response, energy / energy.sum(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kernel", [torch.zeros(3, 3), torch.ones(2, 2), torch.ones(3, 1), torch.ones(9, 9)])
def test_kernels_that_make_no_sense_are_refused(kernel):
    with pytest.raises(InputError, match="kernel"):
        spectrum_leakage(kernel, 8, 8, (0, 0))


@pytest.mark.parametrize(("frequency", "scale"), [(30, 10), (5, 1), (0, 3), (100, 10), (30, 0.5)])
def test_gabor_wavelet_reaches_the_uncertainty_bound(frequency, scale):
    wavelet = gabor_wavelet(frequency, scale)
    assert wavelet.time_spread == pytest.approx(1 / (2 * scale), rel=1e-9)
    assert wavelet.frequency_spread == pytest.approx(scale, rel=1e-9)
    assert wavelet.product == pytest.approx(wavelet.bound, rel=1e-9)
    expected = math.sqrt(math.pi) / scale * torch.exp(-((wavelet.angular_frequency - frequency) ** 2) / (4 * scale**2))
    torch.testing.assert_close(wavelet.spectrum.real, expected, rtol=0, atol=1e-10)
    torch.testing.assert_close(wavelet.spectrum.imag, torch.zeros_like(expected), rtol=0, atol=1e-10)


def test_real_part_of_the_wavelet_does_not_reach_it():
    """Two lobes at +-w: the spread of frequencies is about w."""
    wavelet = gabor_wavelet(30, 10, real=True)
    assert wavelet.product > 1.4
    torch.testing.assert_close(
        wavelet.values.real, torch.cos(30 * wavelet.time) * torch.exp(-((10 * wavelet.time) ** 2))
    )


def test_gabor_wavelet_refuses():
    with pytest.raises(InputError, match="above 0"):
        gabor_wavelet(30, 0)
    with pytest.raises(InputError, match="too few"):
        gabor_wavelet(30000, 1, samples=64)


def test_radial_power_of_a_wave_is_in_its_ring():
    response = radial_power([wave(32, 32, 0, 4)[None], wave(32, 32, 12, 0)[None]], bins=8)
    assert response.power.argmax(dim=1).tolist() == [2, 6]  # 4/32 and 12/32 cycles per pixel, rings 1/16 wide
    assert response.cycles_per_pixel[2].item() == pytest.approx(2.5 / 16)
    for row in response.power:
        assert float(row.max() / row.sum()) == pytest.approx(1.0)


def test_decoder_response_of_each_activation(pair):
    hsi, msi = pair(1, (6, 5), (24, 20))
    powers = [decoder_response(build(activation=a), hsi, msi, bins=6).power for a in ("gabor", "relu")]
    assert all(power.shape == (3, 6) for power in powers)
    assert not torch.allclose(powers[0], powers[1])


@pytest.mark.parametrize("bin_at", [(3, 2), (0, 0), (5, 0), (2, 8), (8, 8)])
def test_one_frequency_changes_the_image_by_a_wave(bin_at):
    image = torch.rand(16, 16, dtype=torch.float64)
    effect = change_one_frequency(image, bin_at, 1.5)
    plane = torch.fft.fft2(image)
    row, column = bin_at
    expected = torch.zeros(16, 16, dtype=torch.complex128)
    for r, c in {(row, column), (-row % 16, -column % 16)}:
        expected[r, c] = 0.5 * plane[r, c]
    torch.testing.assert_close(effect.change, torch.fft.ifft2(expected).real, rtol=0, atol=1e-12)
    assert effect.fraction_of_pixels > 0.4


def test_nothing_changes_where_nothing_is_changed():
    effect = change_one_frequency(torch.zeros(8, 8), (1, 1), 2.0)
    assert effect.fraction_of_pixels == 0
    with pytest.raises(InputError, match="half spectrum"):
        change_one_frequency(torch.zeros(8, 8), (1, 5), 2.0)


def test_one_frequency_of_a_network_acts_everywhere(pair):
    hsi, msi = pair(1, (6, 5), (24, 20))
    effect = effect_on_fusion(build(), hsi, msi, (2, 3), 3.0)
    assert effect.change.shape == (1, 5, 24, 20)
    assert effect.fraction_of_pixels > 0.5
    quarters = effect.change.abs().amax(dim=1).reshape(2, 12, 2, 10).amax(dim=(1, 3))
    assert bool((quarters > 0.1 * quarters.max()).all())
    with pytest.raises(InputError, match="only one branch"):
        effect_on_fusion(build(domains="spatial"), hsi, msi, (2, 3), 3.0)
