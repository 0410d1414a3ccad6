import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from hyperfuse.errors import MissingDependencyError
from hyperfuse.runtime.optional import EXTRAS, require

# On PyPI some packages have another name than in Python.
DISTRIBUTIONS = {"dask": "dask[distributed]", "distributed": "dask[distributed]"}
# Run in a process of its own, in which no optional package can be imported.
HIDDEN = f"""
import importlib, pkgutil, sys
HIDDEN = {sorted(EXTRAS)!r}
sys.modules.update(dict.fromkeys(HIDDEN))
import numpy as np
import hyperfuse as hf
from hyperfuse.errors import MissingDependencyError
for module in pkgutil.walk_packages(hf.__path__, "hyperfuse.", onerror=lambda name: None):
    if module.name != "hyperfuse.__main__":
        try:
            importlib.import_module(module.name)
        except MissingDependencyError as error:
            print(module.name, "|", error)
reference = hf.Cube(data=np.random.default_rng(0).random((6, 16, 16)).astype(np.float32))
pair = hf.simulate(reference, ratio=4, preset="uestc", srf="boxes:3")
print(hf.fuse(pair.hsi, pair.msi, method="regression").data.shape)
"""
# Every call that needs an extra, in a process without any; each is refused before the work it would be lost after.
CALLS = {
    "fuse hsi.tif msi.tif out.tif --report page.html": "report",
    "fuse hsi.tif msi.tif out.zarr": "xarray",
    "fuse hsi.tif msi.tif out.tif --tile 8 --scheduler tcp://127.0.0.1:9": "scale",
    "fuse hsi.tif msi.tif out.tif --srf sentinel-2a --method cnmf": "sensors",
    "info scene.zarr": "xarray",
    "simulate ref.tif pair --ratio 4 --srf sentinel-2a": "sensors",
    "view ref.tif --no-browser": "view",
    "demo here": "demo",
    "reproduce parameters": "report",
    "train run.yaml": "train",
    "train run.yaml log.tensorboard=false": "train",
}
COMMANDS = f"""
import sys
sys.modules.update(dict.fromkeys({sorted(EXTRAS)!r}))
from pathlib import Path
import numpy as np
import hyperfuse as hf
from hyperfuse.cli import main
reference = hf.Cube(data=np.random.default_rng(0).random((6, 16, 16)).astype(np.float32),
    wavelengths=np.linspace(450, 2300, 6))
pair = hf.simulate(reference, ratio=4, preset="uestc", srf="boxes:3")
for folder in ("scene.zarr", "scenes"):
    Path(folder).mkdir()
images = [pair.hsi, pair.msi, reference, reference, reference]
for name, image in zip(["hsi.tif", "msi.tif", "ref.tif", "scenes/a.tif", "scenes/b.tif"], images):
    hf.write(name, image)
Path("scene.zarr/zarr.json").write_text("{{}}")
Path("run.yaml").write_text('''{{output: run, length: 1 steps, network: {{name: feinfn}},
    degradation: {{preset: uestc, ratios: [4]}},
    data: {{kind: folder, folder: scenes, train: [a], validation: [b], srf: "boxes:3", patch: 8}}}}''')
for words in {list(CALLS)!r}:
    print("$", words, file=sys.stderr)
    print(words, "|", main(words.split()))
"""


@pytest.mark.parametrize("package", EXTRAS)
def test_a_missing_package_is_named_with_its_extra(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependencyError) as caught:
        require(package, "this test")
    assert str(caught.value) == (f"this test needs the package {package}: pip install 'hyperfuse[{EXTRAS[package]}]'")


def test_the_extras_are_those_of_the_distribution():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))["project"]
    for package, extra in EXTRAS.items():
        listed = [re.split(r"[>=]", entry)[0] for entry in project["optional-dependencies"][extra]]
        assert DISTRIBUTIONS.get(package, package) in listed
        assert not [entry for entry in project["dependencies"] if entry.startswith(package)]


def test_without_optional_packages_the_core_works_and_the_rest_says_what_it_needs():
    done = subprocess.run([sys.executable, "-c", HIDDEN], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *refused, shape = done.stdout.splitlines()
    assert shape == "(6, 16, 16)"
    needed = {
        "hyperfuse.reports": "report",
        "hyperfuse.benchmark.reproduce": "report",
        "hyperfuse.benchmark.tradeoff": "report",
        "hyperfuse.integrations.engine": "xarray",
        "hyperfuse.integrations.huggingface": "hub",
        "hyperfuse.integrations.model_card": "hub",
        "hyperfuse.viewer": "view",
        "hyperfuse.xarray": "xarray",
    }
    said = dict(line.split(" | ") for line in refused)
    assert set(said) == set(needed)
    for module, extra in needed.items():
        assert f"pip install 'hyperfuse[{extra}]'" in said[module]


def test_a_command_without_its_extra_names_it(tmp_path):
    done = subprocess.run([sys.executable, "-c", COMMANDS], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    said = dict(zip(CALLS, done.stderr.split("$ ")[1:], strict=True))
    for words, extra in CALLS.items():
        assert f"pip install 'hyperfuse[{extra}]'" in said[words], (words, said[words])
        assert "Traceback" not in said[words]
    assert done.stdout.splitlines() == [f"{words} | 2" for words in CALLS]
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith((".", "out", "pair"))]
