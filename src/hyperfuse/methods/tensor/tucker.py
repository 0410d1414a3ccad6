"""Images as a core tensor times a dictionary for each axis, fitted to an image of few pixels and one of few bands.

An image (bands, H, W) is ``C x1 U1 x2 U2 x3 U3``: the core (n3, n1, n2) is multiplied along its rows by ``U1`` (H, n1),
along its columns by ``U2`` (W, n2) and along its bands by ``U3`` (bands, n3). The HSI is the image with ``P1 U1`` and
``P2 U2`` in place of ``U1`` and ``U2``, the MSI that with ``R U3`` in place of ``U3``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch


class Dictionaries(NamedTuple):
    """Of an image's rows (H, n1), columns (W, n2) and bands (bands, n3)."""

    rows: torch.Tensor
    cols: torch.Tensor
    bands: torch.Tensor

    def image(self, core: torch.Tensor) -> torch.Tensor:
        """Return the image (bands, H, W) of a core (n3, n1, n2)."""
        return mix(self.bands, self.rows @ core @ self.cols.T)

    def coefficients(self, image: torch.Tensor) -> torch.Tensor:
        """Return the adjoint of :meth:`image`, (n3, n1, n2)."""
        return self.rows.T @ mix(self.bands.T, image) @ self.cols

    def flipped(self) -> Dictionaries:
        """Return those of the transposed image."""
        return Dictionaries(self.cols, self.rows, self.bands)


def mix(matrix: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """Multiply the bands of an image by a matrix: (n, bands) times (bands, H, W)."""
    return (matrix @ image.flatten(1)).reshape(-1, *image.shape[1:])


class DictionaryEquations(NamedTuple):
    """Of one dictionary ``U`` in ``|y - U A|^2``: ``A A^T`` (n, n), and ``y A^T`` (lines, n)."""

    gram: torch.Tensor
    cross: torch.Tensor


def row_equations(image: torch.Tensor, core: torch.Tensor, used: Dictionaries) -> DictionaryEquations:
    """Return the normal equations of the dictionary of the rows of an image.

    Args:
        image: (bands, H, W).
        core: (n3, n1, n2).
        used: all dictionaries; that of the rows is not used.
    """
    factor = core @ used.cols.T
    weighted = mix(used.bands.T @ used.bands, factor)
    projected = mix(used.bands.T, image)
    flat = _lines(factor)
    return DictionaryEquations(flat @ _lines(weighted).T, _lines(projected) @ flat.T)


def band_equations(image: torch.Tensor, core: torch.Tensor, used: Dictionaries) -> DictionaryEquations:
    """Return the normal equations of the dictionary of the bands; arguments as of :func:`row_equations`."""
    factor = (used.rows @ core @ used.cols.T).flatten(1)
    return DictionaryEquations(factor @ factor.T, image.flatten(1) @ factor.T)


def solve_dictionary(
    degraded: DictionaryEquations,
    operator: torch.Tensor,
    whole: DictionaryEquations,
    previous: torch.Tensor,
    proximity: float,
) -> torch.Tensor:
    """Return ``U`` that minimises ``|y - P U A|^2 + |z - U E|^2 + proximity |U - previous|^2``, exactly.

    ``P^T P U A A^T + U (E E^T + proximity) = P^T y A^T + z E^T + proximity previous`` is diagonal in the eigenvectors
    of ``P^T P`` and, relative to ``M = E E^T + proximity``, of ``M^-1/2 A A^T M^-1/2``.

    Args:
        degraded: of ``A`` and ``y``, which sees the dictionary through ``P``.
        operator: ``P``, (lines of y, lines of U).
        whole: of ``E`` and ``z``.
        previous: (lines, n).
        proximity: above 0.
    """
    right = operator.T @ degraded.cross + whole.cross + proximity * previous
    values, vectors = torch.linalg.eigh(whole.gram)
    # Rounding of the smallest ones must not reach the proximity.
    root = vectors * (values.clamp_min(0) + proximity).rsqrt()
    coupled, rotation = torch.linalg.eigh(root.T @ degraded.gram @ root)
    gains, axes = torch.linalg.eigh(operator.T @ operator)
    basis = root @ rotation
    solved = (axes.T @ right @ basis) / (1 + gains.clamp_min(0)[:, None] * coupled.clamp_min(0))
    result: torch.Tensor = axes @ solved @ basis.T
    return result


class _Ridge:
    """``(D^T D + weight)^-1`` for the dictionaries ``D`` of an image, by the eigenvectors of their Gram matrices."""

    def __init__(self, used: Dictionaries, weight: float) -> None:
        found = [torch.linalg.eigh(one.T @ one) for one in used]
        rows, cols, bands = (values.clamp_min(0) for values, _ in found)
        self._axes = Dictionaries(*(vectors for _, vectors in found))
        self._inverse = 1 / (bands[:, None, None] * rows[:, None] * cols + weight)

    def solve(self, right: torch.Tensor) -> torch.Tensor:
        return self._axes.image(self._axes.coefficients(right).mul_(self._inverse))


class CorePenalty(NamedTuple):
    """Weights of a core: of its absolute values, of its distance from the previous one, and of the splitting."""

    sparsity: float
    proximity: float
    splitting: float


def sparse_core(
    observed: tuple[torch.Tensor, torch.Tensor],
    used: tuple[Dictionaries, Dictionaries],
    previous: torch.Tensor,
    start: torch.Tensor,
    penalty: CorePenalty,
    iterations: Iterable[int],
) -> tuple[torch.Tensor, float]:
    """Return the core that minimises the misfits of two images, its absolute values and its distance from another.

    ADMM with a copy of the core for either image, whose ridge problems are solved exactly.

    Args:
        observed: images that the core with the dictionaries ``used`` should give.
        used: as many.
        previous: (n3, n1, n2).
        start: of the iterations.
        penalty: its weights.
        iterations: are made until they end.

    Returns:
        The core, and the largest difference of a copy from it, relative to its norm.
    """
    sparsity, proximity, splitting = penalty
    projected = [one.coefficients(image) for one, image in zip(used, observed, strict=True)]
    ridges = [_Ridge(one, splitting) for one in used]
    core = start
    duals = [torch.zeros_like(previous) for _ in used]
    total = 2 * splitting + proximity
    copies: list[torch.Tensor] = []
    for _ in iterations:
        copies = [
            ridge.solve(torch.add(right, core - dual, alpha=splitting))
            for ridge, right, dual in zip(ridges, projected, duals, strict=True)
        ]
        mean = sum((copy + dual for copy, dual in zip(copies, duals, strict=True)), torch.zeros_like(core))
        core = soft((splitting * mean + proximity * previous) / total, sparsity / (2 * total))
        for dual, copy in zip(duals, copies, strict=True):
            dual += copy - core
    size = torch.linalg.vector_norm(core).clamp_min(torch.finfo(core.dtype).tiny)
    return core, max((float(torch.linalg.vector_norm(copy - core) / size) for copy in copies), default=0.0)


def soft(values: torch.Tensor, threshold: float) -> torch.Tensor:
    """Move values towards 0 by a threshold, no farther than to 0."""
    return values.sign() * (values.abs() - threshold).clamp_min(0)


def _lines(image: torch.Tensor) -> torch.Tensor:
    """Return (bands, H, W) with a row for each line, (H, bands * W)."""
    return image.permute(1, 0, 2).flatten(1)
