"""What two images are of: surface reflectance, reflectance at the top of the atmosphere, radiance."""

from __future__ import annotations

from hyperfuse.cube.header import CubeHeader


def quantity_note(hsi: CubeHeader, msi: CubeHeader) -> str:
    """Return a sentence where two products hold different quantities, empty where that is not known."""
    first, second = _quantity(hsi), _quantity(msi)
    if first is None or second is None or first == second:
        return ""
    return (
        f"the HSI is {first}, the MSI {second}: the result is {first}, and what the atmosphere adds to one of them is"
        " not modelled"
    )


def _quantity(header: CubeHeader) -> str | None:
    """Return what the product of an image holds; None of an image that is no product."""
    stated = header.attributes.get("quantity")
    if stated is not None:
        return stated.removeprefix("toa ")
    read = header.history[0] if header.history else {}
    if "product" not in read:
        return None
    return "surface reflectance" if header.coding.units == "reflectance" else "radiance"
