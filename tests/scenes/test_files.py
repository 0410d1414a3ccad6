"""Files as they really are, fused: what a reader knows of a file reaches the fused image."""

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp

from hyperfuse.io import read
from hyperfuse.scenes.fuse import fuse, fuse_tiles
from raster_files import save

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

RGBA = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
ARBITRARY = """ENVI
samples = {side}
lines = {side}
bands = {bands}
header offset = 0
file type = ENVI Standard
data type = 2
interleave = bsq
byte order = 0
map info = {{Arbitrary, 1, 1, 0, 0, 1, 1, 0, North}}
"""


def test_a_transparent_collar_does_not_change_the_rest_of_a_fusion(tmp_path):
    """A scene in tiles, its MSI as RGBA: outside of the collar as if those rows had been declared as nodata."""
    rng = np.random.default_rng(0)
    ground = np.kron(rng.integers(20, 200, (12, 12)), np.ones((4, 4))) + rng.integers(0, 5, (48, 48))
    values = np.stack([ground, ground * 0.8 + 3, ground * 0.5 + 9, np.full((48, 48), 255)]).astype(np.uint8)
    values[:, :9] = 0
    hsi = np.stack([values[band].reshape(12, 4, 12, 4).mean(axis=(1, 3)) for band in (0, 1, 2, 1)]).astype(np.float32)
    save(tmp_path / "hsi.tif", hsi[:, 3:], transform=rasterio.Affine(40, 0, 0, 0, -40, 360), crs="EPSG:32633")
    place = {"transform": rasterio.Affine(10, 0, 0, 0, -10, 480), "crs": "EPSG:32633"}
    save(tmp_path / "rgba.tif", values, RGBA, **place)
    save(tmp_path / "rgb.tif", values[:3], nodata=0, **place)
    results = []
    for name in ("rgba", "rgb"):
        out = tmp_path / f"{name}_fused.tif"
        fuse_tiles(tmp_path / "hsi.tif", tmp_path / f"{name}.tif", out, method="gsa", ratio=4, align=False, tile=24)
        results.append(read(out).data)
    assert np.array_equal(*results, equal_nan=True)


def test_two_files_with_an_arbitrary_map_info_take_the_ratio_of_their_sizes(tmp_path):
    rng = np.random.default_rng(0)
    for name, (bands, side) in {"hsi": (4, 16), "msi": (2, 48)}.items():
        stored = rng.integers(100, 1000, (bands, side, side)).astype("<i2")
        stored.tofile(tmp_path / f"{name}.img")
        (tmp_path / f"{name}.hdr").write_text(ARBITRARY.format(side=side, bands=bands))
    fusion = fuse(read(tmp_path / "hsi.img"), read(tmp_path / "msi.img"), method="gsa", ratio=3, align=False)
    assert fusion.shape == (4, 48, 48)
