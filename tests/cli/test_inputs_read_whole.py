"""Large scenes in files that are read whole: put on disk, fused in tiles, and nothing left of it."""

import numpy as np
import pytest

from hyperfuse.io import read, write
from hyperfuse.scenes import images as scene_images
from hyperfuse.scenes.windows import FuseTile

JOB = ("--method", "local-regression", "--ratio", "3", "--psf", "mtf:0.3", "--no-align", "--threads", "1")
SMALL = ("--memory", "0.0001")


@pytest.fixture
def netcdf(files, pair):
    """The same pair in files that cannot be read by windows."""
    write(files / "hsi.nc", pair.hsi)
    write(files / "msi.nc", pair.msi)
    return files


def test_a_scene_above_the_memory_goes_in_tiles_whatever_its_files(run, netcdf):
    assert run("fuse", netcdf / "hsi.tif", netcdf / "msi.tif", netcdf / "a.tif", *JOB, "--tile", "12")[0] == 0
    code, _, err = run("fuse", netcdf / "hsi.nc", netcdf / "msi.nc", netcdf / "b.tif", *JOB, *SMALL)
    assert code == 0, err
    assert "hsi.nc: read whole" in err
    assert "note: fused in tiles" in err
    tiled, same = read(netcdf / "b.tif"), read(netcdf / "a.tif")
    assert np.abs(tiled.data - same.data).max() < 0.01
    assert tiled.history[-1]["inputs"] == {"hsi": "hsi.nc", "msi": "msi.nc"}
    np.testing.assert_allclose(tiled.wavelengths, same.wavelengths)
    assert not list(netcdf.glob(".*"))


def test_one_of_both_may_be_read_by_windows_and_a_pattern_is_merged(run, files, pair):
    for number, col in enumerate((0, 12, 24)):
        write(files / f"part_{number}.tif", pair.msi.crop(0, col, pair.msi.rows, 12))
    words = ("fuse", files / "hsi.tif", files / "part_*.tif", files / "out.tif", *JOB, "--tile", "12")
    code, _, err = run(*words)
    assert code == 0, err
    assert "part_0.tif and 2 more: read whole" in err
    assert "hsi.tif: read whole" not in err
    assert run("fuse", files / "hsi.tif", files / "msi.tif", files / "same.tif", *JOB, "--tile", "12")[0] == 0
    np.testing.assert_allclose(read(files / "out.tif").data, read(files / "same.tif").data, atol=1e-6)


def test_an_interrupted_job_finds_its_copies(run, netcdf, interrupt_after_a_tile, monkeypatch):
    call = ("fuse", netcdf / "hsi.nc", netcdf / "msi.nc", netcdf / "out.tif", *JOB, "--tile", "12")
    with interrupt_after_a_tile():
        assert run(*call)[0] == 130
    assert (netcdf / ".out.tif.inputs" / "hsi.tif").exists()
    with monkeypatch.context() as patch:
        patch.setattr(scene_images, "read_mosaic", lambda *_, **__: pytest.fail("read again"))
        code, _, err = run(*call, "--resume")
    assert code == 0, err
    assert not list(netcdf.glob(".*"))


def test_an_input_that_changed_is_read_again_and_refused(run, fails, netcdf, pair, monkeypatch):
    call = ("fuse", netcdf / "hsi.nc", netcdf / "msi.nc", netcdf / "out.tif", *JOB, "--tile", "12")
    with monkeypatch.context() as patch:
        patch.setattr(FuseTile, "__call__", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert run(*call)[0] == 130
    write(netcdf / "hsi.nc", pair.hsi.replace(data=pair.hsi.data * 0.9), overwrite=True)
    code, message = fails(*call, "--resume")
    assert code == 2
    assert "other inputs" in message


def test_a_broken_file_is_reported_and_leaves_nothing(fails, netcdf):
    (netcdf / "msi.nc").write_bytes((netcdf / "msi.nc").read_bytes()[:500])
    code, message = fails("fuse", netcdf / "hsi.nc", netcdf / "msi.nc", netcdf / "out.tif", *JOB, "--tile", "12")
    assert code == 2
    assert "msi.nc" in message
    assert not list(netcdf.glob(".*"))
