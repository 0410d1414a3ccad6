import ast
import importlib.metadata
from pathlib import Path

import pytest

import hyperfuse

PUBLIC = [
    "Cube",
    "HyperfuseError",
    "HyperfuseWarning",
    "InputError",
    "Method",
    "MissingDependencyError",
    "Pair",
    "Sensor",
    "Srf",
    "__version__",
    "create_network",
    "create_psf",
    "create_sensor",
    "create_srf",
    "evaluate",
    "evaluate_without_reference",
    "fuse",
    "get_method",
    "list_methods",
    "list_networks",
    "list_presets",
    "read",
    "read_mosaic",
    "simulate",
    "write",
]


def test_the_public_names_are_frozen():
    assert hyperfuse.__all__ == PUBLIC
    assert sorted(hyperfuse.__all__) == hyperfuse.__all__
    assert set(PUBLIC) <= set(dir(hyperfuse))


@pytest.mark.parametrize("name", [name for name in PUBLIC if name != "__version__"])
def test_a_public_name_is_documented(name):
    found = getattr(hyperfuse, name)
    assert getattr(hyperfuse, name) is found
    assert found.__name__ == name
    assert len(found.__doc__) > 20


def test_type_checkers_see_the_names_where_they_are():
    tree = ast.parse(Path(hyperfuse.__file__).read_text("utf-8"))
    imports = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        and node.module.startswith("hyperfuse")
        and node.module != "hyperfuse.version"
    ]
    typed = {alias.name for node in imports for alias in node.names}
    assert typed == set(PUBLIC) - {"__version__"} == set(hyperfuse._HOMES)
    for node in imports:
        for alias in node.names:
            module = importlib.import_module(node.module)
            assert getattr(module, alias.name) is getattr(hyperfuse, alias.name)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'fusee'"):
        _ = hyperfuse.fusee


def test_the_version_is_that_of_the_distribution():
    assert hyperfuse.__version__ == importlib.metadata.version("hyperfuse")


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
