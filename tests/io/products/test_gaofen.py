"""Gaofen and Ziyuan images, which are refused until they are orthorectified."""

import numpy as np
import pytest
import rasterio

from hyperfuse.errors import InputError
from hyperfuse.io import read


@pytest.mark.parametrize(
    "name",
    [
        "GF5_AHSI_E116.2_N40.1_20190501_005000_L10000045000.geotiff",
        "GF5B_AHSI_E116.2_N40.1_20230501_005000_L10000045000_VN.tif",
        "ZY1E_AHSI_E110.2_N30.1_20210501_005000_L1A0000045000_SW.tif",
        "GF1_WFV1_E116.2_N40.1_20190501_L1A0003968000.tiff",
    ],
)
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_images_without_a_position_are_refused_and_others_read(tmp_path, raster, name):
    path = tmp_path / name
    with rasterio.open(path, "w", driver="GTiff", count=2, height=4, width=5, dtype="uint16") as file:
        file.write(np.ones((2, 4, 5), np.uint16))
    with pytest.raises(
        InputError, match=r"placed by its RPCs .* order the orthorectified .* calibration .* is not read"
    ):
        read(path)
    raster(path, np.ones((2, 4, 5), np.uint16))
    assert read(path).crs == "EPSG:32633"
