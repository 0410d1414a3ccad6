"""On a GPU: the same numbers as on the CPU, in every precision, forward and backward."""

from functools import partial

import pytest
import torch

from hyperfuse.cube.cube import Cube
from hyperfuse.networks import create_network, list_networks
from hyperfuse.sensor.srf.names import create_srf
from hyperfuse.training.captured import OptimisationStep, create_adam, set_rate
from hyperfuse.training.degradation import Degradation
from hyperfuse.training.examples import stacked
from hyperfuse.training.order import DataOrder, ProcessBatches
from hyperfuse.training.patch_examples import PatchExamples, PatchSource
from hyperfuse.training.residence import open_batches
from hyperfuse.training.scene_store import SceneStore
from hyperfuse.training.sections import AugmentationSection
from small_networks import FEINFN, small_network

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
SIZES = {"feinfn": [((6, 5), (24, 20)), ((7, 6), (15, 25))], "feinfn-release": [((6, 5), (24, 20))]}
CASES = [(name, *sizes) for name in list_networks() for sizes in SIZES.get(name, SIZES["feinfn-release"])]


def build(name, **options):
    """A network in evaluation mode: some skip layers at random in training."""
    if name not in FEINFN:
        return small_network(name, **options).eval()
    torch.manual_seed(0)
    return create_network(name, hsi_bands=5, msi_bands=2, width=32, encoder_blocks=2, **options).eval()


def first_difference(name, hsi, msi, tolerance=1e-3):
    """Name the first module of which the output on the GPU differs, for the message of a test that fails."""
    outputs: dict[str, list[tuple[str, str, torch.Tensor]]] = {"cpu": [], "cuda": []}

    def keep(label, found, module, inputs, output):
        if isinstance(output, torch.Tensor):
            found.append((label or "the network", type(module).__name__, output.detach().cpu()))

    for device, found in outputs.items():
        network = build(name).to(device)
        for label, module in network.named_modules():
            module.register_forward_hook(partial(keep, label, found))
        with torch.no_grad():
            network(hsi.to(device), msi.to(device))
    for (label, kind, on_cpu), (_, _, on_gpu) in zip(*outputs.values(), strict=False):
        difference = float((on_gpu - on_cpu).norm() / on_cpu.norm().clamp_min(1e-12))
        if difference > tolerance:
            return f"{name}: the first that differs is {label} ({kind}), by {difference:.1e} in norm"
    return f"{name}: no module differs by more than {tolerance}"


@pytest.fixture(autouse=True)
def exact_products():
    """Without TF32."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32 = before[1]


@pytest.mark.parametrize(("hsi_size", "msi_size"), SIZES["feinfn"])
def test_forward_and_gradients_in_double_precision(hsi_size, msi_size, pair):
    hsi, msi = pair(2, hsi_size, msi_size, dtype=torch.float64)
    found = []
    for device in ("cpu", "cuda"):
        network = build("feinfn").double().to(device)
        fused = network(hsi.to(device), msi.to(device))
        slopes = torch.autograd.grad(fused.square().sum(), list(network.parameters()))
        found.append([fused.detach().cpu(), *(slope.cpu() for slope in slopes)])
    for on_cpu, on_gpu in zip(*found, strict=True):
        assert (on_gpu - on_cpu).norm() <= 1e-6 * on_cpu.norm() + 1e-12


def test_released_forward_in_double_precision(pair):
    """Phases of bins that are their own conjugate lie on the cut: their sign follows the rounding of the FFT."""
    hsi, msi = pair(2, (6, 5), (24, 20), dtype=torch.float64)
    with torch.no_grad():
        on_cpu = build("feinfn-release").double()(hsi, msi)
        on_gpu = build("feinfn-release").double().cuda()(hsi.cuda(), msi.cuda()).cpu()
    assert (on_gpu - on_cpu).norm() <= 1e-4 * on_cpu.norm()


@pytest.mark.parametrize(("name", "hsi_size", "msi_size"), CASES)
def test_single_precision_and_bfloat16(name, hsi_size, msi_size, pair):
    hsi, msi = pair(2, hsi_size, msi_size)
    with torch.no_grad():
        on_cpu = build(name)(hsi, msi)
        on_gpu = build(name).cuda()(hsi.cuda(), msi.cuda()).cpu()
        rounded = build(name, precision="bfloat16").cuda()(hsi.cuda(), msi.cuda()).cpu()
    assert (on_gpu - on_cpu).norm() <= 1e-4 * on_cpu.norm(), first_difference(name, hsi, msi)
    assert rounded.dtype == torch.float32
    assert float((rounded - on_cpu).abs().max()) < 0.1 * float(on_cpu.std())


@pytest.mark.parametrize("name", FEINFN)
def test_blocks_of_rows_where_memory_is_short(name, pair, monkeypatch):
    hsi, msi = pair(1, (6, 5), (24, 20), dtype=torch.float64)
    network = build(name).double().cuda()
    with torch.no_grad():
        whole = network(hsi.cuda(), msi.cuda())
        monkeypatch.setattr("hyperfuse.networks.kernels.dispatch.LARGEST_BLOCK_PIXELS", 60)
        in_blocks = network(hsi.cuda(), msi.cuda())
    torch.testing.assert_close(in_blocks, whole, rtol=0, atol=1e-9)


def test_training_lowers_the_loss_in_bfloat16(pair):
    hsi, msi = (x.cuda() for x in pair(4, (8, 8), (32, 32)))
    target = torch.nn.functional.interpolate(hsi, size=(32, 32), mode="bicubic") + 0.1 * msi.mean(1, keepdim=True)
    network = build("feinfn", precision="bfloat16").cuda()
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3, fused=True)
    losses = []
    for _ in range(60):
        loss = torch.nn.functional.l1_loss(network(hsi, msi), target)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("name", ["feinfn", "feinfn-release", "3dt-net"])
def test_recorded_steps_train_as_launched_ones(name, pair):
    """With the batch and the learning rate changed between them, and one network that draws random numbers."""
    batches = [[x.cuda() for x in pair(2, (6, 5), (24, 20), seed=seed)] for seed in range(7)]
    found = []
    for recorded in (False, True):
        network, notes = build(name).cuda().train(), []
        optimiser = create_adam(torch.optim.AdamW, network.parameters(), 1e-3, recorded=recorded)

        def loss(hsi, msi, network=network):
            start = torch.nn.functional.interpolate(hsi, size=msi.shape[-2:], mode="bicubic")
            return (network(hsi, msi) - start).abs().mean()

        step = OptimisationStep(
            loss, network.parameters(), optimiser, gradient_norm=1.0, recorded=recorded, note=notes.append
        )
        values = []
        for number, batch in enumerate(batches):
            torch.manual_seed(number)
            set_rate(optimiser, 1e-3 / (1 + number))
            values.append([float(value) for value in step(*batch)])
        assert notes == []
        found.append(values)
    torch.testing.assert_close(torch.tensor(found[1]), torch.tensor(found[0]), rtol=2e-2, atol=1e-5)


class OneScene:
    """A scene of noise, as a data set gives it."""

    def load(self, name):
        return Cube(data=torch.rand(5, 40, 36, generator=torch.Generator().manual_seed(0)).numpy())

    def shape(self, name):
        return 5, 40, 36


@pytest.mark.parametrize("jitter", [0.0, 0.3])
def test_training_batches_that_are_made_on_the_gpu_are_those_of_the_cpu(jitter):
    store = SceneStore(OneScene(), ["noise"])
    corners, responses = store.grid(12, 6), create_srf("boxes:2", 5)
    degradation = Degradation("uestc", 4, responses, 12, width_jitter=jitter, phase_jitter=jitter)
    section = AugmentationSection(symmetries=True, random_starts=True, gain=0.3, scales=(1, 1.5), mix=0.5)
    examples = PatchExamples(PatchSource(store, corners, DataOrder(0, len(corners), 8), [degradation], section))
    batches = open_batches(examples, ProcessBatches(examples.source.order, 0, 3), torch.device("cuda"))
    for number, batch in enumerate(batches):
        assert batch.hsi.device.type == "cuda"
        expected = stacked([examples[position] for position in range(8 * number, 8 * number + 8)])
        assert batch.corners == expected.corners
        for found, image in zip(batch[:3], expected[:3], strict=True):
            torch.testing.assert_close(found.cpu(), image, rtol=1e-4, atol=1e-5)
