"""An output is whole or absent, whatever happens while it is written."""

import contextlib
import errno
import gc
import os
import resource
import signal
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hyperfuse.cube.cube import Cube
from hyperfuse.errors import HyperfuseError, InputError
from hyperfuse.io import check_output, read, write
from hyperfuse.io.encoding.atomic import replacing
from hyperfuse.io.encoding.scratch import recover, scratch_folder
from hyperfuse.runtime.locks import FileLock

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
    gc.collect()
    assert capfd.readouterr().err == ""


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
    move = Path.replace

    def work():
        with replacing(tmp_path / "a.img") as new:
            new.write_text("new data")
            new.with_suffix(".hdr").write_text("new header")

    def fail_at_the_last(self, target):
        if Path(target) == tmp_path / "a.img" and self.parent.name == "new":
            raise OSError(errno.EIO, "Input/output error")
        return move(self, target)

    monkeypatch.setattr(Path, "replace", fail_at_the_last)
    with pytest.raises(HyperfuseError, match="cannot be written: Input/output error"):
        work()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a.img": "old data", "a.hdr": "old header"}


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from hyperfuse.cube.cube import Cube
from hyperfuse.io import write
from hyperfuse.io.encoding import scratch

limit, file = int(sys.argv[1]), sys.argv[2]
steps = []

def step(function):
    def counted(*arguments, **options):
        steps.append(1)
        if len(steps) > limit:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)
    return counted

for name in ("replace", "rename"):
    setattr(Path, name, step(getattr(Path, name)))
scratch.os.link = step(os.link)
write(file, Cube(data=np.full((2, 20, 20), 2.0)), overwrite=True)
"""


@pytest.mark.parametrize("ending", ["img", "zarr", "tif"])
def test_a_kill_between_two_moves_is_mended_by_the_next_command(tmp_path, ending):
    file, limit = tmp_path / f"a.{ending}", 0
    before = None
    while True:
        write(file, Cube(data=np.full((2, 10, 10), 1.0)), overwrite=True)
        (tmp_path / f"a.{ending}.aux.xml").write_text("<PAMDataset/>")
        before = before or sorted(path.name for path in tmp_path.iterdir())
        done = subprocess.run([sys.executable, "-c", KILLED, str(limit), str(file)], timeout=60)
        cube = read(file)
        assert np.unique(cube.data).tolist() in ([1.0], [2.0])
        assert cube.shape[1:] == ((10, 10) if cube.data[0, 0, 0] == 1 else (20, 20))
        found = sorted(path.name for path in tmp_path.iterdir())
        assert not any(name.startswith(".") for name in found)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL
        limit += 1
    assert limit >= 3
    assert cube.data.min() == 2
    assert set(found) == set(before) - {f"a.{ending}.aux.xml"}


def test_scratch_of_a_living_process_stays_and_that_of_a_dead_one_goes(tmp_path):
    with scratch_folder(tmp_path, "a.tif") as mine:
        recover(tmp_path)
        assert mine.is_dir()
    dead = tmp_path / ".a.tif.abcd_123.part"
    (dead / "new").mkdir(parents=True)
    (dead / "lock").touch()
    (tmp_path / ".a.tif.abcd_124.part").mkdir()  # killed before it was locked
    for foreign in (".other.part", ".a.tif.abcd_125.part"):
        (tmp_path / foreign).mkdir()
        (tmp_path / foreign / "file").touch()
    write(tmp_path / "b.npy", SMALL)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".a.tif.abcd_125.part", ".other.part", "b.npy"]


def test_a_scratch_folder_that_another_process_removes_before_it_is_locked(tmp_path, monkeypatch):
    taken = []

    class Late(FileLock):
        def __init__(self, path):
            if len(taken) < 2:
                taken.append(path.parent)
                recover(tmp_path)
            super().__init__(path)

    monkeypatch.setattr("hyperfuse.io.encoding.scratch.FileLock", Late)
    with scratch_folder(tmp_path, "a.tif") as mine:
        assert mine.is_dir()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "plan",
    ['{"folder": "..", "names": ["a"], "stale": []}', '{"folder": ".", "names": ["../a"], "stale": []}', "[]", "{",
     '{"folder": ".", "names": [5], "stale": [".."]}', '{"folder": "/", "names": [], "stale": ["etc"]}'],
)  # fmt: skip
def test_moves_that_lead_elsewhere_are_not_made(tmp_path, plan):
    dead = tmp_path / "here" / ".a.tif.abcd_123.part"
    (dead / "new").mkdir(parents=True)
    (dead / "new" / "a").write_text("new")
    (dead / "lock").write_text("1")
    (dead / "moves.json").write_text(plan)
    (tmp_path / "a").write_text("kept")
    recover(tmp_path / "here")
    assert (tmp_path / "a").read_text() == "kept"
    assert list((tmp_path / "here").iterdir()) == []


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o700])
def test_an_overwritten_file_keeps_its_permissions(tmp_path, ending, mode):
    file = tmp_path / f"a.{ending}"
    write(file, SMALL)
    mode |= 0o100 if file.is_dir() else 0
    for path in tmp_path.iterdir():
        path.chmod(mode)
    write(file, LARGE, overwrite=True)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {mode}


def test_scratch_names_are_in_no_message(tmp_path):
    def fail(error):
        with replacing(tmp_path / "a.txt") as scratch:
            raise error(f"{scratch}: is wrong in {scratch.parent}")

    for error in (OSError, InputError, HyperfuseError):
        with pytest.raises(HyperfuseError) as caught:
            fail(error)
        assert ".part" not in str(caught.value)
        assert str(tmp_path) in str(caught.value)


def test_files_and_folders_are_on_the_disk_before_they_are_renamed(tmp_path, monkeypatch):
    events = []
    sync, move = os.fsync, Path.replace

    def fsync(descriptor):
        events.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        sync(descriptor)

    def replace(self, target):
        events.append(f"-> {Path(target).name}")
        return move(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    write(tmp_path / "a.img", SMALL)
    assert events.index("a.img") < events.index("-> a.img")
    assert events.index("a.hdr") < events.index("-> a.hdr") < events.index("-> a.img")
    assert events[-1] == tmp_path.name


def test_other_lines_on_stderr_are_kept_while_a_tiff_is_written(tmp_path, capfd, monkeypatch):
    from hyperfuse.io.formats import targets

    encode = targets.encode_values

    def talk(*arguments):
        os.write(2, b"_tiffish, but said by another\n")
        return encode(*arguments)

    monkeypatch.setattr(targets, "encode_values", talk)
    with full_disk(1_000), pytest.raises(HyperfuseError):
        write(tmp_path / "a.tif", LARGE)
    assert capfd.readouterr().err == "_tiffish, but said by another\n"


@pytest.mark.parametrize("ending", ["tif", "img"])
def test_names_that_no_raster_can_have_and_those_with_control_characters(tmp_path, ending):
    odd = tmp_path / f"a\udcff.{ending}"
    for attempt in (lambda: write(odd, SMALL), lambda: check_output(odd)):
        with pytest.raises(
            InputError, match="has a name that is not UTF-8, which GDAL cannot write; give another name"
        ):
            attempt()
    assert list(tmp_path.iterdir()) == []
    for name in (f"a\rb.{ending}", f"a\nb.{ending}", f"a\x1bb.{ending}"):
        cube = SMALL.replace(band_names=["x\ry"], attributes={"k": "v\r\nw"})
        write(tmp_path / name, cube)
        found = read(tmp_path / name)
        assert found.band_names == cube.band_names
        assert dict(found.attributes) == dict(cube.attributes)


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("hyperfuse.runtime.locks._lock", refuse)
    write(tmp_path / "a.img", SMALL)
    write(tmp_path / "a.img", LARGE, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.hdr", "a.img"]


def test_moves_that_can_neither_be_made_nor_undone_are_made_later(tmp_path, monkeypatch):
    write(tmp_path / "a.img", SMALL)
    move = Path.replace

    def fail(self, target):
        if Path(target).name == "a.img":
            monkeypatch.setattr(Path, "replace", broken)
            raise OSError(errno.EIO, "Input/output error")
        return move(self, target)

    def broken(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(HyperfuseError, match="Input/output error"):
        write(tmp_path / "a.img", LARGE, overwrite=True)
    monkeypatch.undo()
    assert np.array_equal(read(tmp_path / "a.img").data, LARGE.data)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.hdr", "a.img"]
