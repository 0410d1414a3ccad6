"""Quality index Q between bands, and its hypercomplex form Q2n between images, over blocks that cover the image.

The covariances of all pairs of bands are one matrix product per block, so that the 25,000 pairs of 224 bands are
computed exactly, without sampling.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperfuse.metrics.arrays import zero_filled

Floats = NDArray[np.float64]
Block = tuple[slice, slice]


def block_edges(length: int, size: int) -> NDArray[np.intp]:
    """Split ``length`` pixels into runs of at least ``size`` (one run where there are fewer); return the edges."""
    count = max(1, length // size)
    return np.rint(np.linspace(0, length, count + 1)).astype(np.intp)


def blocks(row_edges: Sequence[int] | NDArray[np.intp], col_edges: Sequence[int] | NDArray[np.intp]) -> list[Block]:
    """Return the blocks between the edges, row by row, as slices of rows and cols."""
    runs = [[slice(int(a), int(b)) for a, b in itertools.pairwise(e)] for e in (row_edges, col_edges)]
    return [(rows, cols) for rows in runs[0] for cols in runs[1]]


def _moments(
    image: NDArray[Any], grid: Sequence[Block], mask: NDArray[np.bool_] | None
) -> Iterator[tuple[Floats, Floats]]:
    """Yield for every block the bands' means (bands,) and the values less their means (bands, pixels)."""
    for block in grid:
        part_mask = None if mask is None else mask[block]
        values = zero_filled(image[(slice(None), *block)], part_mask)
        values = values.reshape(len(values), -1) if part_mask is None else values[:, part_mask]
        first = values[:, :1].copy()
        values = values - first  # a constant band is exactly zero now, not the rounding error of its mean
        shift = values.mean(axis=1, keepdims=True)
        values -= shift
        yield (first + shift)[:, 0], values


def pairwise_quality(
    image: NDArray[Any],
    other: NDArray[Any] | None,
    grid: Sequence[Block],
    mask: NDArray[np.bool_] | None = None,
) -> Floats:
    """Q of every band of ``image`` with every band of ``other`` (None: with its own), averaged over the blocks.

    Q is ``4 cov mx my / ((vx + vy) (mx^2 + my^2))`` (Wang and Bovik, "A universal image quality index", 2002, eq. 1);
    a factor of which both parts vanish (constant bands, or means of zero) is 1. Images are (bands, rows, cols), the
    mask (rows, cols) is True where a pixel is scored (None: everywhere), of which each block has one; the result is
    (bands, other bands), -1 to 1.
    """
    total = np.zeros((len(image), len(image if other is None else other)))
    parts = _moments(image, grid, mask)
    other_parts = None if other is None else _moments(other, grid, mask)
    for mean_x, x in parts:
        mean_y, y = (mean_x, x) if other_parts is None else next(other_parts)
        count = x.shape[1]
        covariances = x @ y.T / count
        variances_x, variances_y = (np.einsum("bp,bp->b", v, v) / count for v in (x, y))
        luminance = _ratio(2 * np.outer(mean_x, mean_y), np.add.outer(mean_x**2, mean_y**2))
        total += luminance * _ratio(2 * covariances, np.add.outer(variances_x, variances_y))
    return total / len(grid)


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    return np.divide(numerator, denominator, out=np.ones_like(denominator), where=denominator > 0)


def hypercomplex_quality(
    reference: NDArray[Any],
    image: NDArray[Any],
    grid: Sequence[Block],
    mask: NDArray[np.bool_] | None = None,
) -> float:
    """Q2n of two images of the same bands, averaged over the blocks; from 0, 1 is perfect.

    Each spectrum is one hypercomplex number of 2^n parts (bands filled up with zeros), so that spectral as well as
    radiometric distortion lowers the index: ``4 |cov| |mx| |my| / ((vx + vy) (|mx|^2 + |my|^2))`` with moduli, and
    ``cov = E[(x - mx) conj(y - my)]`` (Garzelli and Nencini, "Hypercomplex quality assessment of multi/hyperspectral
    images", 2009; Q4 for four bands: Alparone, Baronti, Garzelli and Nencini, 2004). Products follow the Cayley-Dickson
    rule (a, b)(c, d) = (ac - conj(d) b, da + b conj(c)); values are not normalised per block, as some code
    does. Up to 8 parts the index cannot pass 1; from 16 on moduli are not multiplicative. Arguments are those of
    :func:`pairwise_quality`.
    """
    bands = len(reference)
    signs, partners = _conjugate_products(max(0, bands - 1).bit_length())
    size = len(signs)
    total = 0.0
    pairs = zip(_moments(reference, grid, mask), _moments(image, grid, mask), strict=True)
    for (mean_x, x), (mean_y, y) in pairs:
        count = x.shape[1]
        products = np.zeros((size, size))
        products[:bands, :bands] = x @ y.T / count
        # Unit i times the conjugate of unit j falls on unit i ^ j: the covariance's parts are signed sums along those.
        parts = np.take_along_axis(signs * products, partners, axis=1).sum(axis=0)
        variances = float(np.vdot(x, x) + np.vdot(y, y)) / count
        squares = float(mean_x @ mean_x + mean_y @ mean_y)
        contrast = 2 * float(np.linalg.norm(parts)) / variances if variances > 0 else 1.0
        luminance = 2 * float(np.linalg.norm(mean_x) * np.linalg.norm(mean_y)) / squares if squares > 0 else 1.0
        total += luminance * contrast
    return total / len(grid)


@lru_cache(maxsize=4)
def _conjugate_products(doublings: int) -> tuple[Floats, NDArray[np.intp]]:
    """Signs of unit i times the conjugate of unit j in 2^doublings dimensions, and the j = i ^ k, each (i, j or k)."""
    signs = np.ones((1, 1))
    for _ in range(doublings):
        conjugate = np.where(np.arange(len(signs)) == 0, 1.0, -1.0)
        lower_left = conjugate * signs
        signs = np.block([[signs, signs.T], [lower_left, -conjugate * signs.T]])
    units = np.arange(len(signs))
    conjugate = np.where(units == 0, 1.0, -1.0)
    return signs * conjugate, units[:, None] ^ units[None, :]
