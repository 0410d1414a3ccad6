"""VCA and the number of endmembers on mixtures whose vertices and noise are known."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperfuse.errors import InputError
from hyperfuse.methods.algorithms.endmembers import count_endmembers, vertex_component_analysis


def mixture(seed, bands=40, endmembers=5, mixed=300, noise=0.0, dtype=torch.float64):
    """Return spectra whose first ``endmembers`` columns are pure and whose others are well inside the simplex."""
    generator = torch.Generator().manual_seed(seed)
    draw = {"generator": generator, "dtype": torch.float64}
    pure = torch.rand(bands, endmembers, **draw)
    abundances = torch.rand(endmembers, mixed, **draw) + 0.2
    abundances = torch.cat([torch.eye(endmembers, dtype=torch.float64), abundances / abundances.sum(0)], dim=1)
    pixels = pure @ abundances
    return (pixels + noise * torch.randn(pixels.shape, **draw)).to(dtype)


@given(seed=st.integers(0, 10_000), endmembers=st.integers(2, 8), dtype=st.sampled_from([torch.float32, torch.float64]))
@settings(max_examples=25, deadline=None)
def test_vca_finds_the_vertices(seed, endmembers, dtype):
    found = vertex_component_analysis(mixture(seed, endmembers=endmembers, dtype=dtype), endmembers, seed=seed)
    assert sorted(found.tolist()) == list(range(endmembers))


def test_vca_finds_the_vertices_whatever_the_brightness():
    # Projective projection: shade scales spectra, and vertices stay vertices.
    pixels = mixture(0)
    pixels *= torch.linspace(1.0, 0.1, pixels.shape[1], dtype=pixels.dtype)[
        torch.randperm(pixels.shape[1], generator=torch.Generator().manual_seed(1))
    ]
    assert sorted(vertex_component_analysis(pixels, 5).tolist()) == [0, 1, 2, 3, 4]


def test_vca_finds_the_vertices_in_noise():
    pixels = mixture(2, bands=60, endmembers=3, noise=0.12)  # below the 19.8 dB at which the reduction changes
    signal = mixture(2, bands=60, endmembers=3)
    assert 10 * torch.log10(signal.square().mean() / 0.12**2) < 19.5
    assert sorted(vertex_component_analysis(pixels, 3).tolist()) == [0, 1, 2]


def test_vca_repeats_itself_by_seed_and_leaves_the_global_generator():
    # Many more dimensions than vertices in noise: the choice depends on the directions drawn.
    pixels = mixture(0, noise=0.05)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first = vertex_component_analysis(pixels, 20, seed=1)
    assert torch.equal(torch.rand(1), expected)
    assert first.tolist() == vertex_component_analysis(pixels, 20, seed=1).tolist()
    assert first.tolist() != vertex_component_analysis(pixels, 20, seed=2).tolist()
    assert len(set(first.tolist())) == 20


def test_vca_ends_where_the_spectra_do():
    pixels = mixture(0, endmembers=3, dtype=torch.float32)
    assert sorted(vertex_component_analysis(pixels, 10).tolist()) == [0, 1, 2]
    constant = torch.full((8, 1), 0.3).expand(8, 12)
    assert vertex_component_analysis(constant, 4).shape == (1,)
    assert vertex_component_analysis(torch.zeros(8, 12), 4).shape == (1,)
    assert vertex_component_analysis(torch.rand(1, 12), 4).shape == (1,)
    assert len(vertex_component_analysis(mixture(0)[:, :3], 9)) == 3


def test_vca_survives_black_pixels():
    pixels = torch.cat([mixture(0), torch.zeros(40, 5, dtype=torch.float64)], dim=1)
    assert set(range(5)) <= set(vertex_component_analysis(pixels, 6).tolist())


@pytest.mark.parametrize("endmembers", [1, 3, 6, 12])
@pytest.mark.parametrize("mixed", [200, 800])
def test_count_is_that_of_the_mixture(endmembers, mixed):
    pixels = mixture(4, bands=50, endmembers=endmembers, mixed=mixed, noise=1e-3)
    assert count_endmembers(pixels, 40) == endmembers


@pytest.mark.parametrize("endmembers", [1, 3, 6])
def test_count_of_few_pixels_is_at_most_one_too_high(endmembers):
    for seed in range(10):
        pixels = mixture(seed, bands=50, endmembers=endmembers, mixed=30, noise=1e-3)
        assert endmembers <= count_endmembers(pixels, 40) <= endmembers + 1


def test_count_falls_with_noise_and_is_bounded():
    pixels = mixture(4, endmembers=10)
    noise = torch.randn(pixels.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    counts = [count_endmembers(pixels + level * noise, 40) for level in (1e-3, 0.1, 10.0)]
    assert counts[0] == 10 > counts[1] > counts[2] == 1
    assert count_endmembers(pixels, 4) == 4
    assert count_endmembers(pixels[:, :2], 40) <= 2
    assert count_endmembers(pixels[:1], 40) == 1


@given(seed=st.integers(0, 1000), factors=st.lists(st.floats(1e-3, 1e3), min_size=30, max_size=30))
@settings(max_examples=25, deadline=None)
def test_count_does_not_depend_on_the_units_of_bands(seed, factors):
    pixels = mixture(seed, bands=30, endmembers=4, noise=0.01)
    scaled = pixels * torch.tensor(factors, dtype=torch.float64)[:, None]
    assert count_endmembers(scaled, 40) == count_endmembers(pixels, 40)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_count_of_degenerate_images_is_one(dtype):
    generator = torch.Generator().manual_seed(0)
    spectrum = torch.rand(20, 1, generator=generator, dtype=dtype)
    assert count_endmembers(spectrum.expand(20, 100), 40) == 1
    assert count_endmembers(spectrum * (0.9 + 0.2 * torch.rand(1, 100, generator=generator, dtype=dtype)), 40) == 1
    assert count_endmembers(torch.zeros(20, 100, dtype=dtype), 40) == 1


def test_a_dead_band_adds_no_endmember():
    pixels = mixture(4, bands=30, endmembers=4, noise=0.01)
    pixels[7] = 0.0
    assert count_endmembers(pixels, 40) == 4


@pytest.mark.parametrize("call", [count_endmembers, vertex_component_analysis])
def test_wrong_calls_are_refused(call):
    with pytest.raises(InputError, match="spectra \\(bands, pixels\\), got the shape \\(2, 3, 4\\)"):
        call(torch.rand(2, 3, 4), 2)
    with pytest.raises(InputError, match="1 or more, got 0"):
        call(torch.rand(5, 6), 0)
