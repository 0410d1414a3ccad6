"""The report in a real browser."""

import re

import numpy as np
import pytest

import hyperfuse as hf
from browser import needs_browser
from hyperfuse.reports.fusion import ReportContent, this_process, write_report

pytestmark = [pytest.mark.slow, pytest.mark.browser, needs_browser]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    smooth = np.cumsum(np.cumsum(np.random.default_rng(0).standard_normal((12, 60, 80)), axis=1), axis=2)
    cube = hf.Cube(data=(smooth - smooth.min()) / np.ptp(smooth), wavelengths=np.linspace(450, 900, 12))
    pair = hf.simulate(cube, ratio=4, srf="boxes:3")
    fused = hf.fuse(pair.hsi, pair.msi, sensor=pair.sensor, method="regression")
    target = tmp_path_factory.mktemp("report") / "a <b> & 'report'.html"
    content = ReportContent(
        hsi=pair.hsi,
        msi=pair.msi,
        fused=fused,
        sensor=pair.sensor,
        reference=pair.reference,
        hsi_name="<script>throw 1</script>.tif",
        made=this_process("hyperfuse fuse", 1.0),
    )
    write_report(target, content)
    return target


SPLIT = "getComputedStyle(document.querySelector('.swipe')).getPropertyValue('--split')"
CLIP = "getComputedStyle(document.querySelector('.swipe .after')).clipPath"
VISIBLE = "[...document.querySelectorAll('.view')].map(view => view.offsetParent !== null)"


@pytest.fixture
def page(tab, report):
    """The page of the report; nothing may be in the console at the end."""
    tab.open(report.as_uri())
    yield tab.page
    assert tab.said == []


def drag(page, selector, start, end):
    """Press at a fraction of the width of an element, move to another, and release."""
    page.locator(selector).first.scroll_into_view_if_needed()
    box = page.locator(selector).first.bounding_box()
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + start * box["width"], y)
    page.mouse.down()
    page.mouse.move(box["x"] + end * box["width"], y)
    page.mouse.up()


def test_the_page_loads_without_a_word_in_the_console(page, tab):
    assert page.locator("script").count() == 1
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert [url for url in tab.requested if not url.startswith("data:")] == [page.url]


def test_the_swipe_follows_the_pointer(page):
    assert page.evaluate(SPLIT) == "50%"
    drag(page, ".swipe", 0.5, 0.2)
    assert float(page.evaluate(SPLIT).rstrip("%")) == pytest.approx(20, abs=1)
    assert "20" in page.evaluate(CLIP)
    drag(page, ".swipe", 0.2, 0.9)
    assert float(page.evaluate(SPLIT).rstrip("%")) == pytest.approx(90, abs=1)
    bar, box = (page.locator(one).first.bounding_box() for one in (".swipe .bar", ".swipe"))
    assert (bar["x"] - box["x"]) / box["width"] == pytest.approx(0.9, abs=0.02)


def test_the_swipe_follows_the_keyboard_and_says_where_it_is(page):
    handle = page.locator(".swipe input").first
    for _ in range(4):
        handle.press("ArrowLeft")
    assert page.evaluate(SPLIT) == "48%"
    assert handle.get_attribute("aria-valuetext").startswith("48 %")
    handle.press("Home")
    assert page.evaluate(SPLIT) == "0%"


def test_the_line_parts_the_two_images(page):
    page.locator(".swipe").first.scroll_into_view_if_needed()
    left, right = (
        page.evaluate(
            f"(r => document.elementsFromPoint(r.left + {fraction} * r.width, r.top + r.height / 3)"
            ".filter(e => e.tagName === 'IMG').map(e => e.parentElement.className))"
            "(document.querySelector('.swipe').getBoundingClientRect())"
        )
        for fraction in (0.25, 0.75)
    )
    assert left == ["before"]  # what is clipped away is not hit
    assert right == ["after", "before"]


def test_the_other_colours_are_a_choice(page):
    assert page.evaluate(VISIBLE) == [True, False]
    page.locator("label[for=view-1]").click()
    assert page.evaluate(VISIBLE) == [False, True]


@pytest.mark.parametrize("width", [380, 1200])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_the_window_and_text_has_contrast(page, width, scheme):
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    colours = page.evaluate("[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]")
    ink, paper = (sum(map(float, re.findall(r"[\d.]+", colour)[:3])) / 3 for colour in colours)
    assert (ink > 200 and paper < 60) if scheme == "dark" else (ink < 60 and paper > 200)


def test_on_paper_both_images_stand_side_by_side(page):
    page.emulate_media(media="print")
    before, after = (page.locator(f".swipe {one}").first.bounding_box() for one in (".before", ".after"))
    assert before["x"] + before["width"] <= after["x"]
    assert page.evaluate(CLIP) == "none"
    assert page.evaluate(VISIBLE) == [True, True]
    assert len(page.pdf()) > 10_000
