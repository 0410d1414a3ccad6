import h5py
import numpy as np
import pytest
import scipy.io

from hyperfuse.errors import HyperfuseWarning, InputError
from hyperfuse.sensor.srf.curves import srf_from_curves
from hyperfuse.sensor.srf.srf import HsiBands
from hyperfuse.sensor.srf.tables import srf_from_table

CENTRES = np.arange(450, 701, 10.0)
SAMPLES = np.arange(460, 691, 5.0)
CURVES = np.array([np.exp(-(((SAMPLES - centre) / 30) ** 2)) for centre in (500, 600)])
TABLE = np.column_stack([SAMPLES, CURVES.T])
WEIGHTS = np.random.default_rng(0).integers(0, 30, (3, 26)).astype(float)


def write_mat_73(path, **arrays):
    """Write a MATLAB v7.3 file as MATLAB does: HDF5 behind a header, the axes of every array reversed."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array.T).attrs["MATLAB_class"] = np.bytes_("double")
    header = b"MATLAB 7.3 MAT-file".ljust(124) + bytes([0, 2]) + b"IM"
    with path.open("r+b") as file:
        file.write(header)


@pytest.fixture
def expected():
    return srf_from_curves(SAMPLES, CURVES, CENTRES).matrix


@pytest.mark.parametrize("separator", [",", ";", "\t", "  "])
@pytest.mark.parametrize("header", [["nm", "green", "red"], None])
def test_curves_from_text(tmp_path, expected, separator, header):
    lines = [separator.join(f"{value!r}" for value in row) for row in TABLE.tolist()]
    lines = ["# measured in a test", "", *([separator.join(header)] if header else []), *lines]
    path = tmp_path / "curves.txt"
    path.write_text("\n".join(lines))
    srf = srf_from_table(path, HsiBands(26, CENTRES))
    np.testing.assert_array_equal(srf.matrix, expected)
    assert srf.names == (("green", "red") if header else ("band 1", "band 2"))
    assert srf.source == "curves.txt"


def test_curves_from_binary_files(tmp_path, expected):
    np.save(tmp_path / "curves.npy", TABLE)
    scipy.io.savemat(tmp_path / "curves.mat", {"spec_resp": TABLE})
    write_mat_73(tmp_path / "curves73.mat", spec_resp=TABLE)
    for name in ("curves.npy", "curves.mat", "curves.mat:spec_resp", "curves73.mat"):
        srf = srf_from_table(f"{tmp_path}/{name}", HsiBands(26, CENTRES))
        np.testing.assert_array_equal(srf.matrix, expected, err_msg=name)
        assert srf.source == name


def test_micrometres_are_recognised_and_converted(tmp_path, expected):
    np.save(tmp_path / "curves.npy", np.column_stack([SAMPLES / 1000, CURVES.T]))
    with pytest.warns(HyperfuseWarning, match=r"from 0.46 to 0.69 are taken as µm"):
        srf = srf_from_table(tmp_path / "curves.npy", HsiBands(26, CENTRES))
    np.testing.assert_allclose(srf.matrix, expected, atol=1e-12)


def test_weights_are_taken_as_they_are_and_rows_scaled(tmp_path):
    np.save(tmp_path / "weights.npy", WEIGHTS)
    np.savetxt(tmp_path / "weights.csv", WEIGHTS, delimiter=",")
    scipy.io.savemat(tmp_path / "weights.mat", {"P": WEIGHTS, "other": WEIGHTS[::-1], "name": "a camera"})
    write_mat_73(tmp_path / "weights73.mat", P=WEIGHTS)
    for name in ("weights.npy", "weights.csv", "weights.mat:P", "weights73.mat:P"):
        srf = srf_from_table(f"{tmp_path}/{name}", 26)
        np.testing.assert_allclose(srf.matrix, WEIGHTS / WEIGHTS.sum(axis=1)[:, None], atol=1e-15, err_msg=name)
        assert srf.wavelengths is None
    known = srf_from_table(tmp_path / "weights.npy", HsiBands(26, CENTRES))
    np.testing.assert_allclose(known.wavelengths, WEIGHTS @ CENTRES / WEIGHTS.sum(axis=1))


def test_a_single_row_of_weights_survives_matlab(tmp_path):
    scipy.io.savemat(tmp_path / "pan.mat", {"P": WEIGHTS[:1]})
    assert srf_from_table(tmp_path / "pan.mat", 26).matrix.shape == (1, 26)


def test_a_rising_first_column_of_small_weights_is_no_wavelength(tmp_path):
    weights = np.array([[0.3, 0.7], [0.5, 0.5], [0.9, 0.1]])
    np.save(tmp_path / "weights.npy", weights)
    np.testing.assert_allclose(srf_from_table(tmp_path / "weights.npy", 2).matrix, weights)


def test_curves_with_as_many_columns_as_hsi_bands_are_curves(tmp_path):
    np.save(tmp_path / "curves.npy", TABLE)
    srf = srf_from_table(tmp_path / "curves.npy", HsiBands(3, [450, 550, 650], [60, 60, 60]))
    assert srf.matrix.shape == (2, 3)


def test_weights_on_bad_bands_do_not_count(tmp_path):
    np.save(tmp_path / "weights.npy", [[4.0, 1, 1, 2], [0, 0, 3, 3]])
    usable = np.array([True, True, True, False])
    srf = srf_from_table(tmp_path / "weights.npy", HsiBands(4, usable=usable))
    np.testing.assert_allclose(srf.matrix, [[4 / 6, 1 / 6, 1 / 6, 0], [0, 0, 1, 0]])
    usable[2] = False
    with pytest.raises(InputError, match="only 0% of the weight of row 2"):
        srf_from_table(tmp_path / "weights.npy", HsiBands(4, usable=usable))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (WEIGHTS[:, :25], "neither curves .* nor weights of 26 HSI bands"),
        (WEIGHTS.T, "transpose it"),
        (-WEIGHTS, "an SRF has none below 0"),
        (np.zeros((2, 26)), "holds only zeros"),
        (np.full((2, 26), np.nan), "NaN or infinite"),
        (np.ones((2, 2, 26)), "two dimensions"),
        (np.ones((2, 26), complex), "real numbers"),
        (TABLE, "response curves .* need the wavelengths"),
        (np.array([{"a": 1}]), "not a NumPy file of numbers"),
    ],
)
def test_arrays_that_make_no_srf_are_refused(tmp_path, array, message):
    np.save(tmp_path / "table.npy", array)
    with pytest.raises(InputError, match=message):
        srf_from_table(tmp_path / "table.npy", 26)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no table"),
        ("nm,R\n", "a header and no numbers"),
        ("nm,R\n500,1\n510\n", "line 3 has 1 columns, the first line 2"),
        ("nm,R\n500,1\n510,\n", "line 3 holds '' where a number is expected"),
        ("500,1\n510,x\n", "line 2 holds 'x'"),
        ("nm,R\n500,1\n510,inf\n", "NaN or infinite"),
    ],
)
def test_text_that_makes_no_srf_is_refused(tmp_path, text, message):
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        srf_from_table(path, HsiBands(26, CENTRES))


def test_files_that_cannot_be_read_are_refused(tmp_path):
    with pytest.raises(InputError, match="there is no such file"):
        srf_from_table(tmp_path / "none.csv", 26)
    with pytest.raises(InputError, match=r"one of .csv, .txt, .mat, .npy"):
        srf_from_table(tmp_path / "table.xlsx", 26)
    for name in ("broken.mat", "broken.npy", "broken.csv"):
        (tmp_path / name).write_bytes(b"\xff\xfe\x00broken")
        with pytest.raises(InputError, match=r"not a MATLAB file|not a NumPy file|cannot be read as text"):
            srf_from_table(tmp_path / name, 26)


def test_a_variable_must_be_named_where_there_are_several(tmp_path):
    scipy.io.savemat(tmp_path / "srf.mat", {"P": WEIGHTS, "Q": WEIGHTS})
    with pytest.raises(InputError, match=r"name one as srf.mat:P \(P, Q\)"):
        srf_from_table(tmp_path / "srf.mat", 26)
    with pytest.raises(InputError, match="no table 'R'; it holds P, Q"):
        srf_from_table(f"{tmp_path}/srf.mat:R", 26)
    scipy.io.savemat(tmp_path / "text.mat", {"name": "a camera"})
    with pytest.raises(InputError, match="the file holds none"):
        srf_from_table(tmp_path / "text.mat", 26)


def test_wavelengths_must_fit(tmp_path):
    np.save(tmp_path / "table.npy", WEIGHTS)
    with pytest.raises(InputError, match=r"25 wavelengths for 26 HSI bands"):
        srf_from_table(tmp_path / "table.npy", HsiBands(26, CENTRES[:25]))


def test_only_arrays_of_numbers_inside_a_matlab_file_are_tables(tmp_path):
    write_mat_73(tmp_path / "srf.mat", P=WEIGHTS, scalar=np.ones((1, 1)))
    other = tmp_path / "other.bin"
    other.write_bytes(np.ones((26, 3)).tobytes())
    with h5py.File(tmp_path / "srf.mat", "r+") as file:
        file.create_dataset("name", data=np.frombuffer("camera".encode("utf-16-le"), np.uint16))
        file["name"].attrs["MATLAB_class"] = np.bytes_("char")
        file.create_dataset("elsewhere", (26, 3), "f8", external=[(str(other), 0, 26 * 3 * 8)])
        file.create_group("structure")
    np.testing.assert_allclose(srf_from_table(tmp_path / "srf.mat", 26).matrix.sum(axis=1), 1)
    with pytest.raises(InputError, match=r"no table 'elsewhere'; it holds P$"):
        srf_from_table(f"{tmp_path}/srf.mat:elsewhere", 26)


def test_a_column_of_weights_is_a_row(tmp_path):
    scipy.io.savemat(tmp_path / "pan.mat", {"P": WEIGHTS[:1].T})
    assert srf_from_table(tmp_path / "pan.mat", 26).matrix.shape == (1, 26)


def test_only_matlab_files_have_variables(tmp_path):
    np.save(tmp_path / "weights.npy", WEIGHTS)
    with pytest.raises(InputError, match="only MATLAB files hold variables; leave out 'P'"):
        srf_from_table(f"{tmp_path}/weights.npy:P", 26)
