"""Models as plain values: what is stored names no class, and comes back as it was."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from hyperfuse.methods.contract.state import StoredModel, from_state, to_state


@dataclass(frozen=True)
class Circle:
    radius: float


@dataclass(frozen=True)
class Square:
    side: float
    corners: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Drawing(StoredModel):
    shape: Circle | Square
    background: Circle | None
    weights: dict[float, dict[float, float]]
    images: list[torch.Tensor]
    size: tuple[int, str]
    details: Mapping[str, Any]
    _cache: list[int] = field(default_factory=list)


def drawing(shape):
    return Drawing(
        shape, None, {0.5: {1e-3: 1.0}}, [torch.ones(2), torch.zeros(0)], (3, "px"), {"end": "time", "rmse": [0.1]}, [7]
    )


@pytest.mark.parametrize("shape", [Circle(2.0), Square(1.0, ((0.0, 0.0), (1.0, 1.0)))])
def test_a_model_comes_back_without_a_class_in_the_file(shape, tmp_path):
    model = drawing(shape)
    torch.save(model.state(), tmp_path / "model.pt")
    found = Drawing.restore(None, torch.load(tmp_path / "model.pt", weights_only=True))
    assert type(found.shape) is type(shape)
    assert found.shape == shape
    assert found.background is None
    assert found.weights == model.weights
    assert [image.tolist() for image in found.images] == [[1.0, 1.0], []]
    assert found.size == (3, "px")
    assert found.details == model.details
    assert found._cache == []  # it can be computed again


def test_state_is_plain():
    state = to_state(drawing(Circle(2.0)))
    assert state["shape"] == {"radius": 2.0}
    assert "_cache" not in state
    assert from_state(Circle, {"radius": 2.0}) == Circle(2.0)


def test_what_is_not_plain_is_refused():
    with pytest.raises(TypeError, match="a function cannot be stored"):
        to_state(Circle(test_state_is_plain))
