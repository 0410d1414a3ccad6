"""The report in a real browser: Debian's chromium, driven by its chromedriver through the W3C WebDriver protocol."""

import json
import re
import shutil
import subprocess
import urllib.error
import urllib.request

import numpy as np
import pytest

import hyperfuse as hf
from hyperfuse.reports.fusion import ReportContent, this_process, write_report

DRIVER, BROWSER = shutil.which("chromedriver"), shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        DRIVER is None or BROWSER is None, reason="needs chromium and chromedriver (apt-get install chromium-driver)"
    ),
]

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


class Browser:
    """One session of chromedriver."""

    def __init__(self, port):
        self.base = f"http://127.0.0.1:{port}/session"
        arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--window-size=1200,900",
        ]
        options = {"args": arguments, "binary": BROWSER}
        capabilities = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        self.base += "/" + self.send("POST", "", {"capabilities": {"alwaysMatch": capabilities}})["sessionId"]

    def send(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data, {"Content-Type": "application/json"}, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=60) as response:
                return json.load(response)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from error

    def open(self, page):
        self.send("POST", "/url", {"url": page.as_uri()})

    def run(self, script, *arguments):
        return self.send("POST", "/execute/sync", {"script": f"return {script}", "args": list(arguments)})

    def find(self, selector):
        return self.send("POST", "/element", {"using": "css selector", "value": selector})[ELEMENT]

    def drag(self, selector, start, end):
        """Press at a fraction of the width of an element, move to another, and release."""
        element = {ELEMENT: self.find(selector)}
        self.run("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", element)
        box = self.run("arguments[0].getBoundingClientRect().toJSON()", element)
        y = int(box["top"] + box["height"] / 2)
        at = [
            {"type": "pointerMove", "x": int(box["left"] + fraction * box["width"]), "y": y}
            for fraction in (start, end)
        ]
        moves = [at[0], {"type": "pointerDown", "button": 0}, at[1], {"type": "pointerUp", "button": 0}]
        mouse = {"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": moves}
        self.send("POST", "/actions", {"actions": [mouse]})

    def keys(self, selector, text):
        self.send("POST", f"/element/{self.find(selector)}/value", {"text": text})

    def log(self):
        return self.send("POST", "/se/log", {"type": "browser"})

    def cdp(self, command, **parameters):
        return self.send("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})


@pytest.fixture(scope="module")
def browser():
    process = subprocess.Popen([DRIVER, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    session = None
    try:
        for line in process.stdout:
            found = re.search(r"started successfully on port (\d+)", line)
            if found:
                break
        else:
            pytest.fail("chromedriver did not start")
        session = Browser(found.group(1))
        yield session
    finally:
        if session is not None:
            session.send("DELETE", "")
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
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


def test_the_page_loads_without_a_word_in_the_console(browser, page):
    browser.log()
    browser.open(page)
    assert browser.log() == []
    assert browser.run("document.querySelectorAll('script').length") == 1
    assert browser.run("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert browser.run("performance.getEntriesByType('resource').filter(e => !e.name.startsWith('data:')).length") == 0


def test_the_swipe_follows_the_pointer(browser, page):
    browser.open(page)
    assert browser.run(SPLIT) == "50%"
    browser.drag(".swipe", 0.5, 0.2)
    assert float(browser.run(SPLIT).rstrip("%")) == pytest.approx(20, abs=1)
    assert "20" in browser.run(CLIP)
    browser.drag(".swipe", 0.2, 0.9)
    assert float(browser.run(SPLIT).rstrip("%")) == pytest.approx(90, abs=1)
    bar = browser.run("document.querySelector('.swipe .bar').getBoundingClientRect().left")
    box = browser.run("document.querySelector('.swipe').getBoundingClientRect().toJSON()")
    assert (bar - box["left"]) / box["width"] == pytest.approx(0.9, abs=0.02)
    assert browser.log() == []


def test_the_swipe_follows_the_keyboard_and_says_where_it_is(browser, page):
    browser.open(page)
    browser.keys(".swipe input", "\ue012" * 4)  # arrow left
    assert browser.run(SPLIT) == "48%"
    assert browser.run("document.activeElement.getAttribute('aria-valuetext')").startswith("48 %")
    browser.keys(".swipe input", "\ue011")  # home
    assert browser.run(SPLIT) == "0%"


def test_the_line_parts_the_two_images(browser, page):
    browser.open(page)
    shown = "[...document.querySelectorAll('.swipe')][0]"
    left, right = (
        browser.run(
            f"(r => document.elementsFromPoint(r.left + {fraction} * r.width, r.top + r.height / 3)"
            f".filter(e => e.tagName === 'IMG').map(e => e.parentElement.className))({shown}.getBoundingClientRect())"
        )
        for fraction in (0.25, 0.75)
    )
    assert left == ["before"]  # what is clipped away is not hit
    assert right == ["after", "before"]


def test_the_other_colours_are_a_choice(browser, page):
    browser.open(page)
    visible = "[...document.querySelectorAll('.view')].map(view => view.offsetParent !== null)"
    assert browser.run(visible) == [True, False]
    browser.send("POST", f"/element/{browser.find('label[for=view-1]')}/click", {})
    assert browser.run(visible) == [False, True]


@pytest.mark.parametrize("width", [380, 1200])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_the_window_and_text_has_contrast(browser, page, width, scheme):
    browser.cdp("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False)
    browser.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    browser.open(page)
    assert browser.run("document.documentElement.scrollWidth") <= width
    colours = browser.run("[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]")
    ink, paper = (sum(map(float, re.findall(r"[\d.]+", colour)[:3])) / 3 for colour in colours)
    assert (ink > 200 and paper < 60) if scheme == "dark" else (ink < 60 and paper > 200)
    browser.cdp("Emulation.clearDeviceMetricsOverride")
    browser.cdp("Emulation.setEmulatedMedia", features=[])


def test_on_paper_both_images_stand_side_by_side(browser, page):
    browser.open(page)
    browser.cdp("Emulation.setEmulatedMedia", media="print")
    boxes = browser.run(
        "['.before', '.after'].map(name => document.querySelector('.swipe ' + name).getBoundingClientRect().toJSON())"
    )
    assert boxes[0]["right"] <= boxes[1]["left"]
    assert browser.run(CLIP) == "none"
    assert browser.run("[...document.querySelectorAll('.view')].map(view => view.offsetParent !== null)") == [
        True,
        True,
    ]
    assert len(browser.cdp("Page.printToPDF")["data"]) > 10_000
    browser.cdp("Emulation.setEmulatedMedia", media="")
