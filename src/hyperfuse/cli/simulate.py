"""``hyperfuse simulate``: a pair from a reference."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from hyperfuse.cli.inputs import file_of, files_named, naming, read_image
from hyperfuse.cli.options import COMMON, INPUT, OUTPUT, CommonOptions, InputOptions, OutputOptions, Whole, parse_pair
from hyperfuse.cli.outputs import check_folder, write_style, writing_folder
from hyperfuse.cli.session import Session
from hyperfuse.errors import InputError

if TYPE_CHECKING:
    from hyperfuse.cube.cube import Cube
    from hyperfuse.sensor.displacement import Displacement


def simulate(
    reference: Annotated[str, Parameter(name="REF")],
    outdir: Path,
    /,
    *,
    ratio: str,
    srf: str,
    preset: str = "mtf",
    psf: str | None = None,
    phase: str | None = None,
    snr_hsi: float | None = None,
    snr_msi: float | None = None,
    seed: Whole = 0,
    drop_uncovered: bool = False,
    displacement_from: Path | None = None,
    format: str | None = None,
    reading: InputOptions = INPUT,
    writing: OutputOptions = OUTPUT,
    common: CommonOptions = COMMON,
    session: Annotated[Session, Parameter(parse=False)],
) -> None:
    """Make a pair from a reference image: hsi, msi and sensor.yaml in a folder.

    All files are written, or none. Where the reference is not a whole number of HSI pixels it is cropped, and written
    to the folder as `reference`, to evaluate against. `fuse` uses sensor.yaml by default.

    Args:
        reference: Image of high resolution in space and spectrum.
        outdir: Folder to write to.
        ratio: MSI pixels per HSI pixel, such as 4 or 3.2, or 4,2 for y,x.
        preset: Blur, phase and border: uestc and dhif as published networks are tested, mtf as in remote sensing.
        srf: Spectral responses of the MSI: sentinel-2a, nikon-d700, boxes:6, gaussian:450/60,550/60, a table.
        psf: Blur in place of the preset's: sigma:1.5, fwhm:3, mtf:0.3, box.
        phase: Centre of the first HSI pixel in MSI pixels, one number or y,x, in place of the preset's.
        snr_hsi: Signal-to-noise ratio of every band of the HSI in dB. Default: no noise.
        snr_msi: Signal-to-noise ratio of every band of the MSI in dB. Default: no noise.
        seed: Seed of the noise.
        drop_uncovered: Leave out MSI bands that REF does not cover, instead of failing.
        displacement_from: How far the HSI's pixels lie from their regular positions: YAML of that, or of a sensor that
            displaces them, or a map that fuse wrote.
        format: Extension of the files to write, such as tif. Default: that of REF.
        reading: How REF is read.
        writing: How the images are written.
        common: Options of every command.
        session: Where results and notes go.
    """
    from hyperfuse.io import write
    from hyperfuse.io.formats.registry import format_of
    from hyperfuse.scenes.simulate import simulate as simulate_pair

    factor, start = parse_pair(ratio, "--ratio"), parse_pair(phase, "--phase")
    assert factor is not None  # a required option
    extension = file_of(reference).suffix if format is None else f".{format.removeprefix('.')}"
    if format is None and ((known := format_of(Path(f"_{extension}"))) is None or known.writer is None):
        raise InputError(f"{reference}: files of its format are only read; state format=tif or the like", "format")
    names = (f"hsi{extension}", f"msi{extension}")
    check_folder(outdir, names, ["sensor.yaml"], writing, inputs=files_named(reference))

    displacement = None if displacement_from is None else _displacement(displacement_from)
    session.step(0.0, "reading")
    cube = read_image(reference, **reading.keywords())
    session.step(0.2, "degrading")
    with naming(reference):
        pair = simulate_pair(
            cube,
            ratio=factor,
            preset=preset,
            srf=srf,
            psf=psf,
            phase=start,
            hsi_snr_db=snr_hsi,
            msi_snr_db=snr_msi,
            seed=seed,
            drop_uncovered=drop_uncovered,
            displacement=displacement,
        )
    images: dict[str, Cube] = {names[0]: pair.hsi, names[1]: pair.msi}
    if (pair.reference.rows, pair.reference.cols) != (cube.rows, cube.cols):
        cropped = f"reference{extension}"
        check_folder(outdir, [cropped], [], writing, inputs=files_named(reference))
        images[cropped] = pair.reference
        session.note(
            f"the reference of {cube.rows}x{cube.cols} pixels was cropped at the top left to "
            f"{pair.reference.rows}x{pair.reference.cols}; evaluate against {outdir / cropped}"
        )
    with writing_folder(outdir) as scratch:
        for name, image in images.items():
            session.step(0.6, f"writing {name}")
            write(scratch / name, image, dtype=writing.dtype, compress=writing.compress)
            write_style(str(scratch / name), writing)
        written = sorted(file.name for file in scratch.iterdir())  # of an ENVI image two files, and styles
        pair.sensor.save(scratch / "sensor.yaml")
    session.wrote(*(outdir / name for name in (*written, "sensor.yaml")))
    sizes = ", ".join(f"{name} {image.rows}x{image.cols}x{image.bands}" for name, image in images.items())
    session.note(f"wrote {outdir}: {sizes} (rows x columns x bands), sensor.yaml in {session.seconds:.1f} s")


def _displacement(path: Path) -> Displacement:
    """Read a displacement from YAML, or from a map."""
    import numpy as np

    from hyperfuse.sensor.displacement import Displacement
    from hyperfuse.sensor.displacement_map import DisplacementMap

    if path.suffix.lower() in (".yaml", ".yml"):
        return Displacement.load(path)
    found = DisplacementMap.load(path)
    if any(found.scale):
        raise InputError(f"{path}: scales the HSI; a pair is simulated with shifts and a field only", "displacement")
    field = found.displacement or Displacement(np.zeros((2, 1, 1)), spacing=(1.0, 1.0), origin=(0.0, 0.0))
    return Displacement(field.coefficients + np.reshape(found.shift, (2, 1, 1)), field.spacing, field.origin)
