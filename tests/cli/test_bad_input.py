"""Each kind of bad input is told in one line that names the file, and leaves no partial output."""

import errno
import re

import numpy as np
import pytest

import hyperfuse.io
from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import six_numbers
from hyperfuse.io import write

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture
def refuse(fails, files):
    """Fuse two images of the folder; it has to fail without leaving anything new behind. Returns the message."""

    def call(*words, hsi="hsi.tif", msi="msi.tif", out="fused.tif", code=2):
        before = sorted(path.name for path in files.iterdir())
        found, message = fails("fuse", files / hsi, files / msi, files / out, *words)
        assert found == code, message
        assert sorted(path.name for path in files.iterdir()) == before
        return message

    return call


def test_another_coordinate_system(refuse, files, pair):
    write(files / "other.tif", pair.msi.replace(crs="EPSG:32634"))
    message = refuse(msi="other.tif")
    assert str(files / "other.tif") in message
    assert "overlap" in message


def test_no_overlap(refuse, files, pair):
    a, b, c, d, e, f = six_numbers(pair.msi.transform)
    write(files / "far.tif", pair.msi.replace(transform=(a, b, c + 1e5, d, e, f)))
    message = refuse(msi="far.tif")
    assert str(files / "far.tif") in message
    assert "overlap" in message


def test_images_in_the_wrong_order(refuse, files):
    message = refuse(hsi="msi.tif", msi="hsi.tif")
    assert str(files / "msi.tif") in message
    assert "swapped" in message


def test_a_ratio_below_one(refuse):
    message = refuse("--ratio", "0.5")
    assert "ratio" in message
    assert "0.5" in message


@pytest.mark.parametrize("suffix", [".tif", ".npy"])
def test_a_ratio_that_is_not_that_of_the_images(refuse, files, pair, suffix):
    if suffix == ".npy":  # no transforms: the sizes tell
        for name, cube in (("hsi", pair.hsi), ("msi", pair.msi)):
            np.save(files / f"{name}.npy", cube.data)
    message = refuse("--ratio", "4", hsi=f"hsi{suffix}", msi=f"msi{suffix}")
    assert str(files / f"hsi{suffix}") in message
    assert "4" in message
    assert "3" in message
    assert "ratio" in message


def test_a_ratio_that_is_no_number(refuse):
    assert refuse("--ratio", "x4") == "--ratio takes a number such as 3 or 3.2, or a pair y,x such as 4,2; got 'x4'"


def test_nothing_but_nodata(refuse, files, pair):
    empty = pair.hsi.replace(valid=np.zeros(pair.hsi.data.shape, bool), nodata=-9999.0)
    write(files / "empty.tif", empty)
    message = refuse(hsi="empty.tif")
    assert str(files / "empty.tif") in message
    assert "nodata" in message


def test_nan_that_nothing_declares(refuse, files, pair):
    data = pair.hsi.data.copy()
    data[:, 2, 3] = np.nan
    np.save(files / "hsi.npy", data)
    message = refuse(hsi="hsi.npy")
    assert str(files / "hsi.npy") in message
    assert "--nodata nan" in message


def test_declared_nan_is_a_gap(run, files, pair):
    data = pair.hsi.data.copy()
    data[:, 2, 3] = np.nan
    np.save(files / "hsi.npy", data)
    words = ("--nodata", "nan", "--same-ground")
    code, _, err = run("fuse", files / "hsi.npy", files / "msi.tif", files / "fused.tif", *words)
    assert code == 0, err
    fused = hyperfuse.io.read(files / "fused.tif")
    assert fused.empty_pixels[6:9, 9:12].all()
    assert fused.empty_pixels.sum() == 9


def test_one_image_in_reflectance_and_one_times_ten_thousand(refuse, run, files, pair):
    np.save(files / "msi.npy", np.rint(pair.msi.data * 1e4).astype(np.uint16))
    pair.sensor.save(files / "sensor.yaml")
    message = refuse("--method", "cnmf", "--same-ground", msi="msi.npy")
    assert str(files / "msi.npy") in message
    assert "scale" in message
    words = ("fuse", files / "hsi.tif", files / "msi.npy", files / "fused.tif", "--same-ground")
    assert run(*words, "--method", "cnmf", "--msi-scale", "0.0001")[0] == 0
    (files / "sensor.yaml").unlink()
    # A regression on the MSI needs no common unit.
    code, _, err = run(*words, "--method", "regression", "--overwrite")
    assert code == 0, err
    assert "another unit: the MSI is divided by 9280," in err


def test_a_satellite_where_the_bands_have_no_wavelengths(refuse, files, pair):
    np.save(files / "hsi.npy", pair.hsi.data)
    message = refuse("--ratio", "3", "--srf", "sentinel-2a", "--same-ground", hsi="hsi.npy")
    assert str(files / "hsi.npy") in message
    assert "wavelengths" in message


def test_an_empty_file(refuse, files):
    (files / "nothing.tif").touch()
    assert refuse(hsi="nothing.tif") == f"{files / 'nothing.tif'}: is empty (0 bytes)"


@pytest.mark.parametrize("suffix", [".tif", ".npy", ".nc", ".mat"])
@pytest.mark.filterwarnings("ignore::hyperfuse.errors.HyperfuseWarning")
def test_a_file_that_is_cut_off(refuse, files, pair, suffix):
    whole = files / f"whole{suffix}"
    write(whole, pair.hsi)
    (files / f"cut{suffix}").write_bytes(whole.read_bytes()[: whole.stat().st_size // 3])
    message = refuse(hsi=f"cut{suffix}")
    assert message.startswith(f"{files / f'cut{suffix}'}: ")
    assert len(message) < 300


def test_a_file_that_does_not_exist(refuse, files):
    assert refuse(msi="mis.tif") == f"{files / 'mis.tif'}: does not exist"
    assert refuse(msi="tile_?.tif") == f"{files / 'tile_?.tif'}: no file matches this pattern"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_no_space_left_while_the_result_is_written(refuse, files, monkeypatch, number):
    from hyperfuse.io.formats.geotiff import GeoTiffTarget

    finish = GeoTiffTarget.finish

    def full(target):
        finish(target)
        if target.header.bands > 1:  # the check before the work is let through
            raise OSError(number, "No space left on device", str(target.path))

    monkeypatch.setattr(GeoTiffTarget, "finish", full)
    message = refuse(code=1)
    assert message.startswith(f"{files / 'fused.tif'}: ")
    assert "no space left" in message


def test_an_unknown_method_is_told_before_files_are_read(refuse):
    message = refuse("--method", "local-regresion", hsi="absent.tif")
    assert message == "no method 'local-regresion'; did you mean 'local-regression'?"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("consistancy=1", "method 'regression': no setting 'consistancy'; did you mean 'consistency'?"),
        ("consistency=perhaps", "method 'regression': consistency: "),
        ("consistency", "--set takes name=value, got 'consistency'; `hyperfuse methods` lists the settings"),
    ],
)
def test_a_wrong_setting_is_told_before_files_are_read(refuse, setting, message):
    assert refuse("--method", "regression", "--set", setting, hsi="absent.tif").startswith(message)


def test_wrong_names_of_sensor_parts(refuse, files):
    assert "did you mean" in refuse("--srf", "sentinel-2x")
    assert "sigma:1.5" in refuse("--psf", "gauss")
    (files / "sensor.yaml").write_text("ratio: [")
    assert refuse().startswith(f"{files / 'sensor.yaml'}: not a YAML file")
    assert "nowhere.yaml" in refuse("--sensor", "nowhere.yaml")


def test_a_device_that_is_not_there(refuse):
    assert "device 'cuda:77'" in refuse("--device", "cuda:77")


@pytest.mark.parametrize("option", ["--threads", "--tile", "--workers", "--seed"])
@pytest.mark.parametrize("text", ["3.9", "inf", "nan", "x", "1e-3"])
def test_a_whole_number_is_not_rounded(refuse, option, text):
    assert refuse(option, text) == f"invalid value for {option}: '{text}' is not a whole number"


@pytest.mark.parametrize("threads", ["0", "-2"])
def test_no_threads(refuse, threads):
    pattern = rf"--threads: this machine takes 1 to \d+ threads, got {threads}"
    assert re.fullmatch(pattern, refuse("--threads", threads))


def test_an_existing_output_is_refused_before_any_work(refuse, files):
    (files / "fused.tif").write_bytes(b"precious")
    message = refuse(hsi="absent.tif")
    assert message == f"{files / 'fused.tif'}: exists already; --overwrite replaces it"
    assert (files / "fused.tif").read_bytes() == b"precious"


def test_a_companion_of_an_envi_output_is_not_overwritten(refuse, files):
    (files / "fused.hdr").write_text("precious")
    assert refuse(out="fused.img") == f"{files / 'fused.hdr'}: exists already; --overwrite replaces it"


def test_an_input_is_never_overwritten(refuse, files):
    before = (files / "hsi.tif").read_bytes()
    assert refuse("--overwrite", out="hsi.tif") == f"{files / 'hsi.tif'}: is an input of this call; write elsewhere"
    assert (files / "hsi.tif").read_bytes() == before


def test_an_output_that_cannot_be_written_is_refused_before_any_work(refuse, files):
    message = refuse(hsi="absent.tif", out="absent/fused.tif")
    assert message == f"{files / 'absent/fused.tif'}: the folder {files / 'absent'} does not exist"
    message = refuse(hsi="absent.tif", out="fused.xyz")
    assert message.startswith(f"{files / 'fused.xyz'}: the extension '.xyz' names no format; use .tif")
    message = refuse("--compress", "zip", hsi="absent.tif")
    assert message.startswith(f"{files / 'fused.tif'}: ")
    assert "zip" in message
    (files / "folder.tif").mkdir()
    assert refuse(hsi="absent.tif", out="folder.tif") == f"{files / 'folder.tif'}: is a folder; give another name"


def test_a_folder_without_permission_is_refused_before_any_work(refuse, files, monkeypatch):
    import tempfile

    def denied(*args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied", "somewhere")

    monkeypatch.setattr(tempfile, "mkdtemp", denied)
    message = refuse(hsi="absent.tif")
    assert message == f"{files / 'fused.tif'}: the folder {files} cannot be written to (Permission denied)"


def test_interrupting_leaves_nothing(run, files, monkeypatch):
    from hyperfuse.io.formats.geotiff import GeoTiffTarget

    finish = GeoTiffTarget.finish

    def interrupted(target):
        finish(target)
        if target.header.bands > 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(GeoTiffTarget, "finish", interrupted)
    before = sorted(path.name for path in files.iterdir())
    code, out, err = run("fuse", files / "hsi.tif", files / "msi.tif", files / "fused.tif")
    assert (code, out, err.splitlines()[-1]) == (130, "", "error: interrupted")
    assert sorted(path.name for path in files.iterdir()) == before


def test_a_panchromatic_image_with_a_wrong_srf_is_told(refuse, files, pair):
    write(files / "pan.tif", Cube(data=pair.msi.data[:1], transform=pair.msi.transform, crs=pair.msi.crs))
    message = refuse("--srf", "boxes:4", msi="pan.tif")
    assert "4" in message
    assert str(files / "pan.tif") in message
