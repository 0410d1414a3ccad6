import csv

import pytest

import hyperfuse.benchmark.reproduce.experiment as lab_module
from hyperfuse.benchmark.reproduce import PIECES, Budget, Lab, find_pieces, outputs, prepare, reproduce
from hyperfuse.benchmark.reproduce.published import PUBLISHED
from hyperfuse.benchmark.reproduce.recipes import full_config, recipe_file
from hyperfuse.benchmark.reproduce.results import Finding, Verdict, compare
from hyperfuse.benchmark.reproduce.trained import run_folder
from hyperfuse.errors import HyperfuseError, InputError
from hyperfuse.networks import create_network

NAMES = [
    "cave-x4", "cave-x8", "harvard-x4", "harvard-x8", "parameters", "domains", "activation", "upsampling", "iterations",
    "likeness", "leakage", "gabor", "response", "spectrum-change", "comparison-cave", "comparison-harvard",
]  # fmt: skip
# Small enough for seconds: what is drawn is not looked at here.
BUDGET = Budget(steps=2, batch=1, patch=16, validations=2)


@pytest.fixture(scope="session")
def quick_cave(tmp_path_factory):
    """A scene to learn from and one to score, 64x64 pixels."""
    import numpy as np
    import scipy.io

    folder = tmp_path_factory.mktemp("quick")
    for seed, name in enumerate(("paints", "balloons")):
        y, x = np.mgrid[:64, :64] / 6.0
        bands = np.arange(31)[:, None, None] / 31
        data = 0.5 + 0.2 * np.sin(x + seed + 3 * bands) + 0.2 * np.cos(y * (1 + seed) + bands)
        scipy.io.savemat(folder / f"{name}.mat", {"x": np.rint(65535 * data.transpose(1, 2, 0)).astype(np.uint16)})
    return folder


@pytest.fixture
def lab(quick_cave, tmp_path):
    return Lab(tmp_path, quick=True, cave=quick_cave, harvard=None, budget=BUDGET, device="cpu")


def test_every_table_and_figure_is_there():
    assert [piece.name for piece in PIECES] == NAMES
    assert len(find_pieces(["all"])) == len(PIECES)
    assert [piece.name for piece in find_pieces(["gabor", "domains", "gabor"])] == ["domains", "gabor"]
    assert [path.name for path in outputs(recipe_file("feinfn-cave-x4.yaml").parent, find_pieces(["gabor"]))] == [
        "gabor.md", "gabor.csv", "gabor.png",
    ]  # fmt: skip


@pytest.mark.parametrize(("names", "told"), [([], "or all; there are cave-x4"), (["gabr"], "did you mean 'gabor'")])
def test_a_wrong_name_is_told(names, told):
    with pytest.raises(InputError, match=told):
        find_pieces(names)


@pytest.mark.parametrize("quick", [True, False])
def test_every_network_that_is_wanted_can_be_built(lab, quick):
    lab.quick = quick
    for piece in PIECES:
        for one in piece.wanted(lab):
            options = {**lab.sizes()[one.size], **dict(one.switches)}
            create_network(one.network, hsi_bands=3, msi_bands=2, **options)


def test_a_network_of_several_tables_is_trained_once(lab):
    def place(name, place_in_list):
        piece = next(piece for piece in PIECES if piece.name == name)
        return lab._place(piece.wanted(lab)[place_in_list])[0]

    base = place("cave-x4", 0)
    assert place("domains", 2) == place("activation", 3) == place("upsampling", 4) == place("leakage", 1) == base
    assert place("iterations", 0) == place("gabor", 0) == place("comparison-cave", 0) == base
    assert len({place("domains", n) for n in range(3)} | {place("activation", n) for n in range(4)}) == 6


def test_another_seed_or_budget_is_another_network(lab, quick_cave, tmp_path):
    one = PIECES[0].wanted(lab)[0]
    places = {lab._place(one)[0]}
    for change in ({"seed": 1}, {"budget": Budget(steps=3, batch=1, patch=16)}):
        other = Lab(tmp_path, True, quick_cave, None, **{"budget": BUDGET, "device": "cpu", **change})
        places.add(other._place(one)[0])
    assert len(places) == 3


def test_recipes_are_those_of_configs(lab, tmp_path):
    material = lab.material("cave")
    config = full_config(material, 8, "feinfn", {"domains": "spatial"}, tmp_path, tmp_path / "run", "cpu", 3)
    assert (config.length.number, config.length.unit, config.batch, config.seed) == (200, "epochs", 32, 3)
    assert config.degradation.ratios == (8,)
    assert config.network.options == {"domains": "spatial"}
    assert config.data.train == material.train
    released = full_config(material, 4, "feinfn-release", {}, tmp_path, tmp_path / "run", "cpu", 0)
    assert (released.network.name, released.optimiser.gradient_norm) == ("feinfn-release", 1e-4)
    one = PIECES[0].wanted(lab)[0]
    assert run_folder(tmp_path, one, config, material) != run_folder(tmp_path, one, released, material)


def test_in_full_the_data_sets_are_needed(tmp_path):
    with pytest.raises(InputError, match="needs the CAVE data: give --data FOLDER"):
        prepare(Lab(tmp_path), find_pieces(["domains"]))
    with pytest.raises(InputError, match="needs the Harvard data: give --harvard FOLDER"):
        prepare(Lab(tmp_path), find_pieces(["harvard-x4"]))


def test_an_order_shows_only_where_the_numbers_differ():
    assert str(compare("A above B", 41.25, 41.0)) == "Shows the paper's order (A above B): yes, difference 0.25 dB."
    assert str(compare("A above B", 41.0, 41.25)) == "Shows the paper's order (A above B): no, difference -0.25 dB."
    assert not compare("A above B", 41.001, 41.0).shown
    assert str(compare("A above B", 1, 2, whose="own")) == "A above B: no, difference -1.00 dB."
    assert str(Verdict("it leaks", True, "90 %")) == "Shows the paper's claim (it leaks): yes, 90 %."


def test_published_numbers_are_those_known_here():
    assert PUBLISHED["cave", 4]["FeINFN"] == (52.47, 1.91, 0.98, 0.998)
    assert PUBLISHED["harvard", 4]["FeINFN"] == (49.06, 2.10, 1.78, 0.989)
    assert set(PUBLISHED) == {("cave", 4), ("cave", 8), ("harvard", 4), ("harvard", 8)}


@pytest.mark.parametrize("name", ["domains", "gabor"])
def test_a_quick_one_end_to_end(lab, name):
    (piece,) = find_pieces([name])
    prepare(lab, [piece], workers=1)
    finding, written = reproduce(lab, piece)
    assert isinstance(finding, Finding)
    assert written == outputs(lab.out, [piece])
    text = written[0].read_text()
    assert text.splitlines()[2].startswith("**QUICK: small data, narrow networks (width 32, the paper's has 128), 2 st")
    assert "scored on 64x64 pixels of balloons, from which nothing was learnt." in text
    for verdict in finding.verdicts:
        assert f"- {verdict}" in text
    rows = list(csv.DictReader(written[1].open(newline="")))
    assert len(rows) == len(finding.rows)
    assert all(row["made"].startswith("QUICK") for row in rows)
    assert written[2].read_bytes().startswith(b"\x89PNG")
    # Again: nothing is trained, the scores are the same.
    lab.note = pytest.fail
    prepare(lab, [piece])
    again, _ = reproduce(lab, piece)
    assert again.rows == finding.rows


def test_verdicts_follow_the_numbers(lab, monkeypatch):
    (piece,) = find_pieces(["domains"])
    prepare(lab, [piece], workers=1)
    psnr = {"spatial": 41.0, "frequency": 35.0, "both": 40.5}
    monkeypatch.setattr(lab, "mean", lambda entry, kind, ratio: {
        "psnr_db": psnr[entry.name], "sam_degrees": 1.0, "ergas": 1.0, "ssim": 1.0, "seconds": 1.0})  # fmt: skip
    monkeypatch.setattr(lab, "interpolated", lambda: 33.4)
    assert list(map(str, piece.make(lab).verdicts)) == [
        "Shows the paper's order (both above spatial): no, difference -0.50 dB.",
        "Shows the paper's order (both above frequency): yes, difference 5.50 dB.",
        "Shows the paper's order (both best of all): no, difference -0.50 dB to spatial.",
    ]
    psnr |= {"frequency": 33.5, "both": 41.2}  # a training that never got under way decides nothing
    assert list(map(str, piece.make(lab).verdicts)) == [
        "Shows the paper's order (both above spatial): yes, difference 0.20 dB.",
        "Shows the paper's order (both above frequency): not decided, frequency did not learn beyond the interpolated "
        "HSI (33.40 dB).",
        "Shows the paper's order (both best of all (without frequency)): yes, difference 0.20 dB to spatial.",
    ]


@pytest.mark.slow
def test_networks_are_trained_beside_each_other_as_one_after_the_other(lab, quick_cave, tmp_path):
    pieces = find_pieces(["domains"])
    prepare(lab, pieces, workers=2)
    other = Lab(tmp_path / "other", quick=True, cave=quick_cave, budget=BUDGET, device="cpu")
    prepare(other, pieces, workers=1)
    for one in pieces[0].wanted(lab):
        assert lab.trained(one).entry.digest == other.trained(one).entry.digest


@pytest.mark.slow
def test_all_of_them_end_to_end(lab):
    pytest.importorskip("tensorly")
    prepare(lab, PIECES, workers=1)
    for piece in PIECES:
        finding, written = reproduce(lab, piece)
        assert all(path.is_file() for path in written)
        assert finding.rows
        assert finding.verdicts
    assert "Indian Pines stands in for Harvard, which was not given." in (lab.out / "harvard-x4.md").read_text()
    assert "doi:10.4231/R7RX991C" in (lab.out / "comparison-harvard.md").read_text()
    assert "published" in (lab.out / "cave-x4.md").read_text()


def test_a_training_that_fails_is_told(lab, monkeypatch):
    monkeypatch.setattr(lab_module, "_MODULE", "hyperfuse.no_such_trainer")
    with pytest.raises(
        HyperfuseError, match=r"training spatial: its process ended with exit code 1: .*no_such_trainer"
    ):
        prepare(lab, find_pieces(["domains"]), workers=2)
