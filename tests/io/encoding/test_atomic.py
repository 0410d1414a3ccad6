"""An output is whole or absent, whatever happens while it is written."""

import contextlib
import errno
import resource
from pathlib import Path

import numpy as np
import pytest

from hyperfuse.cube.cube import Cube
from hyperfuse.errors import HyperfuseError, InputError
from hyperfuse.io import check_output, read, write
from hyperfuse.io.encoding.atomic import replacing

ENDINGS = ["tif", "img", "nc", "mat", "npy", "npz", "zarr"]
LARGE = Cube(data=np.random.default_rng(0).random((4, 200, 200), dtype=np.float32))
SMALL = Cube(data=np.ones((1, 2, 2)))


@contextlib.contextmanager
def full_disk(limit):
    """Make every write beyond ``limit`` bytes of a file fail, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("ending", [*ENDINGS, "cog.tif", "73.mat"])
@pytest.mark.parametrize("limit", [1_000, 100_000, 639_990])
def test_a_full_disk_leaves_nothing_behind(tmp_path, ending, limit, capfd):
    file = tmp_path / f"a.{ending}"
    options = {"cog": True} if ending == "cog.tif" else {"version": "7.3"} if ending == "73.mat" else {}
    options |= {"compress": "none"} if ending == "zarr" else {}
    with full_disk(limit), pytest.raises(HyperfuseError, match=rf"a\.{ending}: ") as caught:
        write(file, LARGE, **options)
    assert not isinstance(caught.value, InputError)
    assert caught.value.exit_code == 1
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_failure_keeps_what_was_there(tmp_path, ending):
    file = tmp_path / f"a.{ending}"
    write(file, SMALL)
    before = sorted(path.name for path in tmp_path.iterdir())
    options = {"compress": "none"} if ending == "zarr" else {}
    with full_disk(1_000), pytest.raises(HyperfuseError):
        write(file, LARGE, overwrite=True, **options)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert np.array_equal(read(file).data, SMALL.data)


@pytest.mark.parametrize("ending", ENDINGS)
def test_ctrl_c_leaves_nothing_behind(tmp_path, ending, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    functions = {"npy": "arrays.encode", "npz": "arrays.encode", "nc": "netcdf.encode", "mat": "matlab.encode"}
    monkeypatch.setattr(f"hyperfuse.io.formats.{functions.get(ending, 'targets.encode_values')}", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / f"a.{ending}", LARGE)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ending", ENDINGS)
def test_overwriting_is_asked_for(tmp_path, ending):
    file = tmp_path / f"a.{ending}"
    write(file, SMALL)
    before = sorted(path.name for path in tmp_path.iterdir())
    for attempt in (lambda: write(file, LARGE), lambda: check_output(file)):
        with pytest.raises(InputError, match=rf"a\.{ending}: exists already; use overwrite=True"):
            attempt()
    check_output(file, overwrite=True)
    assert np.array_equal(read(file).data, SMALL.data)
    write(file, LARGE, overwrite=True)
    assert np.array_equal(read(file).data, LARGE.data)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_full_disk_is_named(tmp_path):
    def work():
        with replacing(tmp_path / "a.txt") as scratch:
            scratch.write_text("half")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(HyperfuseError, match="no space left on the disk; free some or write elsewhere"):
        work()
    assert list(tmp_path.iterdir()) == []


def test_paths_that_cannot_be_written(tmp_path):
    with pytest.raises(InputError, match=r"a\.tif: the folder .*missing does not exist"):
        write(tmp_path / "missing" / "a.tif", SMALL)
    (tmp_path / "b.tif").mkdir()
    with pytest.raises(InputError, match="is a folder; name a file to write"):
        write(tmp_path / "b.tif", SMALL, overwrite=True)
    (tmp_path / "c.zarr").write_text("a file")
    with pytest.raises(InputError, match="is a file where a folder is to be written"):
        write(tmp_path / "c.zarr", SMALL, overwrite=True)


def test_sidecar_files_of_the_old_file_are_not_used_for_the_new_one(tmp_path):
    write(tmp_path / "a.tif", SMALL)
    (tmp_path / "a.tif.aux.xml").write_text("<PAMDataset><Metadata><MDI key='old'>yes</MDI></Metadata></PAMDataset>")
    assert "old" in read(tmp_path / "a.tif").attributes
    write(tmp_path / "a.tif", SMALL, overwrite=True)
    assert "old" not in read(tmp_path / "a.tif").attributes


def test_a_link_stays_a_link(tmp_path):
    write(tmp_path / "real.npy", SMALL)
    (tmp_path / "link.npy").symlink_to(tmp_path / "real.npy")
    write(tmp_path / "link.npy", LARGE, overwrite=True)
    assert (tmp_path / "link.npy").is_symlink()
    assert np.load(tmp_path / "real.npy").shape == (4, 200, 200)


def test_moving_several_files_is_undone_when_one_fails(tmp_path, monkeypatch):
    (tmp_path / "a.img").write_text("old data")
    (tmp_path / "a.hdr").write_text("old header")
    rename = Path.rename

    def work():
        with replacing(tmp_path / "a.img") as new:
            new.write_text("new data")
            new.with_suffix(".hdr").write_text("new header")

    def fail_at_the_last(self, target):
        if Path(target) == tmp_path / "a.img" and self.parent.name == "new":
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_at_the_last)
    with pytest.raises(HyperfuseError, match="cannot be written: Input/output error"):
        work()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a.img": "old data", "a.hdr": "old header"}
