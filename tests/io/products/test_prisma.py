"""PRISMA L2D files of 5 x 6 pixels in the structure of the product specification."""

import h5py
import numpy as np
import pytest
from affine import Affine

from hyperfuse.errors import HyperfuseWarning, InputError
from hyperfuse.io import read

NAME = "PRS_L2D_STD_20200813103056_20200813103100_0001"
ROWS, COLS = 5, 6
# Falling, as in the files; bands that were not acquired have the centre 0.
VNIR = [977.4, 943.4, 500.2, 0.0]
SWIR = [2497.1, 1000.3, 942.9, 0.0, 0.0]
SCALES = {"Vnir": (0.0, 0.9), "Swir": (0.1, 1.1)}


def corners(west=500010.0, north=4600020.0):
    """Centres of the pixels in the corners, on a grid of 30 m whose first pixel has its centre at (west, north)."""
    east, south = west + 30 * (COLS - 1), north - 30 * (ROWS - 1)
    centres = {"UL": (west, north), "UR": (east, north), "LL": (west, south), "LR": (east, south)}
    found = {}
    for name, (x, y) in centres.items():
        found |= {f"Product_{name}corner_easting": x, f"Product_{name}corner_northing": y}
    return found


@pytest.fixture
def cubes():
    rng = np.random.default_rng(5)
    vnir = rng.integers(1000, 60000, (ROWS, len(VNIR), COLS)).astype(np.uint16)
    swir = rng.integers(1000, 60000, (ROWS, len(SWIR), COLS)).astype(np.uint16)
    vnir[0, :, 0] = swir[0, :, 0] = 0
    vnir[:, 3] = swir[:, 3:] = 0
    return {"Vnir": vnir, "Swir": swir}


@pytest.fixture
def file(tmp_path, cubes):
    path = tmp_path / f"{NAME}.he5"
    with h5py.File(path, "w") as target:
        attrs = {
            "Product_Name": np.bytes_(NAME),
            "Processing_Level": np.bytes_("2D"),
            "Product_StartTime": np.bytes_("2020-08-13T10:30:56.510"),
            "Epsg_Code": np.int64(32632),
            "Projection_Name": np.bytes_("UTM"),
            **corners(),
        }
        fields = target.create_group("HDFEOS/SWATHS/PRS_L2D_HCO/Data Fields")
        target.create_group("HDFEOS/SWATHS/PRS_L2D_PCO/Data Fields")
        for (name, cube), centres in zip(cubes.items(), (VNIR, SWIR), strict=True):
            attrs[f"List_Cw_{name}"] = np.array(centres, np.float32)
            attrs[f"List_Fwhm_{name}"] = np.array([10.0 + place for place in range(len(centres))], np.float32)
            attrs[f"List_Cw_{name}_Flags"] = np.array([centre > 0 for centre in centres], np.int32)
            attrs[f"L2Scale{name}Min"], attrs[f"L2Scale{name}Max"] = map(np.float32, SCALES[name])
            fields.create_dataset(f"{name.upper()}_Cube", data=cube)
            fields.create_dataset(f"{name.upper()}_PIXEL_L2_ERR_MATRIX", data=np.zeros(cube.shape, np.uint8))
        errors = fields["VNIR_PIXEL_L2_ERR_MATRIX"]
        errors[2, 0, 1], errors[2, 1, 2], errors[2, 2, 3] = 1, 2, 3  # invalid, negative, saturated
        target.attrs.update(attrs)
    return path


def edited(path, **attrs):
    with h5py.File(path, "r+") as target:
        target.attrs.update(attrs)
    return path


def test_values_wavelengths_and_position(file, cubes, centres):
    cube = read(file)
    assert cube.wavelengths.tolist() == pytest.approx([500.2, 943.4, 977.4, 942.9, 1000.3, 2497.1], abs=1e-4)
    assert cube.fwhm.tolist() == [12, 11, 10, 12, 11, 10]
    assert cube.band_names == ("VNIR 3", "VNIR 2", "VNIR 1", "SWIR 3", "SWIR 2", "SWIR 1")
    vnir = 0.0 + cubes["Vnir"][:, [2, 1, 0]].transpose(1, 0, 2) * 0.9 / 65535
    swir = 0.1 + cubes["Swir"][:, [2, 1, 0]].transpose(1, 0, 2) * 1.0 / 65535
    expected = np.concatenate([vnir, swir])
    expected[:, 0, 0] = np.nan
    expected[2, 2, 1] = expected[0, 2, 3] = np.nan
    assert np.allclose(cube.data, expected, atol=1e-6, equal_nan=True)
    assert np.array_equal(cube.valid, ~np.isnan(expected))
    assert (cube.crs, cube.units, cube.good_bands) == ("EPSG:32632", "reflectance", None)
    x, y = centres(cube)
    assert x.tolist() == [500010 + 30 * col for col in range(COLS)]
    assert y.tolist() == [4600020 - 30 * row for row in range(ROWS)]
    assert cube.attributes["start_time"] == "2020-08-13T10:30:56.510"
    assert cube.history[0]["gaps"] == ["no data", "invalid", "saturated"]


def test_known_by_its_content_and_by_its_folder(file, assert_same):
    cube = read(file)
    assert_same(read(file.parent), cube, leave_out=("nodata",))
    other = file.with_name("scene.h5")
    file.rename(other)
    again = read(other)
    assert np.array_equal(again.data, cube.data, equal_nan=True)
    assert again.attributes["sensor"] == "PRISMA"


def test_one_coding_is_kept_and_bands_are_picked(file, cubes):
    edited(file, L2ScaleSwirMin=np.float32(0.0), L2ScaleSwirMax=np.float32(0.9))
    cube = read(file, bands="6,1")
    assert cube.band_names == ("SWIR 1", "VNIR 3")
    assert cube.scale == pytest.approx(0.9 / 65535, rel=1e-6)
    assert np.allclose(cube.data[1, 1], cubes["Vnir"][1, 2] * 0.9 / 65535, atol=1e-6)
    assert np.isnan(cube.data[:, 0, 0]).all()


def test_many_rows_are_read_in_pieces(file, cubes):
    repeats = 40
    with h5py.File(file, "r+") as target:
        fields = target["HDFEOS/SWATHS/PRS_L2D_HCO/Data Fields"]
        for name in list(fields):
            values = np.concatenate([fields[name][()]] * repeats)
            del fields[name]
            fields[name] = values
        south = 4600020.0 - 30 * (ROWS * repeats - 1)
        target.attrs.update({f"Product_{name}corner_northing": south for name in ("LL", "LR")})
    cube = read(file)
    assert cube.rows == ROWS * repeats
    assert np.array_equal(cube.data[:, -ROWS:], cube.data[:, :ROWS], equal_nan=True)
    assert np.array_equal(cube.data[:, 60:70], cube.data[:, :10], equal_nan=True)


def test_a_flagged_band_is_a_bad_one(file):
    cube = read(edited(file, List_Cw_Swir_Flags=np.array([1, 0, 1, 0, 0])))
    assert cube.good_bands.tolist() == [True, True, True, True, False, True]


def test_corners_that_do_not_fit_are_reported(file):
    with pytest.warns(HyperfuseWarning, match="corners are 300 x 120 m apart, which does not fit 6 x 5 pixels of 30 m"):
        cube = read(edited(file, Product_URcorner_easting=500310.0))
    assert cube.transform == Affine(30.0, 0.0, 499995.0, 0.0, -30.0, 4600035.0)


def test_without_error_matrices(file):
    with h5py.File(file, "r+") as target:
        del target["HDFEOS/SWATHS/PRS_L2D_HCO/Data Fields/SWIR_PIXEL_L2_ERR_MATRIX"]
    with pytest.warns(HyperfuseWarning, match="SWIR_PIXEL_L2_ERR_MATRIX is missing; saturation is not known"):
        assert read(file).history[0]["gaps"] == ["no data"]


def test_an_overview(file, assert_overview):
    assert_overview(file, 3, step=2)


def test_it_has_no_cloud_mask(file):
    with pytest.raises(InputError, match="needs a cloud mask, which PRISMA L2D does not have"):
        read(file, quality="clear")


@pytest.mark.parametrize("level", ["L1", "L2A"])
def test_other_levels(tmp_path, level):
    path = tmp_path / f"PRS_{level}_STD_OFFL_20200813103056.he5"
    with h5py.File(path, "w") as target:
        target.create_group(f"HDFEOS/SWATHS/PRS_{level}_HCO/Data Fields")
    with pytest.raises(InputError, match=f"is PRISMA {level}; order the L2D product"):
        read(path)


@pytest.mark.parametrize("fraction", [0.9, 0.3, 0.001])
def test_cut_off(file, fraction):
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * fraction)])
    with pytest.raises(InputError, match=r"\.he5: (is no HDF5 file, or it is cut off|is neither netCDF nor HDF5)"):
        read(file)


@pytest.mark.parametrize(
    ("attrs", "message"),
    [
        ({"L2ScaleVnirMax": -1.0}, "L2ScaleVnirMin is 0 and L2ScaleVnirMax -1; the one has to be the smaller"),
        ({"Epsg_Code": "none"}, "its attribute Epsg_Code holds no numbers"),
        ({"Epsg_Code": 1}, "the CRS 'EPSG:1' is not understood"),
        ({"List_Cw_Vnir": [1.0, 2.0]}, "lists 2 bands of VNIR, but its cube has 4"),
        ({"List_Cw_Vnir": [0.0] * 4, "List_Cw_Swir": [0.0] * 5}, "every band has the wavelength 0"),
    ],
)
def test_damaged_attributes(file, attrs, message):
    with pytest.raises(InputError, match=message) as caught:
        read(edited(file, **attrs))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["L2ScaleSwirMin", "List_Fwhm_Swir", "Epsg_Code", "Product_LLcorner_easting"])
def test_missing_attributes_are_named(file, name):
    with h5py.File(file, "r+") as target:
        del target.attrs[name]
    with pytest.raises(InputError, match=f"has no attribute {name}"):
        read(file)


def test_missing_cube_and_cubes_of_other_sizes(file):
    fields = "HDFEOS/SWATHS/PRS_L2D_HCO/Data Fields"
    with h5py.File(file, "r+") as target:
        del target[f"{fields}/SWIR_PIXEL_L2_ERR_MATRIX"], target[f"{fields}/SWIR_Cube"]
        target[f"{fields}/SWIR_Cube"] = np.ones((4, 5, 6), np.uint16)
        target[f"{fields}/SWIR_PIXEL_L2_ERR_MATRIX"] = np.ones((4, 5, 6), np.uint8)
    with pytest.raises(InputError, match=r"its cubes are of other sizes: \(5, 4, 6\) and \(4, 5, 6\)"):
        read(file)
    with h5py.File(file, "r+") as target:
        del target[f"{fields}/SWIR_Cube"]
    with pytest.raises(InputError, match="has no HDFEOS/SWATHS/PRS_L2D_HCO/Data Fields/SWIR_Cube"):
        read(file)


def test_a_named_variable_is_read_as_it_is_stored(file, cubes):
    stored = read(f"{file}:HDFEOS/SWATHS/PRS_L2D_HCO/Data Fields/VNIR_Cube", axes="rows,bands,cols")
    assert np.array_equal(stored.data, cubes["Vnir"].transpose(1, 0, 2))
