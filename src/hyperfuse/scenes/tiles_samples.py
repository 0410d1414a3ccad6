"""What is chosen once for a whole scene, from tiles spread over it, and then holds in all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hyperfuse.methods.local_regression import LocalRegressionSettings, choose_weights
from hyperfuse.methods.registry import MethodSettings
from hyperfuse.scenes.tiles_job import TilePair
from hyperfuse.sensor.model import Sensor

# A tile reads this many LR pixels around it, unless its method is known to look less far; beyond, little changes.
WIDEST_MARGIN = 12
# A window counts to this many times its sigma.
_SIGMAS = 3.0
# Weights of a mean over samples below this share do not count.
_SMALLEST_WEIGHT = 0.02


def settings_for_all(settings: MethodSettings, samples: Sequence[TilePair]) -> MethodSettings:
    """Return the settings with everything chosen that is better chosen once for the scene.

    Args:
        settings: of the method.
        samples: tiles spread over the scene.
    """
    if not isinstance(settings, LocalRegressionSettings) or settings.weights is not None:
        return settings
    found = [choose_weights(pair.hsi, pair.msi, pair.sensor, settings) for pair in samples]
    total: dict[tuple[float, float], float] = {}
    for weights in found:
        for window, ridges in weights.items():
            for ridge, share in ridges.items():
                total[window, ridge] = total.get((window, ridge), 0.0) + share / len(found)
    kept = {key: share for key, share in sorted(total.items()) if share >= _SMALLEST_WEIGHT}
    whole = sum(kept.values())
    means: dict[float, dict[float, float]] = {}
    for (window, ridge), share in kept.items():
        means.setdefault(window, {})[ridge] = round(share / whole, 6)
    return settings.model_copy(update={"weights": means})


def margin_for(settings: MethodSettings, sensor: Sensor) -> int:
    """Return how many LR pixels around a tile its result depends on, as far as that is worth reading."""
    if not isinstance(settings, LocalRegressionSettings) or not settings.weights:
        return WIDEST_MARGIN
    blur = max(
        max(factor.radius_y / sensor.ratio[0], factor.radius_x / sensor.ratio[1]) for factor in sensor.psf.factors()
    )
    return min(WIDEST_MARGIN, math.ceil(blur + _SIGMAS * max(settings.weights)) + 2)
