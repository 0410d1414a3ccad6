"""LTTR and LTMR written out: dense data steps, patches by loops, full decompositions, multipliers as in the papers.

Images are (rows, cols, channels), patches tensors in Fortran order, groups lists of the first pixels (row, col) of
their patches.
"""

import numpy as np

EPS = np.finfo(float).eps


def log_shrink(sigma, alpha):
    """The larger stationary point of ``(x - sigma)^2 / 2 + alpha log(x + eps)``, 0 without one."""
    c = (sigma - EPS) ** 2 - 4 * (alpha - EPS * sigma)
    return max(0.5 * (sigma - EPS + np.sqrt(c)), 0.0) if c > 0 else 0.0


def shrink_matrix(matrix, alpha):
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    return left @ np.diag([log_shrink(value, alpha) for value in values]) @ right


def data_step(channels, degrade, right):
    """Solve ``H X + X (BS)(BS)^T = G`` for images, with ``degrade`` (LR pixels, HR pixels) as ``(BS)^T``."""
    rows, cols, count = right.shape
    system = np.kron(channels, np.eye(rows * cols)) + np.kron(np.eye(count), degrade.T @ degrade)
    solution = np.linalg.solve(system, right.reshape(-1, count).T.ravel())
    return solution.reshape(count, -1).T.reshape(rows, cols, count)


def patchwise(image, groups, side, change):
    """Cut the patches of each group, change them as one tensor (side, side, channels, patches), average overlaps."""
    total, times = np.zeros_like(image), np.zeros(image.shape[:2])
    for group in groups:
        tensor = np.stack([image[y : y + side, x : x + side] for y, x in group], axis=-1)
        changed = change(tensor)
        for number, (y, x) in enumerate(group):
            total[y : y + side, x : x + side] += changed[..., number]
            times[y : y + side, x : x + side] += 1
    return total / times[..., None]


def unfolding_weights(shape):
    """``a_t = sqrt(b_t) / sum sqrt(b)``, ``b_t = min(prod_{j <= t} I_j, prod_{j > t} I_j)``."""
    roots = np.sqrt([min(np.prod(shape[:t]), np.prod(shape[t:])) for t in (1, 2, 3)])
    return roots / roots.sum()


def shrink_unfolding(tensor, t, alpha):
    unfolded = tensor.reshape(int(np.prod(tensor.shape[:t])), -1, order="F")
    return shrink_matrix(unfolded, alpha * unfolding_weights(tensor.shape)[t - 1]).reshape(tensor.shape, order="F")


def lttr(hsi, msi, response, degrade, start, groups, *, weight, penalty, iterations, side=8):
    """Fuse ``hsi`` (LR pixels, bands) and ``msi`` (rows, cols, msi_bands); ``start`` is the interpolated HSI."""
    mu, bands = penalty, start.shape[2]
    splits, multipliers = [start] * 3, [np.zeros_like(start) for _ in range(3)]
    channels = response.T @ response + 3 * mu * np.eye(bands)
    back_projected = (degrade.T @ hsi).reshape(start.shape)
    for _ in range(iterations):
        right = msi @ response + back_projected
        right = right + sum(mu * v + g / 2 for v, g in zip(splits, multipliers, strict=True))
        image = data_step(channels, degrade, right)
        for t in (1, 2, 3):
            at = image - multipliers[t - 1] / (2 * mu)
            splits[t - 1] = patchwise(
                at, groups, side, lambda tensor, t=t: shrink_unfolding(tensor, t, weight / (2 * mu))
            )
            multipliers[t - 1] = multipliers[t - 1] + 2 * mu * (splits[t - 1] - image)
    return image


def shrink_multirank(tensor, alpha):
    """Shrink the slices (patches, components) of the transform along all pixels of a patch, columns first."""
    side, _, components, count = tensor.shape
    pixels = tensor.reshape(side * side, components, count, order="F")
    fourier = np.exp(-2j * np.pi * np.outer(np.arange(side * side), np.arange(side * side)) / side**2)
    slices = np.tensordot(fourier, pixels, axes=1)
    slices = np.stack([shrink_matrix(one.T, alpha).T for one in slices])
    back = np.tensordot(fourier.conj().T / side**2, slices, axes=1)
    assert np.abs(back.imag).max() < 1e-10
    return back.real.reshape(tensor.shape, order="F")


def ltmr(hsi, msi, response, degrade, start, groups, *, basis, weight, penalty, iterations, side=7):
    """Fuse, as :func:`lttr`; ``basis`` (bands, components) are the leading left singular vectors of the HSI."""
    mu, reduced = penalty, response @ basis
    split = start @ basis
    multiplier = np.zeros_like(split)
    channels = reduced.T @ reduced + mu * np.eye(basis.shape[1])
    constant = msi @ reduced + (degrade.T @ (hsi @ basis)).reshape(split.shape)
    for _ in range(iterations):
        components = data_step(channels, degrade, constant + mu * split + multiplier / 2)
        at = components - multiplier / (2 * mu)
        split = patchwise(at, groups, side, lambda tensor: shrink_multirank(tensor, weight / (2 * mu)))
        multiplier = multiplier + 2 * mu * (split - components)
    return components @ basis.T
