"""``hyperfuse evaluate``: scores of a fused image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

from cyclopts import Parameter

from hyperfuse.cli.inputs import naming, read_image, read_mask
from hyperfuse.cli.options import (
    COMMON,
    FUSED_INPUT,
    INPUT,
    CommonOptions,
    FusedInputOptions,
    InputOptions,
    parse_pair,
)
from hyperfuse.cli.session import Session
from hyperfuse.errors import InputError

# Digits of these scores where tables of many images have one less.
_DIGITS = {"ergas": ".4f", "ssim": ".5f", "uiqi": ".5f", "cc": ".5f"}


def evaluate(
    reference: Annotated[str, Parameter(name="REF")],
    fused: str,
    /,
    *,
    ratio: str,
    json: bool = False,
    mask: str | None = None,
    peak: float | None = None,
    clip: Annotated[bool | None, Parameter(negative="--no-clip")] = None,
    reading: InputOptions = INPUT,
    fused_reading: FusedInputOptions = FUSED_INPUT,
    common: CommonOptions = COMMON,
    session: Annotated[Session, Parameter(parse=False)],
) -> None:
    """Score a fused image against the reference.

    Both are compared as images: orientation, extent and order of bands follow their metadata, other grids and units are
    refused.

    Args:
        reference: Image to compare with.
        fused: Image to score, on the same grid, in any orientation.
        ratio: MSI pixels per HSI pixel, such as 4, or 4,2 for y,x (for ERGAS).
        json: Write the scores as JSON.
        mask: One-band image on the same grid; pixels that are not 0 are excluded.
        peak: Peak value for PSNR and SSIM; default: 1 where REF lies in [0, 1], else its maximum.
        clip: Clip FUSED to [0, peak] first; default: where REF lies in [0, 1].
        reading: How REF is read.
        fused_reading: How FUSED is read.
        common: Options of every command.
        session: Where results and notes go.
    """
    import numpy as np

    from hyperfuse.metrics import METRIC_COLUMNS
    from hyperfuse.metrics import evaluate as score

    pair = parse_pair(ratio, "--ratio")
    assert pair is not None  # a required option
    session.step(0.0, "reading")
    truth = read_image(reference, **reading.keywords())
    image = read_image(fused, prefix="fused_", **fused_reading.keywords())
    left_out = None if mask is None else read_mask(mask, truth, "reference")
    scored = None if left_out is None else np.logical_not(left_out)
    session.step(0.4, "scoring")
    with naming(reference, fused), _fused_scale():
        scores = score(truth, image, pair, mask=scored, peak=peak, clip=clip)
    if json:
        session.result_json(dict(scores))
        return
    for column in METRIC_COLUMNS:
        value: Any = scores[column.key]  # type: ignore[literal-required]  # the keys are the columns' own
        form = _DIGITS.get(column.key, column.format)
        session.result(f"{column.title:<20}{value:>10{form}} {column.unit}".rstrip())
    session.result(_conditions(scores))


def _conditions(scores: Mapping[str, Any]) -> str:
    """Describe the conditions of the scores: peak, clipping, excluded bands and pixels, and the convention."""
    clipped = scores["clipped"]
    lines = [
        f"ratio {scores['ratio']:g}, peak {scores['peak']:g}, "
        + ("not clipped" if clipped is None else f"clipped to [{clipped[0]:g}, {clipped[1]:g}]"),
        f"{scores['bands_used']} bands ({scores['bands_left_out']} left out: bad, empty or constant), "
        f"{scores['pixels']} pixels ({scores['pixels_left_out']} left out: gaps and mask; "
        f"for SAM {scores['pixels_left_out_sam']} more without a spectrum, "
        f"{scores['pixels_left_out_sam_bright']} more that are not bright)",
        str(scores["convention"]),
    ]
    return "\n".join(lines)


@contextmanager
def _fused_scale() -> Iterator[None]:
    """Name the parameter that scales FUSED where an InputError that is raised inside says to scale that image."""
    try:
        yield
    except InputError as error:
        message = str(error).replace("read the fused image with scale=", "read the fused image with fused_scale=")
        raise InputError(message, error.parameter) from error
