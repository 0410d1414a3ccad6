"""The viewer from Python: a page inside a notebook, or in the browser."""

from __future__ import annotations

import html
import weakref
from types import TracebackType
from typing import Any

from hyperfuse.calls import checked
from hyperfuse.errors import InputError
from hyperfuse.io.encoding.options import ReadOptions
from hyperfuse.io.files import as_cube
from hyperfuse.viewer.image import Opening, open_cube, open_file
from hyperfuse.viewer.scene import Named, name_of, role_of
from hyperfuse.viewer.server import ViewServer


class Viewer:
    """The page of some images; a notebook shows it where this is the last value of a cell.

    Attributes:
        url: of the page, for a browser on this machine.
    """

    def __init__(self, server: ViewServer, height: int) -> None:
        self._server, self._height = server, height
        self.url = server.url
        # Neither the end of the process nor that of the last reference leaves a thread.
        self._end = weakref.finalize(self, server.close)

    def close(self) -> None:
        """End the server; the page no longer works."""
        self._end()

    def __enter__(self) -> Viewer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Viewer({self.url})" if self._end.alive else "Viewer(closed)"

    def _repr_html_(self) -> str:
        """Return the page for notebooks."""
        if not self._end.alive:
            return "<p>The viewer was closed.</p>"
        address = html.escape(self._server.frame_url, quote=True)
        return f'<iframe src="{address}" title="hyperfuse view" width="100%" height="{self._height}"></iframe>'


@checked
def view(*images: Any, reference: Any = None, uncertainty: Any = None, port: int = 0, height: int = 640) -> Viewer:
    """Show images in one linked view: in a notebook, or in a browser at ``Viewer.url``.

    Images are aligned by their coordinates, else by their size. Needs the extra ``view``.

    Args:
        images: cubes, arrays (bands, rows, cols), ``DataArray``, or files; files are read window by window where their
            format allows that.
        reference: the image that errors are computed against, or None.
        uncertainty: standard deviations of the errors of one of the images, or None; one that a fusion wrote is found
            among ``images``.
        port: of the server on this machine; 0: any that is free.
        height: of the page in the notebook, in pixels.

    Returns:
        The viewer; :meth:`Viewer.close` ends its server, as does the end of the process.

    Raises:
        InputError: no image, one that cannot be read, or a port that is taken.
        MissingDependencyError: starlette or uvicorn is not installed.

    Example:
        >>> import numpy as np
        >>> with view(np.ones((3, 4, 5))) as viewer:
        ...     print(viewer.url.startswith("http://127.0.0.1:"))
        True
    """
    if not images:
        raise InputError("no image is passed", "images")
    named = [_named(image, f"image {rank}", "image") for rank, image in enumerate(images, 1)]
    named += [
        _named(image, role, role)
        for image, role in ((uncertainty, "uncertainty"), (reference, "reference"))
        if image is not None
    ]
    return Viewer(ViewServer(named, port=port, framed=True), height)


def _named(image: Any, name: str, role: str) -> Named:
    if isinstance(image, str) or hasattr(image, "__fspath__"):
        opening: Opening = open_file(image, ReadOptions())
        name = name_of(image)
    else:
        opening = open_cube(as_cube(image, "images" if role == "image" else role))
    return Named(name, opening, role if role != "image" else role_of(opening.header))
