import subprocess
import sys

import numpy as np
import pytest

from hyperfuse.datasets import INDIAN_PINES_SOURCE, load_indian_pines
from hyperfuse.datasets import indian_pines as module
from hyperfuse.errors import MissingDependencyError


def test_the_scene_is_the_one_that_the_package_loads():
    tensorly = pytest.importorskip("tensorly.datasets")
    theirs = np.asarray(tensorly.load_indian_pines().tensor)
    cube = load_indian_pines()
    assert cube.data.shape == (200, 145, 145)
    assert cube.data.dtype == np.float32
    assert cube.data.max() == 1
    np.testing.assert_allclose(cube.data, np.moveaxis(theirs, 2, 0) / theirs.max(), rtol=1e-6)


def test_the_wavelengths_leave_out_the_water_bands():
    pytest.importorskip("tensorly")
    centres = load_indian_pines().wavelengths
    assert centres[0] == 400
    step = 2100 / 219
    # Bands 104 to 108, 150 to 163 and 220, counted from 1, are not there.
    assert np.flatnonzero(np.diff(centres) > 1.5 * step).tolist() == [102, 143]
    assert centres[103] == pytest.approx(400 + 108 * step)
    assert centres[144] == pytest.approx(400 + 163 * step)
    assert centres[-1] == pytest.approx(2500 - step)


def test_the_source_and_licence_are_named():
    assert "10.4231/R7RX991C" in INDIAN_PINES_SOURCE
    assert "CC BY 3.0" in INDIAN_PINES_SOURCE


def test_a_missing_package_is_reported_with_the_extra(monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"hyperfuse\[demo\]"):
        load_indian_pines()


def test_loading_imports_no_tensor_library():
    pytest.importorskip("tensorly")
    code = "import sys; from hyperfuse.datasets import load_indian_pines as f; f(); print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"tensorly", "torch", "scipy", "rasterio"} & set(loaded)
