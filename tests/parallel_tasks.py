"""What worker processes of training/test_parallel_images.py call, with as few imports as they need."""

import os


def enlarged(hsi, msi, sensor):
    """Return an image that states by which process it was made."""
    image = hsi.repeat_interleave(2, 1).repeat_interleave(2, 2) + msi.mean(0)
    image[0, 0, 0] = os.getpid()
    return image
