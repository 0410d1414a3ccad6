"""The switch between the ways to compute: whole images in few operations on accelerators, kernels on the CPU."""

import warnings
from collections import Counter

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from hyperfuse.errors import HyperfuseWarning
from hyperfuse.networks import create_network
from hyperfuse.networks.kernels import dispatch, precision
from hyperfuse.networks.kernels.dispatch import Path, force_path, rows_per_block, select_layout, select_path
from hyperfuse.networks.kernels.precision import available_precision, compute_dtype
from small_networks import FEINFN
from small_networks import small_network as build


class Operations(TorchDispatchMode):
    """Counts the operations that reach the dispatcher."""

    def __init__(self):
        super().__init__()
        self.counts = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.counts[str(func)] += 1
        return func(*args, **(kwargs or {}))


# The compared networks are plain layers and have no switch.
@pytest.fixture(params=FEINFN)
def name(request):
    return request.param


def on_meta(name, batch, size):
    network = create_network(name, hsi_bands=31, msi_bands=3).to("meta")
    hsi = torch.empty(batch, 31, size // 4, size // 4, device="meta")
    return network, hsi, torch.empty(batch, 3, size, size, device="meta")


@pytest.mark.parametrize("size", [256, 1024])
def test_a_forward_pass_on_an_accelerator_is_at_most_300_operations(name, size):
    network, hsi, msi = on_meta(name, 1, size)
    with Operations() as operations, torch.no_grad():
        network(hsi, msi)
    assert operations.counts.total() <= 300


def test_a_training_step_on_an_accelerator_is_at_most_1000_operations(name):
    network, hsi, msi = on_meta(name, 16, 64)
    target = torch.empty(16, 31, 64, 64, device="meta")
    optimiser = torch.optim.AdamW(network.parameters(), foreach=True)
    for _ in range(2):  # the first step also makes the optimiser's state
        with Operations() as operations:
            torch.nn.functional.l1_loss(network(hsi, msi), target).backward()
            optimiser.step()
            optimiser.zero_grad()
    del operations.counts["aten._local_scalar_dense.default"]  # of step counters on the CPU
    assert operations.counts.total() <= 1000


def test_path_by_device_gradients_and_compiler(monkeypatch):
    x, on_accelerator = torch.zeros(1), torch.zeros(1, device="meta")
    assert select_path(x) is Path.OWN_GRADIENT
    assert select_path(on_accelerator) is Path.WHOLE
    with torch.no_grad():
        assert select_path(x) is Path.BLOCKS
        assert select_path(on_accelerator) is Path.WHOLE
    with force_path(Path.WHOLE):
        assert select_path(x) is Path.WHOLE
    assert select_path(x) is Path.OWN_GRADIENT
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert select_path(x) is Path.WHOLE


@pytest.mark.parametrize("domains", ["both", "spatial", "frequency", None])
def test_kernels_and_whole_images_agree(domains, pair):
    network = build("feinfn", domains=domains) if domains else build("feinfn-release")
    network = network.double()
    hsi, msi = pair(2, (6, 5), (24, 20), dtype=torch.float64)
    parameters = list(network.parameters())

    def run():
        with torch.no_grad():
            fused = network(hsi, msi)
        return fused, *torch.autograd.grad(network(hsi, msi).square().sum(), parameters)

    by_kernels = run()
    with force_path(Path.WHOLE):
        whole = run()
    for a, b in zip(by_kernels, whole, strict=True):
        assert (a - b).norm() <= 1e-9 * b.norm() + 1e-12


def test_float32_proper_is_convolved_channels_first_on_cuda(monkeypatch):
    x = torch.zeros(1)
    assert select_layout(x) is torch.channels_last
    on_cuda = type("OnCuda", (), {"device": torch.device("cuda"), "dtype": torch.float32})()
    for in_tf32, layout in ((True, torch.channels_last), (False, torch.contiguous_format)):
        monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", in_tf32)
        assert select_layout(on_cuda) is layout
    on_cuda.dtype = torch.bfloat16
    assert select_layout(on_cuda) is torch.channels_last


def test_the_layout_of_the_encoders_changes_no_number(name, pair, monkeypatch):
    network, found = build(name).double(), []
    hsi, msi = pair(2, (4, 4), (16, 16), dtype=torch.float64)
    with force_path(Path.WHOLE):
        for layout in (torch.channels_last, torch.contiguous_format):
            monkeypatch.setattr("hyperfuse.networks.feinfn.select_layout", lambda x, layout=layout: layout)
            fused = network(hsi, msi)
            found.append([fused, *torch.autograd.grad(fused.square().sum(), list(network.parameters()))])
    for a, b in zip(*found, strict=True):
        assert (a - b).norm() <= 1e-9 * b.norm() + 1e-12


def test_rows_of_an_accelerator_are_limited_by_its_free_memory(monkeypatch):
    x = torch.zeros(1)
    with force_path(Path.WHOLE), torch.no_grad():
        assert rows_per_block(x, 1024, 1024, 8192) == 1024
        monkeypatch.setattr(dispatch, "free_bytes", lambda device: 2.0**31)
        assert rows_per_block(x, 1024, 1024, 8192) == 2**31 // 2 // 8192 // 1024
        assert rows_per_block(x, 64, 64, 8192) == 64  # too small to ask
        assert rows_per_block(x, 10**4, 10**4, 1) == dispatch.LARGEST_BLOCK_PIXELS // 10**4
    with torch.no_grad():
        assert rows_per_block(x, 1024, 1024, 8192) == dispatch.BLOCK_PIXELS // 1024
    assert rows_per_block(x, 1024, 1024, 8192) == 1024


def test_few_rows_at_a_time_change_nothing(name, pair, monkeypatch):
    network = build(name).double()
    hsi, msi = pair(2, (6, 5), (24, 20), dtype=torch.float64)
    with force_path(Path.WHOLE), torch.no_grad():
        whole = network(hsi, msi)
        monkeypatch.setattr(dispatch, "LARGEST_BLOCK_PIXELS", 90)
        torch.testing.assert_close(network(hsi, msi), whole, rtol=0, atol=1e-12)


def test_emulated_bfloat16_becomes_float32_with_one_warning(monkeypatch):
    monkeypatch.setattr(precision, "bfloat16_is_fast", lambda kind: kind != "cpu")
    precision._warn_of_float32.cache_clear()
    x = torch.zeros(1)
    with pytest.warns(HyperfuseWarning, match="bfloat16-forced"):
        assert compute_dtype(x, "bfloat16") is torch.float32
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert compute_dtype(x, "bfloat16") is torch.float32
        assert compute_dtype(x, "bfloat16-forced") is torch.bfloat16
        assert compute_dtype(x.to("meta"), "bfloat16") is torch.bfloat16
        assert available_precision("float32", "cpu") == "float32"


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_a_training_step_compiles_without_a_graph_break(name, backend, pair):
    network = build(name).double()
    hsi, msi = pair(1, (6, 5), (24, 20), dtype=torch.float64)

    def loss():
        return network(hsi, msi).square().sum()

    torch.compiler.reset()
    compiled = torch.compile(loss, fullgraph=True, backend=backend, dynamic=False)
    parameters = list(network.parameters())
    ours, theirs = (torch.autograd.grad(call(), parameters) for call in (compiled, loss))
    for a, b in zip(ours, theirs, strict=True):
        assert (a - b).norm() <= 1e-8 * b.norm() + 1e-12


@pytest.mark.slow
def test_a_forward_pass_compiles_with_inductor(name, pair):
    network = build(name)
    hsi, msi = pair(1, (6, 5), (24, 20))
    torch.compiler.reset()
    compiled = torch.compile(network, fullgraph=True, dynamic=False)
    with torch.no_grad():
        torch.testing.assert_close(compiled(hsi, msi), network(hsi, msi), rtol=0, atol=1e-4)
