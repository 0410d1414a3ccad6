import numpy as np
import pytest

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.display import choose_display, match_display, render_rgb, stretch_limits
from hyperfuse.errors import InputError
from hyperfuse.reports import comparison_figure, save_figure
from hyperfuse.reports.figures import error_map


def make_cube(bands=6, rows=8, cols=12, seed=0, **fields):
    return Cube(data=np.random.default_rng(seed).random((bands, rows, cols)).astype(np.float32), **fields)


def test_true_colour_takes_the_bands_nearest_to_red_green_blue():
    cube = make_cube(wavelengths=[850, 460, 540, 655, 700, 1600])
    display = choose_display(cube)
    assert display.bands == (3, 2, 1)
    assert display.wavelengths == (655.0, 540.0, 460.0)
    assert display.name == "true colour"


def test_a_bad_band_is_not_shown():
    cube = make_cube(wavelengths=[460, 550, 640, 655, 700, 1600], good_bands=[1, 1, 1, 0, 1, 1])
    assert choose_display(cube).bands == (2, 1, 0)


@pytest.mark.parametrize(
    ("wavelengths", "bands", "name"),
    [
        ([550, 650, 850, 900, 1000, 1100], (2, 1, 0), "false colour (infrared)"),
        ([2400, 2200, 2000, 1800, 1600, 1400], (1, 3, 4), "false colour"),
        (None, (4, 2, 1), "colours not stated"),
    ],
)
def test_without_visible_bands_the_colours_are_false(wavelengths, bands, name):
    display = choose_display(make_cube(wavelengths=wavelengths))
    assert (display.bands, display.name) == (bands, name)


def test_three_bands_without_wavelengths_are_shown_as_their_names_say_or_in_their_order():
    assert choose_display(make_cube(bands=3)) == ((0, 1, 2), None, "colours not stated")
    named = choose_display(make_cube(bands=4, band_names=("", "Blue", "green", "red")))
    assert named == ((3, 2, 1), None, "true colour")


def test_positions_along_responses_decide_the_order_of_colours():
    # The bands of a camera, in the order red, green, blue, at wavelengths that its responses state.
    display = choose_display(make_cube(wavelengths=[460, 500, 550, 600, 650, 700]))
    camera = np.array([640.0, 545.0, 470.0])
    positions = (np.array([460.0, 500, 550, 600, 650, 700]), camera)
    assert match_display(make_cube(bands=3), display, positions).bands == (0, 1, 2)
    assert match_display(make_cube(bands=3), display, (positions[0], camera[::-1])).bands == (2, 1, 0)


def test_a_single_band_is_grey():
    display = choose_display(make_cube(bands=1))
    assert display.bands == (0, 0, 0)


def test_another_cube_is_matched_by_wavelength():
    display = choose_display(make_cube(wavelengths=[460, 550, 650, 700, 800, 900]))
    msi = make_cube(bands=4, wavelengths=[840, 664, 559, 492])
    assert match_display(msi, display).bands == (1, 2, 3)
    assert match_display(make_cube(bands=1), display).bands == (0, 0, 0)


def test_the_stretch_maps_the_percentiles_to_black_and_full_colour():
    ramp = np.linspace(0, 100, 101).reshape(1, 1, 101)
    cube = Cube(data=np.concatenate([ramp, 2 * ramp, 3 * ramp]))
    display = choose_display(cube)
    limits = stretch_limits(cube, display)
    expected = np.array([[1, 99], [2, 198], [3, 297]])[list(display.bands)]
    np.testing.assert_allclose(limits, expected, rtol=1e-6)
    image = render_rgb(cube, display, limits)
    assert image.shape == (1, 101, 3)
    np.testing.assert_allclose(image[0, [0, 1, 50, 99, 100]], np.array([0, 0, 0.5, 1, 1])[:, None] * np.ones(3))


def test_gaps_are_grey_and_do_not_move_the_stretch():
    cube = make_cube(bands=3)
    holed = cube.data.copy()
    holed[:, 2, 3] = np.nan
    gappy = Cube(data=holed, valid=np.isfinite(holed))
    display = choose_display(gappy)
    limits = stretch_limits(gappy, display)
    image = render_rgb(gappy, display, limits)
    assert np.isfinite(limits).all()
    assert image[2, 3].tolist() == [0.85] * 3
    assert np.isfinite(image).all()


def test_a_constant_image_has_a_stretch():
    cube = Cube(data=np.full((3, 4, 4), 0.3))
    display = choose_display(cube)
    assert (render_rgb(cube, display, stretch_limits(cube, display)) == 0).all()


def test_the_error_is_the_root_mean_square_over_the_usable_bands():
    reference = Cube(data=np.zeros((3, 2, 2)), good_bands=[True, True, False])
    data = np.zeros((3, 2, 2))
    data[:, 0, 1] = 3, 4, 100
    np.testing.assert_allclose(error_map(Cube(data=data), reference), [[0, np.sqrt(12.5)], [0, 0]])


def test_images_of_other_shapes_are_refused():
    cube = make_cube()
    with pytest.raises(InputError, match="shape"):
        comparison_figure(cube, cube, cube.crop(0, 0, 4, 4), cube)


@pytest.mark.parametrize(("rows", "cols"), [(24, 24), (16, 48), (60, 20), (200, 8)])
def test_panels_are_of_one_size_and_overlap_nothing(rows, cols):
    cube = make_cube(rows=rows, cols=cols, wavelengths=[460, 550, 650, 850, 1600, 2200], units="reflectance")
    hsi = cube.crop(0, 0, rows // 4, cols // 4)
    figure = comparison_figure(
        hsi, cube, cube, cube, title="A scene", fused_label="fused by local-regression, 45.67 dB", footnote="Data: x."
    )
    figure.canvas.draw()
    panels = [axes for axes in figure.axes if axes.images]
    assert len(panels) == 5
    sizes = {(round(axes.bbox.width, 3), round(axes.bbox.height, 3)) for axes in panels}
    assert len(sizes) == 1
    page = figure.bbox
    boxes = [text.get_window_extent() for text in figure.texts]
    for axes in figure.axes:
        texts = [axes._left_title, *axes.texts]
        if axes.axison:
            low, high = axes.get_ylim()
            boxes.append(axes.get_window_extent())
            texts += [tick for tick in axes.yaxis.get_ticklabels() if low <= tick.get_position()[1] <= high]
        boxes += [text.get_window_extent() for text in texts if text.get_visible() and text.get_text()]
    assert len(boxes) > 15
    for box in boxes:
        assert page.x0 <= box.x0
        assert box.x1 <= page.x1 + 1
        assert page.y0 - 1 <= box.y0
        assert box.y1 <= page.y1
    for index, first in enumerate(boxes):
        for second in boxes[index + 1 :]:
            across = min(first.x1, second.x1) - max(first.x0, second.x0)
            along = min(first.y1, second.y1) - max(first.y0, second.y0)
            assert min(across, along) <= 2, (first, second)


def test_the_error_panel_has_a_scale_with_units():
    cube = make_cube(units="reflectance")
    figure = comparison_figure(cube, cube, cube.replace(data=cube.data + 0.25), cube)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert "error: RMSE over the bands,\nin reflectance" in titles
    assert any(axes.yaxis.get_ticklabels() and not axes.images for axes in figure.axes)
    shown = [axes.images[0] for axes in figure.axes if axes.images][-1]
    assert shown.norm.vmin == 0
    assert shown.norm.vmax == pytest.approx(0.25, rel=1e-5)
    np.testing.assert_allclose(shown.get_array(), 0.25, rtol=1e-5)


def test_a_figure_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    cube = make_cube()
    figure = comparison_figure(cube, cube, cube, cube)
    save_figure(figure, tmp_path / "figure.png", dpi=40)
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")

    def fail(path, **options):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(figure, "savefig", fail)
    with pytest.raises(KeyboardInterrupt):
        save_figure(figure, tmp_path / "other.png")
    assert [path.name for path in tmp_path.iterdir()] == ["figure.png"]
    with pytest.raises(InputError, match="png"):
        save_figure(figure, tmp_path / "figure.doc")
