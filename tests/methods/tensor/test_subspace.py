"""Tensor subspaces by block-circulant products."""

import numpy as np
import pytest
import torch

from hyperfuse.methods.tensor.subspace import image_of, leading_basis, nearest_orthogonal, slices_of
from reference.plain_ir_tensr import polar, t_identity, t_product, t_transposed


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def tensor_of(slices, cols):
    """(frequencies, a, b) as a real tensor (a, b, cols)."""
    return torch.fft.irfft(slices.permute(1, 2, 0), n=cols, dim=-1).numpy()


@pytest.mark.parametrize("cols", [6, 7])
def test_an_image_is_the_t_product_of_basis_and_coefficients(cols):
    image = random(4, 5, cols)
    slices = slices_of(image)
    torch.testing.assert_close(image_of(slices, cols), image)
    basis = leading_basis(slices, 4)
    coefficients = basis.mH @ slices
    torch.testing.assert_close(image_of(basis @ coefficients, cols), image)  # all slices: nothing is lost
    real = tensor_of(basis, cols)
    np.testing.assert_allclose(t_product(t_transposed(real), real), t_identity(4, cols), rtol=0, atol=1e-12)
    literal = t_product(real, tensor_of(coefficients, cols))
    np.testing.assert_allclose(literal, image.permute(1, 0, 2).numpy(), rtol=0, atol=1e-12)


def test_the_basis_is_the_best_of_its_size_and_a_known_rank_is_found():
    made = t_product(random(6, 2, 8).numpy(), random(2, 5, 8, seed=1).numpy())
    slices = slices_of(torch.from_numpy(made).permute(1, 0, 2))
    for count, exact in ((2, True), (1, False)):
        basis = leading_basis(slices, count)
        lost = float((basis @ (basis.mH @ slices) - slices).norm())
        assert (lost < 1e-10) is exact
        squares = torch.linalg.svdvals(slices)[:, count:].square().sum()
        assert lost == pytest.approx(float(squares.sqrt()), abs=1e-10)


def test_the_nearest_orthogonal_tensor():
    tensor = random(7, 3, 6)
    found = nearest_orthogonal(torch.fft.rfft(tensor, dim=-1).permute(2, 0, 1))
    np.testing.assert_allclose(tensor_of(found, 6), polar(tensor.numpy()), rtol=0, atol=1e-12)
