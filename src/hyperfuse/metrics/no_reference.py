"""Metrics of a fused image without a reference: D_lambda, D_s, QNR, and by the sensor's blur Khan's D_lambda and HQNR.

All compare relations that should not change with resolution: the LR-HSI has them at the low one, the fused image at the
high one. Q is taken over blocks of at least 8x8 LR pixels, which cover the whole image, and over the same ground in the
HR images (32x32 pixels at ratio 4, as in the papers). A low distortion says that the fused image agrees with its two
inputs, not that it is right.

``mask`` (HR) and ``hsi_mask`` (LR) are True where a pixel is scored. The ground of an LR pixel that either leaves out,
wholly or in part, is left out at both resolutions, and blocks of which less than half is left do not count.

``degrade`` maps an array (bands, HR rows, HR cols) of any number of bands onto the grid of the LR-HSI, as an array or a
tensor; of a :class:`hyperfuse.Sensor` it is ``sensor.degrade``.
"""

from __future__ import annotations

from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from hyperfuse.calls import checked
from hyperfuse.errors import InputError
from hyperfuse.metrics.arrays import as_bands, as_image, scored_pixels, usable_bands, varying_bands
from hyperfuse.metrics.block_quality import block_edges, blocks, hypercomplex_quality, pairwise_quality
from hyperfuse.metrics.ground import Degrade, Ground, checked_msi, common_ground, degraded, scored_blocks

_NO_REFERENCE = (
    "Q over blocks of at least 8x8 LR pixels and the same ground in HR; D_lambda over all pairs of bands; D_s over all "
    "pairs of a band and an MSI band, the MSI degraded by the sensor; Khan's D_lambda 1 - Q2n over blocks of at least "
    "32x32 LR pixels; all exponents 1"
)
_HYPERCOMPLEX_BLOCK = 32  # LR pixels; moments in 2^n dimensions need more of them than 8x8


@checked
def d_lambda(hsi: Any, fused: Any, *, mask: Any = None, hsi_mask: Any = None) -> float:
    """Spectral distortion D_lambda: how much the relations between the bands changed; 0 is perfect, at most 2.

    ``mean over pairs of bands i != j of |Q(fused_i, fused_j) - Q(hsi_i, hsi_j)|`` (Alparone, Aiazzi, Baronti, Garzelli,
    Nencini and Selva, "Multispectral and panchromatic data fusion assessment without reference", 2008, exponent p = 1).
    All pairs are computed, however many bands there are. 0 for a single band.

    Args:
        hsi: the LR-HSI, (bands, rows, cols).
        fused: the fused image, (bands, HR rows, HR cols).
        mask: bool (HR rows, HR cols), True = scored.
        hsi_mask: bool (rows, cols), True = scored.

    Raises:
        InputError: other numbers of bands, a fused image smaller than the LR-HSI, non-finite values in scored pixels,
            or masks that leave no block.

    Example:
        >>> import numpy as np
        >>> hsi = np.random.default_rng(0).random((3, 8, 8))
        >>> d_lambda(hsi, hsi.repeat(4, axis=1).repeat(4, axis=2)) < 1e-12
        True
    """
    return _d_lambda(common_ground(hsi, fused, mask, hsi_mask))


def _d_lambda(ground: Ground) -> float:
    bands = len(ground.low)
    if bands == 1:
        return 0.0
    before = pairwise_quality(ground.low, None, ground.low_blocks, ground.low_mask)
    after = pairwise_quality(ground.high, None, ground.high_blocks, ground.high_mask)
    # The diagonals are 1 in both and add nothing.
    return float(np.abs(after - before).sum() / (bands * (bands - 1)))


@checked
def d_s(hsi: Any, msi: Any, fused: Any, degrade: Degrade, *, mask: Any = None, hsi_mask: Any = None) -> float:
    """Spatial distortion D_s: how much the bands' relations to the MSI changed; 0 is perfect, at most 2.

    ``mean over bands i and MSI bands k of |Q(fused_i, msi_k) - Q(hsi_i, degrade(msi)_k)|``. With one MSI band this is
    D_s of Alparone et al., "Multispectral and panchromatic data fusion assessment without reference", 2008, exponent
    q = 1. That paper knows one panchromatic band only, and we found no extension that the literature on hyperspectral
    and multispectral fusion agrees on: here every MSI band has the same weight, while some codes average the MSI to
    one band first and get other numbers. Compare values of one definition only.

    Args:
        hsi: the LR-HSI, (bands, rows, cols).
        msi: the HR-MSI, (MSI bands, HR rows, HR cols).
        fused: the fused image, (bands, HR rows, HR cols).
        degrade: blur and decimation of the LR-HSI's sensor, applied to the MSI.
        mask: bool (HR rows, HR cols), True = scored.
        hsi_mask: bool (rows, cols), True = scored.

    Raises:
        InputError: shapes that do not agree, non-finite values in scored pixels, or masks that leave no block.

    Example:
        >>> import numpy as np
        >>> truth = np.random.default_rng(0).random((3, 8, 8)).repeat(4, axis=1).repeat(4, axis=2)
        >>> d_s(truth[:, ::4, ::4], truth[:1], truth, lambda image: image[:, ::4, ::4]) < 1e-12
        True
    """
    ground = common_ground(hsi, fused, mask, hsi_mask)
    return _d_s(ground, checked_msi(msi, ground), degrade)


def _d_s(ground: Ground, msi: NDArray[Any], degrade: Degrade) -> float:
    low_msi, scored = degraded(msi, degrade, ground)
    index = scored_blocks(ground.low_blocks, scored)
    before = pairwise_quality(ground.low, low_msi, [ground.low_blocks[i] for i in index], scored)
    after = pairwise_quality(ground.high, msi, [ground.high_blocks[i] for i in index], ground.high_mask)
    return float(np.abs(after - before).mean())


@checked
def d_lambda_khan(hsi: Any, fused: Any, degrade: Degrade, *, mask: Any = None, hsi_mask: Any = None) -> float:
    """Khan's spectral distortion: how far the fused image, degraded again, is from the LR-HSI; 0 is perfect.

    ``1 - Q2n(hsi, degrade(fused))`` over blocks of at least 32x32 LR pixels (Khan, Alparone and Chanussot,
    "Pansharpening quality assessment using the modulation transfer functions of instruments", 2009, with the
    hypercomplex Q2n of Garzelli and Nencini, 2009, in place of Q4). ``degrade`` should be the sensor's own MTF.

    Args:
        hsi: the LR-HSI, (bands, rows, cols).
        fused: the fused image, (bands, HR rows, HR cols).
        degrade: blur and decimation of the LR-HSI's sensor.
        mask: bool (HR rows, HR cols), True = scored.
        hsi_mask: bool (rows, cols), True = scored.

    Raises:
        InputError: shapes that do not agree, non-finite values in scored pixels, or masks that leave no block.

    Example:
        >>> import numpy as np
        >>> truth = np.random.default_rng(0).random((3, 32, 32))
        >>> abs(d_lambda_khan(truth[:, ::4, ::4], truth, lambda image: image[:, ::4, ::4])) < 1e-12
        True
    """
    return _d_lambda_khan(common_ground(hsi, fused, mask, hsi_mask), degrade)


def _d_lambda_khan(ground: Ground, degrade: Degrade) -> float:
    low_fused, scored = degraded(ground.high, degrade, ground)
    grid = blocks(*(block_edges(length, _HYPERCOMPLEX_BLOCK) for length in ground.low.shape[1:]))
    return 1.0 - hypercomplex_quality(ground.low, low_fused, [grid[i] for i in scored_blocks(grid, scored)], scored)


@checked
def qnr(hsi: Any, msi: Any, fused: Any, degrade: Degrade, *, mask: Any = None, hsi_mask: Any = None) -> float:
    """Quality with no reference (QNR): ``(1 - D_lambda) (1 - D_s)``; 1 is perfect.

    Alparone et al., 2008, exponents 1. Arguments and errors are those of :func:`d_s`; see also :func:`d_lambda`.
    """
    ground = common_ground(hsi, fused, mask, hsi_mask)
    return (1 - _d_lambda(ground)) * (1 - _d_s(ground, checked_msi(msi, ground), degrade))


@checked
def hqnr(hsi: Any, msi: Any, fused: Any, degrade: Degrade, *, mask: Any = None, hsi_mask: Any = None) -> float:
    """Hybrid quality with no reference (HQNR): ``(1 - Khan's D_lambda) (1 - D_s)``; 1 is perfect.

    Aiazzi, Alparone, Baronti, Garzelli and Santurri, "Full scale assessment of pansharpening methods and data
    products", 2014. Arguments and errors are those of :func:`d_s`; see also :func:`d_lambda_khan`.
    """
    ground = common_ground(hsi, fused, mask, hsi_mask)
    return (1 - _d_lambda_khan(ground, degrade)) * (1 - _d_s(ground, checked_msi(msi, ground), degrade))


class NoReferenceScores(TypedDict):
    """The scores of :func:`evaluate_without_reference`."""

    d_lambda: float
    d_s: float
    qnr: float
    d_lambda_khan: float
    hqnr: float
    bands_used: int
    bands_left_out: int
    convention: str


@checked
def evaluate_without_reference(
    hsi: Any, msi: Any, fused: Any, degrade: Degrade, *, mask: Any = None, hsi_mask: Any = None
) -> NoReferenceScores:
    """Score a fused image against its two inputs, where there is no reference, with bad bands and gaps left out.

    Left out, and counted, are bands that are marked bad or wholly empty in the LR-HSI or the fused image, bands in
    which the LR-HSI is constant, and pixels outside the masks or with a gap in any other band of a cube. Bad and empty
    MSI bands are left out as well.

    Args:
        hsi: the LR-HSI: Cube, file, array, torch tensor or ``DataArray``, (bands, rows, cols).
        msi: the HR-MSI, likewise, (MSI bands, HR rows, HR cols).
        fused: the fused image, likewise, (bands, HR rows, HR cols).
        degrade: blur and decimation of the LR-HSI's sensor, for any number of bands.
        mask: bool (HR rows, HR cols), True = scored.
        hsi_mask: bool (rows, cols), True = scored.

    Returns:
        ``d_lambda``, ``d_s``, ``qnr``, ``d_lambda_khan``, ``hqnr``; ``bands_used``, ``bands_left_out``,
        ``convention`` (text).

    Raises:
        InputError: shapes that do not agree, non-finite values outside gaps and masks, or no band or block left.

    Example:
        >>> import numpy as np
        >>> truth = np.random.default_rng(0).random((3, 16, 16)).repeat(4, axis=1).repeat(4, axis=2)
        >>> scores = evaluate_without_reference(truth[:, ::4, ::4], truth[:2], truth, lambda image: image[:, ::4, ::4])
        >>> round(scores["qnr"], 6), round(scores["hqnr"], 6), scores["bands_used"]
        (1.0, 1.0, 3)
    """
    hsi, msi, fused = as_image(hsi, "hsi"), as_image(msi, "msi"), as_image(fused, "fused")
    low, high, fine = (as_bands(*pair) for pair in ((hsi, "the HSI"), (fused, "the fused image"), (msi, "the MSI")))
    if len(low) != len(high):
        raise InputError(f"the HSI has {len(low)} bands and the fused image {len(high)}; they must be the same bands")
    if high.shape[1:] != fine.shape[1:]:
        raise InputError(f"the MSI has the shape {fine.shape}, the fused image {high.shape}; rows and cols must agree")
    used, msi_used = usable_bands([hsi, fused], len(low)), usable_bands([msi], len(fine))
    scored = scored_pixels([(fused, used), (msi, msi_used)], mask, high.shape[1:])
    low_scored = scored_pixels([(hsi, used)], hsi_mask, low.shape[1:], "hsi_mask")
    used &= varying_bands(low, low_scored)
    if not used.any():
        raise InputError("no band can be scored: the HSI is constant in every usable one")
    if not used.all():
        low, high = low[used], high[used]
    if not msi_used.all():
        fine = fine[msi_used]
    ground = common_ground(low, high, scored, low_scored)
    spectral, spatial = _d_lambda(ground), _d_s(ground, checked_msi(fine, ground), degrade)
    khan = _d_lambda_khan(ground, degrade)
    return NoReferenceScores(
        d_lambda=spectral,
        d_s=spatial,
        qnr=(1 - spectral) * (1 - spatial),
        d_lambda_khan=khan,
        hqnr=(1 - khan) * (1 - spatial),
        bands_used=len(low),
        bands_left_out=len(used) - len(low),
        convention=_NO_REFERENCE,
    )
