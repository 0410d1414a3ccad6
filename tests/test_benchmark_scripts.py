"""The scripts of benchmarks/ use names that exist, and pages show what they measured; they are not run here."""

import ast
import importlib
import json
import pkgutil
import re
import subprocess
from pathlib import Path

import pytest

import hyperfuse

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SCRIPTS = sorted(BENCHMARKS.glob("*.py"))
RESULTS = sorted((BENCHMARKS / "results").glob("*.md"))


@pytest.fixture
def script(monkeypatch):
    """Import a script as a module."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module


def imports(script):
    """Modules and names of the package that a script imports, anywhere in it."""
    for node in ast.walk(ast.parse(script.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "hyperfuse":
            yield from ((node.module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names if alias.name.partition(".")[0] == "hyperfuse")


@pytest.mark.parametrize("script", [pytest.param(script, id=script.stem) for script in SCRIPTS])
def test_a_script_imports_names_that_exist(script):
    for module, name in imports(script):
        found = importlib.import_module(module)
        assert name is None or hasattr(found, name) or pkgutil.resolve_name(f"{module}.{name}"), f"{module}.{name}"


@pytest.mark.parametrize("script", [pytest.param(script, id=script.stem) for script in SCRIPTS])
def test_a_script_uses_public_names_that_exist(script):
    tree = ast.parse(script.read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "hf":
            assert node.attr in hyperfuse.__all__, node.attr


def test_tables_of_pages_are_those_that_make_tables_writes(script):
    tables = script("readme_tables")
    shown = "".join(page.read_text("utf-8") for page in tables.PAGES)
    assert set(re.findall(r"<!-- table: ([\w-]+) -->", shown)) == set(tables.TABLES)
    for page in tables.PAGES:
        text = page.read_text("utf-8")
        assert tables.filled(text) == text, f"{page.name}: call `make tables`"
    assert tables.filled("<!-- table: enmap -->\nold\n<!-- end of table -->\n").count("| `") == 8


def test_a_table_of_parts_that_were_measured_apart_says_so(script, monkeypatch, tmp_path):
    tables = script("readme_tables")
    scores = {"psnr_db": 50.0, "sam_degrees": 1.0, "ergas": 0.5, "ssim": 0.99, "source": "hyperfuse 1.0 (a)"}
    linear = {**scores, "psnr_db": 49.0}
    row = {"default": scores, "linear": linear, "classical": {"psnr": [40.0, "gsa"], "sam": [2.0, "gsa"], **scores}}
    for name in tables._PAIRS:
        (tmp_path / f"default-{name}.json").write_text(json.dumps({"scene": row}))
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    *table, last = tables.default()
    assert "| 50.00 / 1.000 / 0.500 / 0.9900 | 49.00 / 1.000 / 0.500 / 0.9900 | 40.00 (gsa) | 2.000 (gsa) |" in table[2]
    assert last == "at hyperfuse 1.0 (a)."
    linear["source"] = "hyperfuse 1.0 (b)"
    (tmp_path / "default-paris-x3.json").write_text(json.dumps({"scene": row}))
    assert "is not the gain of the regression" in tables.default()[-1]


@pytest.mark.parametrize("file", [pytest.param(file, id=file.stem) for file in RESULTS])
def test_results_name_the_call_that_made_them(script, file):
    call = script("recording").read_call(file)
    assert (BENCHMARKS.parent / call.split()[1]).is_file()


def test_results_state_version_commit_and_threads(script):
    lines = script("recording").made_by("python benchmarks/x.py DATA", 1, "Times were not taken.")
    assert re.fullmatch(
        rf"hyperfuse {re.escape(hyperfuse.__version__)}( \(\w+( with changes)?\))?, torch \S+, 1 thread\. "
        r"Times were not taken\. Made by",
        lines[1],
    )
    assert lines[3] == "    python benchmarks/x.py DATA"


def test_one_call_renews_every_file_of_results(tmp_path):
    stub = tmp_path / "python"
    stub.write_text("#!/bin/sh\necho stub\n")
    stub.chmod(0o755)
    call = ["bash", str(BENCHMARKS / "all.sh"), str(tmp_path), str(tmp_path)]
    env = {"PATH": "/usr/bin:/bin", "PYTHON": str(stub), "CAVE": str(tmp_path), "FEATURES": str(tmp_path)}
    done = subprocess.run(call, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert set(re.findall(r"results/([\w-]+\.md): python", done.stdout)) >= {file.name for file in RESULTS}
    assert set(re.findall(r"python benchmarks/([\w-]+\.py)", done.stdout)) <= {path.name for path in SCRIPTS}


def test_the_page_of_a_gpu_compares_with_the_literal_form(script, monkeypatch, tmp_path, capsys):
    literal, ours = "literal form of the released program", "compiled, recorded training step, 16 patches"
    eager = {
        f"forward 512x512, float32, {literal}": [60.0, 1.5],
        f"forward 512x512, TF32, {literal}": [36.0, 1.5],
        "forward 512x512, bfloat16, feinfn": [12.0, 1.25],
        "encoder, float32, channels first": [9.0, 0.5],
        "forward, float32, feinfn, channels first": [30.0, 2.5],
        "forward 512x512, TF32, feinfn": "failed: RuntimeError",
        "parity": "1e-7",
    }
    steps = {f"training step, 16 patches, float32, {literal}": [58.0, 4.0], f"{ours}, bfloat16, feinfn": [10.0, 1.0]}
    for name, entries in (("timings", eager), ("compiled", steps)):
        (tmp_path / f"{name}.json").write_text(json.dumps({"device": "GPU", "torch": "2", "entries": entries}))
    pages = script("feinfn_gpu_table")
    files = [str(tmp_path / "timings.json"), str(tmp_path / "compiled.json")]
    monkeypatch.setattr("sys.argv", ["page", *files, "--output", str(tmp_path), "--source", "hyperfuse 1 (abc)"])
    pages.main()
    text = (tmp_path / "feinfn-gpu.md").read_text()
    assert "| bfloat16 | feinfn | operation by operation | 12.0 | 1.25 | 5.0 | 3.0 | 6.9 |" in text
    assert "| bfloat16 | feinfn | compiled, recorded | 10.0 | - | 5.8 | - | 6.2 |" in text
    assert "| float32 | feinfn | operation by operation, channels first | 30.0 | 2.50 | 2.0 | 1.2 | 2.8 |" in text
    assert "| encoder, float32, channels first | 9.00 | 0.50 |" in text
    assert "| parity | 1e-7 |" in text
    monkeypatch.setattr(pages, "RESULTS", tmp_path)
    monkeypatch.setattr("sys.argv", ["page", "--output", str(tmp_path)])
    pages.main()
    assert (tmp_path / "feinfn-gpu.md").read_text() == text
