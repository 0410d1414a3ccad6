"""What a report shows, against plain versions: images, positions, agreement with the inputs and with a reference."""

import base64
import io
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.image import imread

import hyperfuse as hf
from hyperfuse.cube.cube import Cube
from hyperfuse.cube.window import Window
from hyperfuse.reports.figures import error_map
from hyperfuse.reports.fusion import consistency
from hyperfuse.reports.fusion.close_ups import choose_points, find_close_ups
from hyperfuse.reports.fusion.consistency import measure_consistency
from hyperfuse.reports.fusion.content import ReportContent
from hyperfuse.reports.fusion.images import averaged, data_uri, displays, interpolated, lr_index, lr_pixels, show_pair
from hyperfuse.reports.fusion.plots import BandAxis, draw, lines_figure
from hyperfuse.reports.fusion.reference import compare_with_reference
from hyperfuse.sensor.displacement import Displacement
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.psf import GaussianPsf
from hyperfuse.sensor.srf.srf import Srf


def make_sensor(ratio=4.0, phase=None, srf=None, sigma=1.5):
    return Sensor(ratio=ratio, phase=phase, psf=GaussianPsf(sigma=(sigma, sigma)), srf=srf)


def make_content(rows=48, cols=64, bands=6, ratio=4.0, phase=None, seed=0, **fields):
    image = np.random.default_rng(seed).random((bands, rows, cols))
    srf = Srf(np.repeat(np.eye(2), bands // 2, axis=1) / (bands // 2))
    sensor = make_sensor(ratio, phase, srf)
    truth = torch.from_numpy(image)
    given = {
        "hsi": Cube(data=sensor.degrade(truth).numpy(), wavelengths=np.linspace(400, 900, bands)),
        "msi": Cube(data=sensor.respond(truth).numpy()),
        "fused": Cube(data=image, wavelengths=np.linspace(400, 900, bands)),
        "sensor": sensor,
    }
    return ReportContent(**given | fields)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4), st.integers(0, 99))
def test_an_averaged_image_holds_the_means_of_its_blocks(rows, cols, step, seed):
    generator = np.random.default_rng(seed)
    band = np.where(generator.random((rows, cols)) < 0.2, np.nan, generator.random((rows, cols)))
    found = averaged(band, step)
    assert found.shape == (-(-rows // step), -(-cols // step))
    for row, col in np.ndindex(found.shape):
        block = band[row * step : (row + 1) * step, col * step : (col + 1) * step]
        known = block[np.isfinite(block)]
        np.testing.assert_allclose(found[row, col], known.mean() if known.size else np.nan, rtol=1e-12)


def test_an_interpolated_image_is_that_of_the_sensor():
    sensor = make_sensor(3.2, (1.3, 0.4))
    band = np.random.default_rng(0).random((10, 12))
    expected = sensor.upsample(torch.from_numpy(band)[None], (32, 38))[0]
    np.testing.assert_allclose(interpolated(band, sensor, (32, 38), 1), expected, rtol=1e-12)


@pytest.mark.parametrize("step", [1, 2, 3, 5, 9])
def test_a_ramp_keeps_its_position_at_every_scale(step):
    sensor = make_sensor(4.0, (2.5, 0.5))
    y, x = (offset + 4.0 * np.arange(20) for offset in sensor.offset)
    shown = interpolated(y[:, None] + 10 * x[None], sensor, (80, 80), step)
    centres = np.arange(-(-80 // step)) * step + (step - 1) / 2
    inner = (centres > 12) & (centres < 68)  # the border is repeated there
    expected = centres[:, None] + 10 * centres[None]
    np.testing.assert_allclose(shown[np.ix_(inner, inner)], expected[np.ix_(inner, inner)], rtol=1e-9)


@pytest.mark.parametrize("step", [1, 3])
def test_displaced_pixels_are_shown_where_they_lie(step):
    field = Displacement(np.random.default_rng(1).uniform(-3, 3, (2, 5, 5)), spacing=(6, 6), origin=(-3, -3))
    sensor = make_sensor(4.0).replace(displacement=field)
    band = np.arange(20.0)[:, None] + 30 * np.arange(20.0)
    centres = np.arange(-(-80 // step)) * step + (step - 1) / 2
    row, col = sensor.inverse_at(centres, centres)
    inner = (np.minimum(row, col) > 1) & (np.maximum(row, col) < 18)
    shown = interpolated(band, sensor, (80, 80), step)
    np.testing.assert_allclose(shown[inner], (row + 30 * col)[inner], rtol=1e-9)
    held_by = lr_pixels(sensor, Window(0, 0, 80, 80), (20, 20), step)
    assert np.abs(band[held_by] - (np.rint(row) + 30 * np.rint(col)))[inner].max() < 1e-9
    regular = lr_pixels(make_sensor(4.0), Window(5, 7, 9, 8), (20, 20))
    np.testing.assert_array_equal(band[regular], band[np.ix_((np.arange(5, 14)) // 4, np.arange(7, 15) // 4)])
    band[4, 7] = np.nan
    assert np.isnan(interpolated(band, sensor, (80, 80), step)[(np.rint(row) == 4) & (np.rint(col) == 7)]).all()


def test_gaps_of_the_hsi_are_gaps_over_their_ground():
    sensor = make_sensor(4.0)
    band = np.ones((5, 5))
    band[2, 3] = np.nan
    shown = interpolated(band, sensor, (20, 20), 1)
    expected = np.zeros((20, 20), bool)
    expected[8:12, 12:16] = True
    np.testing.assert_array_equal(np.isnan(shown), expected)


@settings(max_examples=25, deadline=None)
@given(st.floats(1, 6), st.floats(-0.4, 2), st.integers(1, 40), st.integers(0, 20))
def test_each_hr_pixel_lies_in_the_lr_pixel_with_the_nearest_centre(ratio, phase, size, first):
    sensor = make_sensor(ratio, phase)
    found = lr_index(sensor, 0, size, 9, first=first)
    centres = phase + ratio * np.arange(9)
    for index, pixel in zip(found, first + np.arange(size), strict=True):
        assert abs(centres[index] - pixel) <= np.abs(centres - pixel).min() + 1e-9


def test_an_image_comes_back_from_its_text():
    image = np.random.default_rng(0).random((6, 9, 3))
    kind, _, text = data_uri(image).partition(";base64,")
    assert kind == "data:image/png"
    read = imread(io.BytesIO(base64.b64decode(text)), format="png")[..., :3]
    np.testing.assert_allclose(read, image, atol=0.5 / 255 + 1e-6)
    noise = np.random.default_rng(0).random((500, 500, 3))
    assert data_uri(noise).startswith("data:image/jpeg;")
    assert len(data_uri(noise)) < 800_000


@pytest.mark.parametrize(
    ("wavelengths", "names"),
    [
        ([460, 550, 650, 850], ["true colour", "false colour (infrared)"]),
        ([460, 550, 650, 700], ["true colour"]),
        ([550, 650, 850, 1640, 2200], ["false colour (infrared)", "false colour (shortwave infrared)"]),
        (None, ["colours not stated"]),
    ],
)
def test_a_second_display_is_there_where_its_bands_are(wavelengths, names):
    cube = Cube(data=np.zeros((5 if wavelengths is None else len(wavelengths), 2, 2)), wavelengths=wavelengths)
    assert [display.name for display in displays(cube)] == names


def test_before_and_after_are_of_one_size_and_in_one_stretch():
    content = make_content()
    shown = show_pair(content.hsi, content.fused, content.sensor, displays(content.fused)[0])
    assert shown.before.shape == shown.after.shape == (48, 64, 3)
    flat = content.fused.replace(data=np.broadcast_to(content.fused.data.mean(axis=(1, 2), keepdims=True), (6, 48, 64)))
    lifted = show_pair(content.hsi, content.fused.replace(data=content.fused.data + 5), content.sensor, shown.display)
    assert lifted.before.max() == 0  # far below the range of the result
    assert np.ptp(show_pair(content.hsi, flat, content.sensor, shown.display).after) == 0


def test_close_ups_are_where_the_detail_is():
    image = np.zeros((2, 120, 150))
    image[:, 70:100, 20:50] = np.random.default_rng(0).random((2, 30, 30))
    first = find_close_ups(Cube(data=image), np.ones((120, 150), bool), make_sensor(2.0))[0]
    assert abs(first.row + first.rows / 2 - 85) <= 6
    assert abs(first.col + first.cols / 2 - 35) <= 6
    assert find_close_ups(Cube(data=np.zeros((2, 60, 60))), np.ones((60, 60), bool), make_sensor(2.0)) == []


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 1100), st.integers(2, 90), st.floats(1, 8), st.integers(0, 99))
def test_close_ups_lie_inside_and_apart(rows, cols, ratio, seed):
    generator = np.random.default_rng(seed)
    image = generator.random((1, rows, cols))
    image[:, generator.random((rows, cols)) < 0.01] = np.nan
    cube = Cube(data=image, valid=np.isfinite(image))
    windows = find_close_ups(cube, cube.valid_pixels, make_sensor(ratio))
    assert len(windows) <= 3
    for window in windows:
        assert window.row >= 0
        assert window.row + window.rows <= rows
        assert window.col >= 0
        assert window.col + window.cols <= cols
        assert (
            np.isnan(image[0, window.row : window.row + window.rows, window.col : window.col + window.cols]).mean()
            < 0.5
        )
    step = -(-max(rows, cols) // 900)
    for a, b in itertools.combinations(windows, 2):
        down = min(a.row + a.rows, b.row + b.rows) - max(a.row, b.row)
        across = min(a.col + a.cols, b.col + b.cols) - max(a.col, b.col)
        assert min(down, across) < 2 * step  # windows are aligned to displayed pixels


def test_a_spectrum_of_each_surface_is_shown():
    surfaces = np.eye(3, 8) + 0.1
    kinds = np.repeat(np.arange(3), 16)[:, None] * np.ones((1, 40), int)
    image = np.moveaxis(surfaces[kinds.astype(int)], -1, 0) + np.random.default_rng(0).normal(0, 0.001, (8, 48, 40))
    sensor = make_sensor(4.0, sigma=0.8)
    hsi = Cube(data=sensor.degrade(torch.from_numpy(image)).numpy())
    points = choose_points(hsi, Cube(data=image[:3]), np.ones((48, 40), bool), sensor)
    assert {int(kinds[point]) for point in points[:3]} == {0, 1, 2}
    row, _ = points[3]  # the most detailed ground is a border between surfaces
    assert min(abs(row - 16), abs(row - 32)) <= 2


def test_points_avoid_gaps():
    content = make_content()
    known = np.ones((48, 64), bool)
    known[:, :40] = False
    points = choose_points(content.hsi, content.msi, known, content.sensor)
    assert points
    assert all(col >= 40 for _, col in points)


def test_a_result_that_made_its_inputs_agrees_with_them():
    found = measure_consistency(make_content())
    assert found.spectral_fraction < 1e-6
    assert np.nanmax(found.spectral_map) < 1e-6
    np.testing.assert_allclose(found.spatial.rmse, 0, atol=1e-6)
    np.testing.assert_allclose(found.spatial.correlation, 1, atol=1e-6)
    assert found.scores is not None


def test_differences_are_those_that_were_put_in():
    content = make_content()
    lift = np.arange(6) * 0.1
    fused = content.fused.replace(data=content.fused.data + lift[:, None, None])
    found = measure_consistency(make_content(fused=fused))
    np.testing.assert_allclose(found.spectral_rmse, lift, atol=1e-6)
    np.testing.assert_allclose(found.spectral_map, np.sqrt(np.mean(lift**2)), rtol=1e-5)
    np.testing.assert_allclose(found.spatial.rmse, [lift[:3].mean(), lift[3:].mean()], rtol=1e-5)
    norm = np.sqrt(np.mean(content.msi.data[0] ** 2))
    assert found.spatial.fraction[0] == pytest.approx(lift[:3].mean() / norm, rel=1e-5)


def test_gain_and_offset_of_the_msi_are_no_disagreement():
    content = make_content()
    other = content.msi.replace(data=content.msi.data * 3 + 0.5)
    content = make_content(msi=other, msi_gain=[3.0, 3.0], msi_offset=[0.5, 0.5])
    np.testing.assert_allclose(measure_consistency(content).spatial.rmse, 0, atol=1e-6)
    spectrum = content.fused.data[:, 5, 7]
    np.testing.assert_allclose(content.respond(spectrum), content.normalise_msi(other.data[:, 5, 7]), rtol=1e-5)


def test_gaps_have_no_part_in_the_agreement():
    content = make_content()
    data = content.fused.data + 0.25
    data[:, 10:20, 30:44] = np.nan
    data[4] = np.nan
    fused = Cube(data=data, valid=np.isfinite(data), wavelengths=content.fused.wavelengths)
    found = measure_consistency(make_content(fused=fused))
    assert np.isnan(found.spectral_rmse[4])
    np.testing.assert_allclose(np.delete(found.spectral_rmse, 4), 0.25, rtol=1e-3)  # what a gap is let add
    assert np.isnan(found.spectral_map[3, 9])
    np.testing.assert_allclose(found.spectral_map[0, 0], 0.25, rtol=1e-5)


@pytest.mark.parametrize(("ratio", "phase"), [(4.0, None), (4.0, (2.0, 0.5)), (3.3, (1.0, 1.4))])
def test_the_centre_of_a_large_scene_fits_together(monkeypatch, ratio, phase):
    content = make_content(rows=90, cols=70, ratio=ratio, phase=phase)
    monkeypatch.setattr(consistency, "_LONGEST", 50)
    found = measure_consistency(content)
    assert found.part is not None
    assert max(found.part) <= 50 + ratio
    # Only the border of the part, without its surroundings, differs from the whole.
    np.testing.assert_allclose(found.spectral_map[2:-2, 2:-2], 0, atol=1e-6)
    np.testing.assert_allclose(found.spatial.rmse, 0, atol=1e-6)


def test_scores_against_a_reference_are_those_of_the_metrics():
    content = make_content()
    noise = np.random.default_rng(1).normal(0, 0.05, content.fused.data.shape)
    noisy = content.fused.data + noise * np.arange(1, 7)[:, None, None]
    noisy[:, :5, :6] = np.nan
    fused = Cube(data=noisy, valid=np.isfinite(noisy), good_bands=np.arange(6) != 2)
    reference = content.fused
    found = compare_with_reference(make_content(fused=fused, reference=reference))
    scores = hf.evaluate(reference, fused, 4)
    assert found.fused.scores == scores
    assert np.nanmean(found.fused.psnr_db) == pytest.approx(scores["psnr_db"], rel=1e-9)
    assert np.isnan(found.fused.psnr_db).tolist() == [False, False, True, False, False, False]
    assert np.nanmean(found.fused.angles) == pytest.approx(scores["sam_degrees"], rel=1e-6)
    clipped = fused.replace(data=np.clip(noisy, 0, 1))
    np.testing.assert_allclose(found.fused.errors, error_map(clipped, reference), rtol=1e-5)
    assert np.isnan(found.fused.errors[:5, :6]).all()
    assert found.interpolated.scores["pixels"] == scores["pixels"]
    assert found.interpolated.scores["psnr_db"] < scores["psnr_db"]


def test_interpolation_is_that_of_the_sensor():
    content = make_content()
    low = sum(torch.sin(torch.arange(12.0) / 4 + phase)[:, None] * torch.ones(1, 16) for phase in (0, 1)) / 2 + 1
    hsi = Cube(data=low[None].repeat(6, 1, 1).numpy())
    up = content.sensor.upsample(torch.from_numpy(hsi.data), (48, 64)).numpy()
    found = compare_with_reference(make_content(hsi=hsi, reference=Cube(data=up)))
    assert found.interpolated.scores["psnr_db"] > 100


def test_bands_outside_the_coverage_of_the_msi_are_found_and_marked():
    matrix = np.zeros((2, 6))
    matrix[0, 1], matrix[1, 3:5] = 1, 0.5
    content = make_content()
    content = make_content(sensor=content.sensor.replace(srf=Srf(matrix)))
    assert content.uncovered.tolist() == [True, False, True, False, False, True]
    assert content.bands.shaded == [(400, 450), (550, 650), (850, 900)]
    backwards = content.fused.replace(wavelengths=content.fused.wavelengths[::-1])
    content = make_content(sensor=content.sensor, fused=backwards)
    assert content.bands.shaded == [(400, 450), (650, 750), (850, 900)]


def test_without_responses_the_wavelengths_decide_what_is_covered():
    content = make_content()
    known = content.sensor.replace(srf=None)
    msi = content.msi.replace(wavelengths=[500, 700], fwhm=[60, 90])
    assert make_content(sensor=known, msi=msi).uncovered.tolist() == [True, False, True, False, True, True]
    assert make_content(sensor=known, msi=msi.replace(fwhm=None)).uncovered.tolist() == [
        True,
        False,
        False,
        False,
        True,
        True,
    ]
    assert make_content(sensor=known).uncovered is None


def test_a_response_on_unusable_bands_is_renormalised_or_unknown():
    content = make_content()
    good = content.hsi.replace(good_bands=[True, False, True, False, False, True])
    content = make_content(hsi=good)
    np.testing.assert_allclose(content.response[0], [0.5, 0, 0.5, 0, 0, 0])
    assert np.isnan(content.response[1]).all()
    found = measure_consistency(content)
    assert np.isnan(found.spatial.rmse).tolist() == [False, True]


def test_plots_keep_their_names_apart_and_take_the_page_s_colours():
    def plot(name):
        values = np.arange(4.0)
        bands = BandAxis(values, np.arange(4), "#010101", [(1, 2)])
        return lines_figure([(values, {})], bands, name=name, description="d", ylabel="y")

    first, second = plot("one"), plot("two")
    assert first != second
    assert first.replace("one-", "two-") == second.replace("two-", "two-")
    assert "currentColor" in first
    assert "var(--shade)" in first
    assert ">#010101</text>" in first  # text is not touched
    assert "#010101" not in first.replace(">#010101</text>", "")
    assert "<style" not in first
    assert "http" not in first


def test_settings_of_matplotlib_are_left_alone():
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    with mpl.rc_context({"font.size": 31, "text.usetex": True}):
        shown = draw(lambda figure: figure.add_subplot(), (2, 1), "n", "d")
        assert mpl.rcParams["font.size"] == 31
    assert dict(mpl.rcParams) == before
    assert "31px" not in shown


def test_curves_are_not_drawn_across_missing_bands():
    positions = np.concatenate([np.arange(400.0, 500, 10), np.arange(900.0, 1000, 10)])
    values = np.ones(20)
    values[4] = np.nan
    shown = lines_figure([(values, {})], BandAxis(positions, np.arange(20), "x"), name="n", description="d", ylabel="y")
    path = shown.split('id="n-line2d_')
    starts = [part.split('d="', 1)[1].split('"', 1)[0].count("M ") for part in path if 'clip-path="url(#n-p' in part]
    assert max(starts) == 3
