"""YAML from any source: the same plain values as PyYAML's, or one line."""

import time

import pytest
import yaml

from hyperfuse.errors import InputError
from hyperfuse.sensor.model import Sensor
from hyperfuse.training.configuration import load_config
from hyperfuse.yaml_text import load_yaml, parse_yaml

BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
SENSOR = "ratio: [2, 2.0]\npsf: {kind: gaussian, sigma: [1.0, 1.0]}\nsrf: null # none\n"


def test_plain_values_are_those_of_pyyaml():
    assert parse_yaml(SENSOR) == yaml.safe_load(SENSOR)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, r"not a YAML file \(\*a refers to another value; write the value out\)"),
        ("[" * 100_000, "nested too deeply"),
        ("ratio: " + "9" * 5000, "4300 digits"),
        ("when: 2001-13-45", "month must be in 1..12"),
        ("!!python/object/apply:os.system [true]", "could not determine a constructor"),
        ("x" * (4 * 2**20 + 1), "larger than 4 MB"),
    ],
)
@pytest.mark.parametrize("load", [load_yaml, Sensor.load, load_config])
def test_what_is_no_file_of_settings_is_one_short_line(tmp_path, text, said, load):
    path = tmp_path / "sensor.yaml"
    path.write_text(text)
    start = time.monotonic()
    with pytest.raises(InputError, match=said) as caught:
        load(path)
    assert len(str(caught.value)) < 300 + len(str(path))
    assert "\n" not in str(caught.value)
    assert time.monotonic() - start < 5


def test_values_that_are_refused_are_shortened(tmp_path):
    path = tmp_path / "sensor.yaml"
    path.write_text(f"ratio: {list(range(9999))}\npsf: {{kind: gaussian, sigma: [1.0, 1.0]}}\n")
    with pytest.raises(InputError, match=r"ratio is one number or a pair .*…$"):
        Sensor.load(path)
    path.write_text(f"ratio: 2\npsf: {{kind: gaussian, sigma: {list(range(9999))}}}\n")
    with pytest.raises(InputError, match="…"):
        Sensor.load(path)
