"""Shrinkage by its optimality conditions and by literal decompositions."""

import math

import pytest
import torch

from hyperfuse.methods.tensor.shrinkage import (
    log_shrink,
    shrink_clusters,
    shrink_singular_values,
    shrink_slices,
    tensor_nuclear_norm,
)

EPS = 2.220446049250313e-16


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("weight", [0.0, 1e-6, 0.3, 4.0])
def test_kept_values_are_stationary_and_small_ones_vanish(weight):
    values = torch.linspace(0, 10, 4001, dtype=torch.float64)
    found = log_shrink(values, weight)
    kept = found > 0
    slope = found - values + weight / (found + EPS)
    assert float(slope[kept].abs().max()) < 1e-12
    assert bool((found[kept] >= math.sqrt(weight) - 1e-12).all())
    assert bool((values[~kept] <= 2 * math.sqrt(weight) + 1e-12).all())
    assert bool((values[kept] >= 2 * math.sqrt(weight) - 1e-12).all())


def test_it_is_a_local_minimum_where_it_is_kept():
    for value in (2.1, 5.0, 9.0):
        found = float(log_shrink(torch.tensor([value], dtype=torch.float64), 1.0)[0])

        def cost(x, value=value):
            return 0.5 * (x - value) ** 2 + math.log(x + EPS)

        assert cost(found) < min(cost(found - 1e-3), cost(found + 1e-3))


@pytest.mark.parametrize("shape", [(3, 7), (7, 3), (2, 5, 5)])
@pytest.mark.parametrize("kind", [torch.float64, torch.complex128])
def test_singular_values_are_replaced(shape, kind):
    matrix = random(*shape).to(kind)
    if kind.is_complex:
        matrix = torch.complex(random(*shape), random(*shape, seed=1))
    found, values = shrink_singular_values(matrix, lambda s: log_shrink(s, 0.5))
    left, old, right = torch.linalg.svd(matrix, full_matrices=False)
    expected = (left * log_shrink(old, 0.5).unsqueeze(-2)) @ right
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(values.flip(-1), log_shrink(old, 0.5), rtol=0, atol=1e-12)


def test_matrices_of_zeros_and_of_rank_one():
    zeros, _ = shrink_singular_values(torch.zeros(2, 3, 4, dtype=torch.float64), lambda s: log_shrink(s, 0.1))
    assert not bool(zeros.any())
    one = torch.outer(random(4), random(6))
    found, _ = shrink_singular_values(one, lambda s: log_shrink(s, 0.01))
    size = float(torch.linalg.matrix_norm(one, 2))
    torch.testing.assert_close(found, one * float(log_shrink(torch.tensor(size), 0.01)) / size, rtol=0, atol=1e-6)


@pytest.mark.parametrize("depth", [1, 4, 7])
def test_thresholded_slices_are_the_proximal_operator_of_the_nuclear_norm(depth):
    """Of a convex function: the residual is a subgradient, so it has a spectral norm of rho and the right product."""
    rho, tensor = 0.8, random(5, 4, depth)
    found = shrink_slices(tensor, lambda s: (s - rho).clamp_min(0))
    residual = tensor - found
    slices = torch.fft.fft(residual, dim=-1).permute(2, 0, 1)
    assert float(torch.linalg.matrix_norm(slices, 2).max()) <= rho * (1 + 1e-12)
    assert float((residual * found).sum()) == pytest.approx(rho * float(tensor_nuclear_norm(found)), rel=1e-10)


def test_the_nuclear_norm_is_that_of_the_block_circulant_matrix():
    tensor = random(3, 2, 4)
    blocks = [torch.cat([tensor[:, :, (row - col) % 4] for col in range(4)], dim=1) for row in range(4)]
    expected = float(torch.linalg.matrix_norm(torch.cat(blocks), "nuc")) / 4
    assert float(tensor_nuclear_norm(tensor)) == pytest.approx(expected, rel=1e-12)


def test_clusters_of_patches_are_shrunk_like_each_alone():
    patches, labels = random(11, 3, 9), torch.tensor([0, 1, 0, 0, 2, 1, 0, 1, 0, 1, 0])  # one of a single patch

    def soft(values):
        return (values - 0.7).clamp_min(0)

    found = shrink_clusters(patches, labels, soft)
    for label in range(3):
        alone = shrink_slices(patches[labels == label], soft)
        torch.testing.assert_close(found[labels == label], alone, rtol=0, atol=1e-7)
    assert not bool(shrink_clusters(torch.zeros_like(patches), labels, soft).any())
