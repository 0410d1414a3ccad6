"""The built site (`make docs`) in Chromium: `make docs-check`."""

import functools
import html.parser
import http.server
import os
import re
import shutil
import threading
import urllib.parse
from pathlib import Path

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="needs the extra browser")

SITE = Path(os.environ.get("HYPERFUSE_SITE", Path(__file__).parents[2] / "site"))
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.site,
    pytest.mark.slow,
    pytest.mark.skipif(not (SITE / "docs" / "index.html").exists(), reason="needs the site: make docs"),
    pytest.mark.skipif(BROWSER is None, reason="needs chromium (apt-get install chromium)"),
]
# Without a template of the theme, which it leaves among its files.
PAGES = sorted(path for path in SITE.rglob("*.html") if "_static" not in path.parts)
# Elements of which the browser loads what they name.
LOADED = {("script", "src"), ("img", "src"), ("iframe", "src"), ("source", "src"), ("video", "src")}


class Page(html.parser.HTMLParser):
    """What a page links to, loads, and can be linked at."""

    def __init__(self, path):
        super().__init__()
        self.links, self.loaded, self.anchors = [], [], set()
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.anchors |= {values[name] for name in ("id", "name") if values.get(name)}
        for name, value in attributes:
            if (tag, name) in LOADED or (tag, name) == ("link", "href"):
                self.loaded.append(value)
            elif (tag, name) == ("a", "href"):
                self.links.append(value)


@functools.cache
def parsed(path):
    return Page(path)


def test_internal_links_resolve():
    broken = []
    for path in PAGES:
        for link in [*parsed(path).links, *parsed(path).loaded]:
            url = urllib.parse.urlsplit(link)
            if url.scheme or url.netloc:
                continue
            target = (path.parent / urllib.parse.unquote(url.path)).resolve() if url.path else path
            anchor = urllib.parse.unquote(url.fragment)
            if not target.is_file() or (anchor and target.suffix == ".html" and anchor not in parsed(target).anchors):
                broken.append(f"{path.relative_to(SITE)}: {link}")
    assert not broken, "\n".join(broken)


def test_no_page_names_a_source_elsewhere():
    outside = {link for path in PAGES for link in parsed(path).loaded if urllib.parse.urlsplit(link).netloc}
    assert not outside
    sheets = [sheet.read_text("utf-8") for sheet in SITE.rglob("*.css")]
    assert not [url for sheet in sheets for url in re.findall(r"(?:url\(|@import )[\"']?(?:https?:)?//[^)\"']+", sheet)]


@pytest.fixture(scope="module")
def address():
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=SITE)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield started
        started.close()


@pytest.fixture
def context(browser, address):
    """A context without network beyond the site; what left it, and what went wrong on the pages."""
    made = browser.new_context(viewport={"width": 1200, "height": 900})
    made.outside, made.troubles = [], []

    def route(request):
        if request.request.url.startswith((address, "data:", "blob:")):
            request.continue_()
        else:
            made.outside.append(request.request.url)
            request.abort()

    made.route("**/*", route)
    made.on("console", lambda message: made.troubles.append(message.text) if message.type == "error" else None)
    made.on("weberror", lambda error: made.troubles.append(str(error.error)))
    made.on("response", lambda one: made.troubles.append(f"{one.status} {one.url}") if one.status >= 400 else None)
    yield made
    made.close()


def test_pages_load_whole_without_a_request_elsewhere(context, address, capsys):
    page = context.new_page()
    page.goto(f"{address}/")
    page.wait_for_url("**/docs/index.html")
    for path in PAGES:
        if path == SITE / "index.html":
            continue
        page.goto(f"{address}/{path.relative_to(SITE).as_posix()}", wait_until="load")
        blank = page.evaluate(
            "[...document.images].filter(i => !i.complete || (!i.naturalWidth && i.offsetParent)).map(i => i.src)"
        )
        assert not blank, f"{path}: {blank}"
    assert context.outside == []
    assert context.troubles == []
    with capsys.disabled():
        print(f"\n{len(PAGES)} pages, {len(context.outside)} requests elsewhere")


def test_a_search_finds_srf(context, address):
    page = context.new_page()
    page.goto(f"{address}/search.html?q=SRF")
    page.wait_for_function("/found \\d+ page/.test(document.querySelector('#search-results').textContent)")
    found = page.eval_on_selector_all("#search-results li a", "links => links.map(link => link.href)")
    assert any("sensors.html" in link for link in found), found
    assert any("create_srf" in link for link in found), found
    assert context.outside == []


@pytest.mark.parametrize("name", ["docs/index", "README", "docs/faq", "docs/sensors", "docs/gallery/index", "docs/api"])
def test_a_narrow_page_does_not_scroll_sideways(context, address, name):
    page = context.new_page()
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(f"{address}/{name}.html")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_theme_follows_the_system(browser, address):
    colours = []
    for scheme in ("light", "dark"):
        context = browser.new_context(color_scheme=scheme)
        page = context.new_page()
        page.goto(f"{address}/docs/architecture.html")
        assert page.locator(f"img.only-{scheme}").first.is_visible()
        colours.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        context.close()
    light, dark = (sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in colours)
    assert light > 600
    assert dark < 150
