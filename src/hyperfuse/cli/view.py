"""``hyperfuse view``: images in the browser."""

from __future__ import annotations

import os
import signal
from typing import Annotated

from cyclopts import Parameter

from hyperfuse.cli.options import COMMON, CommonOptions, Whole
from hyperfuse.cli.session import Session
from hyperfuse.cli.signals import Interrupted
from hyperfuse.errors import InputError

# Of the memory, in MB, that GDAL keeps decoded blocks in; by default it takes a twentieth of the machine's.
_BLOCK_CACHE_MB = "128"


def view(
    file: Annotated[str, Parameter(name="FILE")],
    /,
    *more: Annotated[str, Parameter(name="MORE")],
    reference: str | None = None,
    uncertainty: str | None = None,
    nodata: float | None = None,
    axes: str | None = None,
    no_browser: bool = False,
    port: Whole = 0,
    common: CommonOptions = COMMON,
    session: Annotated[Session, Parameter(parse=False)],
) -> None:
    """Show images in the browser: linked, in any bands, with their spectra.

    The page is served to this machine alone, at the address that is printed, until Ctrl-C.

    Args:
        file: Image, with a variable where it holds several (scene.mat:cube).
        more: Further images of the same scene, such as HSI, MSI and fused image.
        reference: Image that errors are computed against.
        uncertainty: Standard deviations of the errors of an image; found among the images where a fusion wrote it.
        nodata: Value that marks gaps in all of the images, in addition to their own; nan where NaN marks them.
        axes: Order of the axes of arrays, such as rows,cols,bands.
        no_browser: Print the address alone, and open no browser.
        port: Port of the server; default: any that is free.
        common: Options of every command.
        session: Where results and notes go.
    """
    os.environ.setdefault("GDAL_CACHEMAX", _BLOCK_CACHE_MB)
    from hyperfuse.io import ReadOptions, axes_are_free
    from hyperfuse.runtime.optional import check_installed

    for package in ("starlette", "uvicorn"):
        check_installed(package, "the viewer")
    from hyperfuse.viewer.image import open_file
    from hyperfuse.viewer.scene import Named, name_of, role_of
    from hyperfuse.viewer.server import ViewServer

    listed = [(path, "image") for path in (file, *more)]
    listed += [(path, role) for path, role in ((uncertainty, "uncertainty"), (reference, "reference")) if path]
    if axes is not None and not any(axes_are_free(path) for path, _ in listed):
        raise InputError("none of the images is of a format without stated axes; leave out axes", "axes")
    images = []
    for path, role in listed:
        options = ReadOptions(nodata=nodata, axes=axes if axes_are_free(path) else None)
        opening = open_file(path, options)
        images.append(Named(name_of(path), opening, role_of(opening.header) if role == "image" else role))
    server = ViewServer(images, port=port)
    try:
        session.result(server.url)
        session.flush()
        session.note("note: the page is for this machine and this user alone; Ctrl-C ends the server")
        if not no_browser:
            import webbrowser

            if not webbrowser.open(server.url):
                session.note("note: no browser could be started; open the address above")
        server.wait()
    except Interrupted as error:
        if error.number != signal.SIGINT:
            raise
    finally:
        server.close()
