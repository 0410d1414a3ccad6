"""Spectral subspaces against numpy's SVD, and the laws of a projection."""

import numpy as np
import pytest
import torch

from hyperfuse.statistics.subspace import fit_subspace, leading_subspace, model_subspace


def image(seed=0, bands=6, rows=5, cols=7):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(bands, rows, cols)))


def test_the_basis_spans_the_leading_singular_vectors():
    x = image()
    flat = x.flatten(1).numpy()
    left, _, _ = np.linalg.svd(flat - flat.mean(1, keepdims=True), full_matrices=False)
    found = fit_subspace(x, 3)
    expected = left[:, :3]
    np.testing.assert_allclose((found.basis @ found.basis.T).numpy(), expected @ expected.T, atol=1e-10)
    np.testing.assert_allclose(np.abs(found.basis.numpy().T @ expected), np.eye(3), atol=1e-8)  # strongest first


def test_with_all_components_nothing_is_lost():
    x = image()
    subspace = fit_subspace(x, 99)
    assert subspace.basis.shape == (6, 6)
    torch.testing.assert_close(subspace.expand(subspace.project(x)), x)


def test_projecting_twice_changes_nothing_and_the_rest_is_orthogonal():
    x = image()
    subspace = fit_subspace(x, 2)
    once = subspace.expand(subspace.project(x))
    torch.testing.assert_close(subspace.expand(subspace.project(once)), once)
    rest = (x - once).flatten(1)
    torch.testing.assert_close(subspace.basis.T @ rest, torch.zeros(2, 35, dtype=torch.float64), atol=1e-12, rtol=0)


def test_band_errors_of_uncorrelated_component_errors():
    subspace = fit_subspace(image(), 3)
    errors = torch.tensor([1.0, 4.0, 9.0], dtype=torch.float64)
    expected = torch.diag(subspace.basis @ torch.diag(errors) @ subspace.basis.T)
    torch.testing.assert_close(subspace.band_errors(errors), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_is_kept(dtype):
    x = image().to(dtype)
    subspace = fit_subspace(x, 2)
    assert subspace.project(x).dtype == dtype
    assert subspace.expand(subspace.project(x)).dtype == dtype


def test_standardised_bands_count_equally():
    x = image()
    stretched = x * torch.tensor([1e3, 1.0, 1.0, 1e-3, 1.0, 1.0], dtype=torch.float64)[:, None, None]
    plain, other = fit_subspace(x, 2, standardise=True), fit_subspace(stretched, 2, standardise=True)
    torch.testing.assert_close(other.project(stretched).abs(), plain.project(x).abs())
    full = fit_subspace(stretched, 6, standardise=True)
    torch.testing.assert_close(full.expand(full.project(stretched)), stretched)
    errors = torch.tensor([1.0, 4.0], dtype=torch.float64)
    matrix = other.scale[:, None] * other.basis
    torch.testing.assert_close(other.band_errors(errors), torch.diag(matrix @ torch.diag(errors) @ matrix.T))


def test_a_constant_band_stays_what_it_is():
    x = image()
    x[2] = 5.0
    subspace = fit_subspace(x, 3, standardise=True)
    torch.testing.assert_close(subspace.expand(subspace.project(x))[2], x[2])


def test_noise_of_bright_bands_takes_the_place_of_dark_signal_unless_standardised():
    rng = np.random.default_rng(0)
    bright = 100 * rng.normal(size=(12, 20, 20))
    dark = np.cumsum(rng.normal(size=(1, 20, 20)), axis=2) * np.linspace(0.5, 1, 6)[:, None, None]
    x = torch.from_numpy(np.concatenate([bright, dark]))
    lost, kept = (
        (one.expand(one.project(x)) - x)[12:].square().mean() / x[12:].var()
        for one in (fit_subspace(x, 4), fit_subspace(x, 4, standardise=True))
    )
    assert lost > 0.5
    assert kept < 0.01


@pytest.mark.parametrize(("rank", "components"), [(0, 1), (5, 5), (40, 32)])
def test_an_image_is_modelled_in_the_components_that_it_has(rank, components):
    spectra = image(1, 50, 1, rank).flatten(1)
    mixed = (spectra @ image(2, rank, 9, 10).flatten(1)).reshape(50, 9, 10).float()
    subspace = model_subspace(mixed)
    assert subspace.basis.shape == (50, components)
    if rank <= components:
        torch.testing.assert_close(subspace.expand(subspace.project(mixed)), mixed, atol=1e-4, rtol=1e-4)
    assert model_subspace(mixed[:32]) is None
    assert leading_subspace(mixed[:20]).basis.shape == (20, min(20, components))
