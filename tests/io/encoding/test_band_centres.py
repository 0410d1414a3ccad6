"""Wavelengths that a caller specifies: as a range, as numbers, as a column of a file; for whole files and windows."""

import numpy as np
import pytest

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.window import Window
from hyperfuse.errors import HyperfuseWarning, InputError
from hyperfuse.io import read, write
from hyperfuse.io.encoding.band_centres import parse_wavelengths
from hyperfuse.io.windows.open import open_windows


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("400:700:100", (400, 500, 600, 700)),
        ("700:400:-100", (700, 600, 500, 400)),
        ("400:450:20", (400, 420, 440)),
        ("400:400.3:0.1", (400, 400.1, 400.2, 400.3)),
        ("450, 550", (450, 550)),
        ([450, 550.5], (450, 550.5)),
        (np.array([450.0]), (450,)),
    ],
)
def test_ranges_and_numbers(given, expected):
    assert np.allclose(parse_wavelengths(given), expected, rtol=1e-12)


def test_micrometres_are_told_by_their_size():
    with pytest.warns(HyperfuseWarning, match="taken as micrometres"):
        assert parse_wavelengths("0.45,2.2") == (450.0, 2200.0)


@pytest.mark.parametrize(
    ("text", "column", "expected"),
    [
        ("450\n550\n", "", (450, 550)),
        ("# nm\n450\n550", "", (450, 550)),
        ("450 550 650", "", (450, 550, 650)),
        ("band,wavelength,fwhm\n1,450,10\n2,550,12\n", "", (450, 550)),
        ("band;center\n1;450\n2;550\n", ":center", (450, 550)),
        ("450\t10\n550\t12", "", (450, 550)),
        ("1,450\n2,550\n", ":2", (450, 550)),
        ("name,nm\nblue,450\nred,650\n", "", (450, 650)),
        ("\ufeffCenter\n450\n550\n", "", (450, 550)),
    ],
)
def test_files(tmp_path, text, column, expected):
    file = tmp_path / "bands.csv"
    file.write_text(text, "utf-8")
    assert parse_wavelengths(f"{file}{column}") == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("400:700", "neither first:last:step, nor numbers, nor a file"),
        ("400:700:0", "no steps lead"),
        ("400:700:-10", "no steps lead"),
        ("nothing.csv", "nor a file that exists"),
        ("400,nan", "positive numbers are needed"),
        ("-1,400", "positive numbers are needed"),
        ([], "positive numbers are needed"),
        ("0:1e9:0.001", "no steps lead"),
    ],
)
def test_what_is_none(given, message):
    with pytest.raises(InputError, match=message) as caught:
        parse_wavelengths(given)
    assert caught.value.parameter == "wavelengths"
    assert "\n" not in str(caught.value)


def test_a_table_of_several_columns_asks_for_one(tmp_path):
    file = tmp_path / "bands.csv"
    file.write_text("a,b\n450,1\n")
    with pytest.raises(InputError, match=r"has the columns a, b; name one: wavelengths=.*bands\.csv:a"):
        parse_wavelengths(str(file))
    with pytest.raises(InputError, match="has no column 'c'; it has a, b"):
        parse_wavelengths(f"{file}:c")
    file.write_text("wavelength\n450\nred\n")
    with pytest.raises(InputError, match="holds 'red' where a wavelength is expected"):
        parse_wavelengths(str(file))


@pytest.mark.parametrize("name", ["cube.npy", "cube.tif", "cube.mat", "cube.zarr", "cube.img"])
def test_a_file_of_any_format_gets_them(tmp_path, name):
    path = tmp_path / name
    write(path, Cube(data=np.arange(60.0).reshape(5, 3, 4)))
    whole = read(path, wavelengths="400:440:10")
    assert whole.wavelengths.tolist() == [400, 410, 420, 430, 440]
    assert read(path, bands="2,4", wavelengths="400:440:10").wavelengths.tolist() == [410, 430]
    assert read(path, bands="4,5", wavelengths="430,440").wavelengths.tolist() == [430, 440]
    with pytest.raises(InputError) as caught:
        read(path, wavelengths="400:430:10")
    assert str(caught.value).startswith(f"{path}: 4 wavelengths for 5 bands")
    with pytest.raises(InputError, match="changes the order"):
        read(path, bands="2,1", wavelengths="400,410")
    if name.endswith((".tif", ".zarr", ".img")):
        source = open_windows(path, bands="2,4", wavelengths="400:440:10")
        assert source.header.wavelengths.tolist() == [410, 430]
        part = source.read(Window(1, 1, 2, 2))
        assert part.wavelengths.tolist() == [410, 430]
        assert np.array_equal(part.data, whole.data[[1, 3], 1:3, 1:3])
        source.close()


def test_wavelengths_of_the_file_are_replaced_with_a_warning(tmp_path):
    path = tmp_path / "cube.tif"
    write(path, Cube(data=np.ones((2, 3, 4)), wavelengths=[450, 550], fwhm=[10, 10]))
    with pytest.warns(HyperfuseWarning, match="those of the call are used instead"):
        cube = read(path, wavelengths="500,600")
    assert cube.wavelengths.tolist() == [500, 600]
    assert cube.fwhm is None
    assert read(path, wavelengths="450,550").fwhm.tolist() == [10, 10]
