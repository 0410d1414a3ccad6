"""The plugin in QGIS's own window, on a display without a screen.

With QGIS_PICTURES=FOLDER the pictures of docs/qgis.md are written there.
"""

import json
import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hyperfuse.cube.cube import Cube
from hyperfuse.datasets import load_indian_pines
from hyperfuse.io import write
from hyperfuse.scenes.simulate import simulate

pytestmark = pytest.mark.qgis


@pytest.fixture
def indian_pines(tmp_path):
    """The real scene as a pair in a nominal position: hsi.tif (80 m), msi.tif (20 m, four bands)."""
    scene = load_indian_pines()
    transform = (20.0, 0.0, 489_000.0, 0.0, -20.0, 4_483_000.0)
    placed = Cube(data=scene.data, wavelengths=scene.wavelengths, transform=transform, crs="EPSG:32616")
    made = simulate(placed, ratio=4, preset="mtf", srf="gaussian:490/65,560/35,665/30,840/115")
    for name, cube in (("hsi", made.hsi), ("msi", made.msi)):
        write(tmp_path / f"{name}.tif", cube)
    return tmp_path


def test_the_dialog_fuses_and_the_map_shows_the_result_in_its_colours(profile, indian_pines, program):
    environ, plugins = profile
    settings = plugins.parents[1] / "QGIS" / "QGIS3.ini"
    settings.parent.mkdir(exist_ok=True)
    settings.write_text("[PythonPlugins]\nhyperfuse_processing=true\n")
    job = {
        **{name: str(indian_pines / f"{name}.tif") for name in ("hsi", "msi")},
        "method": "gsa",
        "output": str(indian_pines / "fused.tif"),
        "folder": str(indian_pines),
    }
    (indian_pines / "job.json").write_text(json.dumps(job))
    environ |= {"HYPERFUSE_EXECUTABLE": str(program), "HYPERFUSE_JOB": str(indian_pines / "job.json")}
    del environ["QT_QPA_PLATFORM"]
    command = ["xvfb-run", "-a", "-s", "-screen 0 1280x900x24", "qgis.bin", "--noversioncheck", "--nologo"]
    done = subprocess.run(
        [*command, "--code", Path(__file__).parents[2] / "qgis" / "checks" / "window.py"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert (indian_pines / "answers.json").is_file(), done.stdout[-2000:] + done.stderr[-2000:]
    answers = json.loads((indian_pines / "answers.json").read_text("utf-8"))
    assert "traceback" not in answers, answers["traceback"]
    if "QGIS_PICTURES" in os.environ:
        for name in ("dialog", "map"):
            picture = Image.open(indian_pines / f"{name}.png").convert("RGB").quantize(256)
            picture.save(Path(os.environ["QGIS_PICTURES"]) / f"qgis-{name}.png", optimize=True)
    assert {"", "gsa", "feinfn"} <= set(answers["offered"])
    assert answers["finished"]
    layer = answers["layer"]
    assert (layer["name"], layer["renderer"]) == ("hsi, fused", "multibandcolor")
    wavelengths = [float(re.search(r"([0-9.]+) nm", name)[1]) for name in layer["band names"]]
    expected = load_indian_pines().wavelengths
    np.testing.assert_allclose(wavelengths, expected, atol=0.01)
    assert layer["bands"] == [1 + int(np.abs(expected - colour).argmin()) for colour in (650, 560, 470)]
    assert answers["colours"] > 500  # a picture, not a plain area
    assert answers["progress"] == sorted(answers["progress"])
    assert answers["progress"]
    assert answers["cancelled after"] < 1
    assert not list(indian_pines.glob("*cancelled*"))
