"""The updates of a sparse Tucker factorisation against dense normal equations and the literal iteration."""

import numpy as np
import pytest
import torch

from hyperfuse.methods.tensor.tucker import (
    CorePenalty,
    Dictionaries,
    band_equations,
    row_equations,
    solve_dictionary,
    sparse_core,
)

# rows, columns, bands of the image and of the core; of the HSI and of the MSI.
FINE, COARSE, ATOMS, BANDS, MSI_BANDS = (9, 8), (3, 4), (5, 4, 3), 6, 2


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def problem():
    used = Dictionaries(random(FINE[0], ATOMS[0]), random(FINE[1], ATOMS[1], seed=1), random(BANDS, ATOMS[2], seed=2))
    operators = random(COARSE[0], FINE[0], seed=3), random(COARSE[1], FINE[1], seed=4), random(MSI_BANDS, BANDS, seed=5)
    core = random(ATOMS[2], *ATOMS[:2], seed=6)
    hsi, msi = random(BANDS, *COARSE, seed=7), random(MSI_BANDS, *FINE, seed=8)
    return used, operators, core, hsi, msi


def degraded(used, operators):
    return Dictionaries(operators[0] @ used.rows, operators[1] @ used.cols, used.bands)


def responding(used, operators):
    return used._replace(bands=operators[2] @ used.bands)


def literal(core, used):
    """The image by its definition."""
    return torch.einsum("cab,ra,sb,lc->lrs", core, used.rows, used.cols, used.bands)


def test_image_and_adjoint(problem):
    used, _, core, _, _ = problem
    image = used.image(core)
    torch.testing.assert_close(image, literal(core, used))
    other = random(*image.shape, seed=9)
    assert float((image * other).sum()) == pytest.approx(float((core * used.coefficients(other)).sum()), rel=1e-12)


def least_squares(parts, size):
    """Solve sum |y - f(u)|^2 for u, each f linear: by its columns."""
    columns = torch.eye(size, dtype=torch.float64)
    matrix = torch.cat([torch.stack([function(one).flatten() for one in columns], dim=1) for _, function in parts])
    target = torch.cat([value.flatten() for value, _ in parts])
    return torch.linalg.lstsq(matrix, target[:, None]).solution[:, 0]


@pytest.mark.parametrize("which", ["rows", "cols", "bands"])
def test_a_dictionary_minimises_the_objective(problem, which):
    used, operators, core, hsi, msi = problem
    proximity, previous = 0.3, getattr(used, which)

    def replaced(flat):
        return used._replace(**{which: flat.reshape(previous.shape)})

    expected = least_squares(
        [
            (hsi, lambda flat: literal(core, degraded(replaced(flat), operators))),
            (msi, lambda flat: literal(core, responding(replaced(flat), operators))),
            (previous * proximity**0.5, lambda flat: flat * proximity**0.5),
        ],
        previous.numel(),
    ).reshape(previous.shape)
    low, high = degraded(used, operators), responding(used, operators)
    if which == "rows":
        equations, operator = (row_equations(hsi, core, low), row_equations(msi, core, high)), operators[0]
    elif which == "cols":
        equations = tuple(
            row_equations(image.transpose(1, 2), core.transpose(1, 2), one.flipped())
            for image, one in ((hsi, low), (msi, high))
        )
        operator = operators[1]
    else:
        equations, operator = (band_equations(msi, core, used), band_equations(hsi, core, low)), operators[2]
    found = solve_dictionary(equations[0], operator, equations[1], previous, proximity)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("warm", [True, False])
def test_the_core_is_that_of_the_literal_iteration(problem, warm):
    """ADMM written out with Kronecker products."""
    used, operators, previous, hsi, msi = problem
    sparsity, proximity, splitting = 2.0, 0.2, 0.7
    pair = degraded(used, operators), responding(used, operators)
    designs = [np.kron(one.bands.numpy(), np.kron(one.rows.numpy(), one.cols.numpy())) for one in pair]
    targets = [one.flatten().numpy() for one in (hsi, msi)]
    start = previous if warm else torch.zeros_like(previous)
    core = start.flatten().numpy()
    duals = [np.zeros_like(core), np.zeros_like(core)]
    for _ in range(7):
        copies = [
            np.linalg.solve(d.T @ d + splitting * np.eye(core.size), d.T @ t + splitting * (core - v))
            for d, t, v in zip(designs, targets, duals, strict=True)
        ]
        mean = splitting * (copies[0] + duals[0] + copies[1] + duals[1]) + proximity * previous.flatten().numpy()
        mean /= 2 * splitting + proximity
        core = np.sign(mean) * np.maximum(np.abs(mean) - sparsity / (4 * splitting + 2 * proximity), 0)
        duals = [v + c - core for v, c in zip(duals, copies, strict=True)]
    found, residual = sparse_core(
        (hsi, msi), pair, previous, start, CorePenalty(sparsity, proximity, splitting), iter(range(7))
    )
    np.testing.assert_allclose(found.flatten().numpy(), core, rtol=0, atol=1e-10)
    assert 0 < int((found == 0).sum()) < found.numel()
    assert residual == pytest.approx(max(np.linalg.norm(one - core) for one in copies) / np.linalg.norm(core))


def test_the_core_converges_to_the_minimum(problem):
    """Its optimality conditions: the gradient of the squares balances the subgradient of the absolute values."""
    used, operators, previous, hsi, msi = problem
    sparsity, proximity = 2.0, 0.2
    pair = degraded(used, operators), responding(used, operators)
    core, residual = sparse_core(
        (hsi, msi), pair, previous, previous, CorePenalty(sparsity, proximity, 3.0), iter(range(30_000))
    )
    assert residual < 1e-5
    slope = 2 * proximity * (core - previous)
    for image, one in zip((hsi, msi), pair, strict=True):
        slope += 2 * one.coefficients(one.image(core) - image)
    active = core != 0
    torch.testing.assert_close(slope[active], -sparsity * core[active].sign(), rtol=0, atol=5e-3)
    assert float(slope[~active].abs().max()) <= sparsity + 5e-3
