"""The page of a report as text: one self-contained document, every section by its content, nothing that breaks out."""

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

import hyperfuse as hf
from hyperfuse.cube.cube import Cube
from hyperfuse.cube.display import choose_display
from hyperfuse.cube.window import Window
from hyperfuse.errors import HyperfuseError, InputError
from hyperfuse.reports.fusion import Provenance, ReportContent, render_report, results, this_process, write_report
from hyperfuse.reports.fusion.inputs import inputs
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.psf import GaussianPsf, KernelPsf
from hyperfuse.sensor.srf.srf import Srf
from hyperfuse.tables.html import render_html

HOSTILE = "\"><script>alert(1)</script><img src=http://x.invalid/ onerror=alert(1)>'$title ${body} ]]> \u202e\x07 &amp;"
BREAK = re.compile(r" *\n *")
VOID = {"meta", "link", "img", "input", "br", "hr"}


class Page(HTMLParser):
    """Elements with their attributes, the text of each, and whether every element that opens is closed."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.texts = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert len(attrs) == len({name for name, _ in attrs}), (tag, attrs)
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        # Lines are broken anywhere in templates.
        self.texts.append((self.open[-1] if self.open else "", data if self.open == [] else BREAK.sub(" ", data)))

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def sections(self):
        return [attributes["id"] for attributes in self.all("section")]

    @property
    def text(self):
        return " ".join(data for tag, data in self.texts if tag not in ("style", "script"))


def make_scene(bands=12, rows=40, cols=56, seed=0, **fields):
    noise = np.random.default_rng(seed).standard_normal((bands, rows, cols))
    smooth = np.cumsum(np.cumsum(noise, axis=1), axis=2)
    scene = (smooth - smooth.min()) / np.ptp(smooth)
    return Cube(data=scene.astype(np.float32), **fields)


def make_content(*, srf="boxes:3", ratio=4, scene=None, with_reference=False, **fields):
    pair = hf.simulate(
        make_scene(wavelengths=np.linspace(450, 900, 12)) if scene is None else scene, ratio=ratio, srf=srf
    )
    step = {"step": "fuse", "method": "trial", "settings": {"window": None}, "run": {"steps_done": 71, "curve": [8]}}
    fused = pair.reference.replace(data=pair.reference.data * 0.99, history=(step,))
    given = {"hsi": pair.hsi, "msi": pair.msi, "fused": fused, "sensor": pair.sensor}
    return ReportContent(**given | ({"reference": pair.reference} if with_reference else {}) | fields)


@pytest.fixture(scope="module")
def plain():
    return render_report(make_content())


@pytest.fixture(scope="module")
def full():
    return render_report(make_content(with_reference=True))


@pytest.fixture
def quick(monkeypatch):
    """Plots are built but not turned into SVG, which takes most of the time."""
    monkeypatch.setattr(Figure, "savefig", lambda self, file, **_: file.write('<svg viewBox="0 0 1 1"></svg>'))


def test_the_page_is_one_document_that_needs_nothing_else(full):
    page = Page(full)
    assert [len(page.all(tag)) for tag in ("html", "head", "body", "title", "main", "h1", "style", "script")] == [1] * 8
    for _, attributes in page.elements:
        for name in ("src", "href", "action", "data", "poster", "srcset", "xlink:href", "background", "formaction"):
            assert attributes.get(name, "#").startswith(("#", "data:")), attributes
        assert not any(name.startswith("on") for name in attributes)
        assert "url(h" not in str(attributes.get("style"))
    assert page.all("script") == [{}]  # no src
    assert not re.search(r"@import|url\((?!#)", "".join(data for tag, data in page.texts if tag == "style"))


def test_identifiers_are_unique_and_links_lead_to_them(full):
    page = Page(full)
    names = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(names) == len(set(names))
    targets = [a["href"][1:] for _, a in page.elements if a.get("href", "").startswith("#")]
    targets += re.findall(r"url\(#([^)]*)\)", str(page.elements))
    assert set(targets) <= set(names)
    assert len(targets) > 20


def test_the_policy_allows_this_very_script_and_no_other(plain):
    page = Page(plain)
    (policy,) = [a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    script = plain.rpartition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    rules = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == f"'sha256-{digest}'"
    assert rules["img-src"] == "data:"
    assert rules["style-src"] == "'unsafe-inline'"


def test_sections_are_there_by_what_is_known(quick):
    base = ["views", "close-ups", "spectra", "consistency", "inputs", "sensor", "record"]
    assert Page(render_report(make_content())).sections == base
    content = make_content(with_reference=True)
    unsure = content.fused.replace(data=np.full(content.fused.data.shape, 0.01))
    content = make_content(with_reference=True, uncertainty=unsure)
    assert Page(render_report(content)).sections == [*base[:4], "reference", "uncertainty", *base[4:]]


def test_every_figure_has_a_caption_and_every_image_a_description(full):
    page = Page(full)
    assert len(page.all("figure")) == len(page.all("figcaption")) > 8
    assert all(attributes["alt"] for attributes in page.all("img"))
    assert all(a.get("aria-label") or a.get("aria-hidden") for a in page.all("svg"))


@pytest.fixture(scope="module")
def hostile():
    names = ("$\\frac{1}{", "_hidden <b>", HOSTILE)
    srf = Srf(np.eye(3, 12) * 0.5 + np.eye(3, 12, k=1) * 0.5, names=names, source=HOSTILE)
    scene = make_scene(wavelengths=np.linspace(450, 900, 12), units=HOSTILE, attributes={HOSTILE: HOSTILE})
    content = make_content(scene=scene, srf=srf)
    last = {"step": HOSTILE, "method": HOSTILE, "settings": {HOSTILE: HOSTILE}, "device": HOSTILE, "seed": HOSTILE}
    hostile = ReportContent(
        hsi=content.hsi,
        msi=content.msi.replace(band_names=names),
        fused=content.fused.replace(history=(last,), crs=HOSTILE),
        sensor=content.sensor,
        hsi_name=HOSTILE,
        msi_name=HOSTILE,
        fused_name=HOSTILE,
        sensor_source=HOSTILE,
        sensor_notes=(HOSTILE,),
        warnings=(HOSTILE,),
        uncertainty=content.fused,
        uncertainty_name=HOSTILE,
        made=Provenance(command=HOSTILE, created=HOSTILE, versions={HOSTILE: HOSTILE}),
    )
    return render_report(hostile)


def test_no_name_breaks_out_of_its_element(hostile, plain):
    page = Page(hostile)
    assert len(page.all("script")) == 1
    assert {tag for tag, _ in page.elements} <= {tag for tag, _ in Page(plain).elements} | {"ul", "li"}
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert all(a["src"].startswith("data:image/") for a in page.all("img"))
    shown = HOSTILE.replace("\u202e", "").replace("\x07", "")
    headings = [data for tag, data in page.texts if tag == "h1"]
    assert headings == [f"{shown}: {shown} with {shown}"]
    assert page.text.count(shown) > 12
    assert "\u202e" not in page.text


def test_names_of_bands_are_shown_as_they_are(hostile):
    texts = [data for tag, data in Page(hostile).texts if tag == "text"]
    assert "$\\frac{1}{" in texts
    assert "_hidden <b>" in [text.strip() for text in texts]


def test_the_same_content_gives_the_same_page(plain):
    assert render_report(make_content()) == plain


def test_scores_are_those_of_the_metrics(full):
    content = make_content(with_reference=True)
    text = Page(full).text
    scores = hf.evaluate(content.reference, content.fused, content.sensor.ratio)
    assert f"{scores['psnr_db']:.2f} dB" in text
    assert scores["convention"] in text
    found = hf.evaluate_without_reference(
        content.hsi, content.msi, content.fused, lambda image: content.sensor.degrade(torch.from_numpy(image))
    )
    assert f"{found['qnr']:.4f}" in text
    assert f"{found['hqnr']:.4f}" in text


def test_how_it_was_made_is_reported(quick):
    content = make_content(made=this_process(["hyperfuse", "fuse", "my file.tif"], 75.2), warnings=("mind the gap",))
    page = Page(render_report(content))
    text = page.text
    for part in (
        "hyperfuse fuse 'my file.tif'",
        "1 min 15 s",
        "mind the gap",
        "trial",
        "steps_done",
        f"torch {torch.__version__}",
    ):
        assert part in text
    assert "GB at most" in text or "MB at most" in text
    assert [data for tag, data in page.texts if tag == "th"].count("steps_done") == 1


def test_a_shift_is_reported_with_its_doubt(quick, plain):
    found = SimpleNamespace(
        shift_y=0.25,
        shift_x=-1.5,
        shift_error=0.02,
        rotation_degrees=0.0,
        scale=0.0,
        explained_before=0.9,
        explained_after=0.99,
        accepted=False,
        doubt="two positions fit <b>",
    )
    text = Page(render_report(make_content(alignment=found))).text
    assert "+0.25 (y), −1.50 (x) HR pixels" in text
    assert "two positions fit <b>" in text
    assert "Shift between" not in Page(plain).text


def test_the_content_of_a_fusion_is_its_preview():
    pair = hf.simulate(make_scene(wavelengths=np.linspace(450, 900, 12)), ratio=4, srf="boxes:3")
    fusion = hf.fuse(pair.hsi, pair.msi, sensor=pair.sensor, method="regression", return_details=True)
    content = ReportContent.of(fusion, reference=pair.reference, hsi_name="hsi.tif")
    np.testing.assert_array_equal(content.fused.data, fusion.image.data)
    np.testing.assert_array_equal(content.hsi.data, pair.hsi.data)
    assert (content.hsi_name, content.reference) == ("hsi.tif", pair.reference)
    assert (content.sensor.ratio, content.sensor.offset) == (pair.sensor.ratio, pair.sensor.offset)
    assert content.sensor_notes == fusion.notes
    with pytest.raises(InputError, match="no preview"):
        ReportContent.of(replace(fusion, preview=None))


def test_without_responses_and_wavelengths_the_page_says_what_is_missing(quick):
    content = make_content(scene=make_scene())
    content = ReportContent(
        hsi=content.hsi.replace(wavelengths=None),
        msi=content.msi.replace(wavelengths=None),
        fused=content.fused,
        sensor=content.sensor.replace(srf=None),
    )
    page = Page(render_report(content))
    assert "it needs the spectral responses" in page.text
    assert "Not known: neither" in page.text
    panels = [attributes for attributes in page.all("div") if attributes.get("class") == "panels"]
    assert len(page.all("img")) == 2 + 3 * len(panels) + 1  # one view, three images per close-up, the overview
    assert panels


@pytest.mark.parametrize(
    ("shape", "ratio", "srf"),
    [((5, 24, 24), 2, "boxes:1"), ((1, 16, 24), 4, "boxes:1"), ((3, 2, 2), 2, "boxes:1"), ((4, 30, 9), 1.5, "boxes:2")],
)
def test_odd_scenes_have_a_report(shape, ratio, srf, quick):
    content = make_content(scene=make_scene(*shape), ratio=ratio, srf=srf, with_reference=True)
    page = Page(render_report(content))
    assert {"views", "consistency", "reference", "inputs", "sensor", "record"} <= set(page.sections)


def test_a_constant_scene_has_a_report_that_says_why_there_are_no_scores(quick):
    flat = Cube(data=np.full((4, 16, 16), 0.5))
    page = Page(render_report(make_content(scene=flat, with_reference=True)))
    assert "QNR and HQNR are not computed" in page.text
    assert "Not scored" in page.text
    assert "close-ups" not in page.sections


def test_gaps_and_bad_bands_have_a_report():
    scene = make_scene(wavelengths=np.linspace(900, 450, 12))
    holed = scene.data.copy()
    holed[:, 4:15, 20:33] = np.nan
    holed[3] = np.nan
    scene = Cube(data=holed, valid=np.isfinite(holed), wavelengths=scene.wavelengths, good_bands=np.arange(12) != 7)
    content = make_content(scene=scene, with_reference=True)
    page = Page(render_report(content))
    assert "12 bands, 2 of them bad or empty" in page.text
    assert "of the pixels in one band or more" in page.text
    assert "nan" not in page.text.lower().replace("nanometre", "")


def test_a_kernel_and_other_sensors_are_drawn(quick):
    psf = KernelPsf(weights=((0.0, 1.0, 0.0), (1.0, 4.0, 1.0), (0.0, 1.0, -0.1)))
    content = make_content()
    content = ReportContent(
        hsi=content.hsi, msi=content.msi, fused=content.fused, sensor=content.sensor.replace(psf=psf)
    )
    assert "kernel of 3 × 3 HR pixels" in Page(render_report(content)).text


def test_footprints_are_in_the_coordinates_of_the_msi(plain):
    scene = make_scene(transform=(10.0, 0, 300_000, 0, -10.0, 5_800_000), crs="EPSG:32633")
    found = inputs(make_content(scene=scene))
    text = Page(render_html(found["table"]) + found["footprints"]).text
    assert "x (m)" in text
    assert "EPSG:32633" in text
    assert "40 m" in text  # an LR pixel
    assert "column (HR pixels)" in Page(plain).text


def test_large_scenes_are_shown_small(quick):
    rows, cols, bands = 1000, 1900, 3
    noise = np.random.default_rng(0).random((bands, rows, cols), dtype=np.float32)
    hsi = Cube(data=noise[:, ::4, ::4])
    sensor = Sensor(ratio=(4, 4), psf=GaussianPsf(sigma=(2, 2)), srf=Srf(np.full((1, bands), 1 / bands)))
    content = ReportContent(hsi=hsi, msi=Cube(data=noise.mean(axis=0)), fused=Cube(data=noise), sensor=sensor)
    text = render_report(content)
    page = Page(text)
    assert all(int(a["width"]) <= 900 and int(a["height"]) <= 900 for a in page.all("img"))
    assert "Shown at 1/3 of its size" in page.text
    assert "600 × 600 pixels at the centre of the scene" in page.text
    assert len(text) < 5_000_000  # of noise, which compresses worse than any scene


def test_a_report_is_written_whole_or_not_at_all(tmp_path, monkeypatch, quick):
    target = tmp_path / "r.html"
    content = make_content()
    write_report(target, content)
    assert target.read_text("utf-8") == render_report(content)
    target.write_text("before", "utf-8")

    def full(self, *_, **__):
        self.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(target), "write_text", full)
    with pytest.raises(HyperfuseError, match="no space left"):
        write_report(target, content)
    assert [path.name for path in tmp_path.iterdir()] == ["r.html"]
    assert target.read_bytes() == b"before"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: {"msi": c.msi.crop(0, 0, 8, 8)}, "the MSI has 8x8 pixels"),
        (lambda c: {"hsi": c.hsi.select_bands([0, 1])}, "the HSI has 2 bands"),
        (lambda c: {"reference": Cube(data=c.fused.crop(0, 0, 8, 8).data)}, "the reference 8 rows, 8 columns"),
        (lambda c: {"reference": Cube(data=c.fused.data[:1])}, "1 bands; they must be equal"),
        (lambda c: {"uncertainty": c.fused.select_bands([0, 1])}, "the uncertainty has 2 bands"),
        (lambda c: {"msi": c.msi.select_bands([0])}, "the responses have the shape"),
        (lambda c: {"msi_gain": [1.0]}, "msi_gain has the shape"),
        (lambda c: {"points": [(0, 99)]}, "lies outside"),
    ],
)
def test_what_does_not_fit_together_is_refused(change, message):
    content = make_content()
    given = {"hsi": content.hsi, "msi": content.msi, "fused": content.fused, "sensor": content.sensor}
    with pytest.raises(InputError, match=re.escape(message)):
        ReportContent(**given | change(content))


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_an_msi_without_wavelengths_is_shown_in_the_order_of_its_responses_or_names(order, monkeypatch):
    shown = []
    monkeypatch.setattr(
        "hyperfuse.reports.fusion.results.render_rgb",
        lambda cube, display, limits: shown.append(cube.data[..., 0, 0]) or np.zeros((*cube.shape[1:], 3)),
    )

    def panels(msi, sensor=None):
        shown.clear()
        with_sensor = content.sensor.replace(srf=None) if sensor is None else sensor
        given = {"hsi": content.hsi, "msi": msi, "fused": content.fused, "sensor": with_sensor}
        made = ReportContent(**given)
        names = [name for name, _ in results._panels(made, choose_display(made.fused), Window(0, 0, 8, 8))]
        return names[1], shown[1]

    # Of a camera, in the order red, green, blue.
    content = make_content(srf="nikon-d700", scene=make_scene(wavelengths=np.linspace(420, 700, 12)))
    colours = content.msi.data[:, 0, 0]
    plain = Cube(data=content.msi.data[list(order)])
    rows = [content.sensor.srf.matrix[row] for row in order]
    name, first = panels(plain, content.sensor.replace(srf=hf.Srf(rows)))
    assert (name, first.tolist()) == ("HR-MSI", colours.tolist())
    named = plain.replace(band_names=tuple(("red", "green", "blue")[band] for band in order))
    assert panels(named)[1].tolist() == colours.tolist()
    assert panels(plain)[0] == "HR-MSI, colours not stated"
    assert panels(plain)[1].tolist() == colours[list(order)].tolist()
