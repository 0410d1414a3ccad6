"""Denoising: exact laws of the transform, and noise that goes while edges stay."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.fft import dctn
from scipy.ndimage import gaussian_filter

from hyperfuse.methods.local_linear.denoising import _Blocks, denoise


def scene(bands=3, shape=(60, 52), seed=0):
    """Flat regions with sharp edges, in bands that are mixtures of two patterns."""
    rng = np.random.default_rng(seed)
    patterns = gaussian_filter(rng.normal(size=(2, *shape)), (0, 5, 5)) > 0
    return torch.from_numpy(np.einsum("bk,krc->brc", rng.random((bands, 2)), patterns.astype(float)))


@given(st.integers(2, 21), st.integers(2, 21))
@settings(max_examples=25, deadline=None)
def test_blocks_unchanged_give_the_image_back(rows, columns):
    image = torch.from_numpy(np.random.default_rng(rows).normal(size=(rows, columns)))
    blocks = _Blocks(image)
    torch.testing.assert_close(blocks.shrink(blocks.padded(image), lambda found, _: torch.ones_like(found)), image)


def test_coefficients_are_scipys_cosine_transform():
    image = torch.from_numpy(np.random.default_rng(1).normal(size=(20, 24)))
    blocks = _Blocks(image)
    found = blocks.transform(blocks.padded(image), slice(0, 13))
    # Blocks start 6 pixels before the image, at every second pixel: block (3, 4) starts at pixel (0, 2).
    expected = dctn(image[0:8, 2:10].numpy(), norm="ortho")
    np.testing.assert_allclose(found[:, :, 3, 4], expected, atol=1e-12)


@pytest.mark.parametrize("level", [0.03, 0.1])
def test_noise_goes_and_edges_stay(level):
    clean = scene(shape=(96, 96))
    noise = level * torch.from_numpy(np.random.default_rng(2).normal(size=clean.shape))
    found = denoise(clean + noise, torch.full((3,), level, dtype=clean.dtype))
    assert (found - clean).square().mean() < 0.4 * level**2
    # An edge blurred by one pixel would miss by half of its height.
    edge = (clean[:, :, 1:] - clean[:, :, :-1]).abs() > 0.3
    assert ((found - clean)[:, :, 1:][edge]).abs().mean() < 2 * level


def test_bands_with_a_common_pattern_help_each_other():
    clean = scene(bands=1).expand(6, -1, -1)
    noise = 0.2 * torch.from_numpy(np.random.default_rng(3).normal(size=clean.shape))
    deviations = torch.full((6,), 0.2, dtype=clean.dtype)
    together = denoise(clean + noise, deviations)
    alone = torch.cat([denoise((clean + noise)[i : i + 1], deviations[i : i + 1]) for i in range(6)])
    assert (together - clean).square().mean() < 0.5 * (alone - clean).square().mean()


def test_without_noise_nothing_changes():
    image = scene()
    assert denoise(image, torch.zeros(3)) is image
    torch.testing.assert_close(denoise(image, torch.full((3,), 1e-7)), image, atol=1e-6, rtol=0)


def test_a_clean_band_among_noisy_ones_stays():
    image = scene(bands=2)
    noisy = image.clone()
    noisy[1] += 0.2 * torch.from_numpy(np.random.default_rng(4).normal(size=image[1].shape))
    found = denoise(noisy, torch.tensor([0.0, 0.2], dtype=image.dtype))
    assert (found[0] - image[0]).abs().max() < 0.02 * (noisy[1] - image[1]).abs().max()


@given(st.sampled_from([1e-6, 1e-2, 1e4]), st.floats(-3, 3))
@settings(max_examples=10, deadline=None)
def test_unit_and_level_do_not_matter(scale, level):
    noisy = scene() + 0.1 * torch.from_numpy(np.random.default_rng(5).normal(size=(3, 60, 52)))
    deviations = torch.full((3,), 0.1, dtype=noisy.dtype)
    found = denoise(scale * (noisy + level), scale * deviations)
    torch.testing.assert_close(found / scale - level, denoise(noisy, deviations), atol=1e-8, rtol=0)


@pytest.mark.parametrize("shape", [(1, 9), (2, 2), (3, 17), (8, 8)])
def test_small_images_keep_their_shape(shape):
    image = torch.rand((2, *shape), generator=torch.Generator().manual_seed(0))
    found = denoise(image, torch.full((2,), 0.1))
    assert found.shape == image.shape
    assert torch.isfinite(found).all()


def test_strips_do_not_change_the_result(monkeypatch):
    image = torch.from_numpy(np.random.default_rng(2).normal(size=(2, 31, 22))).float()
    whole = denoise(image, torch.full((2,), 0.8))
    monkeypatch.setattr("hyperfuse.methods.local_linear.denoising._STRIP_PIXELS", 60)
    torch.testing.assert_close(denoise(image, torch.full((2,), 0.8)), whole, rtol=1e-5, atol=1e-6)
