import csv
import json

import numpy as np
import pytest

from hyperfuse.cube.cube import Cube
from hyperfuse.io import read, write
from hyperfuse.networks import create_network
from hyperfuse.networks.pretrained import save_pretrained


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    """Jobs of the command are done here: a process for each would take seconds."""
    import hyperfuse.benchmark

    work = hyperfuse.benchmark.run_plan

    def run_plan(plan, folder, *, workers, threads, **options):
        return work(plan, folder, workers=0, **options)

    monkeypatch.setattr(hyperfuse.benchmark, "run_plan", run_plan)


@pytest.fixture
def data(tmp_path):
    """A folder of two cubes of six bands."""
    folder = tmp_path / "data"
    folder.mkdir()
    y, x = np.mgrid[:16, :16] / 4.0
    for seed, name in enumerate(("field", "town")):
        bands = np.arange(6)[:, None, None] / 6
        cube = 0.5 + 0.3 * np.sin(x + bands + seed) * np.cos(y * (1 + bands))
        np.save(folder / f"{name}.npy", cube.astype(np.float32))
    return folder


@pytest.fixture
def words(data, tmp_path):
    return ["benchmark", "--data", data, "--kind", "folder", "--srf", "boxes:2", "--out", tmp_path / "out"]


def test_methods_and_networks_over_scenes_and_ratios(run, words, tmp_path):
    options = {"width": 4, "encoder_blocks": 0, "hidden": [4], "latent": 4, "decoder_width": 4}
    network = create_network("feinfn", hsi_bands=6, msi_bands=2, **options)
    save_pretrained(network, tmp_path / "mine" / "best")
    words += ["--methods", "bicubic,regression", "--weights", tmp_path / "mine" / "best", "--ratio", "2", "4"]
    code, out, err = run(*words, "--set", "regression.consistency=false")
    assert code == 0, err
    assert out.splitlines()[0] == "ratio 2"
    assert "ratio 4" in out
    for name in ("bicubic", "regression (consistency=False)", "mine"):
        assert name in out
    assert err.splitlines()[0] == "12 jobs: 3 methods, 2 scenes, 2 ratios"
    rows = list(csv.DictReader((tmp_path / "out" / "summary.csv").open(newline="")))
    assert [(row["ratio"], row["method"]) for row in rows][:3] == [
        ("2", "bicubic"), ("2", "regression (consistency=False)"), ("2", "mine"),
    ]  # fmt: skip
    assert rows[2]["parameters"] == str(sum(p.numel() for p in network.parameters()))
    assert len(list((tmp_path / "out" / "jobs").iterdir())) == 12
    code, out, err = run(*words, "--resume", "--json", "--set", "regression.consistency=false")
    assert code == 0
    assert json.loads(out)[0]["scored"] == 2
    assert "(12 of 12 jobs were done before)" in err


def test_all_takes_the_weights_of_a_folder_and_names_what_has_none(run, words, tmp_path, monkeypatch):
    from hyperfuse.benchmark.weights import compared_networks
    from hyperfuse.methods import get_method
    from hyperfuse.networks.released import save_converted
    from small_networks import small_network

    fast = [get_method(name) for name in ("bicubic", "feinfn", "regression")]
    monkeypatch.setattr("hyperfuse.methods.list_methods", lambda: fast)
    folder = tmp_path / "weights"
    folder.mkdir()
    training = {"patches": 1000, "ratio": 2, "scenes": ["town"]}
    save_converted(small_network("ssrnet", 6, 2), folder / "ssrnet.safetensors", training)
    code, out, err = run(
        *words, "--methods", "all", "--weights", folder, "--ratio", "2", "--set", "feinfn.steps=1", "--json"
    )
    assert code == 0, err
    rows = {row["name"]: row for row in json.loads(out)}
    assert set(rows) == {"bicubic", "regression", *compared_networks(), "feinfn (steps=1)"}
    assert list(rows)[:4] == ["bicubic", "regression", "ssrnet", "feinfn (steps=1)"]
    assert rows["ssrnet"]["weights"] == "trained here: 1,000 patches; learnt from 1 of these 2 scenes"
    assert rows["ssrnet"]["mean"]["psnr_db"] > 0
    assert rows["bdt"]["weights"].startswith("no weights: hyperfuse train configs/bdt-cave-x4.yaml, or published: CAVE")
    assert rows["bdt"]["scenes"] == 0
    assert "no weights for restfnet, tfnet, " in err
    assert (tmp_path / "out" / "benchmark-x2.png").read_bytes().startswith(b"\x89PNG")
    assert "| `bdt` |" in (tmp_path / "out" / "benchmark.md").read_text()


def test_what_takes_minutes_is_announced(run, words, tmp_path):
    save_pretrained(create_network("mog-dcn", hsi_bands=6, msi_bands=2, ratio=2), tmp_path / "slow")
    _, _, err = run(*words, "--methods", "bicubic", "--weights", tmp_path / "slow", "--ratio", "2")
    assert "minutes for an image of 512x512x31 on two cores: slow" in err


def test_every_method_unless_named(run, words):
    from hyperfuse.methods import list_methods

    code, _, err = run(*words, "--ratio", "2", "--set", "feinfn.steps=1")
    assert code == 0, err
    assert err.startswith(f"{2 * len(list_methods())} jobs: ")


def test_a_failure_is_in_the_table_and_in_the_exit_code(run, words, tmp_path):
    save_pretrained(create_network("feinfn", hsi_bands=5, msi_bands=2, width=4), tmp_path / "five")
    code, out, err = run(*words, "--methods", "bicubic", "--ratio", "2", "--weights", f"net={tmp_path / 'five'}")
    assert code == 1
    assert "0 of 2" in out
    assert "field x2 net: failed: hsi has 6 bands, but this network was built for 5" in err
    assert err.splitlines()[-1] == f"error: 2 of 4 jobs failed; {tmp_path / 'out' / 'benchmark.md'} says why"
    assert "built for 5" in (tmp_path / "out" / "benchmark.md").read_text()


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--methods", "bicubik"], "no method 'bicubik'; did you mean 'bicubic'?"),
        (["--methods", "none"], "there is nothing to compare: name methods or folders of weights"),
        (["--methods", "gsa", "--set", "cnmf.x=1"], "--set cnmf.x=1: cnmf is not among the methods to run (gsa)"),
        (["--methods", "gsa", "--set", "x=1"], "--set takes METHOD.NAME=VALUE here, got 'x=1'"),
        (["--methods", "gsa", "--set", "gsa.windw=1"], "method 'gsa': no setting 'windw'"),
        (["--methods", "gsa", "--workers", "0"], "--workers is 1 or more, got 0"),
        (["--methods", "gsa", "--preset", "x"], "x"),
        (["--methods", "gsa", "--weights", "nowhere"], "no weights 'nowhere'; specify a folder"),
        (["--methods", "gsa", "--split", "none.txt"], "no split 'none.txt' of folder"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_written(fails, words, tmp_path, more, told):
    code, message = fails(*words, "--ratio", "2", *more)
    assert code == 2
    assert told in message
    assert not (tmp_path / "out").exists()


def test_bands_that_the_scenes_do_not_cover_are_left_out_by_a_switch(run, data, tmp_path):
    for file in data.iterdir():
        write(file.with_suffix(".tif"), Cube(data=np.load(file), wavelengths=[420, 470, 520, 570, 620, 670]))
        file.unlink()
    words = ["benchmark", "--data", data, "--kind", "folder", "--srf", "gaussian:450/40,550/40,900/40"]
    words += ["--out", tmp_path / "out", "--ratio", "2", "--methods", "bicubic"]
    code, _, err = run(*words)
    assert code == 1
    assert "by drop_uncovered=True" in (tmp_path / "out" / "benchmark.md").read_text() or "--drop-uncovered" in err
    assert run(*words, "--drop-uncovered", "--overwrite")[0] == 0
    simulating = ["simulate", data / "town.tif", tmp_path / "pair", "--ratio", "2", "--srf", words[6]]
    code, _, err = run(*simulating)
    assert (code, "--drop-uncovered" in err) == (2, True)
    assert run(*simulating, "--drop-uncovered")[0] == 0
    assert read(tmp_path / "pair" / "msi.tif").bands == 2


def test_a_second_run_is_refused(run, fails, words, tmp_path):
    words += ["--methods", "bicubic", "--ratio", "2"]
    assert run(*words)[0] == 0
    code, message = fails(*words)
    assert code == 2
    assert message.startswith(
        f"{tmp_path / 'out'} holds a benchmark already; --resume continues it, --overwrite restarts it"
    )
    assert run(*words, "--overwrite")[0] == 0
