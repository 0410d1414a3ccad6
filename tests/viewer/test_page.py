"""The page of the viewer in a real browser, from the command that serves it."""

import csv
import io
import json
import subprocess
import sys
from urllib.parse import unquote

import numpy as np
import pytest

import hyperfuse as hf
from browser import needs_browser
from hyperfuse.io import write
from viewed import smooth

pytestmark = [pytest.mark.slow, pytest.mark.browser, needs_browser]

ROWS, COLS = 120, 160


@pytest.fixture(scope="module")
def images():
    """An HSI with pixels 4 times as large, a fused image with a bad band, its uncertainty, and the reference."""
    where = {"transform": (10, 0, 500000, 0, -10, 5000000), "crs": "EPSG:32633", "units": "reflectance"}
    centres = np.linspace(430, 900, 20)
    data = smooth(20, ROWS, COLS) / 1000
    good = np.ones(20, bool)
    good[[12, 13]] = False
    reference = hf.Cube(data, wavelengths=centres, good_bands=good, **where)
    hsi = hf.simulate(reference, ratio=4, srf="boxes:3").hsi
    fused = reference.replace(data=data + np.float32(0.01))
    step = {"step": "fuse", "quantity": "standard deviation of the expected error"}
    uncertainty = reference.replace(data=np.full_like(data, 0.02), history=(step,))
    return {"hsi": hsi, "fused": fused, "uncertainty": uncertainty, "reference": reference}


@pytest.fixture(scope="module")
def address(images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("view")
    for name, cube in images.items():
        write(folder / f"{name}.tif", cube)
    words = [
        "view",
        "hsi.tif",
        "fused.tif",
        "uncertainty.tif",
        "--reference",
        "reference.tif",
        "--no-browser",
        "--port",
        "0",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "hyperfuse", *words], cwd=folder, stdout=subprocess.PIPE, text=True
    )
    yield process.stdout.readline().strip()
    process.terminate()
    process.communicate(timeout=20)


@pytest.fixture
def page(tab, address):
    """The page when it has drawn all; nothing may be in the console at the end."""
    tab.open(address)
    ready(tab.page)
    yield tab.page
    assert tab.said == []


def ready(page):
    page.locator("body[data-ready]").wait_for()
    settled(page)


def settled(page):
    for _ in range(2):
        page.wait_for_timeout(40)
        page.locator('body[aria-busy="false"]').wait_for()


def state(page):
    page.wait_for_timeout(250)
    return json.loads(unquote(page.evaluate("location.hash")[1:]))


def at(page, col, row):
    """Return where a pixel of the plane lies on the screen."""
    view, box = state(page)["view"], page.locator("#map").bounding_box()
    scale = 2.0 ** view[2]
    return box["x"] + box["width"] / 2 + (col - view[0]) * scale, box["y"] + box["height"] / 2 + (row - view[1]) * scale


def shown(page, col, row):
    """Return the colour (r, g, b) that the screen shows at a pixel of the plane."""
    from PIL import Image

    x, y = at(page, col, row)
    picture = page.screenshot(clip={"x": round(x), "y": round(y), "width": 1, "height": 1})
    return np.array(Image.open(io.BytesIO(picture)).convert("RGB"))[0, 0].astype(int)


def expected_grey(cube, band, row, col):
    low, high = np.percentile(cube.data[band], (2, 98))
    return np.clip((cube.data[band, row, col] - low) / (high - low), 0, 1) * 255


def click(page, col, row):
    page.mouse.click(*at(page, col, row))
    settled(page)


def plotted(page):
    return page.locator(".u-legend tr:not(.edge) th").all_inner_texts()[1:]


def saved(page, button):
    with page.expect_download() as download:
        page.locator(button).click()
    return download.value


def single(page, name, band):
    """Show one band of an image."""
    page.get_by_label(f"Choose {name}").click()
    page.select_option("#kind", "single")
    page.locator("#band").fill(str(band))
    settled(page)


def test_the_page_keeps_no_token_in_its_address_and_reloads_by_its_cookie(page):
    assert "token" not in page.url
    page.reload()
    ready(page)
    (cookie,) = page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    assert page.evaluate("document.cookie") == ""


def test_a_band_is_shown_as_its_values(page, images):
    page.select_option("#swipe-image", "")
    single(page, "fused.tif", 5)
    for row, col in [(10, 12), (60, 150), (100, 70), (33, 90)]:
        grey = expected_grey(images["fused"], 5, row, col)
        np.testing.assert_allclose(shown(page, col + 0.5, row + 0.5), [grey] * 3, atol=6)


def test_colours_are_chosen_by_wavelength(page, images):
    page.select_option("#swipe-image", "")
    page.locator("#by-wavelength").fill("900, 650, 560")
    page.locator("#by-wavelength").press("Enter")
    settled(page)
    assert state(page)["images"][1]["bands"] == [19, 9, 5]
    expected = [expected_grey(images["fused"], band, 60, 80) for band in (19, 9, 5)]
    np.testing.assert_allclose(shown(page, 80.5, 60.5), expected, atol=6)
    page.locator("#by-wavelength").fill("740")
    page.locator("#by-wavelength").press("Enter")
    assert "three wavelengths" in page.locator("#status").inner_text()


def test_the_swipe_line_parts_two_images(page, images):
    single(page, "hsi.tif", 5)
    single(page, "fused.tif", 5)
    left, right = shown(page, 30.5, 60.5), shown(page, 140.5, 60.5)
    np.testing.assert_allclose(left, [expected_grey(images["hsi"], 5, 60 // 4, 30 // 4)] * 3, atol=6)
    np.testing.assert_allclose(right, [expected_grey(images["fused"], 5, 60, 140)] * 3, atol=6)
    box = page.locator("#line").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + 40
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(at(page, 10, 0)[0], y)
    page.mouse.up()
    np.testing.assert_allclose(shown(page, 30.5, 60.5), [expected_grey(images["fused"], 5, 60, 30)] * 3, atol=6)
    page.locator("#map").focus()
    before = state(page)["at"]
    page.keyboard.press("]")
    assert state(page)["at"] == before + 2


def test_a_click_shows_the_spectra_of_all_images_with_the_uncertainty(page, images):
    click(page, 100.5, 50.5)
    assert [text.rstrip(":") for text in plotted(page)] == [
        f"{name}.tif, pin 1" for name in ("hsi", "fused", "reference")
    ]
    rows = list(csv.DictReader(io.StringIO(saved(page, "#save-csv").path().read_text())))
    for name, cube in images.items():
        own = [one for one in rows if one["image"] == f"{name}.tif"]
        row, col = (50 // 4, 100 // 4) if name == "hsi" else (50, 100)
        assert {(one["row"], one["column"]) for one in own} == {(str(row), str(col))}
        np.testing.assert_array_equal(np.array([one["value"] for one in own], np.float32), cube.data[:, row, col])
        np.testing.assert_allclose([float(one["wavelength_nm"]) for one in own], cube.wavelengths)
        assert [one["good"] for one in own] == ["0" if band in (12, 13) else "1" for band in range(20)]


def test_several_pins_are_listed_and_removed(page):
    click(page, 20.5, 20.5)
    click(page, 140.5, 100.5)
    assert len(plotted(page)) == 6
    listed = page.locator("#marks li button:first-child").all_inner_texts()
    assert listed == ["pin 1: column 20, row 20", "pin 2: column 140, row 100"]
    page.get_by_label("Remove pin 1").click()
    settled(page)
    assert page.locator("#marks li").count() == 1
    page.locator("#clear").click()
    settled(page)
    assert page.locator("#marks li").count() == 0
    assert page.locator("#hint").is_visible()


def test_a_polygon_shows_mean_and_deviation(page, images):
    page.locator("#polygon").click()
    for corner in [(20, 20), (60, 20), (60, 70), (20, 70)]:
        click(page, *corner)
    page.locator("#polygon").click()
    settled(page)
    corners = np.array(state(page)["polygons"][0])
    np.testing.assert_allclose(corners, [(20, 20), (60, 20), (60, 70), (20, 70)], atol=0.5)
    rows = list(csv.DictReader(io.StringIO(saved(page, "#save-csv").path().read_text())))
    own = [one for one in rows if one["image"] == "fused.tif"]
    part = images["fused"].data[:, 20:70, 20:60].astype(np.float64)
    np.testing.assert_allclose([float(one["value"]) for one in own], part.mean(axis=(1, 2)), rtol=0.02)
    np.testing.assert_allclose([float(one["deviation"]) for one in own], part.std(axis=(1, 2)), rtol=0.05)


def test_angles_and_errors_are_layers(page, images):
    click(page, 100.5, 50.5)
    page.get_by_label("Choose fused.tif").click()
    page.select_option("#swipe-image", "")
    page.select_option("#kind", "angle")
    settled(page)
    assert shown(page, 100.5, 46.5).sum() > shown(page, 103.5, 53.5).sum() - 765
    page.select_option("#kind", "error")
    page.select_option("#scale", "grey")
    settled(page)
    inputs = page.locator("#limits input")
    values = [float(inputs.nth(end).input_value()) for end in (0, 1)]
    np.testing.assert_allclose(values[0], 0.01, rtol=0.01)  # the same error everywhere
    inputs.nth(0).fill("0")
    inputs.nth(0).press("Enter")
    settled(page)
    inputs = page.locator("#limits input")
    inputs.nth(1).fill("0.02")
    inputs.nth(1).press("Enter")
    settled(page)
    np.testing.assert_allclose(shown(page, 50.5, 20.5), [127, 127, 127], atol=6)


def test_an_angle_without_a_pin_says_what_is_missing(page):
    page.select_option("#kind", "angle")
    settled(page)
    assert "pin a pixel first" in page.locator("#status").inner_text()


def test_the_address_shows_the_same_again(page, tab, address):
    single(page, "fused.tif", 7)
    click(page, 100.5, 50.5)
    page.get_by_label("Opacity of fused.tif").fill("0.5")
    page.locator("#map").focus()
    page.keyboard.press("+")
    settled(page)
    kept = state(page)
    url = page.url
    page.goto("about:blank")
    tab.requested.clear()
    tab.open(url)
    ready(page)
    assert state(page) == kept
    assert plotted(page)
    assert page.locator("#band").input_value() == "7"
    assert page.get_by_label("Opacity of fused.tif").input_value() == "0.5"


@pytest.mark.parametrize(
    "text", ["%", "{}", "null", "[]", '{"images":[1,2,3,4]}', '{"images":[{"bands":[99,-1,1e9]}]}']
)
def test_an_address_that_fits_other_images_is_left_out(tab, address, text):
    tab.open(f"{address}#{text}")
    ready(tab.page)
    assert len(state(tab.page)["images"]) == 4
    assert tab.said == []


def test_all_works_by_keyboard(page):
    page.locator("#map").focus()
    page.keyboard.press("Enter")
    settled(page)
    assert page.locator("#marks li").count() == 1
    view = state(page)["view"]
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(500)  # the map glides
    assert state(page)["view"][0] > view[0]
    page.keyboard.press("0")
    page.keyboard.press("Backspace")
    settled(page)
    assert page.locator("#marks li").count() == 0
    page.keyboard.press("g")
    for key in ("ArrowUp", "ArrowRight", "ArrowDown"):
        page.keyboard.press(key)
        page.wait_for_timeout(400)
        page.keyboard.press("Enter")
    page.keyboard.press("g")
    settled(page)
    assert len(state(page)["polygons"]) == 1
    page.get_by_label("Choose fused.tif").click()
    page.select_option("#kind", "single")
    page.locator("#map").focus()
    band = state(page)["images"][1]["band"]
    page.keyboard.press(".")
    assert state(page)["images"][1]["band"] == band + 1


def test_every_control_has_a_name(page):
    unnamed = page.evaluate(
        "[...document.querySelectorAll('button, input, select, [role=application], [role=img]')]"
        ".filter(one => !(one.labels?.length || one.getAttribute('aria-label') || one.textContent.trim()))"
        ".map(one => one.outerHTML)"
    )
    assert unnamed == []
    assert page.locator("#status").get_attribute("aria-live") == "polite"


@pytest.mark.parametrize("width", [380, 1200])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_narrow_and_wide_windows_in_light_and_dark(page, width, scheme):
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=scheme)
    click(page, 80.5, 60.5)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.documentElement.dataset.theme") == scheme
    page.select_option("#theme", "light" if scheme == "dark" else "dark")
    assert page.evaluate("document.documentElement.dataset.theme") != scheme
    box = page.locator("#map").bounding_box()
    assert box["width"] > 250
    assert box["height"] > 200


def test_pictures_are_saved_as_they_are_shown(page):
    from PIL import Image

    page.get_by_label("Choose fused.tif").click()
    saved_picture = Image.open(saved(page, "#save-picture").path()).convert("RGB")
    box = page.locator("#map").bounding_box()
    assert saved_picture.size == (round(box["width"]), round(box["height"]))
    x, y = at(page, 140.5, 60.5)
    inside = saved_picture.getpixel((round(x - box["x"]), round(y - box["y"])))
    np.testing.assert_allclose(inside, shown(page, 140.5, 60.5), atol=6)
    click(page, 120.5, 30.5)
    assert Image.open(saved(page, "#save-plot").path()).size[0] > 200


def test_a_name_that_is_code_is_shown_as_text(tab, tmp_path, images, monkeypatch):
    monkeypatch.setenv("HYPERFUSE_CACHE", str(tmp_path / "cache"))
    name = "<img src=x onerror=alert(1)>.tif"
    write(tmp_path / name, images["fused"].replace(band_names=["<b>x</b>"] * 20))
    with hf.view(tmp_path / name) as viewer:
        tab.open(viewer.url)
        ready(tab.page)
        assert name in tab.page.locator("#images").inner_text()
        assert tab.page.locator("#images img").count() == 0
    assert tab.said == []


def test_a_page_inside_a_notebook_works_without_a_cookie(tab, tmp_path, images):
    import functools
    import http.server
    import threading

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *words):
            pass

    with hf.view(images["fused"]) as viewer:
        (tmp_path / "notebook.html").write_text(viewer._repr_html_())
        serve = functools.partial(Quiet, directory=str(tmp_path))
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            tab.open(f"http://localhost:{server.server_port}/notebook.html")
            tab.homes.add(viewer.url.partition("/?")[0])
            frame = tab.page.frame_locator("iframe")
            frame.locator("body[data-ready]").wait_for()
            assert "image 1" in frame.locator("#images").inner_text()
            server.shutdown()
