"""Responses of consumer cameras, tabulated over the 31 bands from 400 to 700 nm of CAVE-like images."""

from __future__ import annotations

import dataclasses

import numpy as np

from hyperfuse.errors import InputError, nearest_name
from hyperfuse.sensor.srf.curves import srf_from_curves
from hyperfuse.sensor.srf.srf import HsiBands, Srf

_GRID_NM = np.arange(400.0, 701.0, 10.0)
_GRID_TOLERANCE_NM = 0.5
_NIKON_D700 = {
    "R": "2 1 1 1 1 1 0 0 0 0 0 0 0 0 0 0 2 6 11 17 21 22 21 20 20 19 19 18 18 17 17",
    "G": "1 1 1 1 1 1 2 4 6 8 11 16 19 21 20 18 16 14 11 7 5 3 2 2 1 1 2 2 2 2 2",
    "B": "7 10 15 19 25 29 30 29 27 22 16 9 2 0 0 0 0 0 0 0 1 1 1 1 1 1 1 1 1 1 1",
}
_CAMERAS = {"nikon-d700": _NIKON_D700}


def list_cameras() -> tuple[str, ...]:
    """Return the names that :func:`srf_camera` knows, in alphabetical order."""
    return tuple(sorted(_CAMERAS))


def srf_camera(name: str, hsi: HsiBands | int, *, drop_uncovered: bool = False) -> Srf:
    """Return the responses of a camera of :func:`list_cameras`, in the order R, G, B; errors as of ``srf_from_curves``.

    ``nikon-d700`` is the table that fusion networks are trained and compared with on CAVE and Harvard (a response
    of the Nikon D700 at 400, 410, ..., 700 nm, in whole numbers over 255, 203 and 251). On just these 31 bands
    (within 0.5 nm, in any order, none of them bad) it is the matrix itself; on any others its rows are read as
    curves, each number standing for the 10 nm around it, and integrated by
    :func:`~hyperfuse.sensor.srf.curves.srf_from_curves`. 31 bands without wavelengths are taken as 400 to 700 nm in
    steps of 10; ``source`` says so.
    """
    if name not in _CAMERAS:
        raise InputError(f"no camera {name!r}{nearest_name(name, _CAMERAS)}")
    rows = _CAMERAS[name]
    table = np.array([[int(value) for value in row.split()] for row in rows.values()], np.float64)
    hsi, source = HsiBands.of(hsi), name
    if hsi.wavelengths is None:
        if hsi.count != _GRID_NM.size:
            raise InputError(
                f"the SRF {name} needs the wavelengths of the {hsi.count} HSI bands, which have none (only 31 bands "
                "are taken as 400 to 700 nm); give them, or take an SRF without wavelengths such as boxes:3"
            )
        source = f"{name} (31 bands without wavelengths, taken as 400 to 700 nm in steps of 10)"
        hsi = dataclasses.replace(hsi, wavelengths=_GRID_NM)
    srf = srf_from_curves(
        np.concatenate([[_GRID_NM[0] - 5], _GRID_NM, [_GRID_NM[-1] + 5]]),
        np.pad(table, ((0, 0), (1, 1)), mode="edge"),
        hsi,
        names=tuple(rows),
        source=source,
        drop_uncovered=drop_uncovered,
    )
    centres = hsi.wavelengths
    assert centres is not None  # set above
    order = np.argsort(centres)
    on_grid = hsi.count == _GRID_NM.size and np.allclose(centres[order], _GRID_NM, rtol=0, atol=_GRID_TOLERANCE_NM)
    if not (on_grid and hsi.usable.all()):
        return srf
    matrix = np.empty_like(table)
    matrix[:, order] = table / table.sum(axis=1, keepdims=True)
    return dataclasses.replace(srf, matrix=matrix, wavelengths=matrix @ centres)
