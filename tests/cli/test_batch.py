"""A folder of pairs in one call: what fails does not stop the others, what is done is not done again."""

import json
import shutil

import numpy as np
import pytest

from hyperfuse.cli.batch import find_pairs
from hyperfuse.io import read, write
from hyperfuse.scenes.simulate import simulate

FAST = ("--method", "regression", "--ratio", "3", "--psf", "mtf:0.3", "--no-align")


@pytest.fixture
def pairs(tmp_path, pair):
    """Two good pairs, one in a subfolder and one as two files, and one whose MSI is cut off."""
    folder = tmp_path / "pairs"
    (folder / "north").mkdir(parents=True)
    write(folder / "north" / "hsi.tif", pair.hsi)
    write(folder / "north" / "msi.tif", pair.msi)
    write(folder / "South_hsi.img", pair.hsi)
    write(folder / "South_msi.tif", pair.msi)
    shutil.copytree(folder / "north", folder / "broken")
    whole = (folder / "broken" / "msi.tif").read_bytes()
    (folder / "broken" / "msi.tif").write_bytes(whole[: len(whole) // 3])
    return folder


def test_every_pair_is_fused_and_a_broken_one_is_reported(run, pairs, tmp_path):
    code, out, err = run("batch", pairs, tmp_path / "out", *FAST, "--json")
    assert code == 1
    results = {result["pair"]: result for result in json.loads(out)}
    assert {name: result["state"] for name, result in results.items()} == {
        "South": "fused", "broken": "failed", "north": "fused",
    }  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["South.tif", "north.tif"]
    lines = err.splitlines()
    (failed,) = [line for line in lines if line.startswith("failed: ")]
    assert failed.startswith("failed: broken: ")
    assert "msi.tif" in failed
    assert lines[-1] == "error: 1 of 3 pairs failed: broken"
    assert "pair 2 of 3: broken" in lines
    assert "Traceback" not in err


def test_a_pair_is_fused_as_fuse_does(run, pairs, tmp_path):
    run("batch", pairs, tmp_path / "out", *FAST)
    north = pairs / "north"
    assert run("fuse", north / "hsi.tif", north / "msi.tif", tmp_path / "one.tif", *FAST)[0] == 0
    np.testing.assert_array_equal(read(tmp_path / "out" / "north.tif").data, read(tmp_path / "one.tif").data)


def test_resume_skips_what_is_done(run, pairs, tmp_path, pair):
    run("batch", pairs, tmp_path / "out", *FAST)
    before = (tmp_path / "out" / "north.tif").stat().st_mtime_ns
    code, _, err = run("batch", pairs, tmp_path / "out", *FAST)
    assert code == 1
    assert "3 of 3 pairs failed" in err
    assert "exists already" in err
    write(pairs / "broken" / "msi.tif", pair.msi, overwrite=True)
    code, out, _ = run("batch", pairs, tmp_path / "out", *FAST, "--resume", "--json")
    assert code == 0
    assert [result["state"] for result in json.loads(out)] == ["done before", "fused", "done before"]
    assert (tmp_path / "out" / "north.tif").stat().st_mtime_ns == before


def test_files_of_one_pair_are_named_after_it(run, fails, pairs, tmp_path):
    shutil.rmtree(pairs / "broken")
    words = ("batch", pairs, tmp_path / "out", *FAST)
    code, message = fails(*words, "--report", tmp_path / "report.html")
    assert code == 2
    assert message.startswith("--report names one file for all pairs; write {name} in it")
    assert not (tmp_path / "out").exists()
    assert run(*words, "--report", tmp_path / "{name}.html")[0] == 0
    assert (tmp_path / "north.html").exists()
    assert (tmp_path / "South.html").exists()


def test_a_wrong_call_is_refused_before_any_pair(fails, pairs, tmp_path):
    for words, expected in (
        ((pairs, tmp_path / "out", "--metod", "gsa"), "--metod"),
        ((tmp_path / "none", tmp_path / "out"), "is no folder"),
        ((pairs / "north" / "hsi.tif", tmp_path / "out"), "is no folder"),
        ((pairs, pairs / "South_msi.tif"), "is a file"),
    ):
        code, message = fails("batch", *words)
        assert code == 2
        assert expected in message
    assert not (tmp_path / "out").exists()
    (tmp_path / "empty").mkdir()
    assert "holds no pairs" in fails("batch", tmp_path / "empty", tmp_path / "out")[1]


def test_an_image_without_its_partner_is_a_failure_of_its_pair(run, pairs, tmp_path):
    (pairs / "South_msi.tif").unlink()
    code, _, err = run("batch", pairs, tmp_path / "out", *FAST, "--quiet")
    assert code == 1
    assert "failed: South: 1 HSI and 0 MSI are there; one of each is needed" in err
    assert (tmp_path / "out" / "north.tif").exists()
    assert {pair.name for pair in find_pairs(pairs)} == {"South", "broken", "north"}


def test_further_msis_of_a_pair_are_used(run, pair, tmp_path):
    folder = tmp_path / "pairs" / "north"
    folder.mkdir(parents=True)
    coarse = simulate(pair.msi.replace(history=()), ratio=1.5, srf="boxes:1").hsi.replace(band_names=None)
    write(folder / "hsi.tif", pair.hsi)
    write(folder / "msi.tif", pair.msi.select_bands([0, 1]))
    write(folder / "msi2.tif", coarse.select_bands([2]))
    words = ("--method", "regression", "--no-align")
    code, _, err = run("batch", folder.parent, tmp_path / "out", *words)
    assert code == 0, err
    assert "note: " + str(folder / "msi2.tif") + ": 1 band with pixels of " in err
    direct = run("fuse", *(folder / f"{name}.tif" for name in ("hsi", "msi", "msi2")), tmp_path / "out.tif", *words)
    assert direct[0] == 0, direct[2]
    assert np.array_equal(read(tmp_path / "out.tif").data, read(tmp_path / "out" / "north.tif").data)
    assert read(tmp_path / "out.tif").history[-1]["inputs"]["msi"] == "msi.tif, msi2.tif"
    write(folder / "msi2.img", coarse)
    assert find_pairs(folder.parent)[0].fault == "several msi2 are there; one is needed"
