"""Fuse a hyperspectral image of low spatial resolution with a multispectral one of high resolution.

The public names are those of ``__init__.pyi``. They load on first use, so that importing the package is cheap:

Example:
    >>> import hyperfuse as hf
    >>> reference = hf.Cube(data=[[[0.1, 0.2], [0.3, 0.4]]])
    >>> reference.bands
    1
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
