import json

import numpy as np

from hyperfuse.cube.cube import Cube
from hyperfuse.io import summary


def test_scene(scene):
    found = summary(scene)
    assert json.loads(json.dumps(found)) == found
    assert (found["bands"], found["rows"], found["cols"], found["dtype"]) == (5, 8, 9, "float32")
    assert (found["crs"], found["crs_units"], found["resolution"]) == ("EPSG:32633", "m", [30.0, 30.0])
    assert found["bounds"] == [364095.0, 5809965.0 - 240, 364095.0 + 270, 5809965.0]
    assert found["wavelength_range_nm"] == [418.24, 2445.5]
    assert found["empty_bands"] == [4]
    assert found["bad_bands"] == [4]
    assert np.isclose(found["gap_fraction"], 4 / 72)
    assert np.isclose(found["empty_pixel_fraction"], 4 / 72)
    values = scene.data[scene.valid]
    assert found["value_range"] == [float(values.min()), float(values.max())]
    assert np.isclose(found["mean"], values.mean())
    assert found["history"] == [{"step": "simulate", "ratio": 3, "version": "0.1.0"}]
    assert (found["nodata"], found["scale"], found["units"]) == (-32768.0, 1e-4, "reflectance")


def test_bare_and_empty():
    found = summary(Cube(data=np.ones((1, 2, 2))))
    assert found["crs"] is found["bounds"] is found["wavelength_range_nm"] is found["nodata"] is None
    assert found["bad_bands"] == found["empty_bands"] == []
    empty = Cube(data=np.ones((1, 2, 2)), valid=np.zeros((1, 2, 2), bool), nodata=np.nan, wavelengths=[np.nan])
    found = summary(empty)
    assert found["value_range"] is found["mean"] is None
    assert (found["nodata"], found["wavelengths_nm"], found["empty_bands"]) == ("nan", [None], [1])
    json.dumps(found, allow_nan=False)
