"""evaluate(): peaks, clipping, exclusions and their counts, conventions; aggregate()."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperfuse import Cube
from hyperfuse.errors import InputError
from hyperfuse.metrics import (
    METRICS,
    aggregate,
    cross_correlation,
    d_lambda,
    d_lambda_khan,
    d_s,
    ergas,
    evaluate,
    evaluate_without_reference,
    psnr,
    rmse,
    sam_degrees,
    ssim,
    uiqi,
)


def pair(bands=4, rows=24, cols=30, seed=0):
    rng = np.random.default_rng(seed)
    reference = rng.uniform(0.05, 0.9, (bands, rows, cols)).astype(np.float32)
    return reference, (reference + rng.normal(0, 0.02, reference.shape)).astype(np.float32)


def only_metrics(scores):
    return {key: scores[key] for key in METRICS}


def test_it_gathers_the_metrics():
    reference, fused = pair()
    reference[:, 0, :3] *= 1e-3
    fused = fused.clip(0, 1)
    scores = evaluate(reference, fused, 3)
    assert only_metrics(scores) == pytest.approx(
        {
            "psnr_db": psnr(reference, fused),
            "sam_degrees": sam_degrees(reference, fused),
            "sam_bright_degrees": sam_degrees(reference, fused, min_brightness=0.01),
            "ergas": ergas(reference, fused, 3),
            "ssim": ssim(reference, fused),
            "rmse": rmse(reference, fused),
            "uiqi": uiqi(reference, fused),
            "cc": cross_correlation(reference, fused),
        }
    )
    done = {key: value for key, value in scores.items() if key not in METRICS}
    assert "no border cut" in done.pop("convention")
    assert done == {
        "ratio": 3,
        "peak": 1,
        "clipped": (0, 1),
        "bands_used": 4,
        "bands_left_out": 0,
        "pixels": 720,
        "pixels_left_out": 0,
        "pixels_left_out_sam": 0,
        "pixels_left_out_sam_bright": 3,
        "notes": (),
    }
    json.dumps(scores, allow_nan=False)
    assert evaluate(torch.from_numpy(reference), Cube(data=fused), 3) == scores


# Peak and clipping


def test_in_the_unit_range_the_fused_image_is_clipped_and_the_peak_is_one():
    reference, fused = pair()
    fused[0, :5] = -3
    fused[1, 5:10] = 7
    scores = evaluate(reference, fused, 4)
    assert (scores["peak"], scores["clipped"]) == (1, (0, 1))
    assert only_metrics(scores) == pytest.approx(only_metrics(evaluate(reference, fused.clip(0, 1), 4)))
    assert evaluate(reference, fused, 4, clip=False)["psnr_db"] == pytest.approx(psnr(reference, fused))
    assert evaluate(reference, fused, 4, clip=False)["clipped"] is None
    assert fused.min() == -3  # its argument is left alone


@pytest.mark.parametrize(("gain", "offset"), [(2, 0), (10000, 0), (1, -0.5)])
def test_outside_it_the_peak_is_the_maximum_and_nothing_is_clipped(gain, offset):
    reference, fused = (gain * image + offset for image in pair())
    fused[0, 0] = -gain
    scores = evaluate(reference, fused, 4)
    assert scores["peak"] == reference.max()
    assert scores["clipped"] is None
    assert scores["psnr_db"] == pytest.approx(psnr(reference, fused, peak=float(reference.max())))
    assert scores["ssim"] == pytest.approx(ssim(reference, fused, peak=float(reference.max())))
    clipped = evaluate(reference, fused, 4, clip=True)
    assert clipped["clipped"] == (0, reference.max())
    assert clipped["rmse"] == pytest.approx(rmse(reference, fused.clip(0, reference.max())))


def test_the_peak_can_be_given():
    reference, fused = pair()
    scores = evaluate(reference, fused, 4, peak=2)
    assert (scores["peak"], scores["clipped"]) == (2, (0, 1))
    assert scores["psnr_db"] == pytest.approx(evaluate(reference, fused, 4)["psnr_db"] + 20 * math.log10(2))
    assert scores["ssim"] == pytest.approx(ssim(reference, fused.clip(0, 1), peak=2))
    stored = [np.rint(255 * image).clip(0, 255).astype(np.uint8) for image in (reference, fused)]
    scores = evaluate(*stored, 4, peak=255, clip=True)
    assert (scores["peak"], scores["clipped"]) == (255, (0, 255))
    assert scores["psnr_db"] == pytest.approx(psnr(*stored, peak=255))
    with pytest.raises(InputError, match="pass peak="):
        evaluate(reference - 2, fused, 4)
    with pytest.raises(InputError, match="peak needs a positive number"):
        evaluate(reference, fused, 4, peak=0)


def test_only_what_is_scored_decides_on_the_peak():
    reference, fused = pair()
    reference[0, 2, 3] = 50
    mask = np.ones((24, 30), bool)
    mask[2, 3] = False
    assert evaluate(reference, fused, 4)["peak"] == 50
    assert evaluate(reference, fused, 4, mask=mask)["peak"] == 1


# Exclusions


def test_constant_bands_are_left_out_and_counted():
    reference, fused = pair()
    with_constant = np.insert(reference, 2, 0.25, axis=0), np.insert(fused, 2, 0.9, axis=0)
    scores = evaluate(*with_constant, 4)
    assert (scores["bands_used"], scores["bands_left_out"]) == (4, 1)
    assert only_metrics(scores) == only_metrics(evaluate(reference, fused, 4))
    with pytest.raises(InputError, match="constant in every usable one"):
        evaluate(np.ones((2, 12, 12)), np.zeros((2, 12, 12)), 4)


def test_bad_and_empty_bands_of_either_cube_are_left_out():
    reference, fused = pair(6)
    valid = np.ones(fused.shape, bool)
    valid[4] = False
    cubes = (
        Cube(data=reference, good_bands=[True, False, True, True, True, True]),
        Cube(data=fused, valid=valid),
    )
    scores = evaluate(*cubes, 4)
    assert (scores["bands_used"], scores["bands_left_out"], scores["pixels_left_out"]) == (4, 2, 0)
    used = [0, 2, 3, 5]
    assert only_metrics(scores) == only_metrics(evaluate(reference[used], fused[used], 4))
    with pytest.raises(InputError, match="no band can be scored"):
        evaluate(Cube(data=reference, good_bands=[False] * 6), fused, 4)


def test_gaps_and_mask_are_left_out():
    reference, fused = pair()
    scored = np.ones((24, 30), bool)
    scored[3, 4] = scored[10, 20] = scored[22, 0] = False
    valid = np.ones(reference.shape, bool)
    valid[1, 3, 4] = False  # a gap in one band
    reference_cube = Cube(data=reference, valid=valid)
    valid = np.ones(reference.shape, bool)
    valid[:, 10, 20] = False
    fused_cube = Cube(data=fused, valid=valid)
    mask = np.ones((24, 30), bool)
    mask[22, 0] = False
    scores = evaluate(reference_cube, fused_cube, 4, mask=mask)
    assert scores == evaluate(reference, fused, 4, mask=scored)
    assert (scores["pixels"], scores["pixels_left_out"]) == (717, 3)
    assert scores["rmse"] == pytest.approx(rmse(reference, fused.clip(0, 1), mask=scored))
    array_with_nan = np.where(scored, fused, np.nan)
    assert evaluate(reference_cube, array_with_nan, 4, mask=scored) == scores
    with pytest.raises(InputError, match="the fused image holds NaN"):
        evaluate(reference_cube, array_with_nan, 4)
    mask[:] = False
    mask[3, 4] = mask[10, 20] = True
    with pytest.raises(InputError, match="gaps and mask cover the whole image"):
        evaluate(reference_cube, fused_cube, 4, mask=mask)


def test_a_gap_in_a_bad_band_costs_no_pixel():
    reference, fused = pair()
    valid = np.ones(reference.shape, bool)
    valid[1, :20] = False
    cube = Cube(data=reference, valid=valid, good_bands=[True, False, True, True])
    assert evaluate(cube, fused, 4)["pixels_left_out"] == 0


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([math.nan, math.inf, 1e30, -5.0]))
def test_pixels_left_out_have_no_influence(seed, garbage):
    reference, fused = pair(seed=seed)
    rng = np.random.default_rng(seed)
    mask = np.ones((24, 30), bool)
    mask[rng.integers(0, 24, 3), rng.integers(0, 30, 3)] = False
    expected = evaluate(reference, fused, 4, mask=mask)
    spoilt = np.where(mask, reference, garbage), np.where(mask, fused, -garbage)
    assert evaluate(*spoilt, 4, mask=mask) == expected


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_perfect(seed):
    reference = pair(seed=seed)[0]
    scores = evaluate(reference, reference, 4)
    assert scores["psnr_db"] == math.inf
    assert scores["sam_degrees"] == scores["sam_bright_degrees"] == scores["ergas"] == scores["rmse"] == 0
    assert [scores[key] for key in ("ssim", "uiqi", "cc")] == pytest.approx([1, 1, 1])


def test_zero_spectra_are_counted():
    reference, fused = pair()
    reference[:, 4, 5] = 0
    fused[:, 6, 7] = -0.1  # zero once clipped
    scores = evaluate(reference, fused, 4)
    assert (scores["pixels_left_out_sam"], scores["pixels"]) == (2, 720)
    scores = evaluate(reference, 0 * fused, 4)
    assert scores["pixels_left_out_sam"] == 720
    assert math.isnan(scores["sam_degrees"])


def test_metrics_without_a_window_are_nan_and_the_others_are_not():
    reference, fused = pair(rows=9)
    scores = evaluate(reference, fused, 4)
    assert math.isnan(scores["ssim"])
    assert not any(math.isnan(scores[key]) for key in METRICS if key != "ssim")
    mask = np.ones((9, 30), bool)
    mask[4, ::4] = False
    assert math.isnan(evaluate(reference, fused, 4, mask=mask)["uiqi"])


# Conventions


def test_the_convention_of_psrt():
    reference, fused = pair()
    ours, theirs = evaluate(reference, fused, 8), evaluate(reference, fused, 8, convention="psrt")
    clipped = fused.clip(0, 1)
    mean_square = np.mean((reference.astype(float) - clipped) ** 2)
    assert theirs["psnr_db"] == pytest.approx(20 * math.log10(reference.max() / math.sqrt(mean_square)))
    assert theirs["ergas"] == pytest.approx(ergas(reference, clipped, 4)) == pytest.approx(2 * ours["ergas"])
    assert theirs["peak"] == pytest.approx(reference.max())
    rest = [key for key in METRICS if key not in ("psnr_db", "ergas")]
    assert {key: theirs[key] for key in rest} == {key: ours[key] for key in rest}
    assert theirs["convention"].startswith("psrt: PSNR over the whole cube")
    assert evaluate(reference, reference, 8, convention="psrt")["psnr_db"] == math.inf
    with pytest.raises(InputError, match="leave peak out"):
        evaluate(reference, fused, 8, convention="psrt", peak=1)
    with pytest.raises(InputError, match="unknown convention 'prst'; did you mean 'psrt'"):
        evaluate(reference, fused, 8, convention="prst")


# Bad input


def test_bad_input_is_refused():
    reference, fused = pair()
    with pytest.raises(InputError, match=r"\(4, 24, 30\).*\(4, 24, 29\)"):
        evaluate(reference, fused[..., 1:], 4)
    with pytest.raises(InputError, match="ratio needs"):
        evaluate(reference, fused, 0.25)
    with pytest.raises(InputError, match="mask has the shape"):
        evaluate(reference, fused, 4, mask=np.ones((4, 24, 30), bool))
    for value in (np.nan, np.inf):
        broken = reference.copy()
        broken[1] = value
        with pytest.raises(InputError, match="the reference holds NaN or infinite"):
            evaluate(broken, fused, 4)
        with pytest.raises(InputError, match="the fused image holds NaN or infinite"):
            evaluate(reference, broken, 4)


# Over images


def test_aggregate():
    reference, fused = pair()
    scores = [evaluate(reference, reference + gain * (fused - reference), 4) for gain in (1, 2, 3)]
    table = aggregate(scores)
    values = [one["psnr_db"] for one in scores]
    assert table["images"] == 3
    assert table["mean"]["psnr_db"] == pytest.approx(np.mean(values))
    assert table["std"]["psnr_db"] == pytest.approx(math.sqrt(np.mean((np.array(values) - np.mean(values)) ** 2)))
    assert set(table["mean"]) == set(table["std"]) == set(METRICS)
    assert table["convention"] == scores[0]["convention"]
    assert set(aggregate(scores[:1])["std"].values()) == {0}
    perfect = aggregate([scores[0], evaluate(reference, reference, 4)])
    assert perfect["mean"]["psnr_db"] == math.inf
    assert math.isnan(perfect["std"]["psnr_db"])
    with pytest.raises(InputError, match="more than one ratio"):
        aggregate([scores[0], evaluate(reference, fused, 8)])
    with pytest.raises(InputError, match="more than one convention"):
        aggregate([scores[0], evaluate(reference, fused, 4, convention="psrt")])
    with pytest.raises(InputError, match="no scores"):
        aggregate([])


# Without a reference


def cells(image):
    bands, rows, cols = image.shape
    return image.reshape(bands, rows // 4, 4, cols // 4, 4).mean(axis=(2, 4))


def test_without_reference_gathers_the_indices_and_leaves_bad_bands_and_gaps_out():
    truth = pair(6, 64, 64)[0]
    fused = pair(6, 64, 64, seed=1)[0] * 0.1 + truth
    hsi, msi = cells(truth), truth[:3].copy()
    hsi[2] = 0.5  # constant
    gap = np.ones((64, 64), bool)
    gap[5, 9] = False
    hsi_valid, msi_valid = np.ones(hsi.shape, bool), np.ones(msi.shape, bool)
    hsi_valid[4] = False  # empty
    hsi_valid[:, 9, 9] = False
    msi_valid[:, 5, 9] = False
    scores = evaluate_without_reference(
        Cube(data=hsi, valid=hsi_valid, good_bands=[False, True, True, True, True, True]),
        Cube(data=msi, valid=msi_valid, good_bands=[True, False, True]),
        fused,
        cells,
    )
    used = [1, 3, 5]
    low, high, fine = hsi[used], fused[used], msi[[0, 2]]
    masks = {"mask": gap, "hsi_mask": hsi_valid[0]}
    spectral, spatial = d_lambda(low, high, **masks), d_s(low, fine, high, cells, **masks)
    khan = d_lambda_khan(low, high, cells, **masks)
    assert "Q over blocks" in scores.pop("convention")
    assert scores == pytest.approx(
        {
            "d_lambda": spectral,
            "d_s": spatial,
            "qnr": (1 - spectral) * (1 - spatial),
            "d_lambda_khan": khan,
            "hqnr": (1 - khan) * (1 - spatial),
            "bands_used": 3,
            "bands_left_out": 3,
        }
    )
    with pytest.raises(InputError, match="6 bands and the fused image 5"):
        evaluate_without_reference(hsi, msi, fused[1:], cells)
    with pytest.raises(InputError, match="rows and cols must agree"):
        evaluate_without_reference(hsi, msi[:, 1:], fused, cells)
    with pytest.raises(InputError, match="the HSI is constant"):
        evaluate_without_reference(hsi[2:3], msi, fused[2:3], cells)


def test_import_is_light():
    code = "import sys, hyperfuse.metrics; print({'torch', 'scipy', 'rasterio', 'xarray'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
