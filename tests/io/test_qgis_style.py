"""Styles for QGIS; that QGIS obeys them is tested with QGIS itself in tests/qgis."""

from xml.etree import ElementTree

import numpy as np
import pytest

from hyperfuse.cube.cube import Cube
from hyperfuse.errors import InputError
from hyperfuse.io import write
from hyperfuse.io.qgis_style import write_qgis_style


def image(shape, wavelengths=None, **fields):
    data = np.random.default_rng(0).random(shape, np.float32)
    return Cube(data=data, wavelengths=wavelengths, **fields)


def renderer_of(style):
    return ElementTree.fromstring(style.read_text()).find("pipe/rasterrenderer")


@pytest.mark.parametrize("name", ["a.tif", "a.img"])
def test_colours_by_wavelength_from_the_2nd_to_the_98th_percentile(tmp_path, name):
    cube = image((5, 30, 40), [450, 480, 560, 640, 900])
    write(tmp_path / name, cube)
    style = write_qgis_style(tmp_path / name)
    assert style == tmp_path / "a.qml"
    renderer = renderer_of(style)
    assert renderer.get("type") == "multibandcolor"
    for colour, band in (("red", 4), ("green", 3), ("blue", 2)):
        assert renderer.get(f"{colour}Band") == str(band)
        stretch = renderer.find(f"{colour}ContrastEnhancement")
        limits = [float(stretch.find(key).text) for key in ("minValue", "maxValue")]
        assert np.allclose(limits, np.percentile(cube.data[band - 1].astype(float), [2, 98]), rtol=1e-7)
    assert len(style.read_text()) < 2500


def test_coded_values_and_gaps_are_stretched_as_their_values(tmp_path):
    valid = np.ones((1, 20, 20), bool)
    valid[:, :10] = False
    data = np.tile(np.arange(20, dtype=np.float32) / 10, (1, 20, 1))
    write(tmp_path / "a.tif", Cube(data=data, valid=valid, scale=0.1, nodata=-9999), dtype="int16")
    renderer = renderer_of(write_qgis_style(tmp_path / "a.tif"))
    assert (renderer.get("type"), renderer.get("grayBand")) == ("singlebandgray", "1")
    stretch = renderer.find("contrastEnhancement")
    expected = np.percentile(np.tile(np.arange(20) / 10, 10), [2, 98])
    assert np.allclose([float(stretch.find(key).text) for key in ("minValue", "maxValue")], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("wavelengths", "bands"),
    [([520, 560, 650, 860, 1600], ("4", "3", "2")), (None, ("4", "3", "2")), ([1600, 1700, 2100, 2200, 2300], None)],
)
def test_other_images_are_shown_by_three_bands(tmp_path, wavelengths, bands):
    write(tmp_path / "a.tif", image((5, 8, 9), wavelengths))
    renderer = renderer_of(write_qgis_style(tmp_path / "a.tif"))
    found = tuple(renderer.get(f"{colour}Band") for colour in ("red", "green", "blue"))
    assert len(set(found)) == 3
    assert bands is None or found == bands


def test_a_constant_image_and_one_of_gaps_have_a_range(tmp_path):
    for name, cube in (
        ("a.tif", Cube(data=np.full((3, 4, 4), 7.0, np.float32))),
        ("b.tif", Cube(data=np.ones((3, 4, 4), np.float32), valid=np.zeros((3, 4, 4), bool), nodata=-1)),
    ):
        write(tmp_path / name, cube)
        for stretch in renderer_of(write_qgis_style(tmp_path / name)):
            values = [float(stretch.findtext(key) or "nan") for key in ("minValue", "maxValue")]
            assert stretch.find("minValue") is None or values[0] < values[1]


def test_of_a_large_image_windows_from_edge_to_edge_are_read(tmp_path):
    data = np.zeros((1, 40, 3000), np.float32)
    data[..., -100:] = 1.0
    write(tmp_path / "a.tif", Cube(data=data))
    stretch = renderer_of(write_qgis_style(tmp_path / "a.tif")).find("contrastEnhancement")
    assert (float(stretch.find("minValue").text), float(stretch.find("maxValue").text)) == (0.0, 1.0)


def test_formats_that_qgis_takes_no_style_for_are_refused(tmp_path):
    write(tmp_path / "a.npy", Cube(data=np.ones((3, 4, 4))))
    with pytest.raises(InputError, match="GeoTIFF and ENVI"):
        write_qgis_style(tmp_path / "a.npy")
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]
