"""``hyperfuse align``: find how an HSI lies on an MSI, and bring the MSI to the HSI."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from hyperfuse.cli.failures import with_options_in_text
from hyperfuse.cli.inputs import files_named, prefixed
from hyperfuse.cli.options import (
    COMMON,
    INPUT,
    MSI_INPUT,
    OUTPUT,
    CommonOptions,
    InputOptions,
    MsiInputOptions,
    OutputOptions,
    parse_pair,
)
from hyperfuse.cli.outputs import check_output, check_outputs_differ, describe_output, write_style
from hyperfuse.cli.session import Session
from hyperfuse.progress import part

if TYPE_CHECKING:
    from hyperfuse.cube.header import CubeHeader

_FOUND = 0.8  # of the progress of a command that writes an image too
_UNITS = {"lr_pixels": "HSI pixels", "hr_pixels": "MSI pixels", "metres": "metres"}
_STATISTICS = {"median": "median", "rmse": "RMSE", "ce90": "CE90", "max": "max"}


def align(
    hsi: str,
    msi: str,
    out: str | None = None,
    /,
    *,
    displacement: str | None = None,
    displacement_from: str | None = None,
    search: float | None = None,
    psf: str | None = None,
    ratio: str | None = None,
    same_ground: bool = False,
    mask: str | None = None,
    json: bool = False,
    reading: InputOptions = INPUT,
    msi_reading: MsiInputOptions = MSI_INPUT,
    writing: OutputOptions = OUTPUT,
    common: CommonOptions = COMMON,
    session: Annotated[Session, Parameter(parse=False)],
) -> None:
    """Find how an HSI lies on an MSI, and write the MSI on the HSI's geometry.

    What `hyperfuse fuse` finds before it fuses, alone: the model (none, shift, scale, affine or a smooth field), the
    tie points, and how far they lie off before and after. `fuse` needs no aligned files: it resamples nothing.

    Args:
        hsi: Hyperspectral image of low resolution.
        msi: Multispectral or panchromatic image of high resolution, of the same area.
        out: Image to write: the MSI where the HSI states its pixels to lie, resampled once (cubic).
        displacement: Map to write (GeoTIFF): how far the HSI's pixels lie off, along rows and columns, in metres; for
            --displacement-from of `fuse`.
        displacement_from: Map of this scene that is applied in place of an estimate.
        search: How far off the files' positions HSI may lie, in metres. Default: 350.
        psf: Blur of the HSI in MSI pixels: sigma:1.5, fwhm:3, mtf:0.3, box. Default: estimated.
        ratio: MSI pixels per HSI pixel, such as 3 or 3.2, or 4,2 for y,x. Default: from the files.
        same_ground: HSI and MSI cover the same ground, corner to corner, although only one of them is georeferenced.
        mask: One-band image on the MSI's grid; pixels that are not 0 (clouds) are not used.
        json: Print what was found as JSON.
        reading: How HSI is read.
        msi_reading: How MSI is read.
        writing: How OUT is written.
        common: Options of every command.
        session: Where results and notes go.
    """
    from hyperfuse.cli.app import options_of
    from hyperfuse.io import ReadOptions, WriteOptions
    from hyperfuse.scenes.registration import align as align_pair

    hsi_files, msi_files = files_named(hsi), files_named(msi)
    inputs = [*hsi_files, *msi_files, *(path for path in (mask, displacement_from) if path is not None)]
    outputs = [
        (path, check_output(path, how, inputs=inputs))
        for path, how in ((out, writing), (displacement, replace(writing, dtype="float64", style=None)))
        if path is not None
    ]
    if len(outputs) > 1:
        check_outputs_differ(outputs)
    with prefixed("msi_"):
        msi_options = ReadOptions(**msi_reading.keywords(reading, msi_files[0]))
    with session.progress("registering") as progress:
        found = align_pair(
            hsi_files,
            msi_files,
            psf=psf,
            ratio=parse_pair(ratio, "--ratio"),
            same_ground=same_ground,
            displacement=displacement_from,
            search=search,
            mask=mask,
            reading=ReadOptions(**reading.keywords()),
            msi_reading=msi_options,
            progress=progress if out is None else part(progress, 0.0, _FOUND),
        )
        written: dict[str, CubeHeader] = {}
        if out is not None:
            options = WriteOptions(dtype=writing.dtype, compress=writing.compress)
            written[out] = found.write(out, options, overwrite=writing.overwrite, progress=part(progress, _FOUND, 1.0))
            write_style(out, writing)
        if displacement is not None:
            found.displacement.write(displacement, overwrite=writing.overwrite)
            written[displacement] = found.displacement.to_cube().header
    names = options_of(["align"])
    for note in found.notes:
        session.note(f"note: {with_options_in_text(note, names)}")
    values = found.evidence.to_dict()
    if json:
        session.result_json({**values, "notes": list(found.notes)})
    else:
        for label, text in _lines(values):
            session.result(f"{label:<13} {text}".rstrip())
    for path, files in outputs:
        session.wrote(*files)
        session.note(describe_output(path, files, written[path], session.seconds))


def _lines(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Give labels and texts of what was found."""
    yield "model", values["model"]
    if values["doubt"]:
        yield "not accepted", values["doubt"]
    points = values["tie_points"]
    if points["tried"]:
        yield (
            "tie points",
            f"{points['kept']} kept, {points['reliable']} reliable, {points['tried']} tried; they cover"
            f" {points['coverage']:.0%} of the HSI",
        )
    explained = values["explained_variance"]
    if explained is not None:
        yield "explained", f"{explained['before']:.2%} of the MSI before, {explained['after']:.2%} after (held out)"
    for one in values.get("detectors", ()):
        y, x = one["shift"]["lr_pixels"]
        yield "detector", f"{one['name']} (bands {one['bands']}): {y:+.3f},{x:+.3f} HSI pixels (y,x) from there"
    yield "", f"{'':<10} " + " ".join(f"{title:>9}" for title in _STATISTICS.values())
    for name, label in (("displacement", "displacement"), ("before", "off before"), ("after", "off after")):
        for unit, sizes in (values[name] or {}).items():
            yield label, f"{_UNITS[unit]:<10} " + " ".join(f"{sizes[key]:>9.3f}" for key in _STATISTICS)
            label = ""
