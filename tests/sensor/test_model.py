"""The forward model: exact adjoints, scipy and literal loops as oracles, the YAML form."""

import copy
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from hyperfuse.errors import InputError
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.psf import BoxPsf, GaussianPsf, KernelPsf
from hyperfuse.sensor.srf.srf import Srf

KERNEL = KernelPsf(weights=((1, 2, 0), (0, 5, 3), (-1, 1, 4), (2, 0, 7)))
PSFS = st.one_of(
    st.builds(GaussianPsf, sigma=st.tuples(st.floats(0.3, 4), st.floats(0.3, 4))),
    st.builds(BoxPsf, width=st.tuples(st.floats(0.5, 6), st.floats(0.5, 6))),
    st.just(KERNEL),
)
RATIO = st.one_of(st.integers(1, 5).map(float), st.floats(1, 5))
SRF = Srf(np.array([[0.5, 0.5, 0.0, 0.0], [0.0, 0.1, 0.3, 0.6]]))
SENSORS = st.builds(
    Sensor,
    ratio=st.tuples(RATIO, RATIO),
    phase=st.one_of(st.none(), st.tuples(st.floats(-1, 4), st.floats(-1, 4))),
    psf=PSFS,
    boundary=st.sampled_from(["reflect", "circular"]),
    srf=st.just(SRF),
)
SIZES = st.tuples(st.integers(5, 23), st.integers(5, 23))
MODE = {"reflect": "reflect", "circular": "wrap"}


def noise(shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def assert_adjoint(forward, adjoint, x, y):
    left, right = (forward(x) * y).sum(), (x * adjoint(y)).sum()
    size = float(forward(x).norm() * y.norm() + x.norm() * adjoint(y).norm())
    assert abs(float(left - right)) <= 1e-13 * size


@settings(max_examples=60, deadline=None)
@given(sensor=SENSORS, size=SIZES, seed=st.integers(0, 99))
def test_degrade_adjoint_is_exact(sensor, size, seed):
    x = noise((3, *size), seed)
    shape = sensor.lr_shape(size)
    y = noise((3, *shape), seed + 1)
    assert_adjoint(sensor.degrade, lambda image: sensor.degrade_adjoint(image, size), x, y)


@settings(max_examples=10, deadline=None)
@given(size=SIZES, seed=st.integers(0, 99), leading=st.sampled_from([(), (2,), (2, 3)]))
def test_respond_adjoint_is_exact(size, seed, leading):
    sensor = Sensor(ratio=(2, 2), psf=KERNEL, srf=SRF)
    x, y = noise((*leading, 4, *size), seed), noise((*leading, 2, *size), seed + 1)
    assert_adjoint(sensor.respond, sensor.respond_adjoint, x, y)
    expected = np.einsum("mb,...bhw->...mhw", SRF.matrix, x.numpy())
    np.testing.assert_allclose(sensor.respond(x).numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("boundary", ["reflect", "circular"])
@pytest.mark.parametrize("ratio", [1, 2, 3, 5])
@pytest.mark.parametrize("size", [(20, 15), (21, 17)])
def test_degrade_is_scipy_gaussian_filter_and_slicing(boundary, ratio, size):
    sigma, phase = (1.3, 0.7), (ratio // 2, ratio - 1)
    sensor = Sensor(ratio=ratio, phase=phase, psf=GaussianPsf(sigma=sigma, radius=(5, 5)), boundary=boundary)
    image = noise((2, *size))
    blurred = np.stack([ndimage.gaussian_filter(band, sigma, mode=MODE[boundary], radius=5) for band in image.numpy()])
    expected = blurred[:, phase[0] :: ratio, phase[1] :: ratio]
    made = sensor.degrade(image, expected.shape[1:])
    np.testing.assert_allclose(made.numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("boundary", ["reflect", "circular"])
@pytest.mark.parametrize(("ratio", "phase"), [((2, 2), (0, 1)), ((3, 4), (1, 2)), ((1, 5), (0, 4))])
def test_degrade_with_any_kernel_is_scipy_correlation_and_slicing(boundary, ratio, phase):
    kernel = np.random.default_rng(0).uniform(0, 1, (3, 5))
    psf = KernelPsf(weights=tuple(map(tuple, kernel.tolist())))
    sensor = Sensor(ratio=ratio, phase=phase, psf=psf, boundary=boundary)
    image = noise((13, 16)).numpy()
    expected = ndimage.correlate(image, kernel / kernel.sum(), mode=MODE[boundary])
    expected = expected[phase[0] :: ratio[0], phase[1] :: ratio[1]]
    made = sensor.degrade(torch.as_tensor(image), expected.shape)
    np.testing.assert_allclose(made.numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("boundary", ["reflect", "circular"])
def test_degrade_at_an_odd_ratio_and_phase_is_the_literal_double_sum(boundary):
    ratio, phase, sigma = (2.4, 1.7), (0.3, -0.6), (1.1, 0.9)
    sensor = Sensor(ratio=ratio, phase=phase, psf=GaussianPsf(sigma=sigma), boundary=boundary)
    image = noise((7, 6)).numpy()
    padded = np.pad(image, 12, mode="symmetric" if boundary == "reflect" else "wrap")
    expected = np.zeros((2, 3))
    for i in range(2):
        for j in range(3):
            y, x = phase[0] + ratio[0] * i, phase[1] + ratio[1] * j
            value = total = 0.0
            for m in range(-12, 19):
                for n in range(-12, 18):
                    if abs(m - y) <= 4 * sigma[0] and abs(n - x) <= 4 * sigma[1]:
                        weight = np.exp(-((m - y) ** 2) / (2 * sigma[0] ** 2) - (n - x) ** 2 / (2 * sigma[1] ** 2))
                        value += weight * padded[m + 12, n + 12]
                        total += weight
            expected[i, j] = value / total
    assert sensor.lr_shape((7, 6)) == (2, 3)
    np.testing.assert_allclose(sensor.degrade(torch.as_tensor(image)).numpy(), expected, atol=1e-12)


def test_a_box_as_wide_as_a_whole_ratio_is_the_block_mean():
    image = noise((2, 12, 20))
    made = Sensor(ratio=(3, 4), psf=BoxPsf(width=(3, 4))).degrade(image)
    torch.testing.assert_close(made, image.reshape(2, 4, 3, 5, 4).mean((2, 4)), atol=1e-12, rtol=0)


@settings(max_examples=15, deadline=None)
@given(psf=PSFS, ratio=st.integers(1, 4), shift=st.tuples(st.integers(-3, 3), st.integers(-3, 3)))
def test_a_circular_scene_rolled_by_whole_lr_pixels_rolls_the_samples(psf, ratio, shift):
    sensor = Sensor(ratio=ratio, psf=psf, boundary="circular")
    image = noise((4 * ratio, 5 * ratio))
    rolled = image.roll((shift[0] * ratio, shift[1] * ratio), (0, 1))
    torch.testing.assert_close(sensor.degrade(rolled), sensor.degrade(image).roll(shift, (0, 1)), atol=1e-12, rtol=0)


@settings(max_examples=25, deadline=None)
@given(sensor=SENSORS, slope=st.tuples(st.floats(-1, 1), st.floats(-1, 1)))
def test_a_ramp_sampled_and_interpolated_comes_back_in_place(sensor, slope):
    shape, coarse = (40, 43), (8, 8)

    def ramp(y, x):
        return torch.as_tensor(3 + slope[0] * y[:, None] + slope[1] * x[None, :])

    rows, cols = (p + r * np.arange(8) for p, r in zip(sensor.offset, sensor.ratio, strict=True))
    fine = ramp(np.arange(40.0), np.arange(43.0))
    inside = (
        slice(max(0, int(np.ceil(rows[1]))), int(rows[6]) + 1),
        slice(max(0, int(np.ceil(cols[1]))), int(cols[6]) + 1),
    )
    for kernel in ("linear", "cubic"):
        made = sensor.upsample(ramp(rows, cols).expand(2, *coarse), shape, kernel)
        assert made.shape == (2, *shape)
        expected = fine.expand(2, *shape)[(..., *inside)]
        torch.testing.assert_close(made[(..., *inside)], expected, atol=1e-9, rtol=0)


@pytest.mark.parametrize("kernel", ["linear", "cubic"])
def test_a_symmetric_blur_of_a_ramp_upsampled_is_the_ramp(kernel):
    # Blur and interpolation meet at the same phase: nothing moves over the round trip.
    fine = (torch.arange(48.0, dtype=torch.float64)[:, None] + 2 * torch.arange(60.0, dtype=torch.float64))[None]
    for phase in (None, (0.0, 2.0), (1.5, -1.0)):
        sensor = Sensor(ratio=(3, 4), phase=phase, psf=GaussianPsf(sigma=(1, 1)))
        back = sensor.upsample(sensor.degrade(fine), (48, 60), kernel)
        torch.testing.assert_close(back[:, 12:36, 16:44], fine[:, 12:36, 16:44], atol=1e-10, rtol=0)


def test_float32_stays_float32_and_agrees_with_float64():
    sensor = Sensor(ratio=(3.2, 2), psf=GaussianPsf(sigma=(1, 1)), srf=SRF)
    image = noise((4, 32, 20))
    for function in (
        sensor.degrade,
        sensor.respond,
        lambda x: sensor.degrade_adjoint(x, (103, 40)),
        lambda x: sensor.upsample(x, (103, 40)),
        lambda x: sensor.respond_adjoint(x[:2]),
    ):
        single = function(image.float())
        assert single.dtype == torch.float32
        torch.testing.assert_close(single.double(), function(image), atol=1e-5, rtol=0)


def test_gradients_flow_also_after_inference_mode():
    sensor = Sensor(ratio=(2, 2), psf=KERNEL, srf=SRF)
    image = noise((4, 8, 6))
    with torch.inference_mode():
        sensor.respond(sensor.upsample(sensor.degrade(image), (8, 6)))
    assert torch.autograd.gradcheck(
        lambda x: sensor.respond(sensor.upsample(sensor.degrade(x), (8, 6))), image.requires_grad_()
    )


def test_lr_shape_counts_whole_lr_pixels():
    assert Sensor(ratio=4, psf=KERNEL).lr_shape((512, 515)) == (128, 128)
    assert Sensor(ratio=(3.2, 1.6), psf=KERNEL).lr_shape((32, 32)) == (10, 20)
    assert Sensor(ratio=1.1, psf=KERNEL).lr_shape((11, 33)) == (10, 30)  # 11 / 1.1 is a hair below 10
    with pytest.raises(InputError, match="holds no LR pixel"):
        Sensor(ratio=4, psf=KERNEL).lr_shape((3, 9))


def test_ratio_and_phase_by_default():
    sensor = Sensor(ratio=4, psf=KERNEL)
    assert (sensor.ratio, sensor.offset) == ((4, 4), (1.5, 1.5))
    uneven = Sensor(ratio=(2, 8), phase=1, psf=KERNEL)
    assert (uneven.offset, uneven.mean_ratio) == ((1, 1), 4)


def test_replace_makes_a_sensor_of_its_own():
    sensor = Sensor(ratio=2, psf=BoxPsf(width=(2, 2)))
    image = noise((1, 8, 8))
    before = sensor.degrade(image)
    moved = sensor.replace(phase=(0, 0), psf=BoxPsf(width=(1, 1)))
    torch.testing.assert_close(moved.degrade(image), image[:, ::2, ::2])
    torch.testing.assert_close(sensor.degrade(image), before)


def test_a_used_sensor_can_be_copied_and_sent_to_another_process():
    sensor = Sensor(ratio=2.5, psf=KERNEL, srf=SRF)
    image = noise((4, 10, 10))
    expected = sensor.degrade(image)
    for other in (copy.deepcopy(sensor), pickle.loads(pickle.dumps(sensor))):
        assert other.to_dict() == sensor.to_dict()
        assert torch.equal(other.degrade(image), expected)


@settings(max_examples=20, deadline=None)
@given(sensor=SENSORS, with_srf=st.booleans())
def test_yaml_round_trip(sensor, with_srf, tmp_path_factory):
    path = tmp_path_factory.mktemp("sensor") / "sensor.yaml"
    sensor = sensor if with_srf else sensor.replace(srf=None)
    sensor.save(path)
    back = Sensor.load(path)
    assert (back.ratio, back.phase, back.boundary, back.psf) == (
        sensor.ratio,
        sensor.phase,
        sensor.boundary,
        sensor.psf,
    )
    assert back.srf == sensor.srf
    image = noise((4, 12, 11))
    assert torch.equal(back.degrade(image), sensor.degrade(image))


def test_yaml_written_by_hand(tmp_path):
    path = tmp_path / "sensor.yaml"
    path.write_text("ratio: 3\npsf: {kind: box, width: [3, 3]}\n")
    sensor = Sensor.load(path)
    assert (sensor.ratio, sensor.offset, sensor.boundary, sensor.srf) == ((3, 3), (1, 1), "reflect", None)
    assert sensor.psf == BoxPsf(width=(3, 3))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- 1\n", "a sensor is a mapping"),
        ("", "a sensor is a mapping"),
        ("psf: {kind: box, width: [2, 2]}\n", "the key 'ratio' is missing"),
        ("ratio: 2\n", "the key 'psf' is missing"),
        ("ratio: 2\npsf: {kind: box, width: [2, 2]}\nphases: 1\n", "unknown key 'phases'"),
        ("ratio: 2\npsf: {kind: box, width: [2, 2]}\n3: 1\nphases: 1\n", "unknown key '3'"),
        ("ratio: two\npsf: {kind: box, width: [2, 2]}\n", "the ratio is one number or a pair"),
        ("ratio: [2, 3, 4]\npsf: {kind: box, width: [2, 2]}\n", "the ratio is one number or a pair"),
        ("ratio: 0.5\npsf: {kind: box, width: [2, 2]}\n", "are HSI and MSI swapped"),
        ("ratio: .nan\npsf: {kind: box, width: [2, 2]}\n", "the ratio is one number or a pair"),
        ("ratio: 2\nphase: [0, .inf]\npsf: {kind: box, width: [2, 2]}\n", "the phase is one number or a pair"),
        ("ratio: 2\npsf: {kind: box, width: [2, 0]}\n", "psf.width.1: input should be greater than 0"),
        ("ratio: 2\npsf: {kind: gaussian, sigma: [.inf, 1]}\n", "psf.sigma.0: input should be a finite number"),
        ("ratio: 2\npsf: {kind: cone}\n", "psf.kind: no psf is called 'cone'; known: box, gaussian, kernel"),
        ("ratio: 2\npsf:\n", "the sensor is wrong: psf: should be a mapping"),
        ("ratio: 2\npsf: {kind: box, width: [2, 2]}\nboundary: zero\n", "no boundary 'zero'"),
        ("ratio: 2\npsf: {kind: box, width: [2, 2]}\nsrf: {names: [red]}\n", "the srf has no matrix"),
        ("ratio: [2\n", "not a YAML file"),
    ],
)
def test_a_file_that_is_no_sensor_is_refused_in_one_line(tmp_path, text, message):
    path = tmp_path / "sensor.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        Sensor.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_or_not_text(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        Sensor.load(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(InputError, match="not a YAML file"):
        Sensor.load(tmp_path / "binary.yaml")


def test_responses_that_are_missing_or_do_not_fit():
    sensor = Sensor(ratio=2, psf=KERNEL)
    with pytest.raises(InputError, match="not known; give them"):
        sensor.respond(torch.zeros(4, 2, 2))
    with pytest.raises(InputError, match="not known; give them"):
        sensor.respond_adjoint(torch.zeros(2, 2, 2))
    sensor = sensor.replace(srf=SRF)
    with pytest.raises(InputError, match="are for 4 bands, the image has 3"):
        sensor.respond(torch.zeros(3, 2, 2))
    with pytest.raises(InputError, match="make 2 bands, the image has 3"):
        sensor.respond_adjoint(torch.zeros(3, 2, 2))
