from typing import Annotated, ClassVar, Literal

import pytest
from pydantic import Field, TypeAdapter, ValidationError, model_validator

from hyperfuse.settings import Setting, Settings, describe, list_settings


class Box(Settings):
    kind: Literal["box"] = "box"
    width: tuple[Annotated[float, Field(gt=0)], float]


class Gaussian(Settings):
    kind: Literal["gaussian"] = "gaussian"
    sigma: float


Blur = Annotated[Box | Gaussian, Field(discriminator="kind")]


class Camera(Settings):
    renamed: ClassVar = {"exposure_time": "exposure"}

    exposure: float = 1.0
    blur: Blur | None = None
    gain: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _check(self):
        if self.gain > 10 and self.exposure > 1:
            raise ValueError("gain and exposure are both high; reduce one")
        return self


def refused(values, kind=Camera, **words):
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(kind).validate_python(values)
    return describe(caught.value, kind, **words)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"gian": 2}, "no key 'gian'; did you mean 'gain'?"),
        ({"exposure_time": 2}, "the key 'exposure_time' is called 'exposure' now"),
        ({"gain": 0}, "gain: input should be greater than or equal to 1 (given: 0)"),
        ({"gain": 11, "exposure": 2}, "gain and exposure are both high; reduce one"),
        ({"blur": {"kind": "boks"}}, "blur.kind: no blur is called 'boks'; did you mean 'box'?"),
        ({"blur": {}}, "the key 'blur.kind' is missing"),
        ({"blur": {"kind": "box"}}, "the key 'blur.width' is missing"),
        ({"blur": {"kind": "gaussian", "sgima": 1}}, "no key 'blur.sgima'; did you mean 'sigma'?"),
        ({"blur": {"kind": "box", "width": [0, 1]}}, "blur.width.0: input should be greater than 0 (given: 0)"),
        ({"blur": 3}, "blur: should be a mapping (given: 3)"),
        ({"exposure": float("nan")}, "exposure: input should be a finite number (given: nan)"),
        (
            {"blur": {"kind": "gaussian", "sigma": float("inf")}},
            "blur.sigma: input should be a finite number (given: inf)",
        ),
    ],
)
def test_the_first_error_is_one_line_that_names_the_key(values, message):
    assert refused(values) == message


def test_the_noun_and_the_root_are_the_callers():
    assert refused({"gian": 2}, noun="setting", root="camera") == "no setting 'camera.gian'; did you mean 'gain'?"
    assert refused({"kind": "boks"}, Blur, root="psf") == "psf.kind: no psf is called 'boks'; did you mean 'box'?"
    found = refused({"kind": "box", "width": [1, "x"]}, Blur, root="psf")
    assert found.startswith("psf.width.1: input should be a valid number")


def test_settings_without_fields_have_none():
    assert refused({"gain": 1}, type("Nothing", (Settings,), {}), noun="setting") == "no setting 'gain'; there are none"


def test_settings_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        Camera().gain = 2


def test_texts_of_settings_come_from_the_docstring():
    class Lens(Settings):
        """A lens.

        Attributes:
            first: one line.
            second: a text that
                continues, ``so``.

        Example:
            third: not a setting
        """

        first: int = 1
        second: tuple[int, ...] = Field(default_factory=lambda: (1, 2))
        third: str = Field(default="x", description="its own")

    assert list_settings(Lens) == [
        Setting("first", 1, "one line."),
        Setting("second", (1, 2), "a text that continues, so."),
        Setting("third", "x", "its own"),
    ]
