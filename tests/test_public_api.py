import ast
import importlib.metadata
from pathlib import Path

import pytest

import hyperfuse

PUBLIC = [
    "Cube",
    "CubeHeader",
    "Displacement",
    "DisplacementMap",
    "Fusion",
    "HyperfuseError",
    "HyperfuseWarning",
    "InputError",
    "Method",
    "MissingDependencyError",
    "Pair",
    "PairGeometry",
    "ReadOptions",
    "RegisteredPair",
    "Sensor",
    "Srf",
    "WriteOptions",
    "__version__",
    "align",
    "create_network",
    "create_psf",
    "create_sensor",
    "create_srf",
    "evaluate",
    "evaluate_without_reference",
    "from_pretrained",
    "fuse",
    "fuse_tiles",
    "get_method",
    "list_datasets",
    "list_methods",
    "list_networks",
    "list_presets",
    "list_srfs",
    "metrics",
    "open_dataset",
    "read",
    "read_mosaic",
    "read_stac",
    "simulate",
    "view",
    "write",
]


def test_the_public_names_are_frozen():
    assert hyperfuse.__all__ == PUBLIC
    assert dir(hyperfuse) == PUBLIC


@pytest.mark.parametrize("name", [name for name in PUBLIC if name != "__version__"])
def test_a_public_name_resolves_and_is_documented(name):
    found = getattr(hyperfuse, name)
    assert getattr(hyperfuse, name) is found
    assert found.__name__.rpartition(".")[2] == name
    assert len(found.__doc__) > 20


def test_nothing_inside_imports_from_the_table():
    for path in Path(hyperfuse.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            assert "hyperfuse" not in names, f"{path}:{node.lineno}"


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="fusee"):
        _ = hyperfuse.fusee


def test_the_version_is_that_of_the_distribution():
    assert hyperfuse.__version__ == importlib.metadata.version("hyperfuse")


@pytest.mark.usefixtures("quick")
def test_the_surface_of_the_design(tmp_path):
    import numpy as np

    import hyperfuse as hf

    reference = hf.Cube(data=np.random.default_rng(0).random((6, 16, 16)).astype(np.float32))
    pair = hf.simulate(reference, ratio=4, preset="uestc", srf="boxes:3")
    hf.write(tmp_path / "hsi.tif", pair.hsi)
    hf.write(tmp_path / "msi.tif", pair.msi)
    fused = hf.fuse(hf.read(tmp_path / "hsi.tif"), hf.read(tmp_path / "msi.tif"))
    scores = hf.evaluate(reference, fused, ratio=4)
    assert scores["psnr_db"] > 0
