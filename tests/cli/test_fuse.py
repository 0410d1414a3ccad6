import gc
import json
import re
import sys
import time
from contextlib import nullcontext

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.control import GroundControlPoint

import hyperfuse.runtime.processes
import hyperfuse.scenes.fuse
from hyperfuse.cli import main
from hyperfuse.cli.session import Session
from hyperfuse.cli.signals import signals_restored
from hyperfuse.cube.header import six_numbers
from hyperfuse.errors import HyperfuseWarning
from hyperfuse.io import read, write
from hyperfuse.methods import DEFAULT_METHOD, get_method
from hyperfuse.networks.pretrained import save_pretrained

pytestmark = pytest.mark.usefixtures("quick")


def listing(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_pair_is_fused_with_its_metadata(run, files, pair):
    code, out, err = run("fuse", files / "hsi.tif", files / "msi.tif", files / "fused.tif")
    assert (code, out) == (0, "")
    fused = read(files / "fused.tif")
    assert fused.data.shape == pair.reference.data.shape
    assert fused.crs == "EPSG:32633"
    assert fused.transform == pair.reference.transform
    assert fused.units == "reflectance"
    np.testing.assert_allclose(fused.wavelengths, pair.reference.wavelengths)
    assert np.abs(fused.data - pair.reference.data).max() < 0.05
    last = err.splitlines()[-1]
    assert last.startswith(f"wrote {files / 'fused.tif'}: 24 rows, 36 columns, 24 bands, ")
    assert last.endswith(" s")
    assert listing(files) == ["fused.tif", "hsi.tif", "msi.tif", "reference.tif"]


def test_the_history_says_what_was_done(run, files, pair):
    pair.sensor.save(files / "sensor.yaml")
    words = ("--method", "regression", "--set", "consistency=false", "--seed", 5, "--quiet")
    code, _, err = run("fuse", files / "hsi.tif", files / "msi.tif", files / "fused.tif", *words)
    assert (code, err) == (0, "")
    step = read(files / "fused.tif").history[-1]
    assert step["step"] == "fuse"
    assert step["method"] == "regression"
    assert step["settings"]["consistency"] is False
    assert step["seed"] == 5
    assert step["version"] == hyperfuse.__version__
    assert step["inputs"] == {"hsi": "hsi.tif", "msi": "msi.tif"}
    assert step["sensor"]["ratio"] == [3, 3]
    assert step["sensor"]["srf"] == "gaussian:480/60,560/60,660/60,840/80"


def test_the_default_method_is_that_of_the_package(run, files):
    assert run("fuse", files / "hsi.tif", files / "msi.tif", files / "fused.tif", "--set", "steps=0")[0] == 0
    assert read(files / "fused.tif").history[-1]["method"] == DEFAULT_METHOD


def test_sensor_yaml_next_to_the_hsi_is_used_and_named(run, files, pair):
    pair.sensor.replace(psf=pair.sensor.psf.model_copy(update={"sigma": (0.7, 0.7)})).save(files / "sensor.yaml")
    code, _, err = run("fuse", files / "hsi.tif", files / "msi.tif", files / "fused.tif")
    assert code == 0
    assert f"sensor: {files / 'sensor.yaml'}" in err.splitlines()
    assert read(files / "fused.tif").history[-1]["sensor"]["psf"]["sigma"] == [0.7, 0.7]


def test_the_sensor_option_overrides_the_file_next_to_it_and_single_options_both(run, files, pair, tmp_path):
    def sigma(value):
        return pair.sensor.replace(psf=pair.sensor.psf.model_copy(update={"sigma": (value, value)}))

    sigma(0.7).save(files / "sensor.yaml")
    sigma(0.9).save(tmp_path / "other.yaml")
    words = ("fuse", files / "hsi.tif", files / "msi.tif", files / "fused.tif", "--sensor", tmp_path / "other.yaml")
    code, _, err = run(*words)
    assert code == 0
    assert "sensor.yaml" not in err
    assert read(files / "fused.tif").history[-1]["sensor"]["psf"]["sigma"] == [0.9, 0.9]
    code, _, _ = run(*words, "--psf", "sigma:1.25", "--srf", "boxes:4", "--phase", "1,0.5", "--overwrite")
    assert code == 0
    sensor = read(files / "fused.tif").history[-1]["sensor"]
    assert sensor["psf"]["sigma"] == [1.25, 1.25]
    assert sensor["srf"] == "boxes:4"
    assert sensor["phase"] == [1.0, 0.5]


def test_masked_pixels_become_gaps(run, files, pair):
    from hyperfuse.cube.cube import Cube

    clouds = np.zeros((1, 24, 36), np.uint8)
    clouds[0, 5:9, 10:15] = 3
    write(files / "clouds.tif", Cube(data=clouds, transform=pair.msi.transform, crs=pair.msi.crs), dtype="uint8")
    words = ("fuse", files / "hsi.tif", files / "msi.tif", files / "fused.tif", "--mask", files / "clouds.tif")
    code, _, _ = run(*words)
    assert code == 0
    fused = read(files / "fused.tif")
    np.testing.assert_array_equal(fused.empty_pixels, clouds[0] != 0)
    assert fused.history[-1]["inputs"]["mask"] == "clouds.tif"


@pytest.mark.parametrize(("nodata", "masked"), [(0, False), (255, True)])
def test_gaps_of_a_mask_count_unless_zero_marks_them(tmp_path, nodata, masked):
    from hyperfuse.cli.inputs import read_mask
    from hyperfuse.cube.cube import Cube

    image = Cube(data=np.zeros((2, 4, 4)))
    stored = np.full((1, 4, 4), 1.0)
    stored[0, 0, 0] = nodata
    stored[0, 1, 1] = 0 if nodata else 1
    valid = stored != nodata
    write(tmp_path / "mask.tif", Cube(data=stored, valid=valid, nodata=nodata), dtype="uint8")
    mask = read_mask(str(tmp_path / "mask.tif"), image, "MSI")
    assert mask[0, 0] == masked
    assert mask[2, 2]
    assert mask[1, 1] == (nodata == 0)


def test_a_mask_off_the_grid_is_refused(fails, files, pair):
    from hyperfuse.cube.cube import Cube

    a, b, c, d, e, f = six_numbers(pair.msi.transform)
    words = ("fuse", files / "hsi.tif", files / "msi.tif", files / "fused.tif", "--mask", files / "mask.tif")
    write(files / "mask.tif", Cube(data=np.ones((1, 24, 35)), transform=pair.msi.transform, crs=pair.msi.crs))
    code, message = fails(*words)
    assert code == 2
    assert message.startswith(f"{files / 'mask.tif'}: the mask has 24x35 pixels, the MSI 24x36")
    moved = Cube(data=np.ones((1, 24, 36)), transform=(a, b, c + a, d, e, f), crs=pair.msi.crs)
    write(files / "mask.tif", moved, overwrite=True)
    code, message = fails(*words)
    assert code == 2
    assert "the mask is not at the position of the MSI" in message
    code, message = fails(*words[:-1], files / "hsi.tif")
    assert "a mask has one band, this file has 24" in message
    assert not (files / "fused.tif").exists()


def test_codings_apply_to_both_images_unless_the_msi_has_its_own(run, files, pair):
    coded = files / "hsi.npy"
    np.save(coded, np.rint(pair.hsi.data * 1e4).astype(np.uint16))
    np.save(files / "msi.npy", np.rint(pair.msi.data * 1e4).astype(np.uint16))
    code, _, err = run("fuse", coded, files / "msi.npy", files / "both.npy", "--ratio", 3, "--scale", "0.0001")
    assert code == 0, err
    np.save(files / "msi8.npy", np.rint(pair.msi.data * 200).astype(np.uint8))
    words = ("--ratio", "3,3", "--scale", "0.0001", "--msi-scale", "0.005")
    code, _, err = run("fuse", coded, files / "msi8.npy", files / "own.npy", *words)
    assert code == 0, err
    for name in ("both.npy", "own.npy"):
        assert np.abs(np.load(files / name) - pair.reference.data).max() < 0.06


def test_arrays_of_a_laboratory_are_fused_with_a_table_of_responses(run, files, pair):
    table = ["nm,a,b,c,d"] + [
        ",".join([f"{nm}", *(f"{np.exp(-(((nm - centre) / 30) ** 2)):.6f}" for centre in (480, 560, 660, 840))])
        for nm in range(400, 921, 5)
    ]
    (files / "srf.csv").write_text("\n".join(table))
    centres = [f"{nm:.3f}" for nm in pair.hsi.wavelengths]
    (files / "bands.csv").write_text("\n".join(["band;center", *(f"{n};{nm}" for n, nm in enumerate(centres, 1))]))
    for name, cube in (("hsi", pair.hsi), ("msi", pair.msi)):
        np.save(files / f"{name}.npy", np.moveaxis(cube.data, 0, -1))
    words = ("--method", "cnmf", "--srf", files / "srf.csv", "--axes", "rows,cols,bands")
    code, _, err = run("fuse", files / "hsi.npy", files / "msi.npy", files / "no.tif", *words)
    assert code == 2, err
    words += ("--wavelengths", f"{files / 'bands.csv'}:center", "--msi-wavelengths", "480,560,660,840")
    code, _, err = run("fuse", files / "hsi.npy", files / "msi.npy", files / "fused.tif", *words)
    assert code == 0, err
    np.testing.assert_allclose(read(files / "fused.tif").wavelengths, pair.hsi.wavelengths, atol=1e-3)
    code, out, _ = run("info", files / "hsi.npy", "--axes", "rows,cols,bands", "--wavelengths", "400:630:10", "--json")
    assert json.loads(out)["wavelength_range_nm"] == [400, 630]
    words = ("--ratio", 3, "--wavelengths", "400:630:10", "--fused-wavelengths", "400:630:10")
    assert run("evaluate", files / "reference.tif", files / "fused.tif", *words)[0] == 0


def test_the_axes_of_the_hsi_do_not_reach_an_msi_that_states_its_own(run, files, pair):
    np.save(files / "hsi.npy", np.moveaxis(pair.hsi.data, 0, -1))
    words = ("--axes", "rows,cols,bands", "--method", "bicubic")
    code, _, err = run("fuse", files / "hsi.npy", files / "msi.tif", files / "fused.tif", *words)
    assert (code, err.count("--same-ground")) == (2, 1)
    code, _, err = run("fuse", files / "hsi.npy", files / "msi.tif", files / "fused.tif", *words, "--same-ground")
    assert code == 0, err
    assert read(files / "fused.tif").transform == pair.msi.transform


def test_an_undeclared_collar_is_asked_about_in_the_options_of_the_command(run, files, pair):
    data = pair.msi.data.copy()
    data[:, :6] = 0
    write(files / "msi.tif", pair.msi.replace(data=data), overwrite=True)
    words = ("fuse", files / "hsi.tif", files / "msi.tif", files / "fused.tif", "--method", "gsa")
    words += ("--psf", "mtf:0.3", "--no-align", "--overwrite")
    code, _, err = run(*words)
    assert code == 0
    assert err.startswith(
        "note: 25 % of the MSI's pixels are 0 in all bands: a gap? --msi-nodata 0 declares it; the HSI"
    )
    assert any("msi_nodata=0" in note for note in read(files / "fused.tif").history[-1]["notes"])
    code, _, err = run(*words, "--msi-nodata", "0")
    assert "a gap?" not in err
    assert read(files / "fused.tif").empty_pixels.sum() == 6 * pair.msi.cols


def test_ground_control_points_alone_are_no_position(fails, files, pair):
    points = [GroundControlPoint(row, col, 6e5 + 10 * col, 4e6 - 10 * row) for row, col in ((0, 0), (24, 0), (0, 36))]
    shape = {"count": 4, "height": 24, "width": 36, "dtype": "float32"}
    with rasterio.open(files / "gcp.tif", "w", driver="GTiff", **shape) as file:
        file.write(pair.msi.data)
        file.gcps = (points, "EPSG:32633")
    code, message = fails("fuse", files / "hsi.tif", files / "gcp.tif", files / "fused.tif")
    assert code == 2
    assert "the MSI is placed by ground control points alone, in sensor geometry" in message
    assert "order the orthorectified (map-projected) level of the product" in message
    assert "--same-ground" in message


def test_bands_are_those_of_the_hsi_and_msi_bands_those_of_the_msi(run, files):
    words = ("--bands", "3-8", "--msi-bands", "1,4")
    code, _, _ = run("fuse", files / "hsi.tif", files / "msi.tif", files / "fused.tif", *words)
    assert code == 0
    fused = read(files / "fused.tif")
    np.testing.assert_allclose(fused.wavelengths, np.linspace(430, 890, 24)[2:8])


def test_tiles_are_merged_by_a_quoted_pattern(run, files, pair):
    write(files / "tile_1.tif", pair.msi.crop(0, 0, 24, 20))
    write(files / "tile_2.tif", pair.msi.crop(0, 20, 24, 16))
    code, _, _ = run("fuse", files / "hsi.tif", files / "tile_*.tif", files / "tiles.tif", "--quiet")
    assert code == 0
    run("fuse", files / "hsi.tif", files / "msi.tif", files / "whole.tif", "--quiet")
    np.testing.assert_array_equal(read(files / "tiles.tif").data, read(files / "whole.tif").data)


def test_integers_keep_the_coding_of_the_hsi(run, files, pair):
    write(files / "coded.tif", pair.hsi.replace(scale=1e-4), dtype="uint16")
    words = ("--dtype", "uint16", "--compress", "deflate")
    code, _, _ = run("fuse", files / "coded.tif", files / "msi.tif", files / "fused.tif", *words)
    assert code == 0
    fused = read(files / "fused.tif")
    assert fused.scale == pytest.approx(1e-4)
    assert np.abs(fused.data - pair.reference.data).max() < 0.05


def test_the_same_seed_gives_the_same_file(run, files):
    for name in ("a.tif", "b.tif"):
        run("fuse", files / "hsi.tif", files / "msi.tif", files / name)
    assert (files / "a.tif").read_bytes() == (files / "b.tif").read_bytes()


def test_a_warning_is_one_line(run, files):
    with pytest.warns(HyperfuseWarning) as caught:
        write(files / "control.npy", read(files / "hsi.tif"))
    code, _, err = run("fuse", files / "hsi.tif", files / "msi.tif", files / "fused.npy", "--quiet")
    assert code == 0
    lines = err.splitlines()
    assert len(lines) == len(caught) == 1
    assert lines[0].startswith("warning: ")
    assert "wavelengths" in lines[0]


def test_progress_is_shown_on_a_terminal_only(run, files, monkeypatch):
    import sys

    words = ("fuse", files / "hsi.tif", files / "msi.tif", files / "fused.tif", "--overwrite")
    _, _, piped = run(*words)
    assert "fusing" not in piped
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    code, out, shown = run(*words)
    assert (code, out) == (0, "")
    assert "fusing" in shown
    _, _, quiet = run(*words, "--quiet")
    assert quiet == ""


def test_threads_are_set_for_the_work_and_put_back(run, files, monkeypatch):
    import torch

    import hyperfuse.scenes.execution as scenes

    seen = []
    work = scenes.fuse_windows

    def spy(*args, **kwargs):
        seen.append(torch.get_num_threads())
        return work(*args, **kwargs)

    monkeypatch.setattr(scenes, "fuse_windows", spy)
    before = torch.get_num_threads()
    threads = before + 1
    words = ("fuse", files / "hsi.tif", files / "msi.tif", files / "fused.tif", "--method", "bicubic")
    code, _, _ = run(*words, "--threads", threads)
    assert code == 0
    assert seen == [threads]
    assert torch.get_num_threads() == before


def test_settings_are_read_as_json_or_text():
    from hyperfuse.cli.options import parse_settings

    read_as = parse_settings(["window=1.5", "back-projection=true", "detail=best-band", "ridge=null", "name=a=b"])
    assert json.dumps(read_as) == json.dumps(
        {"window": 1.5, "back_projection": True, "detail": "best-band", "ridge": None, "name": "a=b"}
    )


@pytest.mark.parametrize(
    ("out", "written"),
    [
        ("fused.hdr", ["fused.hdr", "fused.img"]),
        ("fused.bil", ["fused.bil", "fused.hdr"]),
        ("fused.nc", ["fused.nc"]),
        ("fused.mat:cube_1", ["fused.mat"]),
        ("fused.zarr", ["fused.zarr"]),
    ],
)
@pytest.mark.filterwarnings("ignore::hyperfuse.errors.HyperfuseWarning")
def test_every_format_is_written_reported_and_replaced_when_requested(run, fails, files, out, written):
    if out.endswith(".zarr"):
        pytest.importorskip("zarr")
    words = ("fuse", files / "hsi.tif", files / "msi.tif", f"{files}/{out}")
    code, _, err = run(*words)
    assert code == 0, err
    assert listing(files) == sorted([*written, "hsi.tif", "msi.tif", "reference.tif"])
    stored = sum(
        part.stat().st_size for name in written for part in [files / name, *(files / name).rglob("*")] if part.is_file()
    )
    assert f"{stored / 1e3:.1f} kB" in err.splitlines()[-1]
    code, message = fails(*words)
    assert code == 2
    assert message == f"{files / written[0]}: exists already; --overwrite replaces it"
    assert run(*words, "--overwrite")[0] == 0
    assert listing(files) == sorted([*written, "hsi.tif", "msi.tif", "reference.tif"])


def test_uncertainty_is_written_next_to_the_result(run, files):
    words = ("--uncertainty", files / "error.tif")
    code, _, err = run("fuse", files / "hsi.tif", files / "msi.tif", files / "fused.tif", *words)
    assert code == 0
    fused, uncertainty = read(files / "fused.tif"), read(files / "error.tif")
    assert uncertainty.data.shape == fused.data.shape
    assert uncertainty.transform == fused.transform
    assert (uncertainty.data > 0).all()
    assert uncertainty.history[-1]["quantity"] == "standard deviation of the expected error"
    assert f"wrote {files / 'error.tif'}" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--uncertainty", "fused.tif"), "is also OUT"),
        (("--uncertainty", "error.tif", "--method", "regression"), "predicts no uncertainty; choose feinfn"),
        (("--budget", "30s", "--effort", "fast"), "give one of them"),
        (("--budget", "soon"), "--budget takes a duration such as 30s, 2min or 1h; got 'soon'"),
        (("--budget", "0s"), "--budget takes a duration such as 30s, 2min or 1h; got '0s'"),
        (("--budget", "30s", "--method", "gsa"), "the method gsa takes no --budget"),
        (("--effort", "fast", "--method", "gsa"), "the method gsa takes no --effort"),
        (("--best-so-far", "--method", "gsa"), "the method gsa takes no --best-so-far"),
        (("--weights", "visible", "--method", "gsa"), "the method gsa takes no --weights: it has no network"),
        (("--weights", "visible"), "no weights 'visible'"),
        (("--effort", "heroic"), "method 'feinfn': effort: input should be"),
    ],
)
def test_wrong_uses_of_effort_and_uncertainty(fails, files, words, message):
    words = [files / word if word.endswith(".tif") else word for word in words]
    code, error = fails("fuse", files / "hsi.tif", files / "msi.tif", files / "fused.tif", *words)
    assert code == 2
    assert message in error
    assert not (files / "fused.tif").exists()


def test_weights_trained_on_other_scenes_are_started_from(run, fails, files, pair, tmp_path):
    bands, msi_bands = pair.hsi.bands, pair.msi.bands
    size = {"width": 8, "encoder_blocks": 0, "hidden": (8,), "decoder_width": 8, "decoder_depth": 1}
    base = {"method": "feinfn", "settings": {"steps": 0}, "guidance": True}
    for name, guides in (("fitting", msi_bands), ("other", msi_bands + 1)):
        network = hyperfuse.create_network("feinfn", hsi_bands=bands, msi_bands=guides + bands, **size)
        save_pretrained(network, tmp_path / name, base=base)
    words = ("fuse", files / "hsi.tif", files / "msi.tif", files / "fused.tif", "--weights")
    code, _, err = run(*words, tmp_path / "fitting")
    assert code == 0, err
    assert read(files / "fused.tif").history[-1]["settings"]["weights"] == str(tmp_path / "fitting")
    code, message = fails(*words, tmp_path / "other", "--overwrite")
    assert code == 2
    assert f"is for an HSI of {bands} bands and an MSI of {msi_bands + 1}" in message


def test_a_budget_reaches_the_method_less_what_is_spent_already(run, files, monkeypatch):
    asked = []
    method = get_method(DEFAULT_METHOD)
    fit = type(method).fit

    def spy(self, samples, settings, progress):
        asked.append(settings.budget_seconds)
        return fit(self, samples, method.configure(effort="fast"), progress)

    monkeypatch.setattr(type(method), "fit", spy)
    code, _, _ = run("fuse", files / "hsi.tif", files / "msi.tif", files / "fused.tif", "--budget", "2min")
    assert code == 0
    assert 100 < asked[0] < 120
    # The process of a command was started for it: what starting took counts, and shows what ending will take.
    words = [str(files / name) for name in ("hsi.tif", "msi.tif", "fused.tif")]
    monkeypatch.setattr(hyperfuse.runtime.processes, "seconds_alive", lambda: 50.0)
    monkeypatch.setattr(sys, "argv", ["hyperfuse", "fuse", *words, "--budget", "2min", "--overwrite"])
    monkeypatch.setattr(gc, "freeze", lambda: None)
    monkeypatch.setenv("PYTHONSAFEPATH", "1")
    with signals_restored():  # which a process that ends with its command leaves ignored
        assert main() == 0
        monkeypatch.setattr(sys, "argv", [*sys.argv, "--report", str(files / "page.html")])
        assert main() == 0
    assert 50 < asked[1] < 65.01
    assert 20 < asked[2] < 35.01


def test_a_report_states_what_went_in_and_what_came_out(run, files):
    words = ("--report", files / "report.html", "--reference", files / "reference.tif", "--effort", "fast")
    code, _, err = run("fuse", files / "hsi.tif", files / "msi.tif", files / "fused.tif", *words)
    assert code == 0
    assert f"wrote {files / 'report.html'}" in err
    page = (files / "report.html").read_text()
    assert "fused.tif" in page
    assert "--effort fast" in page
    assert "PSNR" in page


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--report", "fused.tif"), "is another file of this call"),
        (("--report", "hsi.tif"), "is another file of this call"),
        (("--report", "reference.tif"), "exists already"),
        (("--report", "/proc/report.html"), "the folder /proc cannot be written to"),
        (("--reference", "reference.tif"), "give --report"),
    ],
)
def test_reports_that_cannot_be(fails, files, words, message):
    words = [files / word if word.endswith(".tif") else word for word in words]
    code, error = fails("fuse", files / "hsi.tif", files / "msi.tif", files / "fused.tif", *words)
    assert code == 2
    assert message in error
    assert not (files / "fused.tif").exists()


def test_tiles_give_about_the_whole(run, files, pair):
    pair.sensor.save(files / "sensor.yaml")
    words = ("--method", "bicubic", "--quiet")
    assert run("fuse", files / "hsi.tif", files / "msi.tif", files / "whole.tif", *words)[0] == 0
    assert run("fuse", files / "hsi.tif", files / "msi.tif", files / "tiles.tif", *words, "--tile", 12)[0] == 0
    np.testing.assert_allclose(read(files / "tiles.tif").data, read(files / "whole.tif").data, atol=1e-5)


def test_a_budget_bounds_a_scene_in_tiles(run, files):
    words = ("--tile", 12, "--budget", "20s")
    start = time.monotonic()
    code, _, err = run("fuse", files / "hsi.tif", files / "msi.tif", files / "fused.tif", *words)
    assert code == 0, err
    assert time.monotonic() - start < 30
    # Its MSI explains this scene to the last digit: there may be nothing for a network.
    assert read(files / "fused.tif").history[-1]["run"]["end"] in ("time", "no time", "nothing learnt")


def test_the_best_so_far_of_a_scene_in_tiles(run, files, monkeypatch):
    def interrupt(fraction, message=""):
        if "fitting" in message:
            raise KeyboardInterrupt

    monkeypatch.setattr(Session, "progress", lambda self, title: nullcontext(interrupt))
    code, _, err = run("fuse", files / "hsi.tif", files / "msi.tif", files / "fused.tif", "--tile", 12, "--best-so-far")
    assert code == 0, err
    assert "note: interrupted after" in err


def test_a_report_and_the_uncertainty_of_a_scene_in_tiles(run, files, pair):
    pair.sensor.save(files / "sensor.yaml")
    write(files / "truth.tif", pair.reference)
    words = ("--tile", 12, "--effort", "fast", "--uncertainty", files / "error.tif", "--report", files / "report.html")
    code, _, err = run(
        "fuse", files / "hsi.tif", files / "msi.tif", files / "fused.tif", *words, "--reference", files / "truth.tif"
    )
    assert code == 0, err
    error = read(files / "error.tif")
    assert error.data.shape == read(files / "fused.tif").data.shape
    assert error.data.min() > 0
    assert error.history[-1]["quantity"] == "standard deviation of the expected error"
    page = (files / "report.html").read_text("utf-8")
    assert "the report shows a part" not in page
    assert "PSNR" in page
    assert "expected error" in page


def test_a_reference_in_another_orientation_order_and_extent_is_put_on_the_grid_of_the_result(run, files, pair):
    truth = pair.reference.crop(2, 3, 20, 30).select_bands(range(pair.reference.bands - 1, 0, -1))
    upwards = truth.transform @ Affine(1, 0, 0, 0, -1, truth.rows)
    south_up = truth.replace(data=truth.data[:, ::-1], transform=upwards)
    write(files / "truth.tif", south_up)
    for part, (reference, words) in enumerate(
        [("reference.tif", ()), ("truth.tif", ()), ("truth.tif", ("--tile", 12))]
    ):
        page = files / f"{part}.html"
        words = (*words, "--method", "regression", "--report", page, "--reference", files / reference)
        code, _, err = run("fuse", files / "hsi.tif", files / "msi.tif", files / f"{part}.tif", *words)
        assert code == 0, err
        assert ("the rows of the reference run the other way; they were flipped" in err) == (part > 0)
        scores = re.search(r">PSNR</t[hd]>\s*<td[^>]*>(.*?)</td>", page.read_text("utf-8"), re.DOTALL)
        # Of the extent that it covers: far less for a shifted, mirrored or permuted reference.
        assert float(scores[1].split()[0]) > 30


def test_a_reference_on_another_grid_is_reported_and_not_scored(run, files, pair):
    write(files / "truth.tif", pair.reference.replace(crs="EPSG:32601"))
    words = ("--method", "regression", "--report", files / "page.html", "--reference", files / "truth.tif")
    code, _, err = run("fuse", files / "hsi.tif", files / "msi.tif", files / "out.tif", *words)
    assert code == 0, err
    assert "warning: not scored: the result and the reference are in other coordinate systems" in err
    assert "other coordinate systems" in (files / "page.html").read_text("utf-8")


def test_paths_are_written_in_any_way(run, files, monkeypatch):
    monkeypatch.chdir(files)
    (files / "out").mkdir()
    for hsi, out in (("./hsi.tif", "./fused.tif"), (".//hsi.tif", "out/../out//fused.mat:x"), ("hsi.tif", "./a.zarr/")):
        code, _, err = run("fuse", hsi, "./msi.tif", out, "--method", "bicubic", "--no-align", "--report", "./r.html")
        assert code == 0, err
        assert "hsi.tif./" not in (files / "r.html").read_text("utf-8")
        (files / "r.html").unlink()
    assert (files / "fused.tif").exists()
    assert (files / "out" / "fused.mat").exists()
    assert (files / "a.zarr").is_dir()
