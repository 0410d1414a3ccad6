"""Replies to the requests of the page, computed in threads: tiles, spectra, limits."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from hyperfuse.errors import InputError
from hyperfuse.viewer import queries
from hyperfuse.viewer.colours import limits_of
from hyperfuse.viewer.scene import ViewedScene
from hyperfuse.viewer.spectra import Point, spectra_at, spectra_in
from hyperfuse.viewer.tiles import SIDE, ZOOMS, Look, PlaneTile, render, values_of

Query = Mapping[str, str]
_MOST_CACHED = 64_000_000
_MOST_SPECTRA = 100
_SAMPLE = 512


class TilePicture(NamedTuple):
    """A tile as a PNG, and whether all of it is known."""

    content: bytes
    whole: bool


class Replies:
    """Replies about a scene; every method may be called by several threads.

    Args:
        scene: what is viewed.
    """

    def __init__(self, scene: ViewedScene) -> None:
        self.scene = scene
        self._tiles: OrderedDict[Any, bytes] = OrderedDict()
        self._bytes = 0
        self._spectra: OrderedDict[Any, tuple[float, ...]] = OrderedDict()
        self._lock = threading.Lock()

    def describe(self, query: Query) -> dict[str, Any]:
        """Return what there is."""
        return self.scene.describe()

    def progress(self, query: Query) -> dict[str, Any]:
        """Return how far the pyramids are that are waited for, and why one cannot be built."""
        progress = self.scene.builder.progress()
        failed = {self.scene.images[number].name: text for number, text in progress.failures.items()}
        return {"fraction": progress.fraction, "failures": failed}

    def limits(self, query: Query) -> dict[str, Any]:
        """Return the values that become black and white in a picture: percentiles 2 and 98 of each channel."""
        number = queries.image_number(query, self.scene)
        image, look = self.scene.images[number], self._look(query, number, limited=False)
        if look.kind == "bands":
            bands = tuple(dict.fromkeys(look.bands))
            if not image.levels.is_direct(bands, self._level_of_all()):
                self.scene.builder.want(number, bands)  # before the sample is read: it is waited for next
            drawn = dict(zip(bands, image.levels.sample(bands, _SAMPLE), strict=True))
            channels = [drawn[band] for band in look.bands]
        else:
            side = max(self.scene.plane.rows, self.scene.plane.cols)
            zoom = max(ZOOMS.start, -(-(-side // SIDE) - 1).bit_length())
            channels = list(values_of(self.scene, number, PlaneTile(zoom, 0, 0), look)[0].reshape(1, -1))
        return {"limits": [limits_of(values[np.isfinite(values)]) for values in channels]}

    def _level_of_all(self) -> int:
        """Return the level at which all of the plane is about as large as a screen."""
        return max(0, (max(self.scene.plane.rows, self.scene.plane.cols) // 1024).bit_length())

    def tile(self, query: Query) -> TilePicture:
        """Return a tile as a PNG."""
        number, tile = queries.image_number(query, self.scene), queries.tile_of(query, self.scene)
        look = self._look(query, number)
        key = (number, tile, look)
        with self._lock:
            found = self._tiles.get(key)
            if found is not None:
                self._tiles.move_to_end(key)
                return TilePicture(found, True)
        content, whole = render(self.scene, number, tile, look)
        if whole:
            with self._lock:
                self._bytes += 0 if key in self._tiles else len(content)
                self._tiles[key] = content
                while self._bytes > _MOST_CACHED:
                    self._bytes -= len(self._tiles.popitem(last=False)[1])
        return TilePicture(content, whole)

    def spectra(self, query: Query) -> dict[str, Any]:
        """Return the spectra of all images at a position."""
        return {"spectra": spectra_at(self.scene, queries.point_of(query))}

    def region(self, query: Query) -> dict[str, Any]:
        """Return mean and deviation of all images over a polygon."""
        return {"spectra": spectra_in(self.scene, queries.polygon_of(query))}

    def _look(self, query: Query, number: int, *, limited: bool = True) -> Look:
        image, kind = self.scene.images[number], queries.kind_of(query)
        bands = queries.bands_of(query, image) if kind == "bands" else (0,)
        channels = len(bands)
        limits = queries.limits_of(query, channels) if limited else ((0.0, 1.0),) * channels
        spectrum = self._spectrum(number, queries.point_of(query, "pin")) if kind == "angle" else ()
        return Look(kind, bands, limits, queries.scale_of(query), spectrum)

    def _spectrum(self, number: int, pin: Point) -> tuple[float, ...]:
        """Return the spectrum of an image at a pin, NaN in gaps.

        Raises:
            InputError: the pin lies outside the image.
        """
        key = (number, pin)
        with self._lock:
            if key in self._spectra:
                return self._spectra[key]
        found = next((one for one in spectra_at(self.scene, pin, number) if one["image"] == number), None)
        if found is None:
            raise InputError(f"the pin lies outside {self.scene.images[number].name}")
        spectrum = tuple(float("nan") if value is None else value for value in found["values"])
        with self._lock:
            self._spectra[key] = spectrum
            if len(self._spectra) > _MOST_SPECTRA:
                self._spectra.popitem(last=False)
        return spectrum
