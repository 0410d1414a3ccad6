"""Endmembers of a hyperspectral image: how many there are, and which pixels are the purest (VCA)."""

from __future__ import annotations

import math

import torch

from hyperfuse.errors import InputError

# Pixels converted to float64 at a time when second moments are summed.
_BLOCK_PIXELS = 16384

# Bands that predict a band when its noise is estimated, at most: the most correlated ones carry nearly all that can be
# predicted, and more of them would need more pixels than small images have.
_PREDICTORS = 16

# Rounding steps of the image's dtype below which a difference is no difference.
_ROUNDING_STEPS = 8.0


def count_endmembers(pixels: torch.Tensor, maximum: int) -> int:
    """Return how many components of the spectra exceed the noise: the number of endmembers worth unmixing.

    The noise of every band is what its most correlated bands (16 at most) do not predict by least squares,
    the estimate of Roger and Arnold (1996) on which HySime rests (Bioucas-Dias and Nascimento, IEEE TGRS 46(8),
    2008). With each band divided by its noise, the eigenvalues of ``b`` bands of pure noise over ``n`` pixels stay
    below ``(1 + sqrt(b / n))^2`` (Marchenko and Pastur, 1967); those above count.

    Args:
        pixels: spectra (bands, pixels), float32 or float64, finite.
        maximum: largest number returned.

    Returns:
        Between 1 and the minimum of ``maximum``, the bands and the pixels.

    Raises:
        InputError: ``maximum`` below 1, or another shape.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> spectra, abundances = torch.rand(50, 4, generator=generator), torch.rand(4, 500, generator=generator)
        >>> noise = 0.01 * torch.randn(50, 500, generator=generator)
        >>> count_endmembers(spectra @ abundances + noise, maximum=40)
        4
    """
    _check(pixels, maximum)
    bands, count = pixels.shape
    moments = _second_moments(pixels)
    gain = _unpredicted(moments, count, pixels.dtype).rsqrt()
    whitened = gain[:, None] * moments * gain
    edge = (1.0 + math.sqrt(bands / count)) ** 2
    found = int((torch.linalg.eigvalsh(whitened) > edge).sum())
    return max(1, min(found, maximum, bands, count))


def vertex_component_analysis(pixels: torch.Tensor, count: int, *, seed: int = 0) -> torch.Tensor:
    """Return the columns of ``pixels`` that are the vertices of the simplex of spectra: the purest ones.

    Vertex component analysis (Nascimento and Bioucas-Dias, IEEE TGRS 43(4), 2005, doi 10.1109/TGRS.2005.844293):
    spectra are reduced to ``count`` dimensions, by projective projection on their signal subspace where the
    signal-to-noise ratio is above ``15 + 10 log10(count)`` dB and by principal components with a constant appended
    where it is not; then, time after time, the pixel that reaches farthest along a random direction orthogonal to
    the pixels found so far is the next one.

    Args:
        pixels: spectra (bands, pixels), float32 or float64, finite.
        count: number of endmembers, 1 or more.
        seed: of the random directions; the same seed gives the same pixels.

    Returns:
        Indices (found,), int64 on the device of ``pixels``, in the order found, none twice. Fewer than ``count``
        where the spectra span fewer dimensions: one for a constant image.

    Raises:
        InputError: ``count`` below 1, or another shape.

    Example:
        >>> pure = torch.eye(3, dtype=torch.float64)
        >>> mixed = torch.full((3, 5), 1 / 3, dtype=torch.float64)
        >>> sorted(vertex_component_analysis(torch.cat([mixed, pure], dim=1), 3).tolist())
        [5, 6, 7]
    """
    _check(pixels, count)
    count = min(count, *pixels.shape)
    reduced = _reduce(pixels, count)
    size = float(torch.linalg.vector_norm(reduced, dim=0).max())
    generator = torch.Generator().manual_seed(seed)
    # The last axis of the reduced space plays the part of a first vertex and is forgotten after the first real one.
    basis = torch.zeros(count, 0, dtype=reduced.dtype, device=reduced.device)
    outside = torch.eye(count, dtype=reduced.dtype, device=reduced.device)[:, -1:] if count > 1 else basis
    found: list[int] = []
    for _ in range(count):
        draw = torch.randn(count, 1, generator=generator, dtype=torch.float64).to(reduced)
        direction = _orthogonal(draw, outside if not found else basis)
        reach = (direction.T @ reduced)[0].abs()
        farthest = int(reach.argmax())
        if not float(reach[farthest]) > 16 * _ROUNDING_STEPS * torch.finfo(reduced.dtype).eps * size:
            break
        found.append(farthest)
        vertex = _orthogonal(reduced[:, farthest : farthest + 1], basis)
        basis = torch.cat([basis, vertex], dim=1)
    return torch.tensor(found or [0], device=pixels.device)


def _check(pixels: torch.Tensor, count: int) -> None:
    if pixels.ndim != 2 or 0 in pixels.shape:
        raise InputError(f"endmembers are searched in spectra (bands, pixels), got the shape {tuple(pixels.shape)}")
    if count < 1:
        raise InputError(f"the number of endmembers is 1 or more, got {count}")


def _second_moments(pixels: torch.Tensor) -> torch.Tensor:
    """Mean of ``x x'``, float64 on the CPU: in float32 its rounding would hide what a clean image holds."""
    moments = torch.zeros(pixels.shape[0], pixels.shape[0], dtype=torch.float64)
    for first in range(0, pixels.shape[1], _BLOCK_PIXELS):
        exact = pixels[:, first : first + _BLOCK_PIXELS].cpu().double()
        moments += exact @ exact.T
    return moments / pixels.shape[1]


def _unpredicted(moments: torch.Tensor, count: int, dtype: torch.dtype) -> torch.Tensor:
    """Variance of every band that its most correlated bands leave unexplained; rounding of the image at least."""
    bands = moments.shape[0]
    energy = moments.diagonal()
    floor = (_ROUNDING_STEPS * torch.finfo(dtype).eps) ** 2 * energy.clamp_min(float(energy.mean()))
    floor = floor.clamp_min(torch.finfo(torch.float64).tiny)
    used = min(bands - 1, count // 4, _PREDICTORS)
    if used < 1:
        return floor
    similarity = moments.square() / torch.outer(energy, energy).clamp_min(torch.finfo(torch.float64).tiny)
    similarity.fill_diagonal_(-1.0)
    nearest = similarity.topk(used, dim=1).indices
    among = moments[nearest[:, :, None], nearest[:, None, :]]
    # Weight is divided among bands that are copies of each other.
    among.diagonal(dim1=1, dim2=2).add_(1e-10 * among.diagonal(dim1=1, dim2=2).mean(1, keepdim=True) + floor[:, None])
    cross = moments[torch.arange(bands)[:, None], nearest]
    explained = (cross * torch.linalg.solve(among, cross)).sum(1)
    return torch.maximum((energy - explained) * count / (count - used), floor)


def _reduce(pixels: torch.Tensor, count: int) -> torch.Tensor:
    """Return the spectra in ``count`` dimensions (count, pixels), as VCA reduces them."""
    bands, number = pixels.shape
    moments = _second_moments(pixels)
    mean = pixels.mean(1, keepdim=True)
    centre = mean.cpu().double()
    covariance = moments - centre @ centre.T
    main = torch.linalg.eigh(covariance).eigenvectors.flip(1)[:, :count]
    power = float(moments.diagonal().sum())
    retained = float((main * (covariance @ main)).sum() + centre.square().sum())
    signal, noise = retained - count / bands * power, power - retained
    if count > 1 and signal < noise * 10**1.5 * count:
        scores = main[:, : count - 1].to(pixels).T @ (pixels - mean)
        radius = torch.linalg.vector_norm(scores, dim=0).max()
        return torch.cat([scores, radius.expand(1, number)])
    subspace = torch.linalg.eigh(moments).eigenvectors.flip(1)[:, :count]
    scores = subspace.to(pixels).T @ pixels
    along = (scores.mean(1, keepdim=True) * scores).sum(0)
    # A pixel of no light, or one across the mean spectrum, has no position on the plane that the others are scaled to.
    usable = along > torch.finfo(along.dtype).eps * along.abs().max()
    return torch.where(usable, scores / torch.where(usable, along, 1.0), 0.0)


def _orthogonal(vector: torch.Tensor, basis: torch.Tensor) -> torch.Tensor:
    """Return the unit vector of what ``vector`` (k, 1) has outside the orthonormal ``basis`` (k, j)."""
    for _ in range(2):  # once more for the rounding of the first time
        vector = vector - basis @ (basis.T @ vector)
    size: torch.Tensor = torch.linalg.vector_norm(vector)
    return vector / size.clamp_min(torch.finfo(vector.dtype).tiny)
