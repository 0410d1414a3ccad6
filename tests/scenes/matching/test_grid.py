"""Matching a pair: where the images lie to each other, what is cut, what is refused."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperfuse.cube.cube import Cube
from hyperfuse.errors import HyperfuseWarning, InputError
from hyperfuse.scenes.matching.grid import match_pair as match_cubes
from hyperfuse.scenes.simulate import simulate
from hyperfuse.sensor.geometry import PairGeometry
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.presets import create_sensor
from hyperfuse.sensor.psf import BoxPsf, GaussianPsf
from hyperfuse.sensor.srf.srf import Srf
from scenes import on_ground

UTM33, UTM32 = "EPSG:32633", "EPSG:32632"
MSI_GRID = (10.0, 0.0, 600000.0, 0.0, -10.0, 4e6)


def match_pair(hsi, msi, **specified):
    return match_cubes(hsi, msi, PairGeometry(**specified))


def cube(bands, rows, cols, transform=None, crs=None, **fields):
    data = np.random.default_rng(0).random((bands, rows, cols)) + 0.1
    return Cube(data=data, transform=transform, crs=crs, **fields)


def compose(first, second):
    """The transform that applies ``second``, then ``first``."""
    matrices = [np.array([t[:3], t[3:], (0, 0, 1)]) for t in (first, second)]
    return tuple((matrices[0] @ matrices[1])[:2].ravel())


def hsi_on(msi_grid, ratio, corner, rows=6, cols=5, bands=8):
    """An HSI whose corner lies at MSI pixel position ``corner`` (y, x), its pixels ``ratio`` (y, x) times as large."""
    grid = compose(msi_grid, (ratio[1], 0, corner[1], 0, ratio[0], corner[0]))
    return cube(bands, rows, cols, grid, UTM33)


def assert_in_place(pair):
    """Every LR centre lies at the HR position that the sensor states."""
    sensor = pair.sensor
    for i, j in ((0, 0), (pair.hsi.rows - 1, pair.hsi.cols - 1)):
        y, x = (p + r * n + 0.5 for p, r, n in zip(sensor.offset, sensor.ratio, (i, j), strict=True))
        np.testing.assert_allclose(
            on_ground(pair.hsi.transform, j + 0.5, i + 0.5),
            on_ground(pair.msi.transform, x, y),
            atol=1e-6,
        )


# ---- ratio


def test_the_ratio_comes_from_the_transforms():
    msi = cube(4, 24, 20, MSI_GRID, UTM33)
    pair = match_pair(hsi_on(MSI_GRID, (4, 4), (0, 0)), msi)
    assert pair.sensor.ratio == (4, 4)
    assert pair.sensor.offset == pytest.approx((1.5, 1.5))
    assert (pair.hsi.rows, pair.msi.rows) == (6, 24)
    assert_in_place(pair)


@pytest.mark.parametrize("ratio", [(3.2, 3.2), (4, 2), (2.5, 7.1), (1, 1)])
def test_whole_or_not_the_same_or_not_along_the_axes(ratio):
    hsi = hsi_on(MSI_GRID, ratio, (0, 0))
    msi = cube(4, math.ceil(6 * ratio[0]), math.ceil(5 * ratio[1]), MSI_GRID, UTM33)
    pair = match_pair(hsi, msi)
    assert pair.sensor.ratio == pytest.approx(ratio)
    assert (pair.hsi.rows, pair.hsi.cols, pair.msi.rows, pair.msi.cols) == (6, 5, msi.rows, msi.cols)
    assert_in_place(pair)


def test_rounded_transforms_give_the_whole_ratio_that_is_meant():
    hsi = hsi_on(MSI_GRID, (3.0004, 2.9997), (0, 0))
    assert match_pair(hsi, cube(4, 18, 15, MSI_GRID, UTM33)).sensor.ratio == (3, 3)


def test_without_transforms_the_ratio_comes_from_the_sizes():
    assert match_pair(cube(8, 6, 5), cube(4, 24, 20)).sensor.ratio == (4, 4)
    assert match_pair(cube(8, 10, 10), cube(4, 32, 32)).sensor.ratio == (3.2, 3.2)
    one = cube(8, 6, 5, MSI_GRID, UTM33)
    assert match_pair(one, cube(4, 24, 20), same_ground=True).sensor.ratio == (4, 4)
    assert match_pair(cube(8, 6, 5), cube(4, 24, 20)).sensor.offset == (1.5, 1.5)


@pytest.mark.parametrize("crs", [None, 'LOCAL_CS["Image",UNIT["metre",1]]'])
@pytest.mark.parametrize("corner", ["zero", "half", "rows"])
def test_coordinates_that_count_pixels_are_no_position(crs, corner):
    images = []
    for bands, rows, cols in ((8, 6, 5), (3, 24, 20)):
        x, y = {"zero": (0, 0), "half": (-0.5, 0.5), "rows": (0, rows)}[corner]
        images.append(cube(bands, rows, cols, (1, 0, x, 0, -1, y), crs))
    pair = match_pair(*images)
    assert (pair.sensor.ratio, pair.msi.shape) == ((4.0, 4.0), (3, 24, 20))
    assert any("only count pixels" in note for note in pair.notes)


def test_pixels_of_one_metre_with_a_position_are_believed():
    fine = cube(3, 24, 20, (1, 0, 0, 0, -1, 0), UTM33)
    assert match_pair(cube(8, 6, 5, (1, 0, 0, 0, -1, 0), UTM33), fine).msi.shape == (3, 6, 5)
    placed = match_pair(cube(8, 6, 5, (1, 0, 3, 0, -1, -2)), fine.replace(crs=None))
    assert (placed.sensor.ratio, placed.msi.shape) == ((1.0, 1.0), (3, 6, 5))


@pytest.mark.parametrize("given_as", [4, 4.0, np.int64(4), np.float32(4), (4, 4), [4, 4], np.array([4, 4])])
def test_a_given_ratio_that_agrees_is_taken(given_as):
    assert match_pair(cube(8, 6, 5), cube(4, 24, 20), ratio=given_as).sensor.ratio == (4, 4)
    assert match_pair(cube(8, 6, 5), cube(4, 26, 23), ratio=given_as).sensor.ratio == (
        4,
        4,
    )  # a part remains


def test_the_ratio_of_a_sensor_is_a_given_one():
    sensor = create_sensor("mtf", (4, 2))
    assert match_pair(cube(8, 6, 10), cube(4, 24, 20), sensor=sensor).sensor.ratio == (4, 2)
    with pytest.raises(InputError, match="the ratio given is 2, but 20 MSI columns for 5 HSI columns are 4"):
        match_pair(cube(8, 12, 5), cube(4, 24, 20), sensor=create_sensor("mtf", 2))


@pytest.mark.parametrize(
    ("hsi", "msi", "ratio", "message"),
    [
        (cube(8, 6, 5), cube(4, 24, 20), 3, "the ratio given is 3, but 24 MSI rows for 6 HSI rows are 4"),
        (cube(8, 6, 5), cube(4, 24, 20), (4, 3), "the ratio given is 3, but 20 MSI columns for 5 HSI columns are 4"),
        (cube(8, 6, 5), cube(4, 24, 20), 0.5, "a ratio is 1 or more, got 0.5"),
        (cube(8, 6, 5), cube(4, 24, 20), (4, 4, 4), "one number or a pair"),
        (cube(8, 6, 5), cube(4, 24, 10), None, "ratio of 4 in y and 2 in x; pass ratio=... if that is meant"),
        (hsi_on(MSI_GRID, (4, 4), (0, 0)), cube(4, 24, 20, MSI_GRID, UTM33), 3, "the ratio given is 3, that of the"),
        (cube(8, 24, 20), cube(4, 6, 5), None, r"finer than the MSI's \(ratio 0.25, 8 and 4 bands\)$"),
        (cube(4, 24, 20), cube(8, 6, 5), None, r"finer .* HSI and MSI look swapped$"),
        (cube(4, 24, 20, MSI_GRID), hsi_on(MSI_GRID, (4, 4), (0, 0)), None, "look swapped"),
    ],
)
@pytest.mark.filterwarnings("ignore::hyperfuse.errors.HyperfuseWarning")
def test_a_ratio_that_cannot_be_is_refused(hsi, msi, ratio, message):
    with pytest.raises(InputError, match=message):
        match_pair(hsi, msi, ratio=ratio)


def test_another_ratio_along_the_axes_is_taken_when_it_is_said():
    assert match_pair(cube(8, 6, 5), cube(4, 24, 10), ratio=(4, 2)).sensor.ratio == (4, 2)


# ---- extent


def test_a_pair_that_overlaps_in_part_is_cut_to_whole_lr_pixels():
    hsi = hsi_on(MSI_GRID, (4, 4), (-6, 6), rows=8, cols=8)  # LR rows from -6, -2, 2, ...; columns from 6, 10, ...
    pair = match_pair(hsi, cube(4, 20, 24, MSI_GRID, UTM33))
    np.testing.assert_array_equal(pair.hsi.data, hsi.data[:, 2:6, :4])  # rows 2 to 18, columns 6 to 22
    assert (pair.msi.rows, pair.msi.cols) == (16, 16)
    np.testing.assert_array_equal(on_ground(pair.msi.transform, 0, 0), on_ground(MSI_GRID, 6, 2))
    assert pair.sensor.offset == pytest.approx((1.5, 1.5))
    assert_in_place(pair)
    assert pair.notes[-2:] == ("HSI cut from 8x8 to 4x4 pixels", "MSI cut from 20x24 to 16x16 pixels")


fractions = st.floats(-30, 30)


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.sampled_from([1.0, 2.0, 3.0, 4.0, 2.5, 3.3]), st.sampled_from([1.0, 3.0, 5.0, 1.7])),
    st.tuples(fractions, fractions),
    st.sampled_from([MSI_GRID, (0.0, 7.0, 3.0, 7.0, 0.0, -2.0), (6.0, 8.0, 0.0, 8.0, -6.0, 100.0)]),
)
def test_wherever_the_hsi_lies_the_cut_pair_stays_in_place(ratio, corner, grid):
    """Also where both grids are rotated: whole LR pixels, all that there are, and no HR pixel more."""
    hsi, msi = hsi_on(grid, ratio, corner, rows=9, cols=11), cube(4, 21, 26, grid, UTM33)
    if not all(
        any(c + r * n >= -over and c + r * (n + 1) <= size + over for n in range(count))
        for c, r, count, size in zip(corner, ratio, (9, 11), (21, 26), strict=True)
        for over in (min(1, r / 2) + 1e-6,)
    ):
        with pytest.raises(InputError, match="do not overlap"):
            match_pair(hsi, msi)
        return
    pair = match_pair(hsi, msi)
    assert_in_place(pair)
    kept = pair.hsi.data.shape[1:], pair.msi.data.shape[1:]
    for start, r, phase, all_lr, all_hr, lr, hr in zip(
        corner, ratio, pair.sensor.offset, (9, 11), (21, 26), *kept, strict=True
    ):
        edge = phase + 0.5 - r / 2  # of the first LR pixel kept, from the first HR pixel kept
        assert edge >= -1 - 1e-5
        assert edge + r * lr <= hr + 1 + 1e-5
        assert edge < 1  # no HR pixel more at the start
        assert hr - (edge + r * lr) < 1  # nor at the end
        low, high = (-start) / r, (all_hr - start) / r  # the MSI's ends in LR pixels
        assert lr >= min(all_lr, math.floor(high + 1e-9)) - max(0, math.ceil(low - 1e-9))


@pytest.mark.parametrize("corner", [(100, 0), (-30, 0), (0, 60), (0, -25), (19, 0)])
def test_images_apart_are_reported_with_their_positions(corner):
    with pytest.raises(InputError, match=r"HSI and MSI do not overlap: the HSI covers the MSI (rows|columns) "):
        match_pair(hsi_on(MSI_GRID, (4, 4), corner), cube(4, 20, 24, MSI_GRID, UTM33))


SIMULATED = [
    ("mtf", 4, None),
    ("mtf", 3.2, None),
    ("mtf", (4, 2), None),
    ("mtf", 1, None),
    ("uestc", 4, None),
    ("uestc", 3, None),
    ("uestc", 8, None),
    ("dhif", 3, None),
    ("dhif", 4, None),
    ("dhif", 7, None),
    ("mtf", 4, 0),
    ("mtf", 8, (0, 7)),
    ("mtf", 2.7, 0),
]


@pytest.mark.parametrize(("preset", "ratio", "phase"), SIMULATED)
@pytest.mark.parametrize("transform", [None, MSI_GRID])
def test_a_simulated_pair_is_whole_at_any_phase(preset, ratio, phase, transform):
    reference = cube(4, 33, 37, transform, UTM33 if transform else None)
    made = simulate(reference, ratio=ratio, preset=preset, phase=phase, srf="boxes:2")
    pair = match_pair(made.hsi, made.msi, sensor=made.sensor)
    np.testing.assert_array_equal(pair.hsi.data, made.hsi.data)
    np.testing.assert_array_equal(pair.msi.data, made.msi.data)
    assert pair.sensor.ratio == made.sensor.ratio
    assert pair.sensor.offset == pytest.approx(made.sensor.offset, abs=1e-6)
    assert (pair.sensor.psf, pair.sensor.boundary, pair.notes) == (made.sensor.psf, made.sensor.boundary, ())


def test_decimated_arrays_are_whole_when_ratio_and_phase_are_specified():
    pair = match_pair(cube(4, 8, 9), cube(2, 32, 36), ratio=4, phase=0)
    assert (pair.hsi.rows, pair.msi.cols, pair.sensor.offset) == (8, 36, (0, 0))


# ---- phase


def test_the_phase_is_the_given_one_else_the_transforms_else_the_sensors():
    sensor = create_sensor("mtf", 4).replace(phase=(2.0, 2.0))
    bare, placed = (
        (cube(8, 6, 5), cube(4, 24, 20)),
        (hsi_on(MSI_GRID, (4, 4), (0, 0)), cube(4, 24, 20, MSI_GRID, UTM33)),
    )
    assert match_pair(*bare, sensor=sensor).sensor.offset == (2, 2)
    assert match_pair(*bare, sensor=sensor, phase=1).sensor.offset == (1, 1)
    assert match_pair(*placed, phase=(1, 2)).sensor.offset == (1, 2)
    with pytest.warns(HyperfuseWarning, match=r"sensor's phase 2 is not that of the transforms \(1.50,1.50\)"):
        assert match_pair(*placed, sensor=sensor).sensor.offset == pytest.approx((1.5, 1.5))


def test_a_sensor_that_agrees_with_the_transforms_raises_no_warning():
    placed = hsi_on(MSI_GRID, (4, 4), (0, 0)), cube(4, 24, 20, MSI_GRID, UTM33)
    sensor = create_sensor("mtf", 4).replace(phase=(1.52, 1.49))
    assert match_pair(*placed, sensor=sensor).sensor.offset == pytest.approx((1.5, 1.5))


# ---- sensor


def test_without_a_psf_one_is_taken_and_noted():
    pair = match_pair(cube(8, 6, 5), cube(4, 24, 20))
    assert pair.sensor.psf == create_sensor("mtf", 4).psf
    assert pair.notes == ("PSF not known: a Gaussian with a modulation of 0.3 at Nyquist",)


def test_the_psf_that_is_published_for_the_sensor_is_taken():
    hsi = cube(8, 6, 5).replace(attributes={"sensor": "PRISMA"})
    pair = match_pair(hsi, cube(4, 24, 20))
    assert pair.sensor.psf.sigma == pytest.approx((4 * 0.733, 4 * 0.733), abs=0.01)
    assert "modulation of 0.071 at Nyquist, published for PRISMA: 0.05 to 0.1" in pair.notes[0]


def test_psf_and_responses_of_the_call_come_before_the_sensors():
    sensor = Sensor(ratio=(4, 4), psf=BoxPsf(width=(4, 4)), srf=Srf(np.full((4, 8), 1 / 8)), boundary="circular")
    hsi, msi = cube(8, 6, 5), cube(4, 24, 20)
    kept = match_pair(hsi, msi, sensor=sensor)
    assert (kept.sensor.psf, kept.sensor.srf, kept.sensor.boundary) == (sensor.psf, sensor.srf, "circular")
    other = match_pair(hsi, msi, sensor=sensor, psf="sigma:1.5", srf="boxes:4")
    assert other.sensor.psf == GaussianPsf(sigma=(1.5, 1.5))
    assert other.sensor.srf.source == "boxes:4"
    assert other.notes == ()
    bad = hsi.replace(good_bands=np.arange(8) != 0)
    assert not match_pair(bad, msi, srf="boxes:4").sensor.srf.matrix[:, 0].any()


# ---- grids that cannot be matched


@pytest.mark.parametrize("crs", [UTM33, "+proj=utm +zone=33 +datum=WGS84", None])
def test_one_coordinate_system_has_many_names(crs):
    msi = cube(4, 24, 20, MSI_GRID, UTM33)
    hsi = hsi_on(MSI_GRID, (4, 4), (0, 0))
    assert match_pair(hsi, msi).sensor.ratio == (4, 4)
    if crs is None:
        with pytest.warns(HyperfuseWarning, match="the HSI has no coordinate system"):
            match_pair(hsi.replace(crs=None), msi)
        with pytest.warns(HyperfuseWarning, match="the MSI has no coordinate system"):
            match_pair(hsi, msi.replace(crs=None))
        match_pair(hsi.replace(crs=None), msi.replace(crs=None))
    else:
        match_pair(hsi.replace(crs=crs), msi)


@pytest.mark.parametrize(
    ("grid", "crs", "message"),
    [
        ((40, 0, 6e5, 0, -40, 4e6), UTM32, r"different coordinate systems \(EPSG:32632 and EPSG:32633\)"),
        ((40, 0, 6e5, 0, -40, 4e6), "nonsense", "the CRS 'nonsense' is not understood"),
        ((40, 0, 6e5, 0, 40, 4e6), UTM33, "mirrored"),
        ((-40, 0, 6e5, 0, -40, 4e6), UTM33, "mirrored"),
        ((40, 3, 6e5, 3, -40, 4e6), UTM33, "rotated"),
        ((0, 40, 6e5, -40, 0, 4e6), UTM33, "rotated"),
        ((0, 0, 6e5, 0, 0, 4e6), UTM33, "pixels of no size"),
        ((40, 0, math.nan, 0, -40, 4e6), UTM33, "pixels of no size"),
    ],
)
def test_grids_that_do_not_fit_are_refused_in_one_line(grid, crs, message):
    with pytest.raises(InputError, match=message) as error:
        match_pair(cube(8, 6, 5, grid, crs), cube(4, 24, 20, MSI_GRID, UTM33))
    assert "\n" not in str(error.value)


# ---- values that cannot be matched


def test_images_without_data_are_refused():
    whole = cube(4, 24, 20)
    empty = Cube(data=np.full((8, 6, 5), np.nan), valid=np.zeros((8, 6, 5), bool))
    with pytest.raises(InputError, match="the HSI holds no data: every band is nodata or marked as bad"):
        match_pair(empty, whole)
    with pytest.raises(InputError, match="the MSI holds no data"):
        match_pair(cube(8, 6, 5), whole.replace(good_bands=[False] * 4))


@pytest.mark.parametrize("factor", [1e4, 1e-4])
def test_values_in_different_units_are_refused(factor):
    hsi, msi = cube(8, 6, 5), cube(4, 24, 20)
    with pytest.raises(InputError, match=r"HSI values reach .* and MSI values .*: one is scaled .* pass scale="):
        match_pair(hsi.replace(data=hsi.data * factor), msi)
    match_pair(hsi.replace(data=hsi.data * factor), msi.replace(data=msi.data * factor))


def test_outliers_bad_bands_and_gaps_do_not_count_as_another_unit():
    hsi, msi = cube(8, 6, 5), cube(4, 24, 20)
    spiked, banded = msi.data.copy(), msi.data.copy()
    spiked[0, 3, 4] = 1e6
    banded[1] = 1e6
    match_pair(hsi, msi.replace(data=spiked))
    match_pair(hsi, msi.replace(data=banded, good_bands=[True, False, True, True]))
    match_pair(hsi, msi.replace(data=banded, valid=banded < 1e5))
    match_pair(hsi, msi.replace(data=np.zeros_like(msi.data)))


def test_a_partner_that_rpcs_alone_place_is_refused_with_the_level_to_order():
    unplaced = Cube(data=np.ones((3, 8, 8)), attributes={"placed_by": "RPCs"})
    other = Cube(data=np.ones((2, 32, 32)), transform=(10, 0, 0, 0, -10, 0), crs="EPSG:32633")
    with pytest.raises(InputError, match=r"the HSI is placed by RPCs alone, .* orthorectified \(map-projected\) level"):
        match_cubes(unplaced, other, PairGeometry())
    assert match_cubes(unplaced, other, PairGeometry(same_ground=True)).sensor.ratio == (4.0, 4.0)
