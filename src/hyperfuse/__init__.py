"""Fuse a hyperspectral image of low spatial resolution with a multispectral one of high resolution.

The public names are those of ``__init__.pyi``. They load on first use, so that importing the package is cheap:

Example:
    >>> import hyperfuse as hf
    >>> reference = hf.Cube(data=[[[0.1, 0.2], [0.3, 0.4]]])
    >>> reference.bands
    1
"""

from __future__ import annotations

import os
import sys

import lazy_loader

# Read when OpenMP is loaded, with torch. Threads that wait by spinning hold the core that the one they wait for needs
# as soon as anything else runs on the machine. Where torch is loaded already, runtime/threads.py does what it can.
if "torch" not in sys.modules:
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    # Read with torch's first large tensor. Images come and go in tens of MB, and the pages of new ones, of 4 KB each,
    # take the system longer than filling them takes; numpy asks for large pages by itself.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
