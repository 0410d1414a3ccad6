"""The code of the page on other programs runs, block after block, as it stands."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import scipy.io

import hyperfuse as hf
from hyperfuse.cli import main
from scenes import georeferenced_scene, patches_of_materials

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "integrations.md"
SECTIONS = dict(part.split("\n", 1) for part in PAGE.read_text("utf-8").split("\n## ")[1:])


def blocks(section, language="python"):
    found = re.findall(rf"^```{language}\n(.*?)^```", SECTIONS[section], re.MULTILINE | re.DOTALL)
    assert found
    return found


def test_the_code_on_xarray_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scene = georeferenced_scene()
    pair = hf.simulate(scene, ratio=3, srf="boxes:4")
    hf.write("hsi.tif", pair.hsi)
    hf.write("msi.tif", pair.msi)
    names = {}
    for block in blocks("xarray"):
        exec(compile(block, PAGE.name, "exec"), names)
    assert names["fused"].cube.shape == scene.shape
    np.testing.assert_allclose(hf.read("fused.nc").wavelengths, scene.wavelengths)
    assert np.isfinite(names["part"]).all()


@pytest.mark.skipif(not (ROOT / ".peers" / "deepinv").is_dir(), reason="make peers installs deepinv")
def test_the_code_on_deepinv_runs(peer):
    names = {}
    for block in blocks("deepinv"):
        exec(compile(block, PAGE.name, "exec"), names)
    assert [tuple(one.shape) for one in names["y"]] == [(1, 12, 10, 15), (1, 3, 32, 48)]


def test_the_command_on_hif_benchmarking_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    truth = patches_of_materials(6, 48, 48)
    for folder, variable, image in (("HS/CAVE/4", "hsi", truth[:, ::4, ::4]), ("MS/CAVE", "msi", truth[:3])):
        Path("data", folder).mkdir(parents=True)
        stored = np.round(np.moveaxis(image, 0, 2) * 255).astype(np.uint8)
        scipy.io.savemat(Path("data", folder, "beads_ms.mat"), {variable: stored})
    (line,) = blocks("hif-benchmarking", "bash")
    assert main(shlex.split(line)[1:]) == 0
    assert scipy.io.loadmat("data/SR/local-regression/CAVE/4/beads_ms.mat")["sri"].dtype == np.uint16
