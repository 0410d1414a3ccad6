"""What a report shows of a registration: model, errors in each unit, figures; nothing where nothing was compared."""

from dataclasses import replace

import numpy as np
import pytest
from affine import Affine

import hyperfuse as hf
from hyperfuse.cube.header import Grid
from hyperfuse.reports.fusion import ReportContent, render_report
from hyperfuse.reports.fusion.consistency import measure_consistency
from hyperfuse.reports.fusion.registration import registration
from hyperfuse.reports.fusion.sensor import sensor
from hyperfuse.scenes.matching.evidence import Evidence, TiePointErrors, statistics_of
from hyperfuse.sensor.detectors import Detector
from hyperfuse.sensor.displacement import Displacement
from hyperfuse.sensor.displacement_map import DisplacementMap

GRID = Grid(24, 32, Affine(40.0, 0.0, 500_000.0, 0.0, -40.0, 5_800_000.0), "EPSG:32633")


def made(**fields):
    """Evidence of a field with tie points in the upper half of the HSI."""
    rng = np.random.default_rng(0)
    field = Displacement(rng.normal(0, 2, (2, 5, 6)), spacing=(8.0, 8.0), origin=(-4.0, -4.0))
    positions = np.stack(np.meshgrid([4.0, 9.0], [5.0, 15.0, 25.0], indexing="ij"), axis=-1).reshape(-1, 2)
    given = DisplacementMap(grid=GRID, ratio=(4.0, 4.0), shift=(3.0, -1.0), displacement=field)
    before = given.at_points(*positions.T).T / 4
    points = TiePointErrors(positions, before, rng.normal(0, 0.02, before.shape), 8.0)
    values = {"model": "field", "doubt": "", "displacement": given, "points": points, "counts": (9, 8, 6)}
    return Evidence(**{**values, "coverage": 0.5, "explained": (0.9, 0.99), **fields})


@pytest.fixture(scope="module")
def content():
    image = np.random.default_rng(0).random((6, 96, 128))
    reference = hf.Cube(data=image, transform=GRID.transform @ Affine.scale(0.25), crs=GRID.crs)
    pair = hf.simulate(reference, ratio=4, srf="boxes:2")

    def make(evidence):
        return ReportContent(hsi=pair.hsi, msi=pair.msi, fused=reference, sensor=pair.sensor, evidence=evidence)

    return make


def test_errors_are_given_in_each_unit():
    found = made().to_dict()
    vectors = made().displacement.vectors.reshape(2, -1).T
    lengths = np.hypot(*vectors.T)
    sizes = found["displacement"]
    assert sizes["hr_pixels"]["max"] == pytest.approx(lengths.max())
    assert sizes["lr_pixels"]["rmse"] == pytest.approx(np.sqrt(np.mean(lengths**2)) / 4)
    assert sizes["metres"]["ce90"] == pytest.approx(10 * np.quantile(lengths, 0.9))
    assert sizes["metres"]["mean_y"] == pytest.approx(10 * vectors[:, 0].mean())
    assert found["after"]["lr_pixels"]["max"] < 0.1 < found["before"]["lr_pixels"]["max"]
    assert found["tie_points"] == {"tried": 9, "reliable": 8, "kept": 6, "coverage": 0.5}
    assert statistics_of(np.array([[0.0, 1.0], [0.0, 3.0], [4.0, 0.0]])) == pytest.approx(
        {"median": 3.0, "rmse": np.sqrt(26 / 3), "ce90": 3.8, "max": 4.0, "mean_y": 4 / 3, "mean_x": 4 / 3}
    )


def test_the_section_of_a_field(content):
    part = registration(content(made()))
    facts = dict(part["facts"])
    assert facts["model"] == "a smooth field"
    assert facts["tie points"] == "6 kept of 8 reliable and 9 tried; they cover 50% of the HSI"
    assert facts["MSI explained by the HSI"] == "90.00% before, 99.00% after (held out)"
    assert len(part["table"].rows) == 9
    for name in ("arrows", "size", "histogram", "residuals", "profiles"):
        assert str(part[name]).startswith("<svg"), name
    assert "where the HSI" in str(part["arrows"])
    assert "times as long" in str(part["residuals"])
    assert "<image" in str(part["arrows"])  # the MSI below
    page = render_report(content(made()))
    assert '<section id="registration"' in page
    assert "the wobble of a platform" in page


def test_the_sensor_section_shows_the_mean_shift_of_a_field(content):
    found = made()
    facts = dict(sensor(content(found))["shift"])
    y, x = found.displacement.vectors.mean(axis=(1, 2))
    assert facts["shift"] == f"{y:+.2f} (y), {x:+.2f} (x) HR pixels, the mean over the HSI".replace("-", "−")
    assert "see the registration" in facts["displacement from it"]
    assert sensor(content(None))["shift"] == []


def test_detectors_that_lie_apart_are_shown(content):
    detectors = (Detector("VNIR", (0, 1, 2)), Detector("SWIR", (3, 4, 5), (1.0, -0.5)))
    still = DisplacementMap(grid=GRID, ratio=(4.0, 4.0))
    part = registration(content(made(model="none", displacement=still, points=None, detectors=detectors)))
    facts = dict(part["facts"])
    assert facts["SWIR, bands 4-6"] == "lies +0.250 (y), −0.125 (x) HSI pixels; +10, −5 m from there"
    assert made(detectors=detectors).to_dict()["detectors"][1]["shift"]["metres"] == [10.0, -5.0]
    assert "detectors" not in made().to_dict()


def test_the_degraded_result_is_compared_where_each_detector_lies(content):
    plain = content(None)
    detectors = (Detector("VNIR", (0, 1, 2)), Detector("SWIR", (3, 4, 5), (1.0, -0.5)))
    sensor_ = plain.sensor.replace(detectors=detectors)
    hsi = plain.hsi.data.copy()
    for bands, own in sensor_.by_detector():
        hsi[bands] = own.degrade(plain.fused.data[bands], hsi.shape[1:]).numpy()
    apart = measure_consistency(replace(plain, hsi=plain.hsi.replace(data=hsi), sensor=sensor_))
    assert apart.spectral_fraction < 1e-5
    assert measure_consistency(replace(plain, hsi=plain.hsi.replace(data=hsi))).spectral_fraction > 0.01


def test_a_pair_that_fits_has_no_arrows(content):
    still = DisplacementMap(grid=GRID, ratio=(4.0, 4.0))
    part = registration(content(made(model="none", displacement=still, points=None, counts=(0, 0, 0), doubt="too few")))
    assert dict(part["facts"])["not accepted"] == "too few"
    assert [name for name in ("table", "arrows", "size", "histogram", "residuals", "profiles") if part[name]] == []
    assert '<section id="registration"' in render_report(content(made(model="none", displacement=still, points=None)))


@pytest.mark.parametrize("evidence", [None, "nothing"])
def test_where_nothing_was_compared_there_is_no_section(content, evidence):
    still = DisplacementMap(grid=GRID, ratio=(4.0, 4.0))
    if evidence is not None:
        evidence = made(model="none", displacement=still, points=None, counts=(0, 0, 0), explained=None)
    assert registration(content(evidence)) is None
    assert '<section id="registration"' not in render_report(content(evidence))


def test_where_no_evidence_is():
    covered = made().points.covered((24, 32))
    assert covered[:13, 1:9].all()
    assert covered[:13, 21:29].all()
    assert not covered[:, 9:11].any()
    assert not covered[14:].any()


def test_what_a_fusion_found(content):
    pair = hf.simulate(content(None).fused, ratio=4, srf="boxes:2")
    fusion = hf.fuse(pair.hsi, pair.msi, method="regression", return_details=True)
    evidence = ReportContent.of(fusion).evidence
    assert evidence.displacement.grid.rows == pair.hsi.rows
    assert evidence.model in ("none", "shift")
    assert evidence.explained[1] > 0.9
