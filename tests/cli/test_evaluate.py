import json

import numpy as np
import pytest
from affine import Affine

from hyperfuse.cube.cube import Cube
from hyperfuse.io import write
from hyperfuse.metrics import evaluate


@pytest.fixture
def scored(tmp_path, scene):
    """Paths of a reference and a noisy copy, and the copy."""
    noise = np.random.default_rng(1).normal(0, 0.02, scene.data.shape)
    copy = scene.replace(data=(scene.data + noise).astype(np.float32))
    write(tmp_path / "ref.tif", scene)
    write(tmp_path / "fused.tif", copy)
    return tmp_path / "ref.tif", tmp_path / "fused.tif", copy


def test_scores_go_to_stdout_with_what_was_done(run, scored, scene):
    code, out, err = run("evaluate", *scored[:2], "--ratio", "3")
    assert (code, err) == (0, "")
    scores = evaluate(scene, scored[2], 3)
    lines = out.splitlines()
    assert lines[0].split() == ["PSNR", f"{scores['psnr_db']:.2f}", "dB"]
    assert lines[1].split() == ["SAM", f"{scores['sam_degrees']:.3f}", "degrees"]
    assert "ratio 3, peak 1, clipped to [0, 1]" in lines
    assert any(line.startswith("24 bands (0 left out") and "864 pixels (0 left out" in line for line in lines)
    assert lines[-1] == scores["convention"]


def test_json_holds_every_score(run, scored, scene):
    code, out, _ = run("evaluate", *scored[:2], "--ratio", "4,2", "--json")
    assert code == 0
    expected = evaluate(scene, scored[2], (4, 2))
    found = json.loads(out)
    assert found.keys() == expected.keys()
    assert found["psnr_db"] == expected["psnr_db"]
    assert found["ratio"] == pytest.approx(8**0.5)
    assert found["clipped"] == [0.0, 1.0]


def test_json_has_no_infinity(run, scored):
    _, out, _ = run("evaluate", scored[0], scored[0], "--ratio", "3", "--json")
    assert json.loads(out, parse_constant=pytest.fail)["psnr_db"] is None
    _, out, _ = run("evaluate", scored[0], scored[0], "--ratio", "3")
    assert out.split()[:2] == ["PSNR", "inf"]


def test_peak_and_clip_are_passed_on(run, scored, scene):
    for words, options in (
        (("--peak", "2"), {"peak": 2.0}),
        (("--no-clip",), {"clip": False}),
        (("--clip", "--peak", "0.5"), {"clip": True, "peak": 0.5}),
    ):
        _, out, _ = run("evaluate", *scored[:2], "--ratio", "3", "--json", *words)
        expected = evaluate(scene, scored[2], 3, **options)
        found = json.loads(out)
        assert found["psnr_db"] == expected["psnr_db"]
        assert found["peak"] == expected["peak"]
        assert (found["clipped"] is None) == (expected["clipped"] is None)


def test_pixels_under_the_mask_are_left_out(run, scored, scene, tmp_path):
    spoilt = scored[2].data.copy()
    spoilt[:, 2:5, 3:7] = 1.0
    write(tmp_path / "spoilt.tif", scene.replace(data=spoilt))
    clouds = np.zeros((1, 24, 36), np.uint8)
    clouds[0, 2:5, 3:7] = 1
    write(tmp_path / "clouds.tif", Cube(data=clouds), dtype="uint8")
    words = ("--ratio", "3", "--json", "--mask", tmp_path / "clouds.tif")
    _, out, _ = run("evaluate", scored[0], tmp_path / "spoilt.tif", *words)
    found = json.loads(out)
    expected = evaluate(scene, scored[2], 3, mask=clouds[0] == 0)
    assert found["pixels_left_out"] == 12
    assert found["psnr_db"] == pytest.approx(expected["psnr_db"], rel=1e-6)


def test_the_coding_of_the_reference_is_not_that_of_the_fused_image(run, scored, scene, tmp_path):
    np.save(tmp_path / "coded.npy", np.rint(scene.data * 1e4).astype(np.uint16))
    words = ("--ratio", "3", "--json", "--scale", "0.0001")
    _, out, _ = run("evaluate", tmp_path / "coded.npy", scored[1], *words)
    expected = evaluate(scene, scored[2], 3)
    assert json.loads(out)["psnr_db"] == pytest.approx(expected["psnr_db"], abs=0.01)
    _, out, _ = run("evaluate", scored[0], tmp_path / "coded.npy", "--ratio", "3", "--json", "--fused-scale", "0.0001")
    assert json.loads(out)["psnr_db"] > 80


def test_bands_are_those_of_the_reference(run, scored, scene, tmp_path):
    write(tmp_path / "part.tif", scored[2].select_bands(range(4, 10)))
    _, out, _ = run("evaluate", scored[0], tmp_path / "part.tif", "--ratio", "3", "--json", "--bands", "5-10")
    assert json.loads(out)["bands_used"] == 6
    _, out, _ = run("evaluate", *scored[:2], "--ratio", "3", "--json", "--bands", "5-10", "--fused-bands", "5-10")
    assert json.loads(out)["bands_used"] == 6


def test_images_of_other_sizes_are_refused_or_cut_by_their_georeference(run, fails, scored, scene, tmp_path):
    write(tmp_path / "small.tif", scored[2].crop(0, 0, 21, 33))
    code, out, err = run("evaluate", scored[0], tmp_path / "small.tif", "--ratio", "3", "--json")
    assert code == 0
    assert json.loads(out)["pixels"] == 21 * 33
    assert "cut to the extent of the fused image" in err
    np.save(tmp_path / "small.npy", scored[2].crop(0, 0, 21, 33).data)
    code, message = fails("evaluate", scored[0], tmp_path / "small.npy", "--ratio", "3")
    assert code == 2
    assert "24 rows, 36 columns, 24 bands, the fused image 21 rows, 33 columns, 24 bands" in message


def test_files_are_compared_as_images(run, fails, scored, scene, tmp_path):
    south_up = scene.replace(data=scene.data[:, ::-1], transform=scene.transform @ Affine(1, 0, 0, 0, -1, scene.rows))
    for name, image in {"south.tif": south_up, "bands.tif": scene.select_bands(range(23, -1, -1))}.items():
        write(tmp_path / name, image)
        code, out, err = run("evaluate", scored[0], tmp_path / name, "--ratio", "3", "--json")
        assert (code, json.loads(out)["psnr_db"]) == (0, None)  # infinite
        assert err.count("warning: ") == 1
        assert len(json.loads(out)["notes"]) == 1
    write(tmp_path / "counts.tif", scene.replace(data=scene.data * 1e4))
    code, message = fails("evaluate", scored[0], tmp_path / "counts.tif", "--ratio", "3")
    assert code == 2
    assert "10000 times" in message
    assert "--fused-scale 0.0001" in message
    code, message = fails("evaluate", tmp_path / "counts.tif", scored[0], "--ratio", "3")
    assert "read the reference with --scale 0.0001" in message


def test_wrong_values_are_told(fails, scored):
    assert "--ratio" in fails("evaluate", *scored[:2])[1]
    code, message = fails("evaluate", *scored[:2], "--ratio", "0.5")
    assert code == 2
    assert str(scored[0]) in message
    assert "at least 1" in message
    assert "positive" in fails("evaluate", *scored[:2], "--ratio", "3", "--peak", "-1")[1]
