"""D_lambda, D_s, QNR, Khan's D_lambda and HQNR against literal loops over bands, blocks and hypercomplex products."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperfuse.errors import InputError
from hyperfuse.metrics import d_lambda, d_lambda_khan, d_s, evaluate_without_reference, hqnr, qnr
from hyperfuse.metrics.block_quality import block_edges, blocks, hypercomplex_quality, pairwise_quality


def cells(image, ratio=4):
    """Mean of ratio x ratio pixels."""
    bands, rows, cols = image.shape
    return image.reshape(bands, rows // ratio, ratio, cols // ratio, ratio).mean(axis=(2, 4))


def scene(bands=5, msi_bands=2, rows=16, cols=24, ratio=4, seed=0):
    rng = np.random.default_rng(seed)
    abundances = rng.random((3, rows * ratio, cols * ratio)) ** 2
    truth = np.tensordot(rng.random((bands, 3)), abundances, 1) + 0.1
    fused = truth + rng.normal(0, 0.05, truth.shape)
    msi = np.tensordot(rng.dirichlet(np.ones(bands), msi_bands), truth, 1)
    return cells(truth, ratio), msi, fused


def quality(x, y):
    x, y = x.ravel(), y.ravel()
    (vx, cov), (_, vy) = np.cov(x, y)
    return 4 * cov * x.mean() * y.mean() / ((vx + vy) * (x.mean() ** 2 + y.mean() ** 2))


def block_mean(x, y, size):
    """Mean of Q over the blocks of size x size, of which the image holds a whole number."""
    rows, cols = x.shape
    return np.mean(
        [
            quality(x[i : i + size, j : j + size], y[i : i + size, j : j + size])
            for i in range(0, rows, size)
            for j in range(0, cols, size)
        ]
    )


def literal_d_lambda(hsi, fused, ratio=4):
    pairs = [(i, j) for i in range(len(hsi)) for j in range(len(hsi)) if i != j]
    return np.mean([abs(block_mean(fused[i], fused[j], 8 * ratio) - block_mean(hsi[i], hsi[j], 8)) for i, j in pairs])


def literal_d_s(hsi, msi, fused, ratio=4):
    low = cells(msi, ratio)
    return np.mean(
        [
            abs(block_mean(fused[i], msi[k], 8 * ratio) - block_mean(hsi[i], low[k], 8))
            for i in range(len(hsi))
            for k in range(len(msi))
        ]
    )


# Quaternions, and any Cayley-Dickson algebra, as they are defined


def hamilton(p, q):
    a, b, c, d = p
    e, f, g, h = q
    return np.array(
        [
            a * e - b * f - c * g - d * h,
            a * f + b * e + c * h - d * g,
            a * g - b * h + c * e + d * f,
            a * h + b * g - c * f + d * e,
        ]
    )


def conjugate(p):
    return np.concatenate([p[:1], -p[1:]])


def cayley_dickson(p, q):
    half = len(p) // 2
    if half == 0:
        return p * q
    (a, b), (c, d) = (p[:half], p[half:]), (q[:half], q[half:])
    return np.concatenate(
        [
            cayley_dickson(a, c) - cayley_dickson(conjugate(d), b),
            cayley_dickson(d, a) + cayley_dickson(b, conjugate(c)),
        ]
    )


def literal_q2n(x, y, product):
    """Of one block: x and y (parts, pixels)."""
    mx, my = x.mean(axis=1), y.mean(axis=1)
    covariance = np.mean([product(p - mx, conjugate(q - my)) for p, q in zip(x.T, y.T, strict=True)], axis=0)
    variances = ((x.T - mx) ** 2).sum(axis=1).mean() + ((y.T - my) ** 2).sum(axis=1).mean()
    norm = np.linalg.norm
    return 4 * norm(covariance) * norm(mx) * norm(my) / (variances * (mx @ mx + my @ my))


def test_q4_is_made_of_hamilton_products():
    rng = np.random.default_rng(0)
    x, y = rng.random((2, 4, 3, 5))
    expected = literal_q2n(x.reshape(4, -1), y.reshape(4, -1), hamilton)
    assert hypercomplex_quality(x, y, blocks([0, 3], [0, 5])) == pytest.approx(expected)
    # Not only its real part, the sum of the bands' covariances:
    assert expected > literal_q2n(x.reshape(4, -1), y.reshape(4, -1), lambda p, q: hamilton(p, q)[:1])


@pytest.mark.parametrize(("bands", "size"), [(1, 1), (2, 2), (3, 4), (7, 8), (16, 16)])
def test_q2n_is_made_of_cayley_dickson_products(bands, size):
    rng = np.random.default_rng(bands)
    x, y = rng.random((2, bands, 3, 4))
    padded = [np.pad(v.reshape(bands, -1), ((0, size - bands), (0, 0))) for v in (x, y)]
    expected = literal_q2n(*padded, cayley_dickson)
    assert hypercomplex_quality(x, y, blocks([0, 3], [0, 4])) == pytest.approx(expected)


def test_q2n_of_one_band_is_q_without_its_sign_and_of_equal_images_one():
    rng = np.random.default_rng(0)
    x, y = rng.random((2, 1, 6, 6))
    grid = blocks([0, 6], [0, 6])
    assert hypercomplex_quality(x, y, grid) == pytest.approx(abs(quality(x, y)))
    flat = np.full((3, 6, 6), 0.1)
    assert hypercomplex_quality(flat, flat, grid) == pytest.approx(1)
    assert hypercomplex_quality(0 * flat, 0 * flat, grid) == 1
    assert hypercomplex_quality(flat, 3 * flat, grid) == pytest.approx(0.6)


def test_blocks_cover_the_image_once():
    for length in (1, 7, 8, 15, 16, 37):
        edges = block_edges(length, 8)
        assert (edges[0], edges[-1]) == (0, length)
        assert np.diff(edges).min() >= min(8, length)
    count = np.zeros((37, 17), int)
    for block in blocks(block_edges(37, 8), block_edges(17, 8)):
        count[block] += 1
    assert (count == 1).all()


def test_pairwise_quality_of_constant_bands():
    image = np.stack([np.full((5, 7), 0.1), np.full((5, 7), 0.3), np.zeros((5, 7)), np.arange(35.0).reshape(5, 7)])
    table = pairwise_quality(image, None, blocks([0, 5], [0, 7]))
    np.testing.assert_allclose(table[:3, :3], [[1, 0.6, 0], [0.6, 1, 0], [0, 0, 1]], atol=1e-12)
    np.testing.assert_allclose(table[3], [0, 0, 0, 1], atol=1e-12)


# The indices


def test_d_lambda_and_d_s_are_the_literal_loops():
    hsi, msi, fused = scene()
    assert d_lambda(hsi, fused) == pytest.approx(literal_d_lambda(hsi, fused))
    assert d_s(hsi, msi, fused, cells) == pytest.approx(literal_d_s(hsi, msi, fused))
    # With one MSI band it is the pansharpening paper's D_s.
    assert d_s(hsi, msi[:1], fused, cells) == pytest.approx(literal_d_s(hsi, msi[:1], fused))
    assert literal_d_lambda(hsi, fused) > 1e-3


def test_khan_takes_blocks_of_32_lr_pixels():
    hsi, _, fused = scene(rows=64, cols=32, ratio=2)
    low = cells(fused, 2)
    expected = [literal_q2n(*(np.pad(v[:, s].reshape(5, -1), ((0, 3), (0, 0))) for v in (hsi, low)), cayley_dickson)
                for s in (slice(0, 32), slice(32, 64))]  # fmt: skip
    assert d_lambda_khan(hsi, fused, lambda image: cells(image, 2)) == pytest.approx(1 - np.mean(expected))


def test_qnr_and_hqnr_are_products():
    hsi, msi, fused = scene()
    spatial = d_s(hsi, msi, fused, cells)
    assert qnr(hsi, msi, fused, cells) == pytest.approx((1 - d_lambda(hsi, fused)) * (1 - spatial))
    assert hqnr(hsi, msi, fused, cells) == pytest.approx((1 - d_lambda_khan(hsi, fused, cells)) * (1 - spatial))


def test_a_wrong_image_scores_worse():
    hsi, msi, fused = scene(rows=32, cols=32)
    truth_like, noisy = fused, fused + np.random.default_rng(1).normal(0, 0.3, fused.shape)
    assert qnr(hsi, msi, truth_like, cells) > qnr(hsi, msi, noisy, cells) + 0.1
    assert d_lambda_khan(hsi, fused[::-1], cells) > d_lambda_khan(hsi, fused, cells) + 0.1


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 1000), st.sampled_from([(1, 4), (3, 3), (2, 1)]))
def test_perfect_and_blind_to_a_common_scale(seed, scale, size):
    bands, ratio = size
    hsi, msi, fused = scene(bands, 2, 9, 12, ratio, seed)

    def degrade(image):
        return cells(image, ratio)

    truth = hsi.repeat(ratio, axis=1).repeat(ratio, axis=2)
    assert d_lambda(hsi, truth) == pytest.approx(0, abs=1e-9)
    assert d_lambda_khan(hsi, truth, degrade) == pytest.approx(0, abs=1e-9)
    assert qnr(hsi, truth[:1], truth, degrade) == pytest.approx(1)
    scaled = [scale * image for image in (hsi, msi, fused)]
    for index in (qnr, hqnr):
        assert index(*scaled, degrade) == pytest.approx(index(hsi, msi, fused, degrade))


def test_bands_do_not_need_an_order():
    hsi, msi, fused = scene()
    order = np.random.default_rng(0).permutation(len(hsi))
    assert d_lambda(hsi[order], fused[order]) == pytest.approx(d_lambda(hsi, fused))
    assert d_s(hsi[order], msi, fused[order], cells) == pytest.approx(d_s(hsi, msi, fused, cells))


def test_a_degrade_on_tensors_and_integers_and_a_ratio_that_is_not_whole():
    hsi, msi, fused = scene()

    def on_tensors(image):
        return torch.nn.functional.avg_pool2d(torch.from_numpy(image), 4)

    assert hqnr(hsi, msi, fused, on_tensors) == pytest.approx(hqnr(hsi, msi, fused, cells))
    assert hqnr(torch.from_numpy(hsi), msi, torch.from_numpy(fused), cells) == hqnr(hsi, msi, fused, cells)
    stored = [np.rint(10000 * image).astype(np.int16) for image in (hsi, msi, fused)]
    assert hqnr(*stored, on_tensors) == pytest.approx(hqnr(hsi, msi, fused, cells), abs=1e-4)
    truth = np.random.default_rng(0).random((3, 10, 10)).repeat(16, axis=1).repeat(16, axis=2)
    low = cells(truth, 5)  # 32 x 32, and 102 x 102 of the fused: ratio 3.19
    assert 0 <= d_lambda(low, truth[:, :102, :102]) < 1


# Gaps


@pytest.mark.parametrize("garbage", [np.nan, 1e6])
def test_gaps_have_no_influence(garbage):
    hsi, msi, fused = scene(rows=32, cols=32)
    mask = np.ones(fused.shape[1:], bool)
    mask[3, 5] = mask[60:64, 40:44] = False  # in part of an LR cell, and a whole one
    hsi_mask = np.ones(hsi.shape[1:], bool)
    hsi_mask[20, 20] = False
    masks = {"mask": mask, "hsi_mask": hsi_mask}
    expected = qnr(hsi, msi, fused, cells, **masks), hqnr(hsi, msi, fused, cells, **masks)
    low_gap = np.ones_like(hsi_mask)
    low_gap[0, 1] = low_gap[15, 10] = low_gap[20, 20] = False
    ground = low_gap.repeat(4, axis=0).repeat(4, axis=1)
    spoilt = (
        np.where(low_gap, hsi, garbage),
        np.where(ground, msi, garbage),
        np.where(ground, fused, garbage),
    )
    assert qnr(*spoilt, cells, **masks) == pytest.approx(expected[0])
    assert hqnr(*spoilt, cells, **masks) == pytest.approx(expected[1])
    assert expected[0] != qnr(hsi, msi, fused, cells)


def test_the_blur_carries_no_gap_into_what_is_scored():
    """A blur wider than an LR pixel spreads a gap to its neighbours, which are left out too."""
    hsi, _, fused = scene(rows=32, cols=32)

    def wide(image):
        padded = np.pad(image, ((0, 0), (4, 4), (4, 4)), mode="edge")
        return cells(sum(np.roll(padded, s, axis=2) for s in (-4, 0, 4)) / 3)[:, 1:-1, 1:-1]

    def by_fourier_transform(image):
        return wide(np.fft.irfft2(np.fft.rfft2(image), image.shape[1:]))  # one NaN would spread over the image

    mask = np.ones(fused.shape[1:], bool)
    mask[40:44, 40:44] = False
    before = d_lambda_khan(hsi, fused, wide, mask=mask)
    for garbage in (1e6, np.nan):
        spoilt = np.where(mask, fused, garbage)
        assert d_lambda_khan(hsi, spoilt, by_fourier_transform, mask=mask) == pytest.approx(before)
    low = wide(np.where(mask, fused, 0.0))
    grid = blocks([0, 32], [0, 32])
    reached = np.ones((32, 32), bool)
    reached[10, 9:12] = False
    assert before == pytest.approx(1 - hypercomplex_quality(hsi, low, grid, reached))


def test_blocks_less_than_half_scored_do_not_count():
    hsi, msi, fused = scene(rows=16, cols=16)
    mask = np.ones(fused.shape[1:], bool)
    mask[:32, :20] = False  # 5 of the first block's 8 columns
    rest = np.ones(fused.shape[1:], bool)
    rest[:32, :32] = False
    assert d_lambda(hsi, fused, mask=mask) == pytest.approx(d_lambda(hsi, fused, mask=rest))
    assert d_s(hsi, msi, fused, cells, mask=mask) == pytest.approx(d_s(hsi, msi, fused, cells, mask=rest))
    mask[:, :20] = mask[:, 32:52] = False
    with pytest.raises(InputError, match="leave no block"):
        d_lambda(hsi, fused, mask=mask)


def test_files_are_images(tmp_path):
    hsi, msi, fused = scene()
    names = [tmp_path / f"{name}.npy" for name in ("hsi", "msi", "fused")]
    for name, image in zip(names, (hsi, msi, fused), strict=True):
        np.save(name, image)
    scores = evaluate_without_reference(*names, cells)
    assert scores == evaluate_without_reference(hsi, msi, fused, cells)
    with pytest.raises(InputError, match=r"absent\.npy: does not exist") as caught:
        evaluate_without_reference(names[0], tmp_path / "absent.npy", fused, cells)
    assert caught.value.parameter == "msi"


# Bad input


def test_bad_input_is_refused():
    hsi, msi, fused = scene()
    with pytest.raises(InputError, match="4 bands and the fused image 5"):
        d_lambda(hsi[1:], fused)
    with pytest.raises(InputError, match="are they swapped"):
        d_lambda(fused, hsi)
    with pytest.raises(InputError, match=r"the MSI has the shape \(2, 64, 95\)"):
        qnr(hsi, msi[..., 1:], fused, cells)
    with pytest.raises(InputError, match=r"degrade gave the shape \(2, 32, 48\).*\(2, 16, 24\)"):
        d_s(hsi, msi, fused, lambda image: cells(image, 2))
    broken = [image.copy() for image in (hsi, msi, fused)]
    for image in broken:
        image[1, 2, 3] = np.nan
    with pytest.raises(InputError, match="the HSI holds NaN"):
        qnr(broken[0], msi, fused, cells)
    with pytest.raises(InputError, match="the MSI holds NaN"):
        qnr(hsi, broken[1], fused, cells)
    with pytest.raises(InputError, match="the fused image holds NaN"):
        qnr(hsi, msi, broken[2], cells)
    with pytest.raises(InputError, match="degrade's output holds NaN"):
        d_s(hsi, msi, fused, lambda image: cells(image) * np.nan)
    with pytest.raises(InputError, match="hsi_mask has the shape"):
        d_lambda(hsi, fused, hsi_mask=np.ones((3, 3), bool))
