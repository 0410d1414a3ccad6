"""Registration alone on the command line: what was found as text and JSON, the MSI on the HSI's geometry, the map."""

import json

import numpy as np
import pytest

from hyperfuse.cube.cube import Cube
from hyperfuse.errors import InputError
from hyperfuse.io import read, write
from hyperfuse.scenes.matching.registered import search_reach
from hyperfuse.scenes.simulate import simulate
from scenes import patches_of_materials

SHIFT = (2.0, -1.0)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A pair whose HSI lies two MSI pixels further down, and one further left, than its header states."""
    folder = tmp_path_factory.mktemp("pair")
    image = patches_of_materials(12, 120, 132).astype(np.float32)
    truth = Cube(data=image, wavelengths=np.linspace(450, 900, 12), transform=(10, 0, 364000, 0, -10, 5810000),
                 crs="EPSG:32633")  # fmt: skip
    made = simulate(truth, ratio=3, srf="gaussian:480/60,560/60,660/60,840/80", phase=(1 + SHIFT[0], 1 + SHIFT[1]))
    write(folder / "hsi.tif", made.hsi.replace(transform=(30, 0, 364000, 0, -30, 5810000)))
    write(folder / "msi.tif", made.msi)
    return folder


def test_the_msi_comes_to_the_hsi(run, fails, pair, tmp_path):
    words = ("align", pair / "hsi.tif", pair / "msi.tif", tmp_path / "out.tif", "--psf", "mtf:0.3")
    code, out, err = run(*words, "--displacement", tmp_path / "map.tif", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["model"] == "shift"
    assert found["doubt"] is None
    assert found["displacement"]["hr_pixels"]["mean_y"] == pytest.approx(SHIFT[0], abs=0.05)
    assert found["displacement"]["hr_pixels"]["mean_x"] == pytest.approx(SHIFT[1], abs=0.05)
    assert found["displacement"]["metres"]["max"] == pytest.approx(10 * np.hypot(*SHIFT), abs=0.7)
    assert found["displacement"]["lr_pixels"]["rmse"] == pytest.approx(np.hypot(*SHIFT) / 3, abs=0.03)
    assert found["explained_variance"]["after"] > found["explained_variance"]["before"]
    moved, msi, field = (read(file) for file in (tmp_path / "out.tif", pair / "msi.tif", tmp_path / "map.tif"))
    assert moved.transform == msi.transform
    assert moved.history[-1]["step"] == "align"
    # The MSI's pixel (r + 2, c - 1) now lies at (r, c).
    inside = np.s_[:, 10:100, 10:120]
    np.testing.assert_allclose(moved.data[inside], msi.data[:, 12:102, 9:119], atol=0.02)
    np.testing.assert_allclose(field.data[0], 10 * SHIFT[0], atol=0.5)
    again = run(*words[:3], tmp_path / "again.tif", "--displacement-from", tmp_path / "map.tif")
    assert again[0] == 0, again[2]
    assert np.array_equal(read(tmp_path / "again.tif").data, moved.data, equal_nan=True)
    assert fails(*words)[1].startswith(f"{tmp_path / 'out.tif'}: exists already")
    assert fails(*words[:3], tmp_path / "x.tif", "--displacement", tmp_path / "x.tif")[1].endswith("name another file")
    assert fails("align", pair / "msi.tif", pair / "hsi.tif")[1].endswith(
        "(ratio 0.333333, 4 and 12 bands); HSI and MSI look swapped"
    )


def test_what_was_found_is_printed(run, pair):
    code, out, err = run("align", pair / "hsi.tif", pair / "msi.tif", "--psf", "mtf:0.3")
    assert code == 0, err
    lines = out.splitlines()
    assert lines[0].split() == ["model", "shift"]
    (row,) = [line for line in lines if line.startswith("displacement")]
    assert row.split()[1:3] == ["HSI", "pixels"]
    assert [float(word) for word in row.split()[3:]] == pytest.approx([np.hypot(*SHIFT) / 3] * 4, abs=0.03)


def test_a_pair_that_does_not_fit_together_is_not_moved(run, pair, tmp_path):
    rng = np.random.default_rng(0)
    write(tmp_path / "noise.tif", read(pair / "msi.tif").replace(data=rng.random((4, 120, 132)), history=()))
    code, out, err = run("align", pair / "hsi.tif", tmp_path / "noise.tif", tmp_path / "out.tif", "--psf", "mtf:0.3")
    assert code == 0, err
    assert "not accepted" in out
    assert out.splitlines()[0].split() == ["model", "none"]
    np.testing.assert_allclose(read(tmp_path / "out.tif").data, read(tmp_path / "noise.tif").data, atol=1e-6)


def test_the_search_reaches_as_far_as_stated(run, fails, pair, tmp_path):
    hsi = read(pair / "hsi.tif")
    # Another 240 m off: 24 MSI pixels.
    write(tmp_path / "far.tif", hsi.replace(transform=hsi.transform.translation(0, 240) @ hsi.transform))
    code, out, err = run(
        "align", tmp_path / "far.tif", pair / "msi.tif", "--psf", "mtf:0.3", "--search", "300", "--json"
    )
    assert code == 0, err
    assert json.loads(out)["displacement"]["hr_pixels"]["mean_y"] == pytest.approx(SHIFT[0] + 24, abs=0.1)
    header = hsi.header
    assert [search_reach(header, (200, 200), metres=metres) for metres in (None, 600.0, 9000.0)] == [350 / 30, 20, 50]
    with pytest.raises(InputError, match="search is in metres"):
        search_reach(header.replace(crs=None), (40, 40), metres=60.0)
    words = ("align", pair / "hsi.tif", pair / "msi.tif", "--search")
    assert fails(*words, "0")[1] == "--search is a distance in metres above 0, got 0"
    words = ("fuse", pair / "hsi.tif", pair / "msi.tif", tmp_path / "x.tif", "--search", "100")
    assert "--search ... has no effect" in fails(*words, "--no-align")[1]
