"""Training data on the network's device: the same patches as prepared one by one, without other processes."""

import pytest
import torch

from hyperfuse.cube.cube import Cube
from hyperfuse.errors import InputError
from hyperfuse.runtime import devices, memory
from hyperfuse.sensor.srf.names import create_srf
from hyperfuse.training import examples as examples_module
from hyperfuse.training.based_examples import BasedExamples
from hyperfuse.training.degradation import Degradation
from hyperfuse.training.examples import Base, load_batches
from hyperfuse.training.loop import train
from hyperfuse.training.order import DataOrder, ProcessBatches
from hyperfuse.training.patch_examples import PatchExamples, PatchSource, ResidentPatches
from hyperfuse.training.residence import open_batches
from hyperfuse.training.scene_store import SceneStore
from hyperfuse.training.sections import AugmentationSection

CPU = torch.device("cpu")
SRF = create_srf("boxes:2", 3)
ALL = {"symmetries": True, "random_starts": True, "gain": 0.3, "scales": (1, 1.5, 2), "mix": 0.5}


@pytest.fixture
def source(made):
    """Patches of two scenes of different sizes, at two ratios."""

    def make(*, jitter=0.0, preset="mtf", **changes):
        cubes = {"one": Cube(data=made.wavy(0)), "two": Cube(data=made.wavy(1, rows=26, cols=33))}
        store = SceneStore(made.Scenes(cubes), ("one", "two"))
        corners = store.grid(12, 6)
        degradations = [
            Degradation(preset, ratio, SRF, 12, width_jitter=jitter, phase_jitter=jitter) for ratio in (2, 3)
        ]
        order = DataOrder(3, len(corners), 4)
        return PatchSource(store, corners, order, degradations, AugmentationSection(**changes))

    return make


def assert_same(examples, steps=12, exact=True):
    """Compare batches on the device with those of examples prepared one by one."""
    order = examples.source.order
    sampler = ProcessBatches(order, 2, 2 + steps)
    plain = list(load_batches(examples, sampler, workers=0, pinned=False))
    resident = list(open_batches(examples, sampler, CPU, resident=True))
    assert len(plain) == len(resident) == steps
    for one, other in zip(plain, resident, strict=True):
        assert one.corners == other.corners
        for name in ("hsi", "msi", "reference", "base"):
            before, after = getattr(one, name), getattr(other, name)
            if before is None:
                assert after is None
                continue
            assert after.is_contiguous()
            if name in ("reference", "base") or exact:
                assert torch.equal(before, after), name
            else:
                torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-6)
    assert len({one.hsi.shape for one in plain}) == 2  # both ratios came


@pytest.mark.parametrize(
    "options",
    [{}, {"symmetries": True}, {"random_starts": True}, {"gain": 0.3}, {"scales": (1, 1.5, 2)}, {"mix": 0.5}, ALL],
    ids=lambda options: "all" if len(options) > 1 else next(iter(options), "none"),
)
def test_patches_are_those_that_are_prepared_one_by_one(source, options):
    assert_same(PatchExamples(source(**options)), exact=False)


@pytest.mark.parametrize("preset", ["uestc", "mtf"])
def test_a_sensor_of_each_patch_is_its_own(source, preset):
    assert_same(PatchExamples(source(jitter=0.3, preset=preset, **ALL)), exact=False)


def test_patches_of_pairs_with_a_base_are_those_that_are_prepared_one_by_one(source):
    def image(hsi, msi, sensor):
        return torch.stack([torch.full_like(msi[0], float(hsi.mean())), msi[0], msi[1]])

    options = {**ALL, "mix": 0.0}
    assert_same(BasedExamples(source(jitter=0.2, **options), Base("mean", image, versions=2)))


def test_where_data_live_there_are_no_worker_processes_and_no_scenes_in_memory(source, monkeypatch):
    monkeypatch.setattr(examples_module, "DataLoader", lambda *_, **options: pytest.fail("a loader"))
    examples, notes = PatchExamples(source()), []
    sampler = ProcessBatches(examples.source.order, 0, 3)
    batches = open_batches(examples, sampler, CPU, resident=True, workers=3, note=notes.append)
    assert len(list(batches)) == 3
    assert notes == ["0.00 GB of training data live on cpu; workers=3 are not needed"]
    store = examples.source.store
    assert not store._cache
    assert examples.nbytes == 4 * 3 * (30 * 28 + 26 * 33)


class Device:
    """Stands for an accelerator."""

    type = "cuda"

    def __str__(self):
        return "cuda:0"


def test_data_live_on_an_accelerator_where_half_of_its_free_memory_holds_them(source, monkeypatch):
    examples, notes = PatchExamples(source()), []
    sampler = ProcessBatches(examples.source.order, 0, 1)
    monkeypatch.setattr(PatchExamples, "on_device", lambda self, device: ResidentPatches(self, CPU))

    def resident(free, asked="auto"):
        monkeypatch.setattr(devices, "free_bytes", lambda device: free)
        notes.clear()
        open_batches(examples, sampler, Device(), resident=asked, note=notes.append)
        return bool(notes)

    assert resident(2 * examples.nbytes)
    assert notes == ["0.00 GB of training data live on cuda:0"]
    assert not resident(2 * examples.nbytes - 2)
    assert not resident(None)
    assert not resident(1e12, asked=False)
    assert resident(None, asked=True)
    with pytest.raises(InputError, match=r"data\.resident=true: the training data take 0\.00 GB, .* cuda:0 0\.00 GB"):
        resident(2 * examples.nbytes - 2, asked=True)


def test_on_the_cpu_the_memory_of_the_machine_decides(source, monkeypatch):
    examples = PatchExamples(source())
    sampler = ProcessBatches(examples.source.order, 0, 1)
    monkeypatch.setattr(memory, "free_bytes", lambda: 2.0 * examples.nbytes - 1)
    with pytest.raises(InputError, match=r"of the memory of cpu"):
        open_batches(examples, sampler, CPU, resident=True)
    monkeypatch.setattr(memory, "free_bytes", lambda: 2.0 * examples.nbytes)
    assert len(list(open_batches(examples, sampler, CPU, resident=True))) == 1


def test_a_run_ends_at_the_same_weights_wherever_its_data_live(make, scenes, tmp_path):
    from safetensors.torch import load_file

    weights = []
    for resident in (False, True):
        config = make(output=tmp_path / str(resident), data={"resident": resident}, augmentation=ALL)
        result = train(config, scenes)
        weights.append(load_file(result.best / "model.safetensors"))
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-3, atol=1e-4)


def test_a_run_is_resumed_with_its_data_elsewhere(make, scenes):
    train(make(length=4, data={"resident": True}), scenes)
    with pytest.raises(InputError, match="was started with length=4"):
        train(make(length=5, resume=True), scenes)
    assert train(make(length=4, resume=True, data={"resident": False}), scenes).steps == 4


def test_all_of_a_batch_is_made_on_the_device(source):
    """On device meta nothing is computed, and an operation on tensors of two devices is an error."""
    meta = torch.device("meta")
    for jitter in (0.0, 0.3):
        examples = PatchExamples(source(jitter=jitter, **ALL))
        batch = ResidentPatches(examples, meta).batch(range(4, 8))
        shapes = [one.shape for one in (examples[n] for n in range(4, 8)) for one in one[:3]][:3]
        assert [one.device for one in batch[:3]] == [meta] * 3
        assert [one.shape for one in batch[:3]] == [(4, *shape) for shape in shapes]
