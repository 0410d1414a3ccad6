"""The folders of hif-benchmarking: its names, its variables and its numbers, as its MATLAB programs state them."""

import numpy as np
import pytest
import scipy.io

import hyperfuse as hf
from hyperfuse.io import read
from scenes import patches_of_materials

FAST = ("--layout", "hif-benchmarking", "--method", "gsa")


def coded(image, kind):
    """An image (bands, rows, cols) as (rows, cols, bands) of a type, integers as fractions of their largest."""
    image = np.moveaxis(image, 0, 2)
    return np.round(image * np.iinfo(kind).max).astype(kind) if np.dtype(kind).kind == "u" else image.astype(kind)


@pytest.fixture
def images():
    truth = patches_of_materials(12, 48, 64)
    return truth.reshape(12, 12, 4, 16, 4).mean(axis=(2, 4)), truth.reshape(3, 4, 48, 64).mean(axis=1)


@pytest.fixture
def data(tmp_path, images):
    """Three scenes of two sets, as uint8, uint16 and fractions."""
    kinds = {"CAVE/balloons_ms": np.uint8, "CAVE/beads_ms": np.uint16, "Harvard/img1": np.float64}
    for place, kind in kinds.items():
        name = place.partition("/")[2]
        for part, variable, image in (
            (f"HS/{place.replace(name, '4/' + name)}", "hsi", images[0]),
            (f"MS/{place}", "msi", images[1]),
        ):
            file = tmp_path / "data" / f"{part}.mat"
            file.parent.mkdir(parents=True, exist_ok=True)
            scipy.io.savemat(file, {variable: coded(image, kind)})
    return tmp_path / "data"


def test_results_have_the_names_and_numbers_of_the_benchmark(run, data, images):
    code, _, err = run("batch", data, *FAST)
    assert code == 0, err
    found = sorted(str(path.relative_to(data / "SR")) for path in (data / "SR").rglob("*") if path.is_file())
    assert found == ["gsa/CAVE/4/balloons_ms.mat", "gsa/CAVE/4/beads_ms.mat", "gsa/Harvard/4/img1.mat"]
    for place, kind in (
        ("CAVE/4/balloons_ms", np.uint8),
        ("CAVE/4/beads_ms", np.uint16),
        ("Harvard/4/img1", np.float64),
    ):
        sri = scipy.io.loadmat(data / "SR" / "gsa" / f"{place}.mat")["sri"]
        assert sri.dtype == np.uint16
        # im2double, fused, im2uint16
        hsi, msi = (np.moveaxis(coded(image, kind), 2, 0) for image in images)
        largest = np.iinfo(kind).max if kind != np.float64 else 1
        expected = hf.fuse((hsi / largest).astype(np.float32), (msi / largest).astype(np.float32), method="gsa").data
        assert np.abs(sri - np.moveaxis(np.clip(expected, 0, 1), 0, 2) * 65535).max() <= 1
        assert np.abs(read(data / "SR" / "gsa" / f"{place}.mat:sri").data - np.clip(expected, 0, 1)).max() < 1e-4


def test_another_folder_names_a_variant_and_what_is_done_is_skipped(run, data, tmp_path):
    out = tmp_path / "SR" / "blind"
    assert run("batch", data, out, *FAST, "--psf", "box")[0] == 0
    assert (out / "CAVE" / "4" / "beads_ms.mat").is_file()
    assert not (data / "SR").exists()
    before = (out / "CAVE" / "4" / "beads_ms.mat").read_bytes()
    code, _, err = run("batch", data, out, *FAST)
    assert code == 1
    assert "beads_ms.mat: exists; pass --overwrite to replace it, or --resume to skip it" in err
    assert run("batch", data, out, *FAST, "--resume")[0] == 0
    assert (out / "CAVE" / "4" / "beads_ms.mat").read_bytes() == before
    assert run("batch", data, out, *FAST, "--overwrite")[0] == 0
    assert (out / "CAVE" / "4" / "beads_ms.mat").read_bytes() != before
    assert not list(tmp_path.rglob(".*.tif*"))


def test_a_pair_that_is_no_pair_is_reported_and_stops_no_other(run, data):
    (data / "MS" / "CAVE" / "beads_ms.mat").unlink()
    scipy.io.savemat(data / "HS" / "CAVE" / "4" / "balloons_ms.mat", {"cube": np.ones((3, 3, 3))})
    scipy.io.savemat(data / "HS" / "Harvard" / "4" / "img2.mat", {"hsi": np.ones((3, 3, 3), np.int16)})
    (data / "MS" / "Harvard" / "img2.mat").write_bytes(b"no MATLAB file")
    code, _, err = run("batch", data, *FAST)
    assert code == 1
    assert "failed: CAVE-4-balloons_ms: " in err
    assert "has no variable 'hsi', which hif-benchmarking has there" in err
    assert "beads_ms.mat is missing" in err
    assert "its 'hsi' is int16" in err
    assert "3 of 4 pairs failed" in err
    assert [path.name for path in (data / "SR").rglob("*.mat")] == ["img1.mat"]


def test_what_uint16_cannot_hold_is_clipped_and_noted(run, data, images):
    scipy.io.savemat(data / "HS" / "Harvard" / "4" / "img1.mat", {"hsi": coded(images[0] * 1.5, np.float64)})
    scipy.io.savemat(data / "MS" / "Harvard" / "img1.mat", {"msi": coded(images[1] * 1.5, np.float64)})
    code, _, err = run("batch", data, *FAST)
    assert code == 0
    assert "note: img1.mat: " in err
    assert "values outside 0 to 1 are clipped" in err
    assert scipy.io.loadmat(data / "SR" / "gsa" / "Harvard" / "4" / "img1.mat")["sri"].max() == 65535


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--dtype", "uint8"], "--dtype: the layout hif-benchmarking states how results are stored; leave it out"),
        (["--extension", "tif"], "--extension: the layout hif-benchmarking states"),
        (["--metod", "gsa"], "--metod"),
    ],
)
def test_options_that_the_layout_decides_are_refused(run, data, words, message):
    code, _, err = run("batch", data, "--layout", "hif-benchmarking", *words)
    assert code == 2
    assert message in err


def test_a_folder_of_another_kind_is_refused(run, tmp_path):
    code, _, err = run("batch", tmp_path, *FAST)
    assert code == 2
    assert "holds no HS/SET/SCALE/NAME.mat, as hif-benchmarking has them" in err
    code, _, err = run("batch", tmp_path)
    assert code == 2
