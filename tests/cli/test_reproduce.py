import pytest

import hyperfuse.benchmark.reproduce
from hyperfuse.benchmark.reproduce import ARTEFACTS
from hyperfuse.errors import HyperfuseError


@pytest.fixture
def pretended(monkeypatch):
    """Nothing is trained or drawn; returns what was asked for."""
    asked = []
    monkeypatch.setattr(
        hyperfuse.benchmark.reproduce, "prepare", lambda experiment, artefacts, workers: asked.append(experiment)
    )

    def make(experiment, artefact):
        asked.append(artefact.name)
        if artefact.name == "gabor":
            raise HyperfuseError("broken on purpose")
        from types import SimpleNamespace

        return SimpleNamespace(checks=["Shows it: yes."]), [experiment.out / f"{artefact.name}.md"]

    monkeypatch.setattr(hyperfuse.benchmark.reproduce, "reproduce", make)
    return asked


def test_the_list_has_every_name(run):
    code, out, _ = run("reproduce", "--list")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[3:] if line.strip()] == [
        artefact.name for artefact in ARTEFACTS
    ]


def test_what_was_made_and_what_it_shows_is_printed(run, pretended, tmp_path):
    words = ["--quick", "--steps", "7", "--data", "CAVE", "--seed", "3", "--out", tmp_path]
    code, out, err = run("reproduce", "domains", "cave-x4", *words)
    assert code == 0, err
    experiment, *names = pretended
    assert names == ["cave-x4", "domains"]
    assert (experiment.quick, experiment.budget.steps, str(experiment.cave), experiment.harvard, experiment.seed) == (
        True,
        7,
        "CAVE",
        None,
        3,
    )
    assert out.splitlines()[:2] == [f"cave-x4: {tmp_path / 'cave-x4.md'}", "  Shows it: yes."]
    assert err.splitlines()[-1].startswith("2 tables and figures in ")


def test_one_that_fails_does_not_stop_the_others(run, pretended, tmp_path):
    code, out, err = run("reproduce", "all", "--quick", "--out", tmp_path)
    assert code == 1
    assert len(pretended) == 1 + len(ARTEFACTS)
    assert out.count("Shows it") == len(ARTEFACTS) - 1
    assert "gabor failed: broken on purpose" in err
    assert err.splitlines()[-1] == "error: failed: gabor"


@pytest.mark.parametrize(
    ("words", "start"),
    [
        ([], "name a table or figure, or all; there are cave-x4, cave-x8"),
        (["gabr", "--quick"], "no table or figure 'gabr'; did you mean 'gabor'?"),
        (["gabor", "--steps", "3"], "--steps is 1 or more, and goes with --quick"),
        (["gabor", "--quick", "--steps", "0"], "--steps is 1 or more"),
        (["gabor", "--quick", "--workers", "0"], "--workers is 1 or more, got 0"),
        (["gabor"], "this needs the CAVE data: pass --data FOLDER (or --quick)"),
        (["gabor", "--data", "nowhere"], "nowhere does not exist"),
        (["gabor", "--quick", "--data", "nowhere"], "nowhere does not exist"),
    ],
)
def test_what_is_wrong_is_refused(fails, words, start, tmp_path):
    code, message = fails("reproduce", *words, "--out", tmp_path / "out")
    assert code == 2
    assert message.startswith(start)
    assert not (tmp_path / "out").exists()


def test_what_is_there_is_not_replaced_unasked(run, fails, pretended, tmp_path):
    (tmp_path / "domains.csv").write_text("old")
    code, message = fails("reproduce", "all", "--quick", "--out", tmp_path)
    assert code == 2
    assert message == f"{tmp_path / 'domains.csv'}: exists already; --overwrite replaces it (trained networks are kept)"
    assert pretended == []
    assert run("reproduce", "domains", "--quick", "--out", tmp_path, "--overwrite")[0] == 0
