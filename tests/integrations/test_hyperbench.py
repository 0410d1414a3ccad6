"""The pipeline of HyperBench: its model met exactly, its border divided out, and its own runner.

``make peers`` installs HyperBench 0.1 next to this environment; without it the two tests of the runner are skipped.
"""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from scipy.signal import convolve2d

from hyperfuse.errors import InputError
from hyperfuse.integrations import hyperbench
from hyperfuse.integrations.hyperbench import Pipeline, border_weights, divided, stated_sensor
from hyperfuse.methods import list_methods
from scenes import patches_of_materials

ROOT = Path(__file__).parents[2]
PEER = ROOT / ".peers" / "hyperbench"
needs_peer = pytest.mark.skipif(not PEER.is_dir(), reason="make peers installs HyperBench")


def gaussian(sigma, radius):
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    kernel = np.exp(-(y**2 + x**2) / (2 * sigma**2))
    return kernel / kernel.sum()


def lopsided():
    """A kernel that is neither symmetric nor separable nor of odd size, and whose sum is not 1."""
    return np.random.default_rng(3).random((4, 6))


def area_means(size, count):
    """The matrix (count, size) that averages over intervals of the same length, pixels covered in part in part."""
    edges = np.linspace(0, size, count + 1)
    low, high = np.maximum(edges[:-1, None], np.arange(size)), np.minimum(edges[1:, None], np.arange(size) + 1)
    return np.clip(high - low, 0, None) * count / size


def degraded(image, kernel, shape):
    """HyperBench's model without noise, in plain numpy: (H, W, bands) to (h, w, bands)."""
    blurred = [convolve2d(band, kernel, mode="same", fillvalue=0) for band in np.moveaxis(image, 2, 0)]
    along = [area_means(size, count) for size, count in zip(image.shape, shape, strict=False)]
    return np.stack([along[0] @ band @ along[1].T for band in blurred], axis=2)


def simulated(shape, kernel, ratio=4, bands=12, noise=0.0):
    truth = np.moveaxis(patches_of_materials(bands, *shape), 0, 2)
    rng = np.random.default_rng(0)
    srf = np.repeat(np.eye(3), bands // 3, axis=1) * 3 / bands
    hsi = degraded(truth, kernel, (shape[0] // ratio, shape[1] // ratio))
    msi = truth @ srf.T
    hsi, msi = (image + noise * rng.standard_normal(image.shape) for image in (hsi, msi))
    return truth, hsi.astype(np.float32), msi.astype(np.float32), srf


def psnr(truth, image):
    return 10 * np.log10(truth.max() ** 2 / np.mean((truth - image) ** 2))


@pytest.mark.parametrize("shape", [(40, 48), (41, 50)], ids=["whole ratio", "other ratio"])
@pytest.mark.parametrize("kernel", [gaussian(1.7, 5), lopsided()], ids=["gaussian", "lopsided"])
@pytest.mark.parametrize("ratio", [3, 4])
def test_the_sensor_is_the_benchmarks_model_but_for_its_border(shape, kernel, ratio):
    truth, hsi, _, srf = simulated(shape, kernel, ratio)
    coarse = hsi.shape[:2]
    sensor = stated_sensor(kernel, srf, shape, coarse)
    weights = border_weights(sensor, shape, coarse) * kernel.sum()
    ones = degraded(np.ones((*shape, 1)), kernel, coarse)[..., 0]
    np.testing.assert_allclose(weights, ones, atol=1e-12)
    inside = np.abs(weights / kernel.sum() - 1) < 1e-9
    assert 0.3 < inside.mean() < 1
    expected = sensor.degrade(np.ascontiguousarray(np.moveaxis(truth, 2, 0)), coarse).numpy() * kernel.sum()
    np.testing.assert_allclose(np.moveaxis(hsi, 2, 0)[:, inside], expected[:, inside], atol=1e-6)


def test_a_constant_scene_is_constant_once_the_border_is_divided_out():
    hsi = degraded(np.full((40, 48, 2), 0.3), lopsided(), (10, 12)).astype(np.float32)
    sensor = stated_sensor(lopsided(), np.full((1, 2), 0.5), (40, 48), (10, 12))
    weights = border_weights(sensor, (40, 48), (10, 12)) * lopsided().sum()
    np.testing.assert_allclose(divided(np.moveaxis(hsi, 2, 0), weights), 0.3, rtol=1e-6)
    with pytest.raises(InputError, match=r"at the border 0\.01 of the weight"):
        divided(np.moveaxis(hsi, 2, 0), weights - weights.min() + 0.01)


@pytest.mark.parametrize("shape", [(96, 96), (98, 99)], ids=["whole ratio", "other ratio"])
@pytest.mark.parametrize("blind", [False, True], ids=["informed", "blind"])
def test_dividing_out_the_border_improves_the_result(blind, shape):
    truth, hsi, msi, srf = simulated(shape, gaussian(1.7, 7), noise=0.003)
    given = {} if blind else {"psf": gaussian(1.7, 7)}
    with_border, stats = Pipeline("gsa", blind=blind).run_pipeline(msi, hsi, None if blind else srf, **given)
    without, plain = Pipeline("gsa", blind=blind, divide_border=False).run_pipeline(msi, hsi, srf, **given)
    assert psnr(truth, with_border) > psnr(truth, without) + 1
    assert plain["border_weight"] == 1
    exact = degraded(np.ones((*shape, 1)), gaussian(1.7, 7), (24, 24)).min()
    assert abs(stats["border_weight"] - exact) < (0.03 if blind else 1e-9)


def test_a_blind_pipeline_neither_needs_nor_reads_psf_and_responses():
    _, hsi, msi, _ = simulated((96, 96), gaussian(1.7, 7), noise=0.003)
    pipeline = Pipeline("regression", blind=True)
    none, _ = pipeline.run_pipeline(msi, hsi, None)
    wrong, _ = pipeline.run_pipeline(msi, hsi, np.ones((1, 1)), np.ones((3, 3)))
    np.testing.assert_array_equal(none, wrong)
    with pytest.raises(InputError, match=r"psf is None; a blind pipeline \(NAME-blind\) estimates it"):
        Pipeline("regression").run_pipeline(msi, hsi, np.ones((3, 12)))


def test_images_keep_their_layout_and_other_arrays_are_refused():
    _, hsi, msi, srf = simulated((40, 40), gaussian(1, 3))
    image, _ = Pipeline("bicubic").run_pipeline(msi, hsi, srf, gaussian(1, 3))
    batch, _ = Pipeline("bicubic").run_pipeline(msi[None], hsi[None], srf, gaussian(1, 3))
    assert image.shape == (40, 40, 12)
    assert image.dtype == np.float32
    np.testing.assert_array_equal(batch, image[None])
    with pytest.raises(InputError, match="LR_HSI is a list; run hyperbench with --input-backend numpy"):
        Pipeline("bicubic").run_pipeline(msi, hsi.tolist(), srf, gaussian(1, 3))
    with pytest.raises(InputError, match=r"HR_MSI is an image \(rows, cols, bands\), got the shape \(40, 40\)"):
        Pipeline("bicubic").run_pipeline(msi[..., 0], hsi, srf, gaussian(1, 3))


def test_there_is_a_pipeline_of_every_method():
    for method in list_methods():
        assert getattr(hyperbench, method.name).name == method.name
        assert getattr(hyperbench, f"{method.name}-blind").name == f"{method.name}-blind"
    with pytest.raises(AttributeError, match="no pipeline 'gsb'; did you mean 'gsa'"):
        hyperbench.gsb  # noqa: B018


@needs_peer
@pytest.mark.parametrize("name", ["gaussian", "sinc", "moffat"])
def test_the_model_is_that_of_the_installed_benchmark(name, monkeypatch):
    monkeypatch.syspath_prepend(PEER)
    model = pytest.importorskip("hyperbench.degradations")
    truth = np.moveaxis(patches_of_materials(6, 41, 50), 0, 2).astype(np.float32)
    kernel = model.make_psf(name, 1.7, 5)
    theirs = model.downsample_image(model.apply_psf(truth, kernel), 4)
    np.testing.assert_allclose(degraded(truth, kernel, (10, 12)), theirs, atol=1e-6)


@needs_peer
@pytest.mark.parametrize("name", ["local-regression", "gsa-blind", None])
def test_the_runner_of_the_benchmark_accepts_every_case(name, tmp_path, quick):
    scene = np.moveaxis(patches_of_materials(30, 64, 66), 0, 2)
    scipy.io.savemat(tmp_path / "scene.mat", {"scene": scene})
    config = {
        "scene_path": str(tmp_path / "scene.mat"),
        "psf_names": ["gaussian", "moffat"],
        "psf_sigmas": [1.7],
        "degradation_specs": [
            {"downsample_ratio": 4, "msi_band_count": bands, "spatial_snr_db": 35, "spectral_snr_db": 40}
            for bands in (3, 8)
        ],
        "output_csv_path": str(tmp_path / "out.csv"),
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    words = ["run", "--config", "config.json", "--pipeline-module", hyperbench.__file__, "--no-device-summary"]
    words += ["--method-name", "hyperfuse", *([] if name is None else ["--pipeline-name", name])]
    path = os.pathsep.join([str(ROOT / "src"), str(PEER)])
    done = subprocess.run(
        [sys.executable, "-m", "hyperbench.cli", *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader((tmp_path / "out.csv").open()))
    assert [row["status"] for row in rows] == ["success"] * 4, done.stderr
    assert {row["hyperfuse_method"] for row in rows} == {name or "feinfn"}
    assert min(float(row["PSNR"]) for row in rows) > 25
    assert all(0.5 < float(row["border_weight"]) < 1 for row in rows)
