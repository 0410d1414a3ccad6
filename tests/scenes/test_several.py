"""Several images as one MSI: bands with coarser pixels are fused to the finest, and used with them."""

from contextlib import nullcontext

import numpy as np
import pytest
from affine import Affine

from hyperfuse import PairGeometry, ReadOptions, evaluate
from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import Grid
from hyperfuse.cube.window import Window
from hyperfuse.errors import HyperfuseWarning, InputError
from hyperfuse.io import read, write
from hyperfuse.io.windows.memory import MemorySource
from hyperfuse.io.windows.warped import WarpedSource
from hyperfuse.scenes import windows
from hyperfuse.scenes.fuse import fuse, fuse_tiles
from hyperfuse.scenes.several import msi_files
from hyperfuse.scenes.simulate import simulate
from scenes import mixture, smooth_abundances

JOB = {"method": "local-regression", "align": False}
NORTH_UP = Affine(10.0, 0.0, 500_000.0, 0.0, -10.0, 4_100_000.0)


def scene(rows=96, cols=72, seed=0):
    """Five materials whose differences show in bands that the fine image does not have."""
    rng = np.random.default_rng(seed)
    wavelengths = np.linspace(450, 900, 20)
    data = mixture(rng.random((5, 20)) + 0.1, smooth_abundances(rng, 5, rows, cols, 1.2))
    data = (data / data.max()).astype(np.float32)
    return Cube(data=data, wavelengths=wavelengths, transform=NORTH_UP, crs="EPSG:32633", units="reflectance")


def measured(truth, srf, ratio=1.0, **options):
    """An image of the scene in the bands of ``srf`` with pixels of ``ratio`` of the scene's."""
    sharp = simulate(truth, ratio=6, srf=srf).msi.replace(history=())
    return sharp if ratio == 1 else simulate(sharp, ratio=ratio, srf="boxes:1", **options).hsi.replace(history=())


@pytest.fixture(scope="module")
def made():
    truth = scene()
    hsi = simulate(truth, ratio=6, srf="boxes:1").hsi
    return truth, hsi, measured(truth, "gaussian:500/40,560/40"), measured(truth, "gaussian:700/40,800/40,870/40", 2)


def psnr(truth, fused):
    return evaluate(truth, fused, ratio=6)["psnr_db"]


def test_coarser_bands_gain_and_keep_the_order_of_the_call(made):
    truth, hsi, fine, coarse = made
    alone = fuse(hsi, fine, **JOB)
    fusion = fuse(hsi, [fine, coarse], **JOB, return_details=True)
    assert psnr(truth, fusion.image) > psnr(truth, alone) + 3
    assert fusion.image.transform == truth.transform
    (combined,) = fusion.image.history[-1]["msi_history"]
    assert [image["bands"] for image in combined["images"]] == [2, 3]
    assert combined["images"][1]["history"][-1]["method"] == "local-regression"
    assert "msi[1]: 3 bands with pixels of 20 fused (local-regression) to those of msi[0], 10" in fusion.notes
    assert fusion.image.history[-1]["notes"] == list(fusion.notes)
    reverse = fuse(hsi, [coarse, fine], **JOB, return_details=True)
    np.testing.assert_allclose(reverse.image.data, fusion.image.data, atol=1e-4)
    assert list(reverse.match.sensor.replace().ratio) == [6, 6]
    # Responses stand in the order of the call.
    matrix = simulate(truth, ratio=6, srf="gaussian:700/40,800/40,870/40,500/40,560/40").sensor.srf
    assert psnr(truth, fuse(hsi, [coarse, fine], method="gsa", align=False, srf=matrix)) > 20


def test_the_same_from_files_and_in_tiles(made, tmp_path):
    truth, hsi, fine, coarse = made
    for name, image in {"hsi": hsi, "fine": fine, "coarse": coarse}.items():
        write(tmp_path / f"{name}.tif", image)
    files = [tmp_path / "fine.tif", tmp_path / "coarse.tif"]
    before = sorted(file.name for file in tmp_path.iterdir())
    expected = fuse(hsi, [fine, coarse], **JOB)
    whole = fuse_tiles(tmp_path / "hsi.tif", files, tmp_path / "whole.tif", **JOB)
    assert np.array_equal(read(tmp_path / "whole.tif").data, expected.data)
    tiled = fuse_tiles(tmp_path / "hsi.tif", files, tmp_path / "tiled.tif", **JOB, tile=48)
    image = read(tmp_path / "tiled.tif")
    np.testing.assert_allclose(image.data, expected.data, atol=2e-3)
    assert psnr(truth, image) == pytest.approx(psnr(truth, expected), abs=0.1)
    for fusion in (whole, tiled):
        assert any("fused (local-regression) to those of" in note for note in fusion.notes)
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted([*before, "tiled.tif", "whole.tif"])


@pytest.mark.parametrize(("done", "left"), [(2, 4 + 4), (6, 2)])
def test_an_interrupted_job_resumes_while_bands_are_sharpened_and_after(made, tmp_path, monkeypatch, done, left):
    """Four tiles of the coarser bands are fused first, then four of the scene."""
    _, hsi, fine, coarse = made
    for name, image in {"hsi": hsi, "fine": fine, "coarse": coarse}.items():
        write(tmp_path / f"{name}.tif", image)
    files = (tmp_path / "hsi.tif", [tmp_path / "fine.tif", tmp_path / "coarse.tif"])
    fuse_tiles(*files, tmp_path / "whole.tif", **JOB, tile=48)
    fused, fuse_tile = [], windows.FuseTile.__call__

    def counted(task, tile):
        if len(fused) == stop:
            raise KeyboardInterrupt
        fused.append(tile.name)
        return fuse_tile(task, tile)

    monkeypatch.setattr(windows.FuseTile, "__call__", counted)
    stop = done
    with pytest.raises(KeyboardInterrupt):
        fuse_tiles(*files, tmp_path / "out.tif", **JOB, tile=48)
    assert not (tmp_path / "out.tif").exists()
    fused, stop = [], -1
    fuse_tiles(*files, tmp_path / "out.tif", **JOB, tile=48, resume=True)
    assert len(fused) == left
    assert (tmp_path / "out.tif").read_bytes() == (tmp_path / "whole.tif").read_bytes()
    assert not list(tmp_path.glob(".*"))


def test_gaps_of_either_are_gaps(made):
    _, hsi, fine, coarse = made
    hole, coarse_hole = np.ones(fine.shape, bool), np.ones(coarse.shape, bool)
    hole[0, 10:14, 10:14] = False
    coarse_hole[1, 20:24, 30:33] = False
    fused = fuse(hsi, [fine.replace(valid=hole), coarse.replace(valid=coarse_hole)], **JOB)
    gaps = np.zeros(fine.shape[1:], bool)
    gaps[10:14, 10:14] = gaps[40:48, 60:66] = True
    assert np.array_equal(~fused.valid, np.broadcast_to(gaps, fused.shape))
    part = fuse(hsi, [fine, coarse.crop(0, 0, 24, 36)], **JOB)
    assert part.valid[:, :48].all()
    assert not part.valid[:, 48:].any()
    masked = np.zeros(fine.shape[1:], bool)
    masked[:6, :6] = True
    excluded = fuse(hsi, [fine, coarse], **JOB, mask=masked)
    assert np.array_equal(~excluded.valid[0], masked)


def test_three_pixel_sizes(made):
    truth, hsi, fine, _ = made
    red, infrared = measured(truth, "gaussian:700/40", 2), measured(truth, "gaussian:800/40,870/40", 3)
    fused = fuse(hsi, [infrared, fine, red], **JOB)
    assert psnr(truth, fused) > psnr(truth, fuse(hsi, [fine, red], **JOB)) > psnr(truth, fuse(hsi, fine, **JOB))
    (combined,) = fused.history[-1]["msi_history"]
    assert [image["bands"] for image in combined["images"]] == [2, 1, 2]


@pytest.mark.parametrize("ratio", [1.5, 2])
def test_a_grid_whose_corners_lie_within_pixels(made, ratio):
    # Landsat's panchromatic pixels of 15 m: their corners are not those of the pixels of 30 m.
    truth, hsi, _, _ = made
    pan, bands = measured(truth, "gaussian:600/200"), "gaussian:500/40,700/40,870/40"
    coarse = measured(truth, bands, ratio, phase=0.0)
    assert psnr(truth, fuse(hsi, [pan, coarse], **JOB)) > psnr(truth, fuse(hsi, pan, **JOB)) + 3


def test_images_in_another_coordinate_system(made):
    from rasterio.warp import transform

    truth, hsi, fine, _ = made
    # The bands at 700 nm and beyond as another satellite delivers them, in the zone to the west.
    (west,), (north,) = transform("EPSG:32633", "EPSG:32632", [NORTH_UP.c + 360], [NORTH_UP.f - 480])
    wide = Grid(220, 220, Affine(10, 0, west - 1100, 0, -10, north + 1100), "EPSG:32632")
    large = scene(96, 72)
    sharp = MemorySource(measured(large, "gaussian:700/40,800/40,870/40"))
    there = WarpedSource(sharp, wide).read(Window(0, 0, 220, 220))
    fused = fuse(hsi, [fine, there], **JOB, return_details=True)
    inside = np.s_[:, 6:-6, 6:-6]
    assert np.isfinite(fused.image.data[inside]).all()
    error = np.sqrt(np.mean((fused.image.data[inside] - truth.data[inside]) ** 2))
    alone = fuse(hsi, fine, **JOB).data[inside]
    assert error < np.sqrt(np.mean((alone - truth.data[inside]) ** 2)) / 2
    assert any("resampled (cubic) to the pixels of msi[0]" in note for note in fused.notes)


def test_files_with_pixels_of_one_size_are_bands_or_tiles_as_before(made, tmp_path):
    _, hsi, fine, coarse = made
    write(tmp_path / "hsi.tif", hsi)
    for band in range(2):
        write(tmp_path / f"B{band}.tif", fine.select_bands([band]))
        write(tmp_path / f"tile{band}.tif", fine.crop(48 * band, 0, 48, 72))
    write(tmp_path / "coarse.tif", coarse)
    write(tmp_path / "more.tif", fine.select_bands([0]).replace(band_names=("other",), wavelengths=[600]))
    write(tmp_path / "fine.tif", fine)
    three = fuse_tiles(
        tmp_path / "hsi.tif", [tmp_path / "fine.tif", tmp_path / "more.tif"], tmp_path / "three.tif", **JOB
    )
    assert three.match.msi == fuse(hsi, fine, **JOB, return_details=True).match.msi
    expected = fuse(hsi, fine, **JOB)
    for kind in ("B", "tile"):
        parts = [tmp_path / f"{kind}{number}.tif" for number in range(2)]
        for name, files in {"two": parts, "all": [parts[0], tmp_path / "coarse.tif", parts[1]]}.items():
            with pytest.warns(HyperfuseWarning, match="stacked as bands") if kind == "B" else nullcontext():
                fuse_tiles(tmp_path / "hsi.tif", files, tmp_path / f"{kind}-{name}.tif", **JOB)
        np.testing.assert_array_equal(read(tmp_path / f"{kind}-two.tif").data, expected.data)
        every = fuse(hsi, [fine, coarse], **JOB)
        np.testing.assert_allclose(read(tmp_path / f"{kind}-all.tif").data, every.data, atol=1e-4)


def test_the_blur_of_coarser_bands_may_be_stated(made):
    truth, hsi, fine, coarse = made
    right = fuse(hsi, [fine, coarse], **JOB, msi_psf="mtf:0.3")
    wrong = fuse(hsi, [fine, coarse], **JOB, geometry=None, msi_psf="sigma:2.5")
    assert psnr(truth, right) > psnr(truth, wrong) + 1
    with pytest.raises(InputError, match=r"msi_psf=\.\.\. is the blur of coarser bands of the MSI") as refused:
        fuse(hsi, fine, **JOB, msi_psf="mtf:0.3")
    assert refused.value.parameter == "msi_psf"
    with pytest.raises(InputError, match="msi_psf"):
        PairGeometry(msi_psf="mtf")


def test_what_does_not_fit_is_refused(made, tmp_path):
    truth, hsi, fine, coarse = made
    with pytest.raises(InputError, match="passed twice"):
        fuse(hsi, [fine, fine], **JOB)
    elsewhere = coarse.replace(transform=Affine(20, 0, 600_000, 0, -20, 4_100_000))
    with pytest.raises(InputError, match=r"msi\[1\] cannot be brought to the pixels of msi\[0\].* do not overlap"):
        fuse(hsi, [fine, elsewhere], **JOB)
    with pytest.raises(InputError, match=r"msi\[1\]: its pixels of 60 are no finer than the HSI's of 60"):
        fuse(hsi, [fine, measured(truth, "gaussian:700/40", 6)], **JOB)
    with pytest.raises(InputError, match="some of the images are georeferenced and some are not"):
        fuse(hsi, [fine, coarse.replace(transform=None, crs=None)], **JOB)
    other = fine.select_bands([0]).replace(transform=NORTH_UP @ Affine.translation(500, 0), band_names=("far",))
    with pytest.raises(InputError, match=r"msi\[1\]: it does not overlap with the finest image"):
        fuse(hsi, [fine, other], **JOB)
    for name, image in {"hsi": hsi, "fine": fine, "coarse": coarse}.items():
        write(tmp_path / f"{name}.tif", image)
    with pytest.raises(InputError, match="named twice"):
        msi_files([tmp_path / "fine.tif", tmp_path / ".." / tmp_path.name / "fine.tif"], None)
    files = [tmp_path / "fine.tif", tmp_path / "coarse.tif"]
    with pytest.raises(InputError, match=r"msi_bands=\.\.\. is of one image") as refused:
        fuse_tiles(tmp_path / "hsi.tif", files, tmp_path / "out.tif", **JOB, msi_reading=ReadOptions(bands="1"))
    assert refused.value.parameter == "msi_bands"
    with pytest.raises(InputError, match=r"cannot be merged with .* 3 bands, not 2"):  # tiles, as stated
        fuse_tiles(tmp_path / "hsi.tif", files, tmp_path / "out.tif", **JOB, msi_reading=ReadOptions(stack=False))
    assert not (tmp_path / "out.tif").exists()


def test_arrays_without_a_position_cover_the_same_ground(made):
    truth, *images = made
    hsi, fine, coarse = (image.data for image in images)
    fused = fuse(hsi, [Cube(data=fine), Cube(data=coarse)], **JOB)
    alone = fuse(hsi, fine, **JOB)
    assert psnr(Cube(data=truth.data), fused) > psnr(Cube(data=truth.data), alone) + 3
