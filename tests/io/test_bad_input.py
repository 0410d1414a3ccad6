"""Every wrong input is refused in one line that names the file and what to do."""

import os
import subprocess
import sys

import numpy as np
import pytest

from hyperfuse.cube.cube import Cube
from hyperfuse.errors import InputError
from hyperfuse.io import FORMATS, read, write

EXTENSIONS = sorted({suffix for entry in FORMATS for suffix in entry.extensions if not entry.markers})


@pytest.mark.skipif(os.name != "posix", reason="limits of POSIX")
def test_a_name_that_no_file_can_have():
    with pytest.raises(InputError, match=r"^a{80}…: cannot be opened \(file name too long\)$"):
        read(f"{'a' * 5000}.tif")


@pytest.mark.parametrize("suffix", [*EXTENSIONS, ".zarr", "", ".foo"])
def test_missing(tmp_path, suffix):
    with pytest.raises(InputError, match=r": does not exist$"):
        read(tmp_path / f"a{suffix}")


@pytest.mark.parametrize("suffix", EXTENSIONS)
@pytest.mark.parametrize("content", [b"", b"x", b"not an image at all, just some text\n" * 40, bytes(5000)])
def test_empty_or_of_another_kind(tmp_path, suffix, content):
    file = tmp_path / f"a{suffix}"
    file.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read(file)
    assert str(caught.value).startswith(f"{file}: is ")
    assert "\n" not in str(caught.value)
    assert ("empty (0 bytes)" in str(caught.value)) == (content == b"")


def test_an_unknown_extension_is_tried(tmp_path):
    write(tmp_path / "a.tif", Cube(data=np.ones((2, 3, 3))))
    write(tmp_path / "a.nc", Cube(data=np.ones((2, 3, 3))))
    for ending in ("tif", "nc"):
        (tmp_path / f"a.{ending}").rename(tmp_path / f"{ending}.bak")
        assert read(tmp_path / f"{ending}.bak").bands == 2
    (tmp_path / "notes.txt").write_text("dear diary")
    with pytest.raises(InputError, match=r"notes\.txt: is not a raster that GDAL can open"):
        read(tmp_path / "notes.txt")


def test_folders(tmp_path):
    (tmp_path / "tiles").mkdir()
    (tmp_path / "b.tif").mkdir()
    for name in ("tiles", "b.tif"):
        with pytest.raises(InputError, match=rf"{name}: is a folder; name a file in it"):
            read(tmp_path / name)


def test_unknown_extension_to_write(tmp_path):
    for name in ("a.foo", "a"):
        with pytest.raises(InputError, match=r"names no format; use \.tif, \.img, \.nc, \.mat, \.npy, \.npz, \.zarr"):
            write(tmp_path / name, Cube(data=np.ones((1, 2, 2))))


def test_a_crs_that_is_none(tmp_path):
    cube = Cube(data=np.ones((1, 2, 2)), crs="EPSG:0", transform=(1.0, 0.0, 5.0, 0.0, -1.0, 5.0))
    for ending in ("tif", "img", "nc", "zarr"):
        with pytest.raises(InputError, match=rf"a\.{ending}: the CRS 'EPSG:0' is not understood; give a code such as"):
            write(tmp_path / f"a.{ending}", cube)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_record_is_left_out_with_a_warning(tmp_path):
    from hyperfuse.errors import HyperfuseWarning

    np.savez(tmp_path / "a.npz", cube=np.ones((1, 2, 2)), HYPERFUSE_HISTORY=np.array("[{"))
    with pytest.warns(HyperfuseWarning, match=r"a\.npz: the tag HYPERFUSE_HISTORY is damaged and left out"):
        assert read(tmp_path / "a.npz").history == ()


def test_importing_loads_no_reader():
    heavy = ("torch", "rasterio", "h5py", "scipy", "zarr")
    loaded = f"import sys, hyperfuse.io; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", loaded], text=True).strip() == "[]"


def test_libraries_print_nothing_of_their_own(scene, tmp_path):
    for ending in ("tif", "img", "nc", "mat", "npz", "zarr"):
        write(tmp_path / f"a.{ending}", scene)
        file = tmp_path / f"a.{ending}"
        file = file if file.is_file() else file / "zarr.json"
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    (tmp_path / "text.tif").write_text("no image")
    code = (
        "import sys, pathlib, hyperfuse.io as io\n"
        "for path in sorted(pathlib.Path(sys.argv[1]).glob('*.*')):\n"
        "    if path.suffix == '.hdr': continue\n"
        "    try: io.read(path)\n"
        "    except io.files.InputError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == 7
    assert done.stderr == ""
