"""The loop on one process: it learns, resumes to the last bit, accumulates, stops where it must."""

import contextlib
import itertools
import json
import resource

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from hyperfuse.cube.cube import Cube
from hyperfuse.errors import HyperfuseError, InputError
from hyperfuse.networks.pretrained import from_pretrained
from hyperfuse.training.checkpoints import latest_checkpoint
from hyperfuse.training.data import open_training_data
from hyperfuse.training.examples import Base, load_batches
from hyperfuse.training.initialisation import initial_network
from hyperfuse.training.loop import train
from hyperfuse.training.order import ProcessBatches
from hyperfuse.training.run_log import read_log
from hyperfuse.training.sections import NetworkSection
from small_networks import COMPARED, FEINFN, SMALL

AUGMENTED = {
    "augmentation": {"symmetries": True, "random_starts": True, "gain": 0.2, "scales": [1, 1.5], "mix": 0.3},
    "degradation": {"ratios": [2, 3], "width_jitter": 0.2, "phase_jitter": 0.2},
    "average": {"decay": 0.9},
    "schedule": {"name": "one-cycle"},
    "losses": {"l1": 1.0, "ssim": 0.1},
}


def weights(folder):
    path = latest_checkpoint(folder)
    return load_file(path / "training.safetensors") | load_file(path / "model.safetensors")


def same(one, other):
    assert one.keys() == other.keys()
    return all(torch.equal(one[name], other[name]) for name in one)


def losses(folder):
    return [entry["loss"] for entry in read_log(folder) if "loss" in entry]


class Killed(BaseException):
    pass


def killed_after(steps, total):
    """Return a progress that ends the run, as abruptly as can be within a process, after the given number of steps."""

    def progress(fraction, message=""):
        if fraction * total > steps - 0.5:
            raise Killed

    return progress


@contextlib.contextmanager
def full_disk(limit):
    """Make every write beyond ``limit`` bytes of a file fail, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_the_loss_goes_down_and_the_best_weights_are_kept(make, scenes):
    fractions, notes = [], []
    config = make(length=30, validation={"every": 5}, optimiser={"learning_rate": 1e-2})
    result = train(config, scenes, progress=lambda done, message="": fractions.append(done), note=notes.append)
    found = losses(result.folder)
    assert np.mean(found[-10:]) < 0.7 * np.mean(found[:10])
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)
    validated = [(e["validation/psnr_db"], e["step"]) for e in read_log(result.folder) if "validation/psnr_db" in e]
    assert [step for _, step in validated] == [5, 10, 15, 20, 25, 30]
    assert (result.best_scores["psnr_db"], result.best_step) == max(validated)
    assert json.loads((result.best / "scores.json").read_text())["step"] == result.best_step
    assert notes[-1].startswith("step 30 of 30: validation ")


def test_the_scores_are_those_of_the_weights_that_are_kept(make, scenes):
    from hyperfuse.metrics import evaluate
    from hyperfuse.scenes.simulate import simulate

    result = train(make(average={"decay": 0.9}), scenes)
    pair = simulate(scenes.load("three"), ratio=2, preset="uestc", srf="boxes:2")
    network = from_pretrained(result.best)
    with torch.no_grad():
        fused = network(torch.from_numpy(pair.hsi.data)[None], torch.from_numpy(pair.msi.data)[None])[0]
    expected = evaluate(pair.reference, fused.numpy(), 2)
    for name in ("psnr_db", "sam_degrees", "ergas", "ssim"):
        assert result.best_scores[name] == pytest.approx(expected[name], rel=1e-4)


@pytest.mark.parametrize("changes", [{}, AUGMENTED], ids=["plain", "everything"])
def test_a_run_that_was_broken_off_ends_at_the_same_bits(make, scenes, tmp_path, changes):
    whole = train(make(output=tmp_path / "whole", **changes), scenes)
    broken = make(output=tmp_path / "broken", **changes)
    with pytest.raises(Killed):
        train(broken, scenes, progress=killed_after(7, 12))
    assert latest_checkpoint(tmp_path / "broken").name == "step-00000004"
    # After a kill: a line that is cut off, and a checkpoint that is partly written.
    with (tmp_path / "broken" / "log.jsonl").open("a") as log:
        log.write('{"step": 8, "pat')
    (tmp_path / "broken" / "checkpoints" / ".step-00000008.x.part").mkdir()
    notes = []
    resumed = train(broken.model_copy(update={"resume": True}), scenes, note=notes.append)
    assert notes[0].endswith("after step 4 of 12")
    assert same(weights(whole.folder), weights(resumed.folder))
    assert losses(whole.folder) == losses(resumed.folder)
    assert resumed.best_scores == whole.best_scores
    assert (resumed.best / "model.safetensors").read_bytes() == (whole.best / "model.safetensors").read_bytes()
    assert not list((tmp_path / "broken" / "checkpoints").glob(".*"))


def test_a_run_of_a_given_time_ends_with_it_also_in_parts(make, scenes, monkeypatch):
    now = itertools.count()
    monkeypatch.setattr("hyperfuse.training.loop.time.monotonic", lambda: float(next(now)))  # a second per look
    keys = {"length": "0.5 minutes", "checkpoints": {"every": 1}, "schedule": {"name": "one-cycle"}}
    fractions: list[float] = []

    def until_half(fraction, message=""):
        fractions.append(fraction)
        if fraction > 0.5:
            raise Killed

    with pytest.raises(Killed):
        train(make(**keys), scenes, progress=until_half)
    result = train(make(**keys, resume=True), scenes, progress=lambda fraction, message="": fractions.append(fraction))
    assert fractions[0] == 0
    assert fractions[-1] == 1
    assert max(fractions) == 1
    rates = [entry["learning_rate"] for entry in read_log(result.folder) if "learning_rate" in entry]
    assert rates[-1] < 0.1 * max(rates)
    assert 3 < result.steps < 30
    assert result.best_step <= result.steps
    notes: list[str] = []
    again = train(make(**keys, resume=True), scenes, note=notes.append)
    assert again.steps == result.steps
    assert any("is complete" in text for text in notes)


def test_validations_take_no_more_than_their_fraction_of_the_time(make, scenes, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("hyperfuse.training.loop.time.monotonic", lambda: clock[0])
    validated = []

    def taking_two_seconds(*arguments):
        validated.append(clock[0])
        clock[0] += 2.0
        return {"psnr_db": 30.0}

    def a_second_per_step(fraction, message=""):
        clock[0] += 1.0

    monkeypatch.setattr("hyperfuse.training.loop.validate", taking_two_seconds)
    config = make(length=100, validation={"every": 1, "time_fraction": 0.1})
    train(config, scenes, progress=a_second_per_step)
    spent, trained = 2.0 * len(validated), clock[0] - 2.0 * len(validated)
    assert len(validated) >= 4
    assert spent <= 0.1 * trained
    assert validated[-1] == clock[0] - 2.0


def test_the_same_seed_gives_the_same_weights_and_another_does_not(make, scenes, tmp_path):
    found = []
    for number, seed in enumerate((0, 0, 1)):
        result = train(make(output=tmp_path / str(number), seed=seed, length=3, **AUGMENTED), scenes)
        found.append(weights(result.folder))
    assert same(found[0], found[1])
    assert not same(found[0], found[2])


def test_random_networks_resume_exactly_too(make, scenes, tmp_path, monkeypatch):
    from hyperfuse.networks.feinfn import FeINFN

    plain = FeINFN.forward

    def forward(self, hsi, msi):
        return plain(self, torch.nn.functional.dropout(hsi, 0.2, self.training), msi)

    monkeypatch.setattr(FeINFN, "forward", forward)
    whole = train(make(output=tmp_path / "whole"), scenes)
    broken = make(output=tmp_path / "broken")
    with pytest.raises(Killed):
        train(broken, scenes, progress=killed_after(6, 12))
    torch.manual_seed(99)
    resumed = train(broken.model_copy(update={"resume": True}), scenes)
    assert same(weights(whole.folder), weights(resumed.folder))
    assert len(set(losses(whole.folder))) == 12


def test_workers_change_nothing(make, scenes, tmp_path):
    alone = train(make(output=tmp_path / "alone", length=4, **AUGMENTED), scenes)
    helped = train(make(output=tmp_path / "helped", length=4, workers=2, **AUGMENTED), scenes)
    assert same(weights(alone.folder), weights(helped.folder))


def test_accumulating_equals_a_larger_batch(make, scenes, tmp_path):
    sizes = {"large": {"batch": 8}, "parts": {"batch": 2, "accumulation": 4}}
    first, whole = {}, {}
    for name, size in sizes.items():
        # After one step the first moments are a tenth of the gradients.
        first[name] = weights(train(make(output=tmp_path / f"{name}-1", length=1, **size), scenes).folder)
        whole[name] = losses(train(make(output=tmp_path / name, **size), scenes).folder)
    for key, value in first["large"].items():
        if key.endswith("exp_avg"):
            torch.testing.assert_close(first["parts"][key], value, rtol=1e-3, atol=1e-7)
    # Later steps repeat what rounding changed, which the first steps of Adam enlarge.
    np.testing.assert_allclose(whole["parts"], whole["large"], rtol=1e-3)


def test_bfloat16_trains_nearly_the_same_and_keeps_weights_in_float32(make, scenes, tmp_path):
    exact = train(make(output=tmp_path / "exact"), scenes)
    half = train(make(output=tmp_path / "half", precision="bfloat16"), scenes)
    np.testing.assert_allclose(losses(half.folder), losses(exact.folder), rtol=0.03)
    assert losses(half.folder) != losses(exact.folder)
    assert {value.dtype for value in weights(half.folder).values()} == {torch.float32}


# The compared networks have the size of their programs: the smallest stands for them where tests are to be fast.
@pytest.mark.parametrize(
    "name", [*FEINFN, *(pytest.param(n, marks=[pytest.mark.slow] if n != "ssrnet" else []) for n in COMPARED)]
)
def test_every_network_trains(make, scenes, name):
    config = make(length=3, data={"validation": (), "hold_out": 0.3}, degradation={"ratios": [4]})
    network = NetworkSection(name=name, options=SMALL.get(name, {}))
    result = train(config.model_copy(update={"network": network}), scenes)
    assert result.steps == 3


def test_adam_decays_by_the_gradient_and_adamw_by_the_weights(make, scenes, tmp_path):
    """With a decay that outweighs all gradients Adam's first step is of the size of the rate, AdamW's a fraction."""
    found = {}
    for name in ("adam", "adamw"):
        optimiser = {"name": name, "learning_rate": 1e-4, "weight_decay": 1e6 if name == "adam" else 100.0}
        start = train(make(output=tmp_path / f"{name}0", length=1, optimiser={"learning_rate": 1e-30}), scenes)
        after = train(make(output=tmp_path / name, length=1, optimiser=optimiser), scenes)
        before, now = weights(start.folder), weights(after.folder)
        found[name] = (before["spatial_encoder.head.weight"], now["spatial_encoder.head.weight"])
    before, now = found["adam"]
    torch.testing.assert_close(now, before - 1e-4 * before.sign(), rtol=0, atol=1e-6)
    before, now = found["adamw"]
    torch.testing.assert_close(now, 0.99 * before, rtol=0, atol=1.1e-4)


def test_a_network_of_another_range_of_values_learns_those(make, scenes, tmp_path):
    """Images are from 0 to 1 outside of the network, whatever it works on."""
    found = []
    for scale in (255, 1):
        config = make(output=tmp_path / str(scale), length=2, degradation={"ratios": [4]})
        network = NetworkSection(name="ssrnet", options={"variant": "uestc", "full_scale": scale})
        result = train(config.model_copy(update={"network": network}), scenes)
        found.append(result.scores["psnr_db"])
        assert from_pretrained(result.best).full_scale == scale
    assert found[0] != found[1]
    assert all(0 < score < 100 for score in found)


def test_intermediate_outputs_are_compared_as_their_authors_do(make, scenes, tmp_path):
    """The first loss of a run is that of the network it starts from, by hand."""
    losses = {}
    for intermediate in (True, False):
        folder = tmp_path / str(intermediate)
        config = make(output=folder, length=1, degradation={"ratios": [4]}, losses={"mse": 2.0})
        section = NetworkSection(name="ssrnet", options=SMALL["ssrnet"], intermediate=intermediate)
        train(config.model_copy(update={"network": section}), scenes)
        losses[intermediate] = read_log(folder)[0]["loss"]
        config = config.model_copy(update={"network": section})
        data = open_training_data(config, scenes, None)
        batch = next(iter(load_batches(data.examples, ProcessBatches(data.order, 0, 1), workers=0, pinned=False)))
        torch.manual_seed(0)
        network = initial_network(config, data)
        with torch.no_grad():
            spatial, fused = (image / 255 for image in network.stages(255 * batch.hsi, 255 * batch.msi))
        truth = batch.reference
        expected = float((fused - truth).square().mean())
        if intermediate:
            edges = ((spatial - truth).diff(dim=2), (spatial - truth).diff(dim=3), (fused - truth).diff(dim=1))
            expected += sum(w * float(d.square().mean()) for w, d in zip((0.5, 0.5, 1.0), edges, strict=True))
        assert losses[intermediate] == pytest.approx(2 * expected, rel=1e-5)
    assert losses[True] != losses[False]


def test_intermediate_outputs_that_there_are_not_are_refused(make, scenes):
    with pytest.raises(InputError, match="feinfn has no intermediate outputs"):
        train(make(network={"intermediate": True}), scenes)
    config = make(length=1, data={"patch": 9, "stride": 5}, degradation={"ratios": [3]})
    section = NetworkSection(name="mimo-sst", intermediate=True)
    with pytest.raises(InputError, match="multiples of 4, not 9x9; take such patches"):
        train(config.model_copy(update={"network": section}), scenes)


def test_a_step_of_several_ratios_trains_one_network(make, scenes):
    result = train(make(length=8, degradation={"preset": "mtf", "ratios": [2, 3, 2.5]}), scenes)
    assert {"psnr_db", "x2/psnr_db", "x3/psnr_db", "x2.5/psnr_db"} <= result.scores.keys()
    means = [result.scores[f"x{ratio}/psnr_db"] for ratio in ("2", "3", "2.5")]
    assert result.scores["psnr_db"] == pytest.approx(np.mean(means))


def test_a_network_learns_the_residual_of_a_base(make, scenes, tmp_path):
    seen = []

    def nearly_right(hsi, msi, sensor):
        seen.append((sensor.phase, tuple(hsi.shape)))
        return sensor.upsample(hsi, (msi.shape[-2], msi.shape[-1])) + 0.05

    def config(name, **changes):
        section = {"method": "bicubic", "guidance": True}
        return make(output=tmp_path / name, base=section, degradation={"phase_jitter": 0.3}, **changes)

    guided = train(config("guided"), scenes, base=Base("near", nearly_right, guidance=True, versions=2))
    assert from_pretrained(guided.best).msi_bands == 5
    found = losses(guided.folder)
    assert found[-1] < found[0]
    # Whole scenes, two versions of each, and the one to validate on once; the sensor is as known, not as jittered.
    assert seen == [((1.0, 1.0), (3, 15, 14))] * 5
    blind = train(config("blind"), scenes, base=Base("near", nearly_right, versions=2))
    assert from_pretrained(blind.best).msi_bands == 2
    with pytest.raises(InputError, match="was started with the base near, now it is other"):
        train(config("guided", resume=True), scenes, base=Base("other", nearly_right, guidance=True))
    with pytest.raises(InputError, match="names a base, and train\\(\\) was given none"):
        train(config("none"), scenes)
    with pytest.raises(InputError, match="names no base, and train\\(\\) was given one"):
        train(make(output=tmp_path / "none"), scenes, base=Base("near", nearly_right))


def test_a_zero_output_layer_returns_the_interpolated_hsi(make, scenes, tmp_path):
    # With a learning rate of nearly 0 the network stays as it is initialised: the interpolated HSI.
    config = make(length=1, network={"zero_output": True}, optimiser={"learning_rate": 1e-12}, output=tmp_path / "zero")
    network = from_pretrained(train(config, scenes).best)
    hsi, msi = torch.rand(1, 3, 5, 5), torch.rand(1, 2, 10, 10)
    expected = torch.nn.functional.interpolate(hsi, scale_factor=2, mode="bicubic", align_corners=False)
    torch.testing.assert_close(network(hsi, msi), expected, atol=1e-5, rtol=0)


def test_scenes_without_any_contrast_cannot_validate(make, scenes, tmp_path):
    flat = {name: Cube(data=np.full((3, 30, 30), 0.5, np.float32)) for name in ("one", "two", "three")}
    with pytest.raises(InputError, match="constant in every band"):
        train(make(output=tmp_path / "flat"), type(scenes)(flat))


# --- where it must stop ----------------------------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_stops_with_the_patches_named(make, scenes, monkeypatch):
    from hyperfuse.training.scene_store import SceneStore

    plain = SceneStore.load

    def spoilt(self, name):
        data = plain(self, name).clone()
        if name == "two":
            data[0, 13, 13] = float("nan")
        return data

    monkeypatch.setattr(SceneStore, "load", spoilt)
    config = make(length=100, checkpoints={"every": 1})
    with pytest.raises(HyperfuseError) as caught:
        train(config, scenes)
    message = str(caught.value)
    assert "\n" not in message
    assert "is not finite for two (" in message
    assert "one (" not in message
    row, col = (int(part) for part in message.split("two (")[1].split(")")[0].split(","))
    assert row <= 14 <= row + 13  # within reach of the PSF
    assert col <= 14 <= col + 13
    for value in weights(config.output).values() if latest_checkpoint(config.output) else ():
        assert torch.isfinite(value).all()


def test_an_explosion_stops_with_the_patches_of_the_step(make, scenes, monkeypatch):
    from hyperfuse.networks.feinfn import FeINFN

    plain = FeINFN.forward

    class Exploding(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            return gradient * float("inf")

    monkeypatch.setattr(FeINFN, "forward", lambda self, hsi, msi: Exploding.apply(plain(self, hsi, msi)))
    with pytest.raises(HyperfuseError, match=r"step 1: the gradient, .* patches here: \w+ \(\d+, \d+\), "):
        train(make(), scenes)


@pytest.mark.parametrize("limit", [700, 2_000, 8_000])  # the log, the weights, the moments are cut off
def test_a_full_disk_leaves_the_last_checkpoint_whole(make, scenes, tmp_path, limit):
    reference = train(make(output=tmp_path / "reference", length=4), scenes)
    config = make(length=12)

    def progress(fraction, message=""):
        if fraction * 12 > 4.5 and not disk:
            disk.append(stack.enter_context(full_disk(limit)))

    disk = []
    with contextlib.ExitStack() as stack, pytest.raises(HyperfuseError) as caught:
        train(config, scenes, progress=progress)
    assert "\n" not in str(caught.value)
    assert str(config.output) in str(caught.value)
    assert caught.value.exit_code == 1
    assert latest_checkpoint(config.output).name == "step-00000004"
    assert same(weights(config.output), weights(reference.folder))
    assert not list(config.output.rglob("*.part"))
    again = train(config.model_copy(update={"resume": True}), scenes)
    assert again.steps == 12


def test_only_the_latest_checkpoints_stay(make, scenes):
    result = train(make(checkpoints={"every": 2, "keep": 3}), scenes)
    found = sorted(path.name for path in (result.folder / "checkpoints").iterdir())
    assert found == ["step-00000008", "step-00000010", "step-00000012"]


def test_a_folder_in_use_is_refused_unless_resumed_or_overwritten(make, scenes):
    config = make(length=4)
    first = train(config, scenes)
    with pytest.raises(InputError, match="holds a run already; resume=true resumes it, overwrite=True starts it again"):
        train(config, scenes)
    done = train(config.model_copy(update={"resume": True}), scenes)
    assert done.scores == first.scores
    assert done.steps == 4
    (config.output / "notes.txt").write_text("mine")
    again = train(config.model_copy(update={"seed": 3}), scenes, overwrite=True)
    assert again.steps == 4
    assert len(losses(config.output)) == 4
    assert (config.output / "notes.txt").read_text() == "mine"
    with pytest.raises(InputError, match="resume and overwrite exclude each other"):
        train(config.model_copy(update={"resume": True}), scenes, overwrite=True)


@pytest.mark.parametrize("name", ["config.yaml", "best", "log.jsonl"])
def test_files_that_are_no_runs_are_left_alone(make, scenes, name):
    config = make(length=2)
    config.output.mkdir()
    (config.output / name).write_text("batch: 3")
    for overwrite in (False, True):
        with pytest.raises(InputError, match=f"holds {name}, but is not the folder of a run"):
            train(config, scenes, overwrite=overwrite)
    assert (config.output / name).read_text() == "batch: 3"
    with pytest.raises(InputError, match="is a file; name a folder"):
        train(make(length=2, output=config.output / name), scenes)


def test_the_callers_random_numbers_and_settings_stay(make, scenes):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(make(length=2, deterministic=True), scenes)
    assert torch.equal(torch.rand(3), expected)
    assert not torch.are_deterministic_algorithms_enabled()


def test_another_run_is_not_resumed(make, scenes):
    train(make(length=4), scenes)
    with pytest.raises(InputError, match=r"was started with batch=4, now it is 2; resume it unchanged"):
        train(make(length=4, batch=2, resume=True), scenes)
    with pytest.raises(InputError, match=r"was started with network\.options\.width=4, now it is 8"):
        train(make(length=4, network={"options": {"width": 8}}, resume=True), scenes)
    # What changes nothing about the weights may change.
    assert train(make(length=4, resume=True, checkpoints={"keep": 5}), scenes).steps == 4


def test_resuming_where_there_is_nothing_starts(make, scenes):
    assert train(make(length=2, resume=True), scenes).steps == 2


def test_a_damaged_checkpoint_is_named(make, scenes):
    config = make(length=4)
    train(config, scenes)
    path = latest_checkpoint(config.output)
    (path / "training.safetensors").write_bytes(b"no weights")
    with pytest.raises(InputError, match=r"step-00000004: the checkpoint cannot be read .* remove it to resume from"):
        train(config.model_copy(update={"resume": True}), scenes)


def test_training_starts_from_given_weights(make, scenes, tmp_path):
    first = train(make(output=tmp_path / "first"), scenes)
    changes = {"length": 1, "optimiser": {"learning_rate": 1e-12}, "network": {"weights": first.best}}
    second = train(make(output=tmp_path / "second", **changes), scenes)
    assert second.scores["psnr_db"] == pytest.approx(first.best_scores["psnr_db"], abs=1e-3)
    with pytest.raises(InputError, match="does not fit the network that is configured"):
        train(make(output=tmp_path / "third", network={"weights": first.best, "options": {"width": 8}}), scenes)


def test_a_split_must_be_resolved_and_a_gpu_must_be_there(make, scenes):
    with pytest.raises(InputError, match="a split is still named"):
        train(make(data={"train": "uestc-train"}), scenes)
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="torch sees no GPU"):
            train(make(device="cuda"), scenes)


def test_tensorboard_has_what_the_log_has(make, scenes):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = make(length=6, log={"tensorboard": True}, checkpoints={"every": 3})
    with pytest.raises(Killed):
        train(config, scenes, progress=killed_after(5, 6))
    train(config.model_copy(update={"resume": True}), scenes)
    events = EventAccumulator(str(config.output / "tensorboard"))
    events.Reload()
    logged = {scalar.step: scalar.value for scalar in events.Scalars("loss")}
    assert logged == pytest.approx({n + 1: loss for n, loss in enumerate(losses(config.output))}, rel=1e-6)
    assert len(events.Scalars("loss")) == 6
    assert "validation/psnr_db" in events.Tags()["scalars"]


def test_whitened_first_layers_respond_to_components_of_unit_variance(scenes):
    from hyperfuse.networks import create_network
    from hyperfuse.sensor.srf.names import create_srf
    from hyperfuse.training.initialisation import whiten_first_layers
    from hyperfuse.training.scene_store import SceneStore

    srf = create_srf("boxes:2", 3)
    faint = {
        name: Cube(data=scenes.load(name).data * np.float32([1, 1, 1])[:, None, None] + 0.001 * wave)
        for name, wave in zip(("one", "two"), np.random.default_rng(0).random((2, 3, 30, 28), np.float32), strict=True)
    }
    store = SceneStore(type(scenes)(faint), ("one", "two"))
    torch.manual_seed(0)
    network = create_network("feinfn", hsi_bands=3, msi_bands=5, width=64)
    whiten_first_layers(network, store, srf, guidance=True)
    hsi = torch.stack([store.load(name) for name in ("one", "two")])
    pair = torch.cat([torch.einsum("cb,nbyx->ncyx", torch.as_tensor(srf.matrix).float(), hsi), hsi, hsi], 1)
    # The first layer of white input of unit variance: the sum of its squared weights, drawn from U(-a, a).
    for layer, image, components in ((network.spectral_encoder.head, hsi, 3), (network.spatial_encoder.head, pair, 8)):
        output = layer(image)[:, :, 1:-1, 1:-1].detach()
        assert 0.1 < float(output.std()) < 3.0
        assert float(output.mean().abs()) < 1.0
        assert layer.weight.shape[1] == components


def test_only_feinfn_is_whitened():
    from hyperfuse.networks.base import FusionNetwork
    from hyperfuse.networks.options import NetworkOptions
    from hyperfuse.training.initialisation import whiten_first_layers

    class Other(FusionNetwork):
        name = "other"

        def forward(self, hsi, msi):
            return hsi

        def zero_output_layer(self):
            pass

    with pytest.raises(InputError, match="whitened_input is for feinfn, not other"):
        whiten_first_layers(Other(3, 2, NetworkOptions()), None, None, guidance=False)


@pytest.mark.slow
def test_a_compiled_run_takes_the_same_way(make, scenes, monkeypatch, tmp_path):
    compiler, compiled = torch.compile, []

    def by_tracing(loss, **options):
        compiled.append(options)
        return compiler(loss, backend="aot_eager", fullgraph=True, **options)

    monkeypatch.setattr(torch, "compile", by_tracing)
    found = []
    for name in ("launched", "compiled"):
        config = make(output=tmp_path / name, length=3, losses={"l1": 1.0, "ssim": 0.1}, compiled=name == "compiled")
        result = train(config, scenes)
        found.append(losses(result.folder))
    assert compiled == [{"dynamic": False}]
    np.testing.assert_allclose(*found, rtol=1e-4)


def test_compiled_steps_are_of_one_pass(make):
    with pytest.raises((InputError, ValueError), match="compiled=true is for steps of one pass"):
        make(compiled=True, accumulation=2)
