"""From scenes to examples: what a patch is, what is done to it, and the pair that it becomes."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperfuse.cube.cube import Cube
from hyperfuse.errors import InputError
from hyperfuse.sensor.presets import create_sensor
from hyperfuse.sensor.srf.names import create_srf
from hyperfuse.training.augmentation import Change, gain_curve, mixed, random_rectangle, rotated, shrunk
from hyperfuse.training.degradation import Degradation, lr_pixels_per_side
from hyperfuse.training.examples import stacked
from hyperfuse.training.order import DataOrder
from hyperfuse.training.patch_examples import PatchExamples, PatchSource, PatchWindow
from hyperfuse.training.scene_store import PatchCorner, SceneStore
from hyperfuse.training.sections import AugmentationSection

SRF = create_srf("boxes:2", 3)


def examples(scenes, *, preset="uestc", ratios=(2,), patch=12, names=("one", "two"), **changes):
    jitter = {key: changes.pop(key) for key in ("width_jitter", "phase_jitter") if key in changes}
    store = SceneStore(scenes, names)
    corners = store.grid(patch, 6)
    order = DataOrder(0, len(corners), 4)
    degradations = [Degradation(preset, ratio, SRF, patch, **jitter) for ratio in ratios]
    return PatchExamples(PatchSource(store, corners, order, degradations, AugmentationSection(**changes)))


# --- scenes and the grid ---------------------------------------------------------------------------------------------


def test_the_grid_is_that_of_the_authors_files(made):
    store = SceneStore(made.Scenes({"a": Cube(data=np.zeros((1, 512, 512), np.float32))}), ["a"])
    corners = store.grid(64, 32)
    assert len(corners) == 14 * 14
    assert {corner.row for corner in corners} == {corner.col for corner in corners} == set(range(0, 448, 32))
    assert store.grid(512, 32) == [PatchCorner("a", 0, 0)]
    with pytest.raises(InputError, match="the scene a has 512x512 pixels for training, fewer than a patch of 513"):
        store.grid(513, 32)


def test_rows_held_out_are_in_the_other_part_only(scenes):
    whole = torch.from_numpy(scenes.load("one").data)
    top, bottom = (SceneStore(scenes, ["one"], hold_out=0.3, part=part) for part in ("top", "bottom"))
    assert torch.equal(torch.cat([top.load("one"), bottom.load("one")], 1), whole)
    assert (top.shape("one"), bottom.shape("one")) == ((21, 28), (9, 28))
    assert (top.first_row("one"), bottom.first_row("one")) == (0, 21)
    assert max(corner.row for corner in top.grid(12, 1)) + 12 <= 21


def test_memory_is_bounded_and_scenes_are_not_read_twice_within_it(scenes):
    size = scenes.load("one").data.nbytes
    store = SceneStore(scenes, ["one", "two", "three"], memory_bytes=2 * size)
    before = dict(scenes.read)
    store.load_while_room()
    assert [scenes.read[name] - before[name] for name in store.names] == [1, 1, 0]
    for name in ("one", "two", "one", "three", "one"):
        store.load(name)
    assert [scenes.read[name] - before[name] for name in store.names] == [1, 1, 1]
    store.load("two")
    assert scenes.read["two"] - before["two"] == 2


def test_scenes_that_cannot_be_learnt_from(made):
    gap = np.ones((3, 20, 20), np.float32)
    gap[0, 0, 0] = np.nan
    cubes = {"gap": Cube(data=gap, valid=np.isfinite(gap)), "two": Cube(data=np.ones((2, 20, 20), np.float32))}
    with pytest.raises(InputError, match="the scene gap has gaps"):
        SceneStore(made.Scenes(cubes), ["gap"]).load("gap")
    with pytest.raises(InputError, match="the scene gap has 3 bands and two 2"):
        SceneStore(made.Scenes(cubes), ["gap", "two"])
    with pytest.raises(InputError, match=r"data\.hold_out=0\.01 leaves it none"):
        SceneStore(made.Scenes(cubes), ["two"], hold_out=0.01, part="bottom").shape("two")


# --- the pair --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("preset", "ratio"), [("uestc", 2), ("uestc", 4), ("dhif", 4), ("mtf", 3), ("mtf", 2.5)])
def test_the_pair_of_a_patch_is_that_of_the_scene_cut_out(scenes, preset, ratio):
    scene = torch.from_numpy(scenes.load("one").data)
    sensor = create_sensor(preset, ratio, SRF)
    degradation = Degradation(preset, ratio, SRF, 12)
    whole = sensor.degrade(scene)
    for first in (0, 1, 2) if preset != "mtf" else (1,):  # at the border a patch sees its own reflection
        row, col = round(first * degradation.side), round(degradation.side)
        if row + degradation.side > scene.shape[1] or (preset == "mtf" and row < degradation.margin):
            continue
        data = examples(scenes, preset=preset, ratios=(ratio,), names=("one",))
        window = data.cut(PatchWindow("one", row, col, 1), degradation)
        hsi, msi, reference = degradation.pair(window, degradation.draw(np.random.default_rng(0)))
        assert torch.equal(reference, scene[:, row : row + degradation.side, col : col + degradation.side])
        torch.testing.assert_close(msi, sensor.respond(reference))
        lr_side = degradation.lr_side
        at = round(row / ratio), round(col / ratio)
        inner = slice(0, lr_side) if preset != "mtf" else slice(0, lr_side - 1)  # its PSF reaches over the scene's edge
        expected = whole[:, at[0] : at[0] + lr_side, at[1] : at[1] + lr_side]
        torch.testing.assert_close(hsi[:, inner, inner], expected[:, inner, inner], atol=1e-6, rtol=1e-5)


def test_patches_hold_whole_lr_pixels():
    assert [lr_pixels_per_side(64, ratio) for ratio in (4, 8, 3, 2.5, 3.2)] == [16, 8, 21, 24, 20]
    with pytest.raises(InputError, match="no patch of up to 3 pixels is a whole number of LR pixels at the ratio 4"):
        lr_pixels_per_side(3, 4)


def test_jitter_moves_the_phase_and_widens_the_blur():
    exact = Degradation("mtf", 4, SRF, 16)
    jittered = Degradation("mtf", 4, SRF, 16, width_jitter=0.5, phase_jitter=0.4)
    drawn = [jittered.draw(np.random.default_rng(seed)) for seed in range(200)]
    factors = np.array([one.psf.sigma[0] / exact.nominal.psf.sigma[0] for one in drawn])
    assert factors.min() >= 1 / 1.5
    assert factors.max() <= 1.5
    assert factors.min() < 0.75 < 1.3 < factors.max()
    moves = np.array([np.subtract(one.offset, jittered.nominal.offset) - jittered.margin for one in drawn])
    assert np.abs(moves).max() <= 0.4
    assert (moves.min(0) < -0.3).all()
    assert (moves.max(0) > 0.3).all()
    assert abs(np.corrcoef(moves.T)[0, 1]) < 0.3
    # What moves is the image: a ramp along columns shows by how much.
    size = jittered.side + 2 * jittered.margin
    ramp = torch.arange(size, dtype=torch.float64).expand(3, size, size)
    for one, (_, x) in zip(drawn[:5], moves[:5], strict=True):
        plain = jittered.pair(ramp, jittered._plain)[0]
        torch.testing.assert_close(jittered.pair(ramp, one)[0] - plain, torch.full_like(plain, x), atol=1e-3, rtol=0)


def test_a_narrow_psf_keeps_its_centre_when_the_phase_moves():
    jittered = Degradation("uestc", 4, SRF, 16, phase_jitter=0.3)
    size = jittered.side + 2 * jittered.margin
    ramp = torch.arange(size, dtype=torch.float64).expand(3, size, size)
    for seed in range(10):
        sensor = jittered.draw(np.random.default_rng(seed))
        found = jittered.pair(ramp, sensor)[0][0, 0, 0]
        assert abs(float(found) - sensor.offset[1]) < 0.06


# --- augmentation ----------------------------------------------------------------------------------------------------


def test_the_eight_symmetries_are_eight():
    patch = torch.arange(9.0).reshape(1, 3, 3)
    images = {tuple(rotated(patch, number).flatten().tolist()) for number in range(8)}
    assert len(images) == 8
    assert torch.equal(rotated(patch, 0), patch)
    assert all(float(rotated(patch, number)[0, 1, 1]) == 4 for number in range(8))


@given(st.integers(1, 40), st.floats(0, 0.9), st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_gain_dims_bands_smoothly(bands, gain, seed):
    curve = torch.from_numpy(gain_curve(bands, gain, np.random.default_rng(seed)))
    assert curve.max() <= 1
    assert curve.min() >= 1 - gain - 1e-6
    if bands > 4:
        # Linear between four knots: neighbours differ by at most the whole range over a third of the bands.
        assert curve.diff().abs().max() <= gain * 3 / (bands - 1) + 1e-6


def test_gain_differs_between_bands_and_patches():
    one, other = (
        Change(0, gain_curve(8, 0.5, np.random.default_rng(seed))).applied(torch.ones(8, 1, 1)) for seed in (0, 1)
    )
    assert one.std() > 0.01
    assert not torch.equal(one, other)


def test_a_shrunk_window_keeps_its_mean_and_its_ramps():
    ramp = torch.arange(30.0).expand(2, 30, 30)
    small = shrunk(ramp, (15, 15))
    torch.testing.assert_close(small[0, 7, 2:-2], 2 * torch.arange(2.0, 13.0) + 0.5)
    stripes = torch.tensor([0.0, 1.0]).repeat(15).expand(1, 30, 30)
    assert (shrunk(stripes, (10, 10)) - 0.5).abs().max() < 0.2  # what would alias is averaged
    assert shrunk(ramp, (30, 30)) is ramp


@given(st.integers(2, 40), st.integers(2, 40), st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_a_random_rectangle_lies_inside_and_leaves_some(rows, cols, seed):
    at_rows, at_cols = random_rectangle(rows, cols, np.random.default_rng(seed))
    assert 0 <= at_rows.start < at_rows.stop <= rows
    assert 0 <= at_cols.start < at_cols.stop <= cols
    if min(rows, cols) > 9:
        fraction = (at_rows.stop - at_rows.start) * (at_cols.stop - at_cols.start) / (rows * cols)
        assert 0.05 < fraction < 0.65


def test_a_mix_holds_both_patches():
    result = mixed(torch.zeros(2, 20, 20), torch.ones(2, 20, 20), random_rectangle(20, 20, np.random.default_rng(0)))
    assert set(result.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(result[0], result[1])
    ones = result[0].nonzero()
    assert len(ones) == (np.ptp(ones[:, 0].numpy()) + 1) * (np.ptp(ones[:, 1].numpy()) + 1)


def test_without_augmentation_examples_are_the_grid(scenes):
    data = examples(scenes)
    found = {}
    for position in range(len(data)):
        example = data[position]
        corner = example.corner
        scene = torch.from_numpy(scenes.load(corner.scene).data)
        assert torch.equal(example.reference, scene[:, corner.row : corner.row + 12, corner.col : corner.col + 12])
        found[corner] = example
    assert sorted(found) == sorted(SceneStore(scenes, ("one", "two")).grid(12, 6))


def test_an_example_is_the_same_whenever_it_is_asked_for(scenes):
    options = {
        "symmetries": True,
        "random_starts": True,
        "gain": 0.3,
        "scales": (1, 1.5, 2),
        "mix": 0.5,
        "width_jitter": 0.2,
        "phase_jitter": 0.2,
    }
    one, other = (examples(scenes, ratios=(2, 3), **options) for _ in range(2))
    backwards = {position: other[position] for position in reversed(range(60))}
    for position in range(60):
        example, again = one[position], backwards[position]
        assert example.corner == again.corner
        assert torch.equal(example.hsi, again.hsi)
        assert torch.equal(example.reference, again.reference)
        assert example.hsi.shape[-1] == (
            6 if example.reference.shape[-1] == 12 and one.source.order.choice(position, 2) == 0 else 4
        )
        assert torch.isfinite(example.hsi).all()
        torch.testing.assert_close(example.msi, create_sensor("uestc", 2, SRF).respond(example.reference))


@pytest.mark.parametrize(
    "options",
    [{"symmetries": True}, {"random_starts": True}, {"gain": 0.3}, {"scales": (2,)}, {"mix": 1.0}],
    ids=lambda options: next(iter(options)),
)
def test_every_augmentation_does_something_of_its_own(scenes, options):
    plain, changed = examples(scenes), examples(scenes, **options)
    differ = [not torch.equal(plain[n].reference, changed[n].reference) for n in range(16)]
    assert sum(differ) > 8
    if "random_starts" in options:
        for n in range(16):
            name, row, col = changed[n].corner
            scene = torch.from_numpy(scenes.load(name).data)
            assert torch.equal(changed[n].reference, scene[:, row : row + 12, col : col + 12])
        assert any(changed[n].corner.row % 6 for n in range(16))
    if "symmetries" in options:
        for n in range(16):
            images = [rotated(plain[n].reference, number) for number in range(8)]
            assert any(torch.equal(changed[n].reference, image) for image in images)
            # The phase stays the sensor's: a patch is rotated before it is degraded, not after.
            sensor = create_sensor("uestc", 2, SRF)
            inner = slice(1, 5)
            expected = sensor.degrade(changed[n].reference)
            torch.testing.assert_close(changed[n].hsi[:, inner, inner], expected[:, inner, inner])
    if "scales" in options:
        corner = changed[0].corner
        scene = torch.from_numpy(scenes.load(corner.scene).data)
        window = scene[:, corner.row : corner.row + 24, corner.col : corner.col + 24]
        means = torch.nn.functional.avg_pool2d(window, 2)
        assert (changed[0].reference - means).abs().mean() < 0.06


def test_scenes_too_small_for_a_scale_are_named(scenes):
    with pytest.raises(InputError, match=r"the scene one has 30x28 pixels .* shrunk by 3 needs 36x36"):
        examples(scenes, scales=(1, 3))


def test_what_is_held_out_is_never_seen(made):
    image = np.zeros((3, 40, 40), np.float32)
    image[:, 28:] = 1.0
    scenes = made.Scenes({"one": Cube(data=image)})
    store = SceneStore(scenes, ["one"], hold_out=0.3, part="top")
    corners = store.grid(12, 4)
    section = AugmentationSection(symmetries=True, random_starts=True, scales=(1, 2), mix=0.5)
    degradation = Degradation("mtf", 4, SRF, 12, width_jitter=0.2, phase_jitter=0.5)
    data = PatchExamples(PatchSource(store, corners, DataOrder(0, len(corners), 4), [degradation], section))
    for position in range(100):
        assert float(data[position].reference.abs().max()) == 0
        assert float(data[position].hsi.abs().max()) == 0


def test_batches_are_stacked_with_their_places(scenes):
    data = examples(scenes)
    batch = stacked([data[n] for n in range(3)])
    assert batch.hsi.shape == (3, 3, 6, 6)
    assert batch.msi.shape == (3, 2, 12, 12)
    assert batch.reference.shape == (3, 3, 12, 12)
    assert batch.corners == tuple(data[n].corner for n in range(3))
    assert batch.base is None
