import errno

import h5py
import numpy as np
import pytest

from hyperfuse.cube.cube import Cube
from hyperfuse.io import read, write
from hyperfuse.sensor.model import Sensor

SRF = ("--srf", "gaussian:480/60,560/60,660/60,840/80")


def listing(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_pair_and_its_sensor_are_written(run, files, pair, tmp_path):
    out = tmp_path / "new" / "pair"
    code, stdout, err = run("simulate", files / "reference.tif", out, "--ratio", 3, *SRF)
    assert (code, stdout) == (0, "")
    assert listing(out) == ["hsi.tif", "msi.tif", "sensor.yaml"]
    assert listing(tmp_path) == ["new", "scene"]
    np.testing.assert_array_equal(read(out / "hsi.tif").data, pair.hsi.data)
    np.testing.assert_array_equal(read(out / "msi.tif").data, pair.msi.data)
    assert Sensor.load(out / "sensor.yaml").to_dict() == pair.sensor.to_dict()
    assert err.splitlines()[-1].startswith(f"wrote {out}: hsi.tif 8x12x24, msi.tif 24x36x4 ")
    assert "cropped" not in err


def test_a_reference_of_a_format_that_is_only_read(run, tmp_path):
    reference = tmp_path / "a.h5"
    with h5py.File(reference, "w") as file:
        file["cube"] = np.ones((4, 6, 6))
    words = ("simulate", reference, tmp_path / "pair", "--ratio", 2, "--srf", "boxes:2")
    assert run(*words)[::2] == (
        2,
        f"error: {reference}: files of its format are only read; state --format tif or the like\n",
    )


@pytest.mark.usefixtures("quick")
def test_the_pair_is_fused_and_scored_with_what_was_written(run, files, tmp_path):
    out = tmp_path / "pair"
    words = ("--ratio", 3, "--psf", "sigma:0.8", "--phase", "1,0.5", *SRF)
    assert run("simulate", files / "reference.tif", out, *words)[0] == 0
    code, _, err = run("fuse", out / "hsi.tif", out / "msi.tif", out / "fused.tif")
    assert code == 0
    assert err.splitlines()[0] == f"sensor: {out / 'sensor.yaml'}"
    sensor = read(out / "fused.tif").history[-1]["sensor"]
    assert sensor["phase"] == [1.0, 0.5]
    assert sensor["psf"]["sigma"] == [0.8, 0.8]
    code, scores, _ = run("evaluate", files / "reference.tif", out / "fused.tif", "--ratio", 3)
    assert code == 0
    assert float(scores.split()[1]) > 30


@pytest.mark.usefixtures("quick")
def test_a_reference_of_broken_cells_is_cropped_and_written(run, files, scene, tmp_path):
    odd = scene.crop(0, 0, 23, 35)
    write(files / "odd.tif", odd)
    out = tmp_path / "pair"
    code, _, err = run("simulate", files / "odd.tif", out, "--ratio", 3, *SRF)
    assert code == 0
    assert listing(out) == ["hsi.tif", "msi.tif", "reference.tif", "sensor.yaml"]
    np.testing.assert_array_equal(read(out / "reference.tif").data, scene.data[:, :21, :33])
    cropped = "the reference of 23x35 pixels was cropped at the top left to 21x33; evaluate against "
    assert cropped + str(out / "reference.tif") in err.splitlines()
    run("fuse", out / "hsi.tif", out / "msi.tif", out / "fused.tif")
    assert run("evaluate", out / "reference.tif", out / "fused.tif", "--ratio", 3)[0] == 0


def test_the_original_is_not_overwritten_by_its_crop(fails, files, scene):
    write(files / "reference.tif", scene.crop(0, 0, 23, 35), overwrite=True)
    for name in ("hsi.tif", "msi.tif"):
        (files / name).unlink()
    before = (files / "reference.tif").read_bytes()
    code, message = fails("simulate", files / "reference.tif", files, "--ratio", 3, "--overwrite", *SRF)
    assert code == 2
    assert message == f"{files / 'reference.tif'}: is an input of this call; write elsewhere"
    assert (files / "reference.tif").read_bytes() == before
    assert listing(files) == ["reference.tif"]


def test_the_format_is_that_of_the_reference_by_default(run, files, scene, tmp_path):
    assert run("simulate", files / "reference.tif", tmp_path / "envi", "--ratio", 3, "--format", "img", *SRF)[0] == 0
    assert listing(tmp_path / "envi") == ["hsi.hdr", "hsi.img", "msi.hdr", "msi.img", "sensor.yaml"]
    np.save(tmp_path / "cube.npy", scene.data)
    code, _, _ = run("simulate", tmp_path / "cube.npy", tmp_path / "npy", "--ratio", 3, "--srf", "boxes:4")
    assert code == 0
    assert listing(tmp_path / "npy") == ["hsi.npy", "msi.npy", "sensor.yaml"]


def test_a_variable_of_a_matlab_file_with_coded_values(run, tmp_path):
    from scipy.io import savemat

    stored = np.random.default_rng(0).integers(0, 256, (16, 12, 31), dtype=np.uint8)
    savemat(tmp_path / "scene.mat", {"orig": stored, "other": stored[:, :, :3]})
    out = tmp_path / "pair"
    words = (
        "--ratio",
        4,
        "--preset",
        "uestc",
        "--srf",
        "nikon-d700",
        "--scale",
        "0.00390625",
        "--offset",
        "0.001953125",
    )
    code, _, err = run("simulate", f"{tmp_path / 'scene.mat'}:orig", out, *words)
    assert code == 0, err
    assert listing(out) == ["hsi.mat", "msi.mat", "sensor.yaml"]
    values = (stored.transpose(2, 0, 1) + 0.5) / 256
    weights = Sensor.load(out / "sensor.yaml").srf.matrix
    expected = np.tensordot(weights, values, axes=1)
    np.testing.assert_allclose(read(out / "msi.mat").data, expected, atol=1e-6)


def test_noise_has_the_ratio_that_was_asked_for_and_follows_the_seed(run, files, pair, tmp_path):
    def simulate(name, *words):
        assert run("simulate", files / "reference.tif", tmp_path / name, "--ratio", 3, *SRF, *words)[0] == 0
        return read(tmp_path / name / "hsi.tif").data, read(tmp_path / name / "msi.tif").data

    hsi, msi = simulate("noisy", "--snr-hsi", 20, "--snr-msi", 30, "--seed", 1)
    for noisy, clean, snr in ((hsi, pair.hsi.data, 20), (msi, pair.msi.data, 30)):
        noise = noisy.astype(np.float64) - clean
        found = 10 * np.log10((clean**2).mean(axis=(1, 2)) / (noise**2).mean(axis=(1, 2)))
        assert found.mean() == pytest.approx(snr, abs=0.5)
    again = simulate("again", "--snr-hsi", 20, "--snr-msi", 30, "--seed", 1)
    np.testing.assert_array_equal(again[0], hsi)
    other = simulate("other", "--snr-hsi", 20, "--snr-msi", 30, "--seed", 2)
    assert np.abs(other[0] - hsi).max() > 0


@pytest.mark.parametrize("existing", ["hsi.tif", "msi.tif", "sensor.yaml"])
def test_existing_files_are_refused_before_any_work(run, fails, files, tmp_path, existing):
    out = tmp_path / "pair"
    out.mkdir()
    (out / existing).write_text("precious")
    (out / "notes.txt").write_text("mine")
    code, message = fails("simulate", "absent.tif", out, "--ratio", 3, *SRF)
    assert (code, message) == (2, f"{out / existing}: exists already; --overwrite replaces it")
    assert listing(out) == sorted([existing, "notes.txt"])
    assert run("simulate", files / "reference.tif", out, "--ratio", 3, "--overwrite", *SRF)[0] == 0
    assert listing(out) == ["hsi.tif", "msi.tif", "notes.txt", "sensor.yaml"]
    assert (out / "notes.txt").read_text() == "mine"


def test_a_failure_leaves_no_file_and_what_was_there(fails, files, tmp_path, monkeypatch):
    def full(self, path):
        path.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Sensor, "save", full)
    code, message = fails("simulate", files / "reference.tif", tmp_path / "pair", "--ratio", 3, *SRF)
    assert code == 1
    assert "no space left" in message
    assert listing(tmp_path) == ["scene"]
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "hsi.tif").write_text("precious")
    code, _ = fails("simulate", files / "reference.tif", kept, "--ratio", 3, "--overwrite", *SRF)
    assert code == 1
    assert listing(kept) == ["hsi.tif"]
    assert (kept / "hsi.tif").read_text() == "precious"


def test_files_that_cannot_be_moved_in_place_are_put_back(tmp_path, monkeypatch):
    from pathlib import Path

    from hyperfuse.cli.outputs import writing_folder
    from hyperfuse.errors import HyperfuseError

    folder = tmp_path / "pair"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / name).write_text("old")
    replace = Path.replace

    def replace_but_not_b(self, target):
        if self.name == "b" and self.parent.name == "new":
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", replace_but_not_b)

    def replace_both():
        with writing_folder(folder) as scratch:
            (scratch / "a").write_text("new")
            (scratch / "b").write_text("new")

    with pytest.raises(HyperfuseError, match="Permission denied"):
        replace_both()
    assert listing(folder) == ["a", "b"]
    assert [(folder / name).read_text() for name in ("a", "b")] == ["old", "old"]


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("--ratio", "3"), "--srf"),
        (SRF, "--ratio"),
        (("--ratio", "3", "--srf", "sentinel-2x"), "did you mean"),
        (("--ratio", "3", "--preset", "uesct", *SRF), "no preset 'uesct'; did you mean 'uestc'?"),
        (("--ratio", "2.5", "--preset", "uestc", *SRF), "whole ratios"),
        (("--ratio", "0.5", *SRF), "1 or more"),
        (("--ratio", "100", *SRF), "holds no LR pixel"),
        (("--ratio", "3", "--format", "xyz", *SRF), "the extension '.xyz' names no format"),
        (("--ratio", "3", "--psf", "blurry", *SRF), "no PSF 'blurry'"),
    ],
)
def test_wrong_calls_are_reported_and_leave_nothing(fails, files, tmp_path, words, part):
    code, message = fails("simulate", files / "reference.tif", tmp_path / "pair", *words)
    assert code == 2
    assert part in message
    assert listing(tmp_path) == ["scene"]


def test_a_reference_without_wavelengths_is_named(fails, tmp_path, scene):
    np.save(tmp_path / "cube.npy", scene.data)
    code, message = fails("simulate", tmp_path / "cube.npy", tmp_path / "pair", "--ratio", 3, "--srf", "sentinel-2a")
    assert code == 2
    assert message.startswith(f"{tmp_path / 'cube.npy'}: ")
    assert "wavelengths" in message


def test_gaps_stay_gaps(run, files, scene, tmp_path):
    valid = np.ones(scene.data.shape, bool)
    valid[:, 3:12, 3:12] = False
    write(files / "gappy.tif", Cube(data=scene.data, valid=valid, nodata=-1.0, wavelengths=scene.wavelengths))
    assert run("simulate", files / "gappy.tif", tmp_path / "pair", "--ratio", 3, *SRF)[0] == 0
    assert read(tmp_path / "pair" / "msi.tif").empty_pixels.sum() == 81
    assert read(tmp_path / "pair" / "hsi.tif").empty_pixels[2, 2]
