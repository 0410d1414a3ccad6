"""What every registered method must do. A new method is tested by being registered; see ``EXPECTED`` for exceptions."""

import json
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch

from hyperfuse.errors import InputError
from hyperfuse.methods import PairTensors, get_method, list_methods
from hyperfuse.sensor.psf import BoxPsf, KernelPsf

EPS = {torch.float32: 1e-6, torch.float64: 1e-12}


@dataclass(frozen=True)
class Expectation:
    """What is particular to one method; the defaults hold for a method that is not in the table.

    Attributes:
        settings: values that keep the method quick on these tiny scenes.
        consistency: promised RMS of ``degrade(fused) - hsi`` on a clean pair, relative to the contrast of the HSI;
            None promises no more than that bicubic interpolation is not closer.
        gain_db: least gain over bicubic interpolation on the structured scene.
        constant: largest error, relative, on a scene without structure.
        scaling: RMS by which a scene in other units may come out differently, relative to its contrast.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    consistency: float | None = None
    gain_db: float = 6.0
    constant: float = 1e-4
    scaling: float = 1e-3


EXPECTED = {
    "bicubic": Expectation(gain_db=0.0),
    "cnmf": Expectation(consistency=0.02, gain_db=20.0),
    "cstf": Expectation(constant=5e-4),  # what the penalty on the core takes
    "feinfn": Expectation(
        settings={"steps": 3, "width": 8, "encoder_blocks": 1}, consistency=1e-4, gain_db=24.0, scaling=0.02
    ),
    "fuse-sylvester": Expectation(consistency=0.03, gain_db=15.0),
    "gsa": Expectation(consistency=0.05, gain_db=12.0),  # one gain per band: slow errors are its nature
    "hysure": Expectation(settings={"iterations": 60}, consistency=0.01, gain_db=21.0),
    # Rounding moves patches from one cluster to another.
    "ir-tensr": Expectation(settings={"passes": 2, "inner_iterations": 8}, scaling=0.01),
    "local-regression": Expectation(consistency=1e-4, gain_db=27.0),
    "ltmr": Expectation(settings={"iterations": 8}),
    "lttr": Expectation(settings={"iterations": 4}),
    "mtf-glp-hs": Expectation(consistency=0.01, gain_db=25.0),
    "regression": Expectation(consistency=1e-4, gain_db=27.0),
}

GEOMETRIES = {
    "square": {},
    "not square": {"shape": (32, 56)},
    "odd sizes": {"shape": (43, 37)},
    "one HSI band": {"bands": 1, "msi_bands": 1},
    "one MSI band": {"msi_bands": 1},
    "more MSI bands than HSI bands": {"bands": 3, "msi_bands": 7},
    "more bands than LR pixels": {"bands": 40, "shape": (20, 20)},
    "ratio 1": {"ratio": 1, "shape": (20, 20)},
    "ratio 3.2": {"ratio": 3.2},
    "ratio 2 and 3": {"ratio": (2, 3)},
    "ratio 5": {"ratio": 5, "shape": (50, 45)},
    "phase at a corner": {"phase": (0, 3)},
    "circular": {"boundary": "circular"},
    "box": {"psf": BoxPsf(width=(4, 4))},
    "kernel": {"psf": KernelPsf(weights=((0, 1, 2, 0), (1, 6, 3, 1), (0, 2, 3, 0)))},
}
TINY = {"one LR pixel": (4, 4), "one LR row": (4, 24), "one LR column": (24, 4), "2 x 2 LR pixels": (8, 8)}


def each_method():
    marks = {"seconds": (), "minutes": (pytest.mark.slow,)}
    return [pytest.param(method.name, marks=marks[method.cost], id=method.name) for method in list_methods()]


@pytest.fixture(params=each_method())
def method(request):
    return get_method(request.param)


@pytest.fixture
def expected(method):
    return EXPECTED.get(method.name, Expectation())


@pytest.fixture
def fuse(method, expected):
    chosen = method.configure(**expected.settings)
    return lambda pair, **options: method(pair.hsi, pair.msi, pair.sensor, chosen, **options)


def bicubic(pair):
    return pair.sensor.upsample(pair.hsi, tuple(pair.msi.shape[-2:]))


def rms(image):
    return float(image.double().square().mean().sqrt())


def contrast(image):
    return float(image.double().std())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_shape_type_and_a_result_no_worse_than_interpolation(method, fuse, make_pair, geometry, dtype):
    pair = make_pair(**GEOMETRIES[geometry], dtype=dtype)
    if method.capabilities.whole_ratios and geometry == "ratio 3.2":
        with pytest.raises(InputError, match=f"the method {method.name} needs whole ratios, and these are 3.2 and 3.2"):
            fuse(pair)
        return
    fused = fuse(pair)
    assert fused.shape == pair.reference.shape
    assert fused.dtype == dtype
    assert fused.device == pair.hsi.device
    assert bool(torch.isfinite(fused).all())
    assert not fused.requires_grad
    assert rms(fused - pair.reference) <= 1.02 * rms(bicubic(pair) - pair.reference) + EPS[dtype]


@pytest.mark.parametrize("size", TINY)
def test_the_smallest_images(fuse, make_pair, size):
    whole = make_pair(shape=(24, 24), bands=5)
    rows, cols = TINY[size]
    pair = replace(whole, hsi=whole.hsi[:, : rows // 4, : cols // 4], msi=whole.msi[:, :rows, :cols])
    fused = fuse(pair)
    assert fused.shape == (5, rows, cols)
    assert bool(torch.isfinite(fused).all())
    assert float(fused.abs().max()) < 10


def test_same_input_same_output_whatever_the_global_generators_hold(fuse, make_pair):
    pair = make_pair()
    before = pair.hsi.clone(), pair.msi.clone()
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002  (the legacy generator is what a method could misuse)
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first = fuse(pair)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
    torch.manual_seed(2)
    np.random.seed(2)  # noqa: NPY002
    assert torch.equal(fuse(pair), first)
    assert torch.equal(pair.hsi, before[0])
    assert torch.equal(pair.msi, before[1])


def test_memory_layout_does_not_matter(fuse, make_pair):
    pair = make_pair()

    def bands_last(image):
        return image.permute(1, 2, 0).contiguous().permute(2, 0, 1)

    permuted = replace(pair, hsi=bands_last(pair.hsi), msi=bands_last(pair.msi))
    assert rms(fuse(permuted) - fuse(pair)) < 1e-5


@pytest.mark.parametrize("level", [1.0, 5000.0])
def test_a_constant_scene_stays_constant(fuse, expected, make_pair, level):
    pair = make_pair(bands=6)
    spectrum = level * torch.linspace(0.2, 0.9, 6)[:, None, None]
    scene = spectrum.expand(6, 48, 48).contiguous()
    flat = replace(pair, hsi=pair.sensor.degrade(scene), msi=pair.sensor.respond(scene))
    assert float((fuse(flat) / spectrum - 1).abs().max()) < expected.constant


def test_bands_of_zeros_stay_zero(fuse, expected, make_pair):
    pair = make_pair(bands=6)
    hsi = pair.hsi.clone()
    hsi[2] = 0
    fused = fuse(replace(pair, hsi=hsi))
    assert bool(torch.isfinite(fused).all())
    assert float(fused[2].abs().max()) < expected.constant


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("image", ["hsi", "msi"])
def test_undeclared_gaps_are_refused(fuse, make_pair, image, value):
    pair = make_pair()
    spoiled = getattr(pair, image).clone()
    spoiled[1, 2, 3] = value
    with pytest.raises(InputError, match=f"the {image.upper()} holds NaN or infinite values.*pass nodata=nan"):
        fuse(replace(pair, **{image: spoiled}))


@pytest.mark.parametrize("scale", [1e4, 1e-3])
def test_units_do_not_matter(fuse, expected, make_pair, scale):
    one, other = make_pair(), make_pair(scale=scale)
    difference = rms(fuse(other) / scale - fuse(one))
    assert difference < expected.scaling * contrast(one.reference)


def test_progress_rises_to_one(fuse, make_pair):
    reports = []
    fuse(make_pair(), progress=lambda fraction, message="": reports.append((fraction, message)))
    fractions = [fraction for fraction, _ in reports]
    assert fractions == sorted(fractions)
    assert fractions[0] >= 0
    assert fractions[-1] == 1
    assert all(isinstance(message, str) and "\n" not in message for _, message in reports)


def test_unknown_settings_are_refused(method):
    with pytest.raises(InputError, match=f"method '{method.name}': no setting 'sharpnes'"):
        method.configure(sharpnes=1)


def test_settings_cannot_be_changed_and_say_what_they_are(method):
    chosen = method.configure()
    for name, info in type(chosen).model_fields.items():
        assert info.description, name
        with pytest.raises(ValueError, match="frozen"):
            setattr(chosen, name, getattr(chosen, name))


def test_responses_are_needed_or_not_as_declared(method, expected, make_pair):
    pair = make_pair()
    sensor = pair.sensor.replace(srf=None)
    chosen = method.configure(**expected.settings)
    if method.capabilities.needs_srf:
        with pytest.raises(InputError, match="needs the spectral responses"):
            method(pair.hsi, pair.msi, sensor, chosen)
    else:
        fused = method(pair.hsi, pair.msi, sensor, chosen)
        assert rms(fused - pair.reference) <= 1.02 * rms(bicubic(pair) - pair.reference)


@pytest.mark.parametrize("seed", [0, 1])
def test_degraded_again_it_is_the_hsi(fuse, expected, make_pair, seed):
    pair = make_pair(seed=seed)
    residual = rms(pair.sensor.degrade(fuse(pair)) - pair.hsi)
    if expected.consistency is None:
        allowed = 1.001 * rms(pair.sensor.degrade(bicubic(pair)) - pair.hsi)
    else:
        allowed = expected.consistency * contrast(pair.hsi)
    assert residual <= allowed


@pytest.mark.parametrize("options", [{}, {"ratio": (3, 4), "shape": (48, 64)}, {"phase": (2, 2), "seed": 1}])
def test_better_than_interpolation_where_there_is_structure(fuse, expected, make_pair, options):
    pair = make_pair(**options)
    gain_db = 20 * np.log10(rms(bicubic(pair) - pair.reference) / rms(fuse(pair) - pair.reference))
    assert gain_db >= expected.gain_db


# ---- fitted models


@pytest.fixture
def model(method, expected, make_pair):
    """The method fitted to a pair, and the pair in other tensors, which nothing computed while fitting belongs to."""
    pair, chosen = make_pair(), method.configure(**expected.settings)
    fitted = method.fit([PairTensors(pair.hsi, pair.msi, pair.sensor)], chosen)
    return fitted, PairTensors(pair.hsi.clone(), pair.msi.clone(), pair.sensor)


def test_a_stored_model_gives_the_same_image_bit_by_bit(method, model, fuse, make_pair, tmp_path):
    fitted, window = model
    torch.save(fitted.state(), tmp_path / "model.pt")
    # Nothing but tensors and plain values: no class is named in the file.
    state = torch.load(tmp_path / "model.pt", weights_only=True)
    restored = method.restore(state)
    image = fitted.apply(window).image
    assert torch.equal(restored.apply(window).image, image)
    assert torch.equal(fuse(make_pair()), image)
    assert restored.margin == fitted.margin
    assert restored.details == fitted.details


def test_a_model_keeps_its_settings_and_checks_its_windows(method, expected, model):
    fitted, window = model
    assert method.configure(**fitted.state()["settings"]) == method.configure(**expected.settings)
    with pytest.raises(InputError, match="do not fit"):
        fitted.apply(window._replace(hsi=window.hsi[:, :5]))


def test_capabilities_are_as_declared(method, expected, model, make_pair):
    fitted, window = model
    able, settings = method.capabilities, method.configure(**expected.settings)
    assert 0 < fitted.margin <= able.margin(window.sensor, settings)
    assert able.bytes_per_pixel.hsi_band > 0
    assert json.loads(json.dumps(fitted.details)) == fitted.details
    assert fitted.apply(window).uncertainty is None
    if able.uncertainty:
        outcome = method.fuse(window, method.configure(**expected.settings, uncertainty=True))
        assert outcome.uncertainty.shape == outcome.image.shape
        assert bool((outcome.uncertainty > 0).all())
    if able.seed:
        assert settings.seed == 0
        fuse_with = [method(*window[:3], method.configure(**expected.settings, seed=seed)) for seed in (0, 0)]
        assert torch.equal(*fuse_with)


def test_windows_of_a_scene_give_its_image(method, expected, make_pair):
    """Two windows with the margin that the model states, cut and joined, against the scene as one window."""
    if not method.capabilities.shared_model:
        pytest.skip("every window is fitted by itself")
    pair = make_pair(shape=(32, 192))
    settings = method.configure(**expected.settings)
    scene = PairTensors(pair.hsi, pair.msi, pair.sensor)
    model = method.fit([scene], settings)
    whole = model.apply(scene).image
    step = 2 / (192 - 1)
    joined = torch.empty_like(whole)
    for inside in (slice(0, 24), slice(24, 48)):
        lr = slice(max(0, inside.start - model.margin), min(48, inside.stop + model.margin))
        hr = slice(4 * lr.start, 4 * lr.stop)
        extent = (-1.0, 1.0, step * hr.start - 1, step * (hr.stop - 1) - 1)
        image = model.apply(PairTensors(pair.hsi[..., lr], pair.msi[..., hr], pair.sensor, extent)).image
        first = 4 * inside.start - hr.start
        joined[..., 4 * inside.start : 4 * inside.stop] = image[..., first : first + 96]
    assert rms(joined - whole) < 0.1 * rms(whole - pair.reference)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_cuda_device_gives_the_same(fuse, make_pair):
    pair = make_pair()
    fused = fuse(replace(pair, hsi=pair.hsi.cuda(), msi=pair.msi.cuda()))
    assert fused.device.type == "cuda"
    assert rms(fused.cpu() - fuse(pair)) < 1e-3 * contrast(pair.reference)
