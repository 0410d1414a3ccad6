"""Pairs of which the HSI's samples are displaced, through the whole pipeline: in one piece, in tiles, with gaps."""

import json

import numpy as np
import pytest
from affine import Affine

from hyperfuse.cli.app import main
from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import Grid
from hyperfuse.io import read, write
from hyperfuse.scenes.fuse import fuse, fuse_tiles
from hyperfuse.scenes.simulate import simulate
from hyperfuse.scenes.tiling.plan import TilePlan
from hyperfuse.sensor.displacement import Displacement
from hyperfuse.sensor.displacement_map import DisplacementMap
from hyperfuse.sensor.model import Sensor
from scenes import mixture, smooth_abundances


def field(size=5.0, shape=(24, 32), seed=0, mean=(0.0, 0.0)):
    """Displacements of up to about ``size`` HR pixels that change within ten LR pixels."""
    count = [int(np.ceil(length / 6)) + 3 for length in shape]
    values = size * np.random.default_rng(seed).uniform(-1, 1, (2, *count))
    return Displacement(values + np.reshape(mean, (2, 1, 1)), (6, 6), (-6, -6))


def scene(rows=96, cols=128, bands=6, seed=0):
    rng = np.random.default_rng(seed)
    data = mixture(rng.random((bands, 4)).T, smooth_abundances(rng, 4, rows, cols, 1.5))
    return Cube(
        data=(data / data.max()).astype(np.float32),
        wavelengths=np.linspace(450, 900, bands),
        transform=(10.0, 0.0, 500_000.0, 0.0, -10.0, 4_100_000.0),
        crs="EPSG:32633",
    )


def made(folder=None, displacement=None, reference=None):
    reference = scene() if reference is None else reference
    found = simulate(reference, ratio=4, srf="boxes:3", displacement=field() if displacement is None else displacement)
    if folder is None:
        return found
    for name in ("hsi", "msi"):
        write(folder / f"{name}.tif", getattr(found, name))
    return found, folder / "hsi.tif", folder / "msi.tif"


def rms(image):
    return float(np.sqrt(np.nanmean(np.square(image, dtype=np.float64))))


def test_simulate_samples_at_the_displaced_positions():
    pair = made()
    np.testing.assert_allclose(pair.hsi.data, pair.sensor.degrade(pair.reference.data).numpy(), atol=1e-6)
    assert pair.hsi.transform == simulate(scene(), ratio=4, srf="boxes:3").hsi.transform
    step = pair.hsi.history[-1]
    np.testing.assert_allclose(step["displacement"]["coefficients"], field().coefficients, atol=1e-4)
    assert 0.7 < step["displacement"]["largest"] / field().largest((24, 32)) < 1.3


@pytest.mark.parametrize("method", ["bicubic", "local-regression", "feinfn"])
def test_tiles_see_the_same_field_as_the_whole(tmp_path, method):
    pair, hsi, msi = made(tmp_path)
    job = {"sensor": pair.sensor, "method": method}
    whole = fuse(pair.hsi, pair.msi, **job)
    fuse_tiles(hsi, msi, tmp_path / "out.tif", **job, tile=32)
    tiled = read(tmp_path / "out.tif")
    np.testing.assert_array_equal(np.isnan(tiled.data), np.isnan(whole.data))
    if method == "bicubic":
        np.testing.assert_allclose(tiled.data, whole.data, atol=2e-6)
    assert rms(tiled.data - pair.reference.data) < 1.012 * rms(whole.data - pair.reference.data)  # 0.1 dB
    history = tiled.history[-1]["sensor"]["displacement"]
    assert history == json.loads(json.dumps(pair.sensor.displacement.to_record()))


def test_a_mean_displacement_of_many_pixels_is_as_good_as_a_phase():
    """HSI and MSI cut to their common extent, wherever the field and not the phase says that it is."""
    reference = scene(128, 160)
    pair = made(reference=reference, displacement=field(1.0, (32, 40)))
    msi = pair.msi.crop(24, 0, 104, 160)
    moved = pair.sensor.replace(displacement=field(1.0, (32, 40), mean=(-24.0, 0.0)))
    # One HSI says that it begins with the cropped MSI, which is 24 pixels wrong and which the field knows.
    wrong = pair.hsi.replace(transform=pair.hsi.transform @ Affine.translation(0, 6))
    one, other = (
        fuse(hsi, msi, sensor=sensor, method="local-regression")
        for hsi, sensor in ((wrong, moved), (pair.hsi, pair.sensor.replace(phase=(-22.5, 1.5))))
    )
    truth = reference.data[:, 24:]
    assert one.data.shape == truth.shape
    known = np.isfinite(one.data) & np.isfinite(other.data)
    assert known.mean() > 0.97
    assert rms((one.data - truth)[known]) < 1.1 * rms((other.data - truth)[known])


def test_only_what_the_hsi_covers_is_fused_and_what_lies_off_the_msi_counts_for_nothing():
    # The first three columns of the HSI lie to the left of the MSI, and its last ones end as far inside.
    away = Displacement(np.stack([np.zeros((1, 2)), np.full((1, 2), -12.0)]), (6, 6), (0, 0))
    pair = made(displacement=away)
    fused = fuse(pair.hsi, pair.msi, sensor=pair.sensor, method="local-regression")
    gaps = np.isnan(fused.data).all(axis=0)
    position = (np.arange(128) - 1.5 + 12) / 4  # in LR pixels
    np.testing.assert_array_equal(gaps, np.broadcast_to(position >= 32 - 1 + 1.5, (96, 128)))
    off = np.where(np.arange(32) < 2, np.float32(50.0), 0)  # centres at -10.5 and -6.5
    other = fuse(pair.hsi.replace(data=pair.hsi.data + off), pair.msi, sensor=pair.sensor, method="local-regression")
    np.testing.assert_allclose(other.data, fused.data, atol=1e-4)


def test_gaps_stay_gaps_of_their_pixels():
    pair = made()
    row, col = pair.sensor.inverse_positions((96, 128))
    nearest = np.rint(row).clip(0, 23).astype(int), np.rint(col).clip(0, 31).astype(int)
    valid = np.ones(pair.hsi.data.shape, np.bool_)
    valid[:, 8:12, 10:15] = False
    valid[:, :, 22:] = False  # the part that holds data is cut out
    hsi = pair.hsi.replace(valid=valid, nodata=-1.0)
    fused = fuse(hsi, pair.msi, sensor=pair.sensor, method="local-regression")
    found = fused.valid_pixels
    assert not found[~valid[0][nearest]].any()
    inside = (row > -1.4) & (row < 24.4) & (col > -1.4)
    assert found[valid[0][nearest] & inside].all()
    far = valid[0][nearest] & inside & (np.abs(col - 21) > 2)
    error = (fused.data - pair.reference.data)[:, far]
    assert rms(error) < 1.2 * rms((fuse(pair.hsi, pair.msi, sensor=pair.sensor, method="local-regression").data
                                   - pair.reference.data)[:, far])  # fmt: skip


def test_windows_hold_all_samples_that_their_output_lies_among():
    sensor = Sensor(ratio=4, psf=made().sensor.psf, displacement=field(9.0, seed=4))
    plan = TilePlan.of((24, 32), (96, 128), sensor, 32, 3)
    row, col = sensor.inverse_positions((96, 128))
    for tile in plan.tiles():
        output = tile.output
        at = (slice(output.row, output.row + output.rows), slice(output.col, output.col + output.cols))
        for positions, window, size in ((row[at], tile.y.lr, 24), (col[at], tile.x.lr, 32)):
            assert window[0] == 0 or positions.min() >= window[0] + 1
            assert window[1] == size or positions.max() <= window[1] - 1 - 1
        seen, whole = tile.sensor(sensor).positions((tile.lr.rows, tile.lr.cols)), sensor.positions((24, 32))
        first = np.array([tile.hr.row, tile.hr.col])[:, None, None]
        expected = whole[:, tile.y.lr[0] : tile.y.lr[1], tile.x.lr[0] : tile.x.lr[1]]
        np.testing.assert_allclose(seen + first, expected, atol=1e-9)


def test_the_commands_make_and_fuse_such_a_pair(tmp_path):
    write(tmp_path / "ref.tif", scene())
    field().save(tmp_path / "field.yaml")
    arguments = ["simulate", str(tmp_path / "ref.tif"), str(tmp_path / "pair"), "--ratio", "4", "--srf", "boxes:3"]
    assert main([*arguments, "--displacement-from", str(tmp_path / "field.yaml")]) == 0
    read_back = Sensor.load(tmp_path / "pair" / "sensor.yaml").displacement
    np.testing.assert_array_equal(read_back.coefficients, field().coefficients)
    np.testing.assert_array_equal(Displacement.load(tmp_path / "pair" / "sensor.yaml").coefficients,
                                  field().coefficients)  # fmt: skip
    files = [str(tmp_path / "pair" / name) for name in ("hsi.tif", "msi.tif")]
    assert main(["fuse", *files, str(tmp_path / "out.tif"), "--method", "local-regression"]) == 0
    pair = made()
    whole = fuse(pair.hsi, pair.msi, sensor=pair.sensor, method="local-regression")
    np.testing.assert_allclose(read(tmp_path / "out.tif").data, whole.data, atol=1e-5)


def test_a_map_of_another_fusion_makes_such_a_pair_too(tmp_path):
    write(tmp_path / "ref.tif", scene())
    grid = Grid(24, 32, made().hsi.transform, made().hsi.crs)
    DisplacementMap(grid=grid, ratio=(4.0, 4.0), shift=(1.0, -2.0), displacement=field()).write(tmp_path / "map.tif")
    arguments = ["simulate", str(tmp_path / "ref.tif"), str(tmp_path / "pair"), "--ratio", "4", "--srf", "boxes:3"]
    assert main([*arguments, "--displacement-from", str(tmp_path / "map.tif")]) == 0
    found = Sensor.load(tmp_path / "pair" / "sensor.yaml").displacement
    np.testing.assert_allclose(found.coefficients, field(mean=(1.0, -2.0)).coefficients)


def test_a_file_that_is_no_field_is_named(tmp_path, capsys):
    write(tmp_path / "ref.tif", scene())
    (tmp_path / "field.yaml").write_text("spacing: [1, 2]\n")
    arguments = ["simulate", str(tmp_path / "ref.tif"), str(tmp_path / "pair"), "--ratio", "4", "--srf", "boxes:3"]
    assert main([*arguments, "--displacement-from", str(tmp_path / "field.yaml")]) == 2
    assert "field.yaml: a displacement is a mapping with the keys" in capsys.readouterr().err


@pytest.mark.parametrize("limit", ["_LR_PIXELS", "_HR_PIXELS"])
def test_a_scene_beyond_the_limit_is_registered_on_binned_pixels(tmp_path, monkeypatch, limit):
    """Of twice the pixels that are held at most along an axis, every two are binned; positions stay those of all."""
    smooth = Displacement(2.5 * np.random.default_rng(3).uniform(-1, 1, (2, 5, 5)), (32, 32), (-32, -32))
    pair, hsi, msi = made(tmp_path, smooth, scene(256, 320))
    held = {"_LR_PIXELS": 32 * 40, "_HR_PIXELS": 128 * 160}[limit]
    monkeypatch.setattr(f"hyperfuse.scenes.overview.{limit}", held)
    result = fuse_tiles(hsi, msi, tmp_path / "out.tif", method="bicubic", psf=pair.sensor.psf, tile=64, memory_gb=0.1)
    match = result.match
    assert match.registration.accepted, match.registration.doubt
    assert match.registration.lr_shape == (64, 80)
    assert min(match.registration.field.grid.spacing) > 15  # of all LR pixels they are 10 apart at the finest
    sensor = match.sensor.window(
        (-match.hsi.row, -match.hsi.col),
        tuple(
            start + offset - ratio * first
            for start, offset, ratio, first in zip(
                match.msi[:2], match.sensor.offset, match.sensor.ratio, match.hsi[:2], strict=True
            )
        ),
    )
    off = (sensor.positions((64, 80)) - pair.sensor.positions((64, 80))) / 4
    assert rms(off) < 0.1
    assert rms(off) < 0.3 * rms(smooth.at(np.arange(64), np.arange(80)) / 4)
