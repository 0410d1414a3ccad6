"""What tests of the viewer share: values, the token of the server, and pictures that it sends."""

import io

import numpy as np

TOKEN, PORT = "a-secret", 8000


def smooth(bands, rows, cols, seed=0):
    rng = np.random.default_rng(seed)
    values = np.cumsum(np.cumsum(rng.standard_normal((bands, rows, cols)), axis=1), axis=2)
    return (values - values.min() + 1).astype(np.float32)


def picture(response):
    """Return the pixels of a PNG reply."""
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(response.content)))
