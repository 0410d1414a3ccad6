"""The tables of all methods and networks: published and measured figures, and the weights that gave the latter."""

import csv

import pytest

from hyperfuse.benchmark.reproduce import Experiment, find_artefacts, prepare, reproduce
from hyperfuse.benchmark.reproduce.compared import count_parameters
from hyperfuse.benchmark.reproduce.published import LABELS, PUBLISHED, REFERENCES, SOURCES
from hyperfuse.benchmark.weights import compared_networks
from hyperfuse.methods import list_methods
from hyperfuse.networks.released import save_converted
from small_networks import small_network


@pytest.fixture
def experiment(made, tmp_path, monkeypatch):
    """Two tiny scenes, weights of one network, and only fast methods."""
    cave = tmp_path / "cave"
    cave.mkdir()
    for seed, name in enumerate(("balloons", "paints")):
        made.scene(cave / f"{name}.mat", seed, 64)
    weights = tmp_path / "weights"
    weights.mkdir()
    training = {"patches": 500, "ratio": 4, "scenes": ["paints"]}
    save_converted(small_network("tfnet", 31, 3), weights / "tfnet.safetensors", training)
    save_converted(small_network("tfnet", 7, 3), weights / "other-x8.safetensors")
    fast = [method for method in list_methods() if method.name in ("bicubic", "regression")]
    monkeypatch.setattr("hyperfuse.benchmark.reproduce.compared.list_methods", lambda: fast)
    return Experiment(tmp_path / "out", quick=True, cave=cave, device="cpu", weights=weights)


def test_a_row_shows_the_published_and_the_measured_figure_and_the_weights(experiment):
    (artefact,) = find_artefacts(["table-cave-x4"])
    prepare(experiment, [artefact])
    _, (text, values, picture) = reproduce(experiment, artefact)
    rows = {row["method"]: row for row in csv.DictReader(values.open(newline=""))}
    assert set(rows) == {"bicubic", "regression", *compared_networks(), "SFNO (split dhif)"}
    assert (rows["bicubic"]["kind"], rows["bicubic"]["weights"]) == ("classical", "none needed")
    assert rows["bicubic"]["psnr_db"] > "20"
    measured = rows["tfnet"]
    assert measured["weights"] == "trained here: 500 patches"
    assert measured["parameters"] == "2386801"
    assert float(measured["psnr_db"])
    lacking = rows["bdt"]
    assert (lacking["published_psnr_db"], lacking["psnr_db"], lacking["parameters"]) == ("52.3", "", "2668027")
    assert lacking["weights"].startswith("no weights: hyperfuse train configs/bdt-cave-x4.yaml, or published: CAVE x4")
    assert (rows["SFNO (split dhif)"]["kind"], rows["SFNO (split dhif)"]["weights"]) == ("published", "published")
    assert "Published: not computed here" in text.read_text()
    assert "Scored on balloons" in text.read_text()
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_network_that_does_not_fit_is_a_row_that_says_so(experiment):
    notes = []
    experiment.note = notes.append
    (artefact,) = find_artefacts(["table-cave-x8"])
    result, _ = reproduce(experiment, artefact)
    (row,) = [row for row in result.rows if row["method"] == "tfnet"]
    assert "is for an HSI of 7 bands" in row["weights"]
    assert row["published_psnr_db"] == 43.77
    assert any("tfnet failed" in note for note in notes)


def test_what_is_published_has_a_source_and_a_name_here():
    assert set(SOURCES) == set(PUBLISHED)
    assert set(LABELS.values()) | {"SFNO (split dhif)"} == set(REFERENCES)
    assert set(compared_networks()) - set(LABELS) == {"restfnet"}


@pytest.mark.parametrize(
    ("name", "ratio", "count"),
    [("bdt", 8, 3_952_209), ("bdt", 5, None), ("mog-dcn", 4, 6_840_196), ("psrt", 8, 247_455)],
)
def test_parameters_are_those_of_the_program(name, ratio, count):
    assert count_parameters(name, ratio) == count
