"""The code of the page on Python runs, block after block, as it stands."""

import re
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest

import hyperfuse as hf
from hyperfuse.networks.pretrained import save_pretrained
from scenes import georeferenced_scene

PAGE = Path(__file__).parents[1] / "docs" / "python.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.filterwarnings("ignore::hyperfuse.HyperfuseWarning")
def test_every_block_runs(tmp_path, monkeypatch):
    mpl.use("agg")
    monkeypatch.chdir(tmp_path)
    scene = georeferenced_scene().replace(wavelengths=np.linspace(430, 2300, 24))
    pair = hf.simulate(scene, ratio=3, srf="sentinel-2a")
    hf.write("hsi.tif", pair.hsi)
    hf.write("msi.tif", pair.msi)
    visible = scene.replace(wavelengths=np.linspace(400, 720, 24))
    reference = hf.Cube(np.tile(visible.data, (1, 2, 2)), wavelengths=visible.wavelengths)
    array, wavelengths = np.ones((3, 4, 5)), [450, 550, 650]
    folder = save_pretrained(hf.create_network("feinfn", hsi_bands=4, msi_bands=2, width=8), tmp_path / "network")
    clouds = np.zeros((pair.msi.rows, pair.msi.cols), np.bool_)
    clouds[:2] = True
    names = {"reference": reference, "array": array, "wavelengths": wavelengths, "folder": folder, "clouds": clouds}
    assert len(BLOCKS) >= 7
    for number, block in enumerate(BLOCKS):
        code = block.replace("600015.0, 5799985.0", "364100.0, 5809900.0")
        exec(compile(code, f"{PAGE.name}, block {number}", "exec"), names)
    assert hf.read("tiled.tif").shape == hf.read("fused.tif").shape == scene.shape
    assert names["image"].shape == names["pair"].reference.shape
