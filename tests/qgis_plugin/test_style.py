"""QGIS opens an image as its style and its descriptions state."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from hyperfuse.cube.cube import Cube
from hyperfuse.io import write
from hyperfuse.io.qgis_style import write_qgis_style

PYTHON = Path("/usr/bin/python3")  # Debian's, which QGIS's modules are built for
pytestmark = [
    pytest.mark.qgis,
    pytest.mark.skipif(not Path("/usr/bin/qgis_process.bin").exists(), reason="QGIS is not installed"),
]
SHOW = """
import json, sys
from qgis.core import QgsApplication, QgsRasterLayer
application = QgsApplication([], False)
application.initQgis()
layer = QgsRasterLayer(sys.argv[1], "fused")
renderer = layer.renderer()
stretches = [renderer.redContrastEnhancement(), renderer.greenContrastEnhancement(), renderer.blueContrastEnhancement()]
print(json.dumps({
    "renderer": renderer.type(),
    "bands": renderer.usesBands(),
    "names": [layer.bandName(band) for band in renderer.usesBands()],
    "limits": [[one.minimumValue(), one.maximumValue()] for one in stretches],
}))
del renderer, stretches, layer
application.exitQgis()
"""


@pytest.mark.parametrize("dtype", ["float32", "uint16"])
def test_qgis_shows_an_image_as_its_style_says(tmp_path, dtype):
    data = np.random.default_rng(0).random((6, 20, 30), np.float32)
    names = ["a", "b", "c", "d", "e", "f"]
    cube = Cube(data=data, wavelengths=[440, 475, 560, 600, 655, 900], band_names=names, scale=1e-4)
    write(tmp_path / "fused.tif", cube, dtype=dtype)
    write_qgis_style(tmp_path / "fused.tif")
    kept = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    environment = {name: value for name, value in os.environ.items() if name not in kept}
    environment |= {"QT_QPA_PLATFORM": "offscreen", "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    ended = subprocess.run(
        [PYTHON, "-c", SHOW, tmp_path / "fused.tif"], env=environment, capture_output=True, text=True, check=True
    )
    found = json.loads(ended.stdout.splitlines()[-1])
    assert (found["renderer"], found["bands"]) == ("multibandcolor", [5, 3, 2])
    assert [name.split(": ")[1] for name in found["names"]] == ["e (655 nm)", "c (560 nm)", "b (475 nm)"]
    expected = [np.percentile(data[band - 1].astype(float), [2, 98]) for band in found["bands"]]
    assert np.allclose(found["limits"], expected, atol=1e-4)
