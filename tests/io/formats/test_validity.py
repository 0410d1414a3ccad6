"""Alpha bands and masks are validity, whatever file states them; bands that only bear the name alpha are data."""

import numpy as np
import pytest
from rasterio.enums import ColorInterp

from hyperfuse.cube.window import Window
from hyperfuse.errors import HyperfuseWarning
from hyperfuse.io import read
from hyperfuse.io.windows.open import open_windows
from raster_files import save

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

RGBA = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
HIDDEN = 9 / 48


def image(dtype=np.uint8):
    """RGBA, 4x48x48, its first 9 rows transparent."""
    values = np.random.default_rng(0).integers(1, 200, (4, 48, 48)).astype(dtype)
    values[3] = np.iinfo(dtype).max
    values[3, :9] = 0
    return values


@pytest.mark.parametrize(
    ("name", "profile"),
    [
        ("a.tif", {}),
        ("a.png", {"driver": "PNG"}),
        ("a.jp2", {"driver": "JP2OpenJPEG", "QUALITY": "100", "REVERSIBLE": "YES"}),
        ("planes.tif", {"interleave": "band", "compress": "deflate"}),
    ],
)
def test_transparent_pixels_are_gaps(tmp_path, name, profile):
    values = image()
    cube = read(save(tmp_path / name, values, () if name == "a.png" else RGBA, **profile))
    assert cube.shape == (3, 48, 48)
    assert cube.band_names == ("red", "green", "blue")
    assert np.array_equal(cube.valid, np.broadcast_to(values[3] > 0, (3, 48, 48)))
    assert np.array_equal(cube.data[cube.valid], values[:3][cube.valid])


def test_bands_and_windows_have_the_same_gaps(tmp_path):
    file = save(tmp_path / "a.tif", image(np.uint16), RGBA)
    some = read(file, bands="3,1")
    assert some.shape == (2, 48, 48)
    assert 1 - some.valid.mean() == HIDDEN
    source = open_windows(file)
    assert source.header.bands == 3
    window = source.read(Window(4, 10, 10, 12))
    assert np.array_equal(window.valid, read(file).valid[:, 4:14, 10:22])
    source.close()


def test_an_alpha_band_that_is_named_is_read_as_a_band(tmp_path):
    file = save(tmp_path / "a.tif", image(), RGBA)
    cube = read(file, bands="1-4")
    assert cube.bands == 4
    assert cube.valid is None


def test_a_band_of_many_values_that_is_called_alpha_is_a_band(tmp_path):
    values = image()
    values[3] = np.random.default_rng(1).integers(0, 256, (48, 48))
    file = save(tmp_path / "a.tif", values, RGBA)
    with pytest.warns(HyperfuseWarning, match=r"a\.tif: band 4 is marked as alpha .* read as a band of values"):
        cube = read(file)
    assert cube.bands == 4
    assert cube.valid is None


def test_grey_and_alpha_and_half_transparent_pixels(tmp_path):
    values = np.stack([np.full((4, 5), 7), np.full((4, 5), 255)]).astype(np.uint8)
    values[1, 0] = 0
    values[1, 1, 0] = 128
    cube = read(save(tmp_path / "a.png", values, driver="PNG"))
    assert cube.shape == (1, 4, 5)
    assert (~cube.valid[0]).sum() == 5


def vrt_band(number, more=""):
    source = f'<SourceFilename relativeToVRT="1">plain.tif</SourceFilename><SourceBand>{number}</SourceBand>'
    return f'<VRTRasterBand dataType="Byte" band="{number}"><SimpleSource>{source}</SimpleSource>{more}</VRTRasterBand>'


@pytest.mark.parametrize(("common", "expected"), [(True, [9, 9, 9]), (False, [0, 9, 0])])
def test_masks_of_a_vrt(tmp_path, common, expected):
    values = image()
    save(tmp_path / "plain.tif", values[:3])
    save(tmp_path / "mask.tif", values[3:])
    mask = (
        '<MaskBand><VRTRasterBand dataType="Byte"><SimpleSource><SourceFilename relativeToVRT="1">mask.tif'
        "</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></MaskBand>"
    )
    bands = vrt_band(1) + vrt_band(2, "" if common else mask) + vrt_band(3)
    size = 'rasterXSize="48" rasterYSize="48"'
    (tmp_path / "a.vrt").write_text(f"<VRTDataset {size}>{bands}{mask if common else ''}</VRTDataset>")
    cube = read(tmp_path / "a.vrt")
    assert [int(rows) for rows in (~cube.valid[:, :, 0]).sum(axis=1)] == expected
    some = read(tmp_path / "a.vrt", bands="2")
    assert 1 - some.valid.mean() == HIDDEN
