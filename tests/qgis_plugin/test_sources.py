"""What can be checked of the plugin's sources and zip without QGIS."""

import ast
import configparser
import importlib.util
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hyperfuse_processing.scores import SCORES

import hyperfuse
from hyperfuse.metrics import METRIC_COLUMNS

ROOT = Path(__file__).parents[2]
PLUGIN = ROOT / "qgis" / "hyperfuse_processing"
SOURCES = sorted(PLUGIN.glob("*.py"))


def sources():
    return [pytest.param(path, id=path.name) for path in SOURCES]


def build(folder):
    spec = importlib.util.spec_from_file_location("plugin_build", ROOT / "qgis" / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.build(folder)


def unscoped(tree):
    """Members of enumerations named without the enumeration: capitalised attributes of a class that are no class."""
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)):
            continue
        parent = parents[node]
        nested = isinstance(parent, ast.Attribute) or (isinstance(parent, ast.Call) and parent.func is node)
        if node.value.id.startswith("Q") and node.attr[:1].isupper() and not nested:
            yield f"{node.value.id}.{node.attr}"


def test_the_check_of_enumerations_finds_what_qt_6_refuses():
    text = "a = Qt.AlignLeft; b = Qt.AlignmentFlag.AlignLeft; c = QgsProcessingContext.LayerDetails('x'); d = Qgis.Info"
    assert list(unscoped(ast.parse(text))) == ["Qt.AlignLeft", "Qgis.Info"]


@pytest.mark.parametrize("path", sources())
def test_enumerations_are_fully_scoped(path):
    assert list(unscoped(ast.parse(path.read_text("utf-8")))) == []


@pytest.mark.parametrize("path", sources())
def test_sources_import_only_python_and_qgis_and_qt_by_way_of_qgis(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"), feature_version=(3, 9))):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            modules = [node.module]
        else:
            continue
        for module in modules:
            top = module.partition(".")[0]
            assert top in sys.stdlib_module_names or top in ("qgis", "processing"), module


def test_scores_are_those_of_evaluate():
    assert list(SCORES) == [column.key for column in METRIC_COLUMNS]


def test_the_version_is_that_of_the_package():
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(PLUGIN / "metadata.txt", "utf-8")
    assert parser["general"]["version"] == hyperfuse.__version__


def test_the_zip_is_small_complete_and_the_same_each_time(tmp_path):
    first, second = build(tmp_path / "a"), build(tmp_path / "b")
    assert first.name == f"hyperfuse_processing-{hyperfuse.__version__}.zip"
    assert first.read_bytes() == second.read_bytes()
    assert first.stat().st_size < 100_000
    with zipfile.ZipFile(first) as archive:
        names = set(archive.namelist())
        metadata = archive.read("hyperfuse_processing/metadata.txt").decode()
    expected = {path.name for path in SOURCES} | {"metadata.txt", "icon.svg", "LICENSE"}
    assert names == {f"hyperfuse_processing/{name}" for name in expected}
    for line in ("hasProcessingProvider=yes", "qgisMinimumVersion=3.22", f"version={hyperfuse.__version__}"):
        assert line in metadata.splitlines()


@pytest.mark.parametrize(
    ("tools", "says"),
    [
        ({"dpkg-query": "exit 1"}, "there is no apt-get"),
        ({"dpkg-query": "exit 1", "id": "echo 1000", "apt-get": "exit 0"}, "as root: apt-get install"),
        (
            {"dpkg-query": "exit 1", "id": "echo 0", "apt-get": "echo 'E: Unable to locate package qgis'; exit 100"},
            "apt-get cannot install QGIS: E: Unable to locate package qgis",
        ),
        ({"dpkg-query": "yes installed | head -n 5"}, None),
    ],
)
def test_where_qgis_cannot_be_installed_one_line_says_so(tmp_path, tools, says):
    for name in ("bash", "env", "grep", "mktemp", "rm", "tail", "head", "yes"):
        (tmp_path / name).symlink_to(shutil.which(name))
    for name, code in tools.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{code}\n")
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        [ROOT / ".ci" / "qgis"], env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    if says is None:
        assert (done.returncode, done.stderr) == (0, "")
    else:
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        assert says in done.stderr
