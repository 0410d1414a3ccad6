"""``hyperfuse fuse``: the main job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from hyperfuse.cli.inputs import name_of, naming, read_image, read_mask, sensor_beside
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
    parse_settings,
)
from hyperfuse.cli.outputs import check_output, describe_output
from hyperfuse.cli.session import Session
from hyperfuse.scenes import DEFAULT_METHOD

if TYPE_CHECKING:
    from hyperfuse.cube import Cube
    from hyperfuse.sensor import Sensor


def fuse(
    hsi: str,
    msi: str,
    out: str,
    /,
    *,
    method: str = DEFAULT_METHOD,
    set_: Annotated[
        tuple[str, ...],
        Parameter(name="--set", help="A setting of the method, NAME=VALUE; repeat for more."),
    ] = (),
    sensor: str | None = None,
    srf: str | None = None,
    psf: str | None = None,
    ratio: str | None = None,
    phase: str | None = None,
    mask: str | None = None,
    device: str = "auto",
    seed: int = 0,
    reading: InputOptions = INPUT,
    msi_reading: MsiInputOptions = MSI_INPUT,
    writing: OutputOptions = OUTPUT,
    common: CommonOptions = COMMON,
    session: Annotated[Session, Parameter(parse=False)],
) -> None:
    """Fuse an LR-HSI with an HR-MSI into one image that has both resolutions.

    A file may name a variable (scene.mat:cube); a quoted pattern ('tile_*.tif') is a set of tiles, merged.

    Args:
        hsi: Hyperspectral image of low resolution.
        msi: Multispectral or panchromatic image of high resolution, of the same place.
        out: Image to write; its extension is its format.
        method: How to fuse; `hyperfuse methods` lists them.
        sensor: YAML file with ratio, phase, PSF and SRF; sensor.yaml beside HSI unless given.
        srf: Spectral responses of the MSI: sentinel-2a, nikon-d700, boxes:6, gaussian:450/60,550/60, a table.
        psf: Blur of the HSI in MSI pixels: sigma:1.5, fwhm:3, mtf:0.3, box.
        ratio: MSI pixels an HSI pixel, such as 3 or 3.2, or 4,2 for y,x; from the files unless given.
        phase: Centre of the first HSI pixel in MSI pixels, one number or y,x; from the files unless given.
        mask: One-band image on the MSI's grid; pixels that are not 0 (clouds) are not used and become gaps.
        device: Where to compute: auto, cpu, cuda, cuda:1.
        set_: Settings of the method.
        seed: Seed of methods that draw random numbers.
        reading: How HSI is read.
        msi_reading: How MSI is read.
        writing: How OUT is written.
        common: Options of every command.
        session: Where results and notes go.
    """
    from hyperfuse.io import write
    from hyperfuse.methods import get_method
    from hyperfuse.scenes.fuse import fuse as fuse_cubes

    inputs = [path for path in (hsi, msi, mask, sensor) if path is not None]
    written = check_output(out, writing, inputs=inputs)
    settings = parse_settings(set_)
    grid = {"ratio": parse_pair(ratio, "--ratio"), "phase": parse_pair(phase, "--phase")}
    get_method(method).configure(**settings)  # refuses a wrong name or setting before files are read

    described = _sensor(sensor, hsi, session)
    hsi_cube = read_image(hsi, **reading.keywords())
    msi_cube = read_image(msi, **msi_reading.keywords(reading))
    distrusted = None if mask is None else read_mask(mask, msi_cube, "MSI")
    with session.progress("fusing") as report, naming(hsi, msi):
        fused = fuse_cubes(
            hsi_cube,
            msi_cube,
            method=method,
            sensor=described,
            srf=srf,
            psf=psf,
            **grid,
            mask=distrusted,
            device=device,
            seed=seed,
            settings=settings,
            progress=report,
        )
    named = {"hsi": name_of(hsi), "msi": name_of(msi)} | ({} if mask is None else {"mask": name_of(mask)})
    fused = _with_inputs(fused, named)
    write(out, fused, dtype=writing.dtype, compress=writing.compress, overwrite=writing.overwrite)
    session.note(describe_output(out, written, fused, session.seconds))


def _sensor(path: str | None, hsi: str, session: Session) -> Sensor | None:
    from hyperfuse.sensor import Sensor

    if path is not None:
        return Sensor.load(path)
    beside = sensor_beside(hsi)
    if beside is None:
        return None
    session.note(f"sensor: {beside}")
    return Sensor.load(beside)


def _with_inputs(fused: Cube, named: dict[str, str]) -> Cube:
    """Return the image with the names of its inputs in the last step of its history."""
    *earlier, last = fused.history
    step: dict[str, Any] = {**last, "inputs": named}
    return fused.replace(history=(*earlier, step))
