"""The examples of all docstrings run, and give what they state."""

import doctest
import importlib
from pathlib import Path

import pytest

import hyperfuse
from hyperfuse.errors import MissingDependencyError

SOURCES = Path(hyperfuse.__file__).parent
# Importing the exporter and tracing a network with it takes several seconds.
SLOW = {"networks/export.py"}


def modules():
    for path in sorted(SOURCES.rglob("*.py")):
        name = path.relative_to(SOURCES).as_posix()
        if ">>> " in path.read_text("utf-8"):
            yield pytest.param(name, id=name, marks=[pytest.mark.slow] if name in SLOW else [])


@pytest.mark.parametrize("name", list(modules()))
@pytest.mark.filterwarnings("ignore::hyperfuse.HyperfuseWarning")
def test_examples_of_a_module(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    try:
        module = hyperfuse if path == "__init__" else importlib.import_module(f"hyperfuse.{path}")
    except MissingDependencyError as error:
        pytest.skip(str(error))
    report, runner = [], doctest.DocTestRunner()
    tests = [test for test in doctest.DocTestFinder(exclude_empty=True).find(module, path) if test.examples]
    assert tests, "an example that no docstring of a class or function holds is not run"
    for test in tests:
        runner.run(test, out=report.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(report)
