"""The scripts of benchmarks/ use names that exist; they are not run here."""

import ast
import importlib
import pkgutil
from pathlib import Path

import pytest

import hyperfuse

SCRIPTS = sorted((Path(__file__).parents[1] / "benchmarks").glob("*.py"))


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
