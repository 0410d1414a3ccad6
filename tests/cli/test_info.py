import json

import numpy as np
import pytest

from hyperfuse.cli.info import _ranges
from hyperfuse.cube.cube import Cube
from hyperfuse.io import read, summary, write


@pytest.fixture
def tiles(tmp_path, scene):
    """Four tiles of a scene with a bad and empty band and a gap, and the scene."""
    valid = np.ones(scene.data.shape, bool)
    valid[6] = False
    valid[:, 0, 0] = False
    good = np.ones(24, bool)
    good[6] = False
    cube = scene.replace(
        valid=valid, good_bands=good, nodata=-32768.0, scale=1e-4, attributes={"start_time": "2022-07-24"}
    )
    paths = []
    for row in (0, 12):
        for col in (0, 18):
            paths.append(tmp_path / f"tile_{row}_{col}.tif")
            write(paths[-1], cube.crop(row, col, 12, 18), dtype="int16")
    return paths, cube


def labelled(out):
    return {line[:14].strip(): line[14:] for line in out.splitlines()}


def test_tiles_are_merged_and_described(run, tiles):
    paths, _ = tiles
    code, out, err = run("info", *paths)
    assert (code, err) == (0, "")
    lines = labelled(out)
    assert lines["file"] == f"{paths[0]} and 3 more"
    assert lines["size"] == "24 rows, 36 columns, 24 bands, float32"
    assert lines["CRS"] == "EPSG:32633"
    assert lines["pixel"] == "10 m"
    assert lines["bounds"] == "west 364000, south 5809760, east 364360, north 5810000"
    assert lines["wavelengths"] == "430 to 890 nm"
    assert lines["bad bands"] == lines["empty bands"] == "1 (7, counted from 1)"
    assert lines["nodata"] == "-32768.0; 0.116 % of the values are gaps"
    assert lines["coded as"] == "0.0001 * stored + 0 (applied)"
    assert lines["start_time"] == "2022-07-24"
    assert lines["values"].endswith("reflectance")


def test_a_pattern_is_the_same_as_its_files(run, tiles, tmp_path):
    _, out, _ = run("info", tmp_path / "tile_*.tif")
    assert labelled(out)["size"] == "24 rows, 36 columns, 24 bands, float32"


def test_json_is_the_summary(run, tmp_path, scene):
    write(tmp_path / "cube.tif", scene)
    code, out, _ = run("info", tmp_path / "cube.tif", "--json")
    assert code == 0
    assert json.loads(out) == summary(scene)


def test_what_is_not_known_is_not_shown(run, tmp_path):
    np.save(tmp_path / "cube.npy", np.ones((2, 3, 4)))
    _, out, _ = run("info", tmp_path / "cube.npy")
    assert labelled(out) == {
        "file": str(tmp_path / "cube.npy"),
        "size": "3 rows, 4 columns, 2 bands, float64",
        "wavelengths": "unknown",
        "nodata": "none declared; 0 % of the values are gaps",
        "values": "1 to 1, mean 1",
    }


def test_the_reading_options_are_used(run, tmp_path):
    stored = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    np.save(tmp_path / "cube.npy", stored)
    words = ("--axes", "rows,cols,bands", "--bands", "2-3", "--scale", "2", "--offset", "1", "--nodata", "5", "--json")
    _, out, _ = run("info", tmp_path / "cube.npy", *words)
    found = json.loads(out)
    assert (found["bands"], found["rows"], found["cols"]) == (2, 2, 3)
    kept = stored[:, :, 1:3][stored[:, :, 1:3] != 5]
    assert found["value_range"] == [2 * kept.min() + 1, 2 * kept.max() + 1]
    assert found["gap_fraction"] == pytest.approx(1 / 12)


def test_an_image_of_gaps_alone(run, tmp_path):
    write(tmp_path / "empty.tif", Cube(data=np.zeros((2, 3, 4)), valid=np.zeros((2, 3, 4), bool), nodata=0.0))
    code, out, _ = run("info", tmp_path / "empty.tif")
    assert code == 0
    assert labelled(out)["values"] == "none: all are gaps"


def test_history_is_shown_step_by_step(run, files):
    run("fuse", files / "hsi.tif", files / "msi.tif", files / "fused.tif", "--method", "local-regression")
    _, out, _ = run("info", files / "fused.tif")
    lines = labelled(out)
    assert lines["step 1"].startswith("step simulate, preset mtf, ratio [3.0, 3.0], ")
    assert lines["step 2"].startswith("step fuse, method local-regression, ")


def test_tiles_that_do_not_belong_together_are_told(fails, tmp_path, scene):
    write(tmp_path / "a.tif", scene)
    write(tmp_path / "b.tif", scene.replace(crs="EPSG:32634"))
    code, message = fails("info", tmp_path / "a.tif", tmp_path / "b.tif")
    assert code == 2
    assert message.startswith(f"{tmp_path / 'b.tif'}: cannot be merged with {tmp_path / 'a.tif'}")


def test_runs_of_bands_are_joined():
    assert _ranges([3, 4, 5, 9, 11, 12]) == "3-5, 9, 11-12"


def test_the_header_alone_says_the_same_without_the_values(run, files, monkeypatch):
    from hyperfuse.io.formats.raster import RasterImage

    _, out, _ = run("info", files / "hsi.tif", "--json")
    whole = json.loads(out)
    monkeypatch.setattr(RasterImage, "read", lambda *arguments: pytest.fail("values are read"))
    code, out, _ = run("info", files / "hsi.tif", "--json", "--header")
    assert code == 0
    header = json.loads(out)
    assert header.keys() == whole.keys()
    known = {key: value for key, value in header.items() if value is not None}
    assert all(whole[key] == value for key, value in known.items())
    of_values = {"dtype", "empty_bands", "gap_fraction", "empty_pixel_fraction", "value_range", "mean", "every"}
    assert {key for key in whole if header[key] is None and whole[key] is not None} == of_values
    code, out, _ = run("info", files / "hsi.tif", "--header")
    assert code == 0
    assert "values" not in out


def test_a_file_that_is_read_whole_has_a_header_too(run, files):
    write(files / "a.npz", read(files / "hsi.tif"))
    code, out, _ = run("info", files / "a.npz", "--header", "--json")
    assert (code, json.loads(out)["bands"]) == (0, read(files / "hsi.tif").bands)
    code, _, err = run("info", files / "hsi.tif", files / "msi.tif", "--header")
    assert code == 2
    assert "leave out --header" in err


def test_json_states_the_bands_for_red_green_and_blue(run, tmp_path):
    write(tmp_path / "a.tif", Cube(data=np.ones((4, 3, 3)), wavelengths=[450, 480, 565, 655]))
    _, out, _ = run("info", tmp_path / "a.tif", "--json")
    assert json.loads(out)["rgb_bands"] == [4, 3, 2]
