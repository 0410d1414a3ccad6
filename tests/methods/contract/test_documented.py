"""The methods of docs/methods.md, as they stand there."""

import re
from pathlib import Path

import pytest
import torch

from hyperfuse.methods import PairTensors, get_method
from hyperfuse.methods.contract import registry

PAGE = Path(__file__).parents[3] / "docs" / "methods.md"


@pytest.fixture
def documented(monkeypatch):
    monkeypatch.setattr(registry, "_METHODS", dict(registry._METHODS))
    names = {"__name__": __name__}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), flags=re.DOTALL):
        exec(compile(block, str(PAGE), "exec", dont_inherit=True), names)


@pytest.mark.parametrize("name", ["mine", "mine-fitted"])
def test_a_documented_method_fuses_and_is_stored(documented, make_pair, name):
    pair, method = make_pair(), get_method(name)
    image = method(pair.hsi, pair.msi, pair.sensor)
    assert image.shape == pair.reference.shape
    window = PairTensors(pair.hsi, pair.msi, pair.sensor)
    restored = method.restore(method.fit([window]).state())
    assert torch.equal(restored.apply(window).image, image)
