import subprocess
import sys

import numpy as np
import pytest
import torch

from hyperfuse.errors import InputError, MissingDependencyError
from hyperfuse.networks.export import export_onnx, export_program
from small_networks import COMPARED, FEINFN, LARGE
from small_networks import small_network as build

# A first size and others: more rows, another ratio, unlike in y and x, another batch.
SIZES = {
    "feinfn": [((6, 5), (24, 20), 1), ((7, 9), (28, 36), 1), ((4, 6), (13, 15), 2)],
    "feinfn-release": [((6, 5), (24, 20), 1), ((7, 9), (28, 36), 1), ((5, 6), (10, 12), 2), ((3, 5), (24, 40), 1)],
}


@pytest.mark.parametrize("name", FEINFN)
def test_program_agrees_at_the_size_it_was_traced_at_and_at_others(name, pair):
    network = build(name)
    first = SIZES[name][0]
    program = export_program(network, first[0], first[1])
    for hsi_size, msi_size, batch in SIZES[name]:
        hsi, msi = pair(batch, hsi_size, msi_size)
        with torch.no_grad():
            torch.testing.assert_close(program.module()(hsi, msi), network(hsi, msi), rtol=0, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", FEINFN)
def test_onnxruntime_agrees_at_the_size_it_was_traced_at_and_at_others(name, pair, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    network = build(name)
    first = SIZES[name][0]
    path = export_onnx(network, tmp_path / "network.onnx", first[0], first[1])
    assert [p.name for p in tmp_path.iterdir()] == ["network.onnx"]
    session = onnxruntime.InferenceSession(str(path))
    assert [i.name for i in session.get_inputs()] == ["hsi", "msi"]
    for hsi_size, msi_size, batch in SIZES[name]:
        hsi, msi = pair(batch, hsi_size, msi_size)
        with torch.no_grad():
            expected = network(hsi, msi).numpy()
        (fused,) = session.run(["fused"], {"hsi": hsi.numpy(), "msi": msi.numpy()})
        np.testing.assert_allclose(fused, expected, rtol=0, atol=1e-4)


@pytest.mark.slow
def test_onnx_of_one_size(pair, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    network = build("feinfn", domains="spatial", activation="relu")
    path = export_onnx(network, tmp_path / "network.onnx", (6, 5), (24, 20), dynamic=False)
    session = onnxruntime.InferenceSession(str(path))
    assert session.get_inputs()[0].shape == [1, 5, 6, 5]
    hsi, msi = pair(1, (6, 5), (24, 20))
    with torch.no_grad():
        expected = network(hsi, msi).numpy()
    np.testing.assert_allclose(session.run(None, {"hsi": hsi.numpy(), "msi": msi.numpy()})[0], expected, atol=1e-4)


def test_bfloat16_and_sizes_that_cannot_be_traced_are_refused(tmp_path):
    pytest.importorskip("onnxscript")
    with pytest.raises(InputError, match="precision='float32'"):
        export_onnx(build("feinfn", precision="bfloat16"), tmp_path / "x.onnx", (6, 5), (24, 20))
    with pytest.raises(InputError, match="at least 2"):
        export_program(build("feinfn"), (1, 5), (24, 20))
    with pytest.raises(InputError, match="swapped"):
        export_program(build("feinfn"), (24, 20), (6, 5))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["3dt-net", "dspnet"])
def test_a_network_that_is_exported_for_one_size_says_so(name, pair):
    network = build(name).eval()
    side = network.tiling().side
    told = (
        f"{name} is exported for one size of images: pass dynamic=False, and the file is for an HSI of 4x4 and an MSI "
        f"of 16x16 pixels alone; the blocks that it is applied to here are {side // 4}x{side // 4} and {side}x{side}"
    )
    with pytest.raises(InputError, match=told):
        export_program(network, (4, 4), (16, 16))
    program = export_program(network, (4, 4), (16, 16), dynamic=False)
    hsi, msi = pair(1, (4, 4), (16, 16))
    with torch.no_grad():
        torch.testing.assert_close(program.module()(hsi, msi), network(hsi, msi), rtol=0, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["psrt", "mimo-sst", "bdt"])
def test_files_of_windows_and_of_channel_attention_agree_at_other_sizes(name, pair, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    network = build(name).eval()
    unit = max(4, network.side_multiple // 4)
    path = export_onnx(network, tmp_path / "network.onnx", (unit, 2 * unit), (4 * unit, 8 * unit))
    session = onnxruntime.InferenceSession(str(path))
    for rows, cols, batch in ((unit, 2 * unit, 2), (2 * unit, unit, 1), (unit, unit, 1)):
        hsi, msi = pair(batch, (rows, cols), (4 * rows, 4 * cols))
        with torch.no_grad():
            expected = network(hsi, msi).numpy()
        (fused,) = session.run(["fused"], {"hsi": hsi.numpy(), "msi": msi.numpy()})
        np.testing.assert_allclose(fused, expected, rtol=1e-5, atol=1e-4)


def test_missing_exporter_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(MissingDependencyError, match=r"hyperfuse\[export\]"):
        export_onnx(build("feinfn"), tmp_path / "x.onnx", (6, 5), (24, 20))


def test_networks_import_no_optional_package():
    code = (
        "import sys, hyperfuse.networks, hyperfuse.networks.export, hyperfuse.networks.pretrained;"
        "print([m for m in ('onnx', 'onnxscript', 'onnxruntime', 'huggingface_hub') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", [n for n in COMPARED if n not in LARGE and n != "psrt"])
def test_a_compared_network_is_exported_as_a_program_of_any_size(name, pair):
    network = build(name).eval()
    program = export_program(network, (8, 8), (32, 32))
    for hsi_size, msi_size in (((8, 8), (32, 32)), ((16, 12), (64, 48))):
        hsi, msi = pair(2, hsi_size, msi_size)
        with torch.no_grad():
            torch.testing.assert_close(program.module()(hsi, msi), network(hsi, msi), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", COMPARED)
def test_onnxruntime_agrees_with_a_compared_network_at_one_size(name, pair, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    network = build(name).eval()
    path = export_onnx(network, tmp_path / "network.onnx", (16, 16), (64, 64), dynamic=False)
    session = onnxruntime.InferenceSession(str(path))
    hsi, msi = pair(1, (16, 16), (64, 64))
    with torch.no_grad():
        expected = network(hsi, msi).numpy()
    (fused,) = session.run(["fused"], {"hsi": hsi.numpy(), "msi": msi.numpy()})
    np.testing.assert_allclose(fused, expected, rtol=0, atol=1e-4 * max(1.0, float(np.abs(expected).max())))
