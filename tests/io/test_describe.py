import json

import numpy as np

from hyperfuse.cube.cube import Cube
from hyperfuse.io import summary


def test_scene(scene):
    told = summary(scene)
    assert json.loads(json.dumps(told)) == told
    assert (told["bands"], told["rows"], told["cols"], told["dtype"]) == (5, 8, 9, "float32")
    assert (told["crs"], told["crs_units"], told["resolution"]) == ("EPSG:32633", "m", [30.0, 30.0])
    assert told["bounds"] == [364095.0, 5809965.0 - 240, 364095.0 + 270, 5809965.0]
    assert told["wavelength_range_nm"] == [418.24, 2445.5]
    assert told["empty_bands"] == [4]
    assert told["bad_bands"] == [4]
    assert np.isclose(told["gap_share"], 4 / 72)
    assert np.isclose(told["empty_pixel_share"], 4 / 72)
    values = scene.data[scene.valid]
    assert told["value_range"] == [float(values.min()), float(values.max())]
    assert np.isclose(told["mean"], values.mean())
    assert told["history"] == [{"step": "simulate", "ratio": 3, "version": "0.1.0"}]
    assert (told["nodata"], told["scale"], told["units"]) == (-32768.0, 1e-4, "reflectance")


def test_bare_and_empty():
    told = summary(Cube(data=np.ones((1, 2, 2))))
    assert told["crs"] is told["bounds"] is told["wavelength_range_nm"] is told["nodata"] is None
    assert told["bad_bands"] == told["empty_bands"] == []
    empty = Cube(data=np.ones((1, 2, 2)), valid=np.zeros((1, 2, 2), bool), nodata=np.nan, wavelengths=[np.nan])
    told = summary(empty)
    assert told["value_range"] is told["mean"] is None
    assert (told["nodata"], told["wavelengths_nm"], told["empty_bands"]) == ("nan", [None], [1])
    json.dumps(told, allow_nan=False)
