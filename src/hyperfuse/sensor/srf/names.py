"""SRFs by name, as they are given on the command line: ``boxes:6``, ``sentinel-2a``, ``nikon-d700``, a file."""

from __future__ import annotations

import re
from pathlib import Path

from numpy.typing import ArrayLike

from hyperfuse.calls import checked
from hyperfuse.cube.cube import Cube
from hyperfuse.errors import InputError, nearest_name
from hyperfuse.io.formats.registry import split_variable
from hyperfuse.sensor.srf.cameras import list_cameras, srf_camera
from hyperfuse.sensor.srf.curves import FLAT_TOPPED, GAUSSIAN, srf_from_centres
from hyperfuse.sensor.srf.satellites import find_satellite, list_satellites, srf_from_satellite
from hyperfuse.sensor.srf.srf import HsiBands, Srf, srf_boxes
from hyperfuse.sensor.srf.tables import TABLE_SUFFIXES, srf_from_table

# By the kind that a text starts with.
_SHAPES = {"flat": FLAT_TOPPED, "gaussian": GAUSSIAN}


@checked
def create_srf(
    spec: str,
    hsi: Cube | int,
    *,
    wavelengths: ArrayLike | None = None,
    fwhm: ArrayLike | None = None,
    usable: ArrayLike | None = None,
    drop_uncovered: bool = False,
) -> Srf:
    """Build the SRF that a text names, for the bands of an HSI.

    ============================== ==================================================================
    ``boxes:6``                    six equal runs of bands, averaged; needs no wavelengths
    ``nikon-d700``                 a camera of :func:`list_cameras`; R, G, B
    ``sentinel-2a``                a satellite of :func:`list_satellites`, its usual bands
    ``sentinel-2a:B2,B3,B4,B8``    the named bands of it; ``landsat-8:PAN`` the panchromatic one
    ``flat:450/60,550/60``         flat-topped responses, centre and full width at half maximum in nm
    ``gaussian:450/60,550/60``     Gaussian ones
    ``camera.csv``, ``srf.mat:P``  a file, see :func:`~hyperfuse.sensor.srf.tables.srf_from_table`
    ============================== ==================================================================

    Args:
        spec: the text; case does not matter but in a file's name.
        hsi: the HSI, or the number of its bands.
        wavelengths: centres of the HSI bands in nm, shape (hsi_bands,); default: those of the cube.
        fwhm: full widths at half maximum of the HSI bands in nm, shape (hsi_bands,); default: those of the cube.
        usable: bool, shape (hsi_bands,): the other bands get weight 0; default: those of the cube.
        drop_uncovered: leave out MSI bands that the HSI does not cover, with a HyperfuseWarning that names them.

    Raises:
        InputError: a text that names nothing known (with the nearest name), an HSI without wavelengths where the
            SRF needs them, MSI bands that the HSI does not cover.

    Example:
        >>> create_srf("boxes:2", 4).matrix.tolist()
        [[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5]]
    """
    if isinstance(hsi, Cube):
        wavelengths = hsi.wavelengths if wavelengths is None else wavelengths
        fwhm = hsi.fwhm if fwhm is None else fwhm
        usable = hsi.usable_bands if usable is None else usable
    bands = HsiBands(hsi.bands if isinstance(hsi, Cube) else hsi, wavelengths, fwhm, usable)  # type: ignore[arg-type]
    text = spec.strip()
    kind, _, rest = text.lower().partition(":")

    if kind == "boxes":
        if not re.fullmatch(r"\d+", rest):
            raise InputError(f"the SRF {text!r} has no number of bands; write boxes:6", parameter="srf")
        return srf_boxes(int(rest), bands)
    if text.lower() in list_cameras():
        return srf_camera(text.lower(), bands, drop_uncovered=drop_uncovered)
    if kind in _SHAPES:
        return srf_from_centres(
            *_ranges(text, rest),
            bands,
            source=text.lower(),
            exponent=_SHAPES[kind],
            drop_uncovered=drop_uncovered,
        )
    satellite = find_satellite(kind)
    if satellite is not None:
        chosen = rest.split(",") if ":" in text else None
        return srf_from_satellite(satellite.name, bands, chosen, drop_uncovered=drop_uncovered)
    file, _ = split_variable(text)
    if file.suffix.lower() in TABLE_SUFFIXES or file.is_file():
        return srf_from_table(text, bands, drop_uncovered=drop_uncovered)
    hint = nearest_name(Path(kind).name or text, [name.partition(":")[0] for name in list_srfs()])
    raise InputError(f"{spec!r} is no SRF and no table ({', '.join(TABLE_SUFFIXES)}){hint}", parameter="srf")


def list_srfs() -> dict[str, str]:
    """Return what :func:`create_srf` understands, by name, with a line on each, for help texts.

    Example:
        >>> list_srfs()["nikon-d700"]
        'camera: R, G, B'
    """
    return {
        "boxes:N": "N equal runs of HSI bands, averaged",
        "flat:CENTRE/FWHM,...": "flat-topped responses, in nm",
        "gaussian:CENTRE/FWHM,...": "Gaussian responses, in nm",
        **dict.fromkeys(list_cameras(), "camera: R, G, B"),
        **{
            name: f"satellite{'' if sensor.pyrsr_names else ', nominal'}: {', '.join(sensor.bands)}"
            for name, sensor in list_satellites().items()
        },
    }


def _ranges(text: str, items: str) -> tuple[list[float], list[float]]:
    pairs = [item.split("/") for item in items.split(",")]
    try:
        return [float(centre) for centre, _ in pairs], [float(width) for _, width in pairs]
    except ValueError as error:
        raise InputError(
            f"the SRF {text!r} is no list of centre/FWHM in nm; write {text.partition(':')[0]}:450/60,550/60", "srf"
        ) from error
