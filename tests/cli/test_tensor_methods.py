"""Methods of low-rank tensors from end to end: files, gaps, tiles, time, and what they refuse."""

import numpy as np
import pytest

import hyperfuse as hf
from scenes import patches_of_materials

# Settings that are quick on a small scene; the setting of many iterations; dB that tiles may cost.
METHODS = {
    "cstf": ({}, "sweeps=9999", 3.0),
    "ir-tensr": ({"passes": 2, "inner_iterations": 8}, "passes=9999", 3.0),
    "ltmr": ({"iterations": 5}, "iterations=9999", 1.0),
    "lttr": ({"iterations": 3}, "iterations=9999", 1.0),
}


@pytest.fixture(scope="module")
def pair():
    reference = hf.Cube(data=patches_of_materials(8, 96, 96), wavelengths=np.linspace(450, 900, 8))
    return hf.simulate(reference, ratio=4, preset="uestc", srf="gaussian:480/60,560/60,640/60,800/60")


@pytest.fixture
def words(pair, tmp_path):
    hf.write(tmp_path / "hsi.tif", pair.hsi)
    hf.write(tmp_path / "msi.tif", pair.msi)
    pair.sensor.save(tmp_path / "sensor.yaml")
    return "fuse", tmp_path / "hsi.tif", tmp_path / "msi.tif", tmp_path / "out.tif"


@pytest.mark.parametrize("name", METHODS)
def test_a_gap_stays_one_and_the_history_has_the_iterations(name, pair):
    hsi = pair.hsi.data.copy()
    hsi[:, 3, 4] = np.nan
    gappy = pair.hsi.replace(data=hsi, valid=np.isfinite(hsi))
    fused = hf.fuse(gappy, pair.msi, method=name, sensor=pair.sensor, settings=METHODS[name][0])
    empty = np.isnan(fused.data)
    assert 0 < empty.sum() <= 8 * 36
    whole = hf.fuse(pair.hsi, pair.msi, method=name, sensor=pair.sensor, settings=METHODS[name][0])
    assert np.sqrt(np.nanmean((fused.data - whole.data) ** 2)) < 0.02
    step = fused.history[-1]
    assert step["method"] == name
    assert step["run"]["iterations"] >= 1
    assert step["run"]["end"] in ("iterations", "converged")
    assert len(step["run"]["change"]) >= 1


@pytest.mark.parametrize("name", METHODS)
def test_tiles_are_fused_by_themselves(name, pair, words, run):
    settings, _, loss = METHODS[name]
    options = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    code, _, err = run(*words, "--method", name, "--tile", 48, *options)
    assert code == 0, err
    whole = hf.fuse(pair.hsi, pair.msi, method=name, sensor=pair.sensor, settings=settings)
    scores = [hf.metrics.psnr(pair.reference.data, one.data) for one in (whole, hf.read(words[-1]))]
    assert scores[1] > scores[0] - loss


@pytest.mark.parametrize("name", METHODS)
def test_the_time_ends_them_and_a_note_says_so(name, words, run):
    code, _, err = run(*words, "--method", name, "--budget", "1s", "--set", METHODS[name][1])
    assert code == 0, err
    assert "note: the budget ended the method after" in err
    assert hf.read(words[-1]).shape == (8, 96, 96)


@pytest.mark.parametrize("name", METHODS)
def test_what_they_lack_is_refused(name, words, run):
    for options, reason in (
        (("--effort", "fast"), f"the method {name} takes no --effort"),
        (("--best-so-far",), f"the method {name} takes no --best-so-far"),
        (("--uncertainty", words[-1].with_name("u.tif")), f"the method {name} predicts no uncertainty"),
    ):
        code, _, err = run(*words, "--method", name, *options)
        assert (code, reason in err) == (2, True), err
