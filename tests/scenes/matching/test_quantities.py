"""Notes on pairs of which the images hold different quantities."""

import pytest

from hyperfuse.cube.header import Coding, CubeHeader
from hyperfuse.scenes.matching.quantities import quantity_note


def header(units="reflectance", product="X", **attributes):
    history = ({"step": "read", "product": product},) if product else ()
    return CubeHeader(shape=(3, 4, 4), coding=Coding(units=units), attributes=attributes, history=history)


TOA = "top-of-atmosphere reflectance"


@pytest.mark.parametrize(
    ("hsi", "msi", "quantities"),
    [
        (header(), header(quantity=TOA), ("surface reflectance", TOA)),
        (header(units="W m-2 sr-1 um-1"), header(), ("radiance", "surface reflectance")),
        (header(quantity="toa radiance"), header(quantity=TOA), ("radiance", TOA)),
    ],
)
def test_different_quantities_are_noted(hsi, msi, quantities):
    first, second = quantities
    assert quantity_note(hsi, msi).startswith(f"the HSI is {first}, the MSI {second}: the result is {first}")


@pytest.mark.parametrize(
    ("hsi", "msi"),
    [(header(), header()), (header(product=None), header(quantity=TOA)), (header(), header(product=None))],
)
def test_equal_and_unknown_ones_are_not(hsi, msi):
    assert quantity_note(hsi, msi) == ""
