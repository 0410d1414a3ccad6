"""FeINFN fitted to a pair: deterministic, no worse than what it starts from, within its time."""

import time

import pytest
import torch

from hyperfuse.errors import InputError
from hyperfuse.methods import PairTensors, get_method

METHOD = get_method("feinfn")
SMALL = {"width": 8, "encoder_blocks": 1}


def run(pair, **settings):
    return METHOD(pair.hsi, pair.msi, pair.sensor, METHOD.configure(**{**SMALL, **settings}))


def mse(image, pair):
    return float((image - pair.reference).square().mean())


def test_its_start_is_no_worse_than_local_regression(make_pair):
    pair = make_pair()
    local = get_method("local-regression")(pair.hsi, pair.msi, pair.sensor)
    assert mse(run(pair, steps=0), pair) < 1.1 * mse(local, pair)


def test_a_few_steps_do_no_harm(make_pair):
    pair = make_pair(shape=(64, 64))
    assert mse(run(pair, steps=12), pair) < 1.05 * mse(run(pair, steps=0), pair)


def test_the_seed_decides(make_pair):
    pair = make_pair(shape=(64, 64))
    first, again = run(pair, steps=4, seed=3), run(pair, steps=4, seed=3)
    assert torch.equal(first, again)


def test_the_global_generator_is_left_alone(make_pair):
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    run(make_pair(), steps=2)
    assert torch.equal(torch.rand(3), expected)


def test_time_is_kept(make_pair):
    start = time.monotonic()
    run(make_pair(), budget_seconds=3)
    assert time.monotonic() - start < 30  # the exact figure is measured in benchmarks; here only that it ends


def test_without_time_the_linear_part_is_the_result(make_pair):
    pair = make_pair(shape=(64, 64))
    outcome = METHOD.fuse(PairTensors(pair.hsi, pair.msi, pair.sensor), METHOD.configure(budget_seconds=0.01))
    assert outcome.details["end"] == "no time"
    torch.testing.assert_close(outcome.image, run(pair, effort="fast"))
    # The uncertainty is only known from held-out pixels, so these are predicted however short the time.
    asked = METHOD.fuse(
        PairTensors(pair.hsi, pair.msi, pair.sensor), METHOD.configure(budget_seconds=0.01, uncertainty=True)
    )
    assert asked.uncertainty is not None
    assert bool((asked.uncertainty > 0).any())
    # For the network there is none left, not even to run once.
    assert (asked.details["steps"], asked.details["end"]) == (0, "no time")


def test_tiny_images_are_fused_by_the_linear_part_alone(make_pair):
    pair = make_pair(shape=(12, 12))
    torch.testing.assert_close(run(pair, steps=5), run(pair, steps=0))


def test_many_bands_are_modelled_in_a_subspace(make_pair):
    pair = make_pair(bands=40, msi_bands=5)
    bicubic = pair.sensor.upsample(pair.hsi, tuple(pair.msi.shape[-2:]))
    assert mse(run(pair, steps=2), pair) < 0.05 * mse(bicubic, pair)


def test_progress_rises_to_one(make_pair):
    pair, reports = make_pair(), []
    METHOD(
        pair.hsi,
        pair.msi,
        pair.sensor,
        METHOD.configure(steps=2, **SMALL),
        lambda fraction, message="": reports.append((fraction, message)),
    )
    fractions = [fraction for fraction, _ in reports]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert any("loss" in message for _, message in reports)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"effort": "huge"}, "effort"),
        ({"steps": -1}, "steps"),
        ({"budget_seconds": 0}, "budget_seconds"),
        ({"step": 3}, "did you mean 'steps'"),
    ],
)
def test_wrong_settings_are_named(values, message):
    with pytest.raises(InputError, match=message):
        METHOD.configure(**values)
