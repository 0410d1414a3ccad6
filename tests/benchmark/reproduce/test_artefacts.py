import csv
import pkgutil
import re

import pytest

import hyperfuse.benchmark.reproduce.experiment as experiment_module
from hyperfuse.benchmark.reproduce import (
    ARTEFACTS,
    Budget,
    Experiment,
    find_artefacts,
    outputs,
    prepare,
    reproduce,
)
from hyperfuse.benchmark.reproduce.networks import run_folder
from hyperfuse.benchmark.reproduce.published import PUBLISHED, REFERENCES
from hyperfuse.benchmark.reproduce.recipes import full_config, recipe_file
from hyperfuse.benchmark.reproduce.results import Check, Result, compare
from hyperfuse.errors import HyperfuseError, InputError
from hyperfuse.networks import create_network

NAMES = [
    "cave-x4", "cave-x8", "harvard-x4", "harvard-x8", "table-cave-x4", "table-cave-x8", "parameters", "domains",
    "activation", "upsampling", "iterations", "similarity", "leakage", "gabor", "response",
    "spectrum-change", "comparison-cave", "comparison-harvard",
]  # fmt: skip
# Small enough for seconds: the drawings are not examined here.
BUDGET = Budget(steps=2, batch=1, patch=16, validations=2)


@pytest.fixture(scope="session")
def quick_cave(tmp_path_factory):
    """A training scene and a test scene of 64x64 pixels."""
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
def experiment(quick_cave, tmp_path):
    return Experiment(tmp_path, quick=True, cave=quick_cave, harvard=None, budget=BUDGET, device="cpu")


def test_every_table_and_figure_is_there():
    assert [artefact.name for artefact in ARTEFACTS] == NAMES
    assert len(find_artefacts(["all"])) == len(ARTEFACTS)
    assert [artefact.name for artefact in find_artefacts(["gabor", "domains", "gabor"])] == ["domains", "gabor"]
    assert [path.name for path in outputs(recipe_file("feinfn-cave-x4.yaml").parent, find_artefacts(["gabor"]))] == [
        "gabor.md", "gabor.csv", "gabor.png",
    ]  # fmt: skip


@pytest.mark.parametrize(("names", "message"), [([], "or all; there are cave-x4"), (["gabr"], "did you mean 'gabor'")])
def test_a_wrong_name_is_refused(names, message):
    with pytest.raises(InputError, match=message):
        find_artefacts(names)


@pytest.mark.parametrize("quick", [True, False])
def test_every_required_network_can_be_built(experiment, quick):
    experiment.quick = quick
    for artefact in ARTEFACTS:
        for one in artefact.required(experiment):
            options = {**experiment.sizes()[one.size], **one.switches}
            create_network(one.network, hsi_bands=3, msi_bands=2, **options)


def test_a_network_of_several_tables_is_trained_once(experiment):
    def folder(name, index):
        artefact = next(artefact for artefact in ARTEFACTS if artefact.name == name)
        return experiment.run(artefact.required(experiment)[index])[0]

    base = folder("cave-x4", 0)
    assert folder("domains", 2) == folder("activation", 3) == folder("upsampling", 4) == folder("leakage", 1) == base
    assert folder("iterations", 0) == folder("gabor", 0) == folder("comparison-cave", 0) == base
    assert len({folder("domains", n) for n in range(3)} | {folder("activation", n) for n in range(4)}) == 6


def test_another_seed_or_budget_is_another_network(experiment, quick_cave, tmp_path):
    one = ARTEFACTS[0].required(experiment)[0]
    folders = {experiment.run(one)[0]}
    for change in ({"seed": 1}, {"budget": Budget(steps=3, batch=1, patch=16)}):
        other = Experiment(tmp_path, True, quick_cave, None, **{"budget": BUDGET, "device": "cpu", **change})
        folders.add(other.run(one)[0])
    assert len(folders) == 3


def test_recipes_are_those_of_configs(experiment, tmp_path):
    data = experiment.data("cave")
    common = {"output": tmp_path / "run", "device": "cpu", "seed": 3}
    config = full_config(data, 8, "feinfn", {"domains": "spatial"}, common)
    assert (config.length.number, config.length.unit, config.batch, config.seed) == (200, "epochs", 32, 3)
    assert config.degradation.ratios == (8,)
    assert config.network.options == {"domains": "spatial"}
    assert config.data.train == data.train
    released = full_config(data, 4, "feinfn-release", {}, common)
    assert (released.network.name, released.optimiser.gradient_norm) == ("feinfn-release", 1e-4)
    one = ARTEFACTS[0].required(experiment)[0]
    assert run_folder(tmp_path, one, config, data) != run_folder(tmp_path, one, released, data)


def test_in_full_the_data_sets_are_needed(tmp_path):
    with pytest.raises(InputError, match="needs the CAVE data: pass cave=FOLDER"):
        prepare(Experiment(tmp_path), find_artefacts(["domains"]))
    with pytest.raises(InputError, match="needs the Harvard data: pass harvard=FOLDER"):
        prepare(Experiment(tmp_path), find_artefacts(["harvard-x4"]))


def test_an_order_holds_only_where_the_numbers_differ():
    assert str(compare("A above B", 41.25, 41.0)) == "Shows the paper's order (A above B): yes, difference 0.25 dB."
    assert str(compare("A above B", 41.0, 41.25)) == "Shows the paper's order (A above B): no, difference -0.25 dB."
    assert not compare("A above B", 41.001, 41.0).holds
    assert str(compare("A above B", 1, 2, whose="own")) == "A above B: no, difference -1.00 dB."
    assert str(Check("it leaks", True, "90 %")) == "Shows the paper's claim (it leaks): yes, 90 %."


def test_published_numbers_are_those_known_here():
    assert PUBLISHED["cave", 4]["FeINFN"] == (52.47, 1.91, 0.98, 0.998)
    assert PUBLISHED["harvard", 4]["FeINFN"] == (49.06, 2.10, 1.78, 0.989)
    assert {name for scores in PUBLISHED.values() for name in scores} == set(REFERENCES)
    assert set(PUBLISHED) == {("cave", 4), ("cave", 8), ("harvard", 4), ("harvard", 8)}


@pytest.mark.parametrize("name", ["domains", "gabor"])
def test_a_quick_one_end_to_end(experiment, name):
    (artefact,) = find_artefacts([name])
    prepare(experiment, [artefact], workers=1)
    result, written = reproduce(experiment, artefact)
    assert isinstance(result, Result)
    assert written == outputs(experiment.out, [artefact])
    text = written[0].read_text()
    assert text.splitlines()[2].startswith("**QUICK: small data, narrow networks (width 32, the paper's has 128), 2 st")
    assert "scored on 64x64 pixels of balloons, which is in neither." in text
    for check in result.checks:
        assert f"- {check}" in text
    rows = list(csv.DictReader(written[1].open(newline="")))
    assert len(rows) == len(result.rows)
    assert all(row["made"].startswith("QUICK") for row in rows)
    if name == "domains":
        *trained, interpolated = (row["where"] for row in rows)
        assert all(re.match(r"trained here: [12] patches in ", where) for where in trained)
        assert interpolated == "computed here"
    assert written[2].read_bytes().startswith(b"\x89PNG")
    # Again: nothing is trained, the scores are the same.
    experiment.note = pytest.fail
    prepare(experiment, [artefact])
    again, _ = reproduce(experiment, artefact)
    assert again.rows == result.rows


def test_checks_follow_the_numbers(experiment, monkeypatch):
    (artefact,) = find_artefacts(["domains"])
    prepare(experiment, [artefact], workers=1)
    psnr = {"spatial": 41.0, "frequency": 35.0, "both": 40.5}
    monkeypatch.setattr(experiment, "row", lambda entry: {
        "psnr_db": psnr[entry.name], "sam_degrees": 1.0, "ergas": 1.0, "ssim": 1.0, "seconds": 1.0})  # fmt: skip
    monkeypatch.setattr(experiment, "interpolated", lambda: 33.4)
    assert list(map(str, artefact.make(experiment).checks)) == [
        "Shows the paper's order (both above spatial): no, difference -0.50 dB.",
        "Shows the paper's order (both above frequency): yes, difference 5.50 dB.",
        "Shows the paper's order (both best of all): no, difference -0.50 dB to spatial.",
    ]
    psnr |= {"frequency": 33.5, "both": 41.2}  # a training without effect decides nothing
    assert list(map(str, artefact.make(experiment).checks)) == [
        "Shows the paper's order (both above spatial): yes, difference 0.20 dB.",
        "Shows the paper's order (both above frequency): not decided, frequency did not learn beyond the interpolated "
        "HSI (33.40 dB).",
        "Shows the paper's order (both best of all (without frequency)): yes, difference 0.20 dB to spatial.",
    ]


@pytest.mark.slow
def test_networks_are_the_same_when_trained_at_the_same_time(experiment, quick_cave, tmp_path):
    artefacts = find_artefacts(["domains"])
    prepare(experiment, artefacts, workers=2)
    other = Experiment(tmp_path / "other", quick=True, cave=quick_cave, budget=BUDGET, device="cpu")
    prepare(other, artefacts, workers=1)
    for one in artefacts[0].required(experiment):
        assert experiment.trained(one).entry.digest == other.trained(one).entry.digest


@pytest.mark.slow
def test_all_of_them_end_to_end(experiment):
    pytest.importorskip("tensorly")
    prepare(experiment, ARTEFACTS, workers=1)
    for artefact in ARTEFACTS:
        result, written = reproduce(experiment, artefact)
        assert all(path.is_file() for path in written)
        assert result.rows
        assert result.checks
    assert "Indian Pines stands in for Harvard, which was not given." in (experiment.out / "harvard-x4.md").read_text()
    assert "doi:10.4231/R7RX991C" in (experiment.out / "comparison-harvard.md").read_text()
    assert "published" in (experiment.out / "cave-x4.md").read_text()


def test_the_function_of_the_trainer_is_there():
    assert pkgutil.resolve_name(experiment_module._TRAINER) is experiment_module.train_line


def test_what_a_process_is_sent_is_the_experiment(experiment, monkeypatch):
    sent = []
    monkeypatch.setattr(Experiment, "trained", lambda self, required: sent.append((self, required)))
    required = ARTEFACTS[0].required(experiment)[0]
    experiment_module.train_line(experiment._line(required))
    ((other, received),) = sent
    assert received == required
    assert other.run(required)[0] == experiment.run(required)[0]


def test_a_training_that_fails_is_reported(experiment, monkeypatch):
    monkeypatch.setattr(experiment_module, "_TRAINER", "hyperfuse.no_such_trainer")
    with pytest.raises(
        HyperfuseError, match=r"training (spatial|frequency): its process ended with exit code 1: .*no_such_trainer"
    ):
        prepare(experiment, find_artefacts(["domains"]), workers=2)
