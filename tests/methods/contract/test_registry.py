"""The table of methods: names, settings, and the pairs that no method is given."""

import pytest
import torch
from pydantic import Field

from hyperfuse.errors import InputError
from hyperfuse.methods.contract import registry
from hyperfuse.methods.contract.method import Capabilities, MethodSettings
from hyperfuse.methods.contract.registry import get_method, list_methods, register_method
from hyperfuse.sensor.presets import create_sensor
from hyperfuse.sensor.srf.srf import Srf


class EchoSettings(MethodSettings):
    strength: float = Field(default=1.0, ge=0, le=10)
    rounds: int = 3


@pytest.fixture
def echo(monkeypatch):
    """A method for this test alone; it returns its arguments."""
    monkeypatch.setattr(registry, "_METHODS", dict(registry._METHODS))

    @register_method(
        "echo",
        settings=EchoSettings,
        summary="echo",
        reference="none",
        cost="seconds",
        capabilities=Capabilities(needs_srf=True),
    )
    def run(hsi, msi, sensor, settings, progress):
        progress(0.5, "echoing")
        return hsi, msi, sensor, settings

    return get_method("echo")


def pair(shape=(4, 3, 3), msi_bands=2, ratio=2):
    sensor = create_sensor("mtf", ratio, Srf([[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]]))
    return torch.rand(shape), torch.rand(msi_bands, shape[1] * ratio, shape[2] * ratio), sensor


def test_every_method_is_listed_by_name_with_what_a_user_needs():
    methods = list_methods()
    names = [method.name for method in methods]
    assert names == sorted(names)
    assert {"bicubic", "regression", "local-regression", "gsa", "mtf-glp-hs"} <= set(names)
    for method in methods:
        assert get_method(method.name) is method
        assert method.summary
        assert method.reference
        assert method.cost in ("seconds", "minutes")
        assert "\n" not in method.summary + method.reference
        method.configure()  # defaults are complete


def test_an_unknown_method_is_refused_with_the_nearest_name():
    with pytest.raises(InputError, match=r"^no method 'local_regression'; did you mean 'local-regression'\?$"):
        get_method("local_regression")


def test_a_name_is_given_once(echo):
    with pytest.raises(ValueError, match="'echo' is registered already"):
        register_method("echo", settings=EchoSettings, summary="", reference="", cost="seconds")(lambda *_: None)
    assert get_method("echo") is echo


@pytest.mark.parametrize("capabilities", [Capabilities(seed=True), Capabilities(budget=True, uncertainty=True)])
def test_a_capability_without_its_setting_is_refused(echo, capabilities):
    with pytest.raises(ValueError, match=r"the capability .* and the setting .* go together"):
        register_method(
            "able", settings=EchoSettings, summary="", reference="", cost="seconds", capabilities=capabilities
        )(lambda *_: None)


def test_settings_come_from_keywords_and_texts_and_do_not_change(echo):
    settings = echo.configure(strength="2.5")
    assert settings == EchoSettings(strength=2.5, rounds=3)
    with pytest.raises(ValueError, match="frozen"):
        settings.rounds = 4


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"strenght": 1}, "method 'echo': no setting 'strenght'; did you mean 'strength'?"),
        ({"strength": 11}, "method 'echo': strength: input should be less than or equal to 10"),
        ({"strength": "much"}, "method 'echo': strength: "),
        ({"rounds": 2.5}, "method 'echo': rounds: "),
    ],
)
def test_wrong_settings_are_refused_in_one_line(echo, values, message):
    with pytest.raises(InputError) as error:
        echo.configure(**values)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_a_method_without_settings_says_so():
    with pytest.raises(InputError, match="method 'bicubic': no setting 'ridge'; there are none"):
        get_method("bicubic").configure(ridge=1)


def test_a_fitting_pair_reaches_the_method_as_it_is(echo):
    hsi, msi, sensor = pair()
    heard = []
    settings = echo.configure(rounds=5)
    given = echo(hsi, msi, sensor, settings, lambda fraction, message="": heard.append((fraction, message)))
    assert given[0] is hsi
    assert given[1] is msi
    assert given[2] is sensor
    assert given[3] is settings
    assert heard == [(0.5, "echoing")]
    assert echo(hsi, msi, sensor)[3] == EchoSettings()


def test_settings_of_another_method_are_refused(echo):
    with pytest.raises(InputError, match="takes EchoSettings, got BicubicSettings"):
        echo(*pair(), get_method("bicubic").configure())


def test_a_method_that_needs_the_responses_says_so(echo):
    hsi, msi, sensor = pair()
    with pytest.raises(InputError, match="the method echo needs the spectral responses of the MSI; pass srf="):
        echo(hsi, msi, sensor.replace(srf=None))


def with_bad_value(value):
    def change(hsi, msi, sensor):
        hsi[1, 2, 0] = value
        return hsi, msi, sensor

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h, m, s: (h[0], m, s), "the HSI has the shape"),
        (lambda h, m, s: (h, m[None], s), "the MSI has the shape"),
        (lambda h, m, s: (h, m[:0], s), "the MSI has the shape"),
        (lambda h, m, s: (h.int(), m, s), "the HSI holds torch.int32"),
        (lambda h, m, s: (h, m.double(), s), "differ in type or device"),
        (with_bad_value(float("nan")), "the HSI holds NaN or infinite values .*pass nodata=nan"),
        (with_bad_value(float("inf")), "the HSI holds NaN or infinite values"),
        (lambda h, m, s: (h, m[:, :3], s), "3 HSI rows at a ratio of 2 do not fit 3 MSI rows"),
        (lambda h, m, s: (h, torch.rand(2, 6, 12), s), "3 HSI columns at a ratio of 2 do not fit 12 MSI columns"),
        (lambda h, m, s: (h, m, s.replace(ratio=4, phase=None)), "3 HSI rows at a ratio of 4 do not fit 6"),
        (lambda h, m, s: (h, m, s.replace(phase=(0.5, 9))), "3 HSI columns"),
        (lambda h, m, s: (h, m, s.replace(phase=(-3, 0.5))), "3 HSI rows"),
        (lambda h, m, s: (h[:3], m, s), "turn 4 bands into 2; the HSI has 3 and the MSI 2"),
        (lambda h, m, s: (h, m[:1], s), "turn 4 bands into 2; the HSI has 4 and the MSI 1"),
    ],
)
def test_a_pair_that_does_not_fit_is_refused_before_any_work(echo, change, message):
    with pytest.raises(InputError, match=message):
        echo(*change(*pair()))


@pytest.mark.parametrize("preset", ["uestc", "dhif", "mtf"])
@pytest.mark.parametrize("ratio", [2, 3, 4, 5, 8])
@pytest.mark.parametrize("extra", [0, 1])
def test_pairs_of_every_preset_fit(echo, preset, ratio, extra):
    sensor = create_sensor(preset, ratio, Srf([[1.0]]))
    hsi, msi = torch.rand(1, 2, 3), torch.rand(1, 2 * ratio + extra, 3 * ratio)
    assert echo(hsi, msi, sensor)[0] is hsi
