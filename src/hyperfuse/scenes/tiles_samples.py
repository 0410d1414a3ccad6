"""What is learnt once for a whole scene, from samples spread over it, and then holds in all of its tiles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from hyperfuse.methods.local_regression import LearnedRegression
from hyperfuse.methods.registry import Method, MethodSettings, Sample
from hyperfuse.progress import Progress
from hyperfuse.scenes.tiles_job import TilePair
from hyperfuse.sensor.model import Sensor

# A tile reads this many LR pixels around it, unless its method is known to look less far; beyond, little changes.
WIDEST_MARGIN = 12
# A window counts to this many times its sigma.
_SIGMAS = 3.0


def learn_on_samples(
    method: Method, settings: MethodSettings, samples: Sequence[TilePair], progress: Progress
) -> Any | None:
    """Return what the tiles of a scene share; None of a method that fits every tile by itself.

    Args:
        method: to fuse with.
        settings: of the method.
        samples: parts of the scene.
        progress: called with the share done.
    """
    if method.prepare is None:
        return None
    return method.prepare([Sample(pair.hsi, pair.msi, pair.sensor) for pair in samples], settings, progress)


def margin_for(learned: Any | None, sensor: Sensor) -> int:
    """Return how many LR pixels around a tile its result depends on, as far as that is worth reading."""
    if not isinstance(learned, LearnedRegression):
        return WIDEST_MARGIN
    blur = max(
        max(factor.radius_y / sensor.ratio[0], factor.radius_x / sensor.ratio[1]) for factor in sensor.psf.factors()
    )
    return min(WIDEST_MARGIN, math.ceil(blur + _SIGMAS * max(learned.models.weights)) + 4)
