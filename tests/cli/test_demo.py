import numpy as np
import pytest

import hyperfuse.datasets
import hyperfuse.scenes.fuse
from hyperfuse.errors import HyperfuseError, MissingDependencyError
from hyperfuse.io import read
from hyperfuse.methods import list_methods

pytestmark = pytest.mark.usefixtures("quick")

ROWS = [*(method.name for method in list_methods() if method.cost == "seconds"), "feinfn--effort"]


@pytest.fixture
def small(monkeypatch, scene):
    """The demo on a small scene in place of Indian Pines."""
    wide = np.linspace(400, 2500, 24)
    cube = scene.replace(wavelengths=wide, fwhm=np.full(24, 100.0), transform=None, crs=None)
    monkeypatch.setattr(hyperfuse.datasets, "load_indian_pines", lambda: cube)
    return cube


def rows_of(out):
    table = [
        line.replace(" --effort", "--effort").replace("fast ", "").split() for line in out.splitlines() if line.strip()
    ]
    return {row[0]: row[1:] for row in table if row[0] in ROWS}


def test_every_method_is_scored_and_the_result_written(run, small, tmp_path):
    out = tmp_path / "demo"
    code, table, err = run("demo", out)
    assert code == 0, err
    rows = rows_of(table)
    assert sorted(rows) == sorted(ROWS)
    assert all(len(row) == 5 for row in rows.values())
    assert float(rows["local-regression"][0]) > float(rows["bicubic"][0])
    assert sorted(path.name for path in out.iterdir()) == ["comparison.png", "fused.tif"]
    assert (out / "comparison.png").read_bytes().startswith(b"\x89PNG")
    assert read(out / "fused.tif").data.shape == small.data.shape
    assert "CC BY 3.0" in err
    assert err.splitlines()[-1].startswith(f"wrote {out / 'fused.tif'} and {out / 'comparison.png'} in ")


def test_an_earlier_demo_is_refused_before_any_work(fails, run, small, tmp_path, monkeypatch):
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "comparison.png").write_text("old")
    with monkeypatch.context() as patch:
        patch.setattr(hyperfuse.datasets, "load_indian_pines", pytest.fail)
        code, message = fails("demo", tmp_path / "demo")
    assert (code, message) == (2, f"{tmp_path / 'demo' / 'comparison.png'}: exists already; --overwrite replaces it")
    assert run("demo", tmp_path / "demo", "--overwrite")[0] == 0


def test_a_method_that_fails_is_in_the_table_and_in_the_exit_code(run, small, tmp_path, monkeypatch):
    work = hyperfuse.scenes.fuse.fuse

    def fuse(hsi, msi, *, method, **options):
        if method == "bicubic":
            raise HyperfuseError("broken on purpose")
        return work(hsi, msi, method=method, **options)

    monkeypatch.setattr(hyperfuse.scenes.fuse, "fuse", fuse)
    code, table, err = run("demo", tmp_path / "demo")
    assert code == 1
    assert "failed: broken on purpose" in table
    assert sorted(rows_of(table)) == sorted(ROWS)
    assert err.splitlines()[-1] == "error: methods failed on the scene: bicubic; the table says why"
    assert (tmp_path / "demo" / "fused.tif").exists()


def test_a_missing_package_is_told(fails, tmp_path, monkeypatch):
    def absent():
        raise MissingDependencyError("tensorly", "demo", "the scene Indian Pines")

    monkeypatch.setattr(hyperfuse.datasets, "load_indian_pines", absent)
    code, message = fails("demo", tmp_path / "demo")
    assert code == 2
    assert message == "the scene Indian Pines needs the package tensorly: pip install 'hyperfuse[demo]'"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_demo_itself(run, tmp_path):
    pytest.importorskip("tensorly")
    code, table, _ = run("demo", tmp_path / "demo")
    assert code == 0
    rows = rows_of(table)
    assert float(rows["local-regression"][0]) > float(rows["bicubic"][0]) + 3
    assert read(tmp_path / "demo" / "fused.tif").data.shape == (200, 144, 144)
