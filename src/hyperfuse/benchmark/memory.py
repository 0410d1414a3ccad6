"""How much memory a job of a benchmark will take."""

from __future__ import annotations

# What the program takes before it reads an image: Python, torch and the rest.
_PROGRAM = 500e6
# Peak over the size of the reference in float32, measured on 512 x 512 x 31 and rounded up.
_METHOD_FACTOR = 16.0
# A network holds latent images of many channels in addition; 128 channels are FeINFN's own width.
_NETWORK_CHANNELS = 4 * 128


def estimate_bytes(shape: tuple[int, int, int] | None, *, network: bool) -> float:
    """Return roughly how many bytes a job takes: the program, and images by their size.

    Args:
        shape: (bands, rows, cols) of the scene; None counts the program only.
        network: whether a network is applied.

    Example:
        >>> 5e8 < estimate_bytes((31, 512, 512), network=False) < 2e9
        True
    """
    if shape is None:
        return _PROGRAM
    bands, rows, cols = shape
    factor = _METHOD_FACTOR * bands + (_NETWORK_CHANNELS if network else 0)
    return _PROGRAM + 4 * rows * cols * factor
