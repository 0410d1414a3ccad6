"""``hyperfuse:info``."""

from __future__ import annotations

import json
from pathlib import Path

from qgis.core import (
    QgsProcessingOutputNumber,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterRasterLayer,
)

from .algorithm import Algorithm
from .pages import write_table

_NUMBERS = {"bands": "Bands", "rows": "Rows", "cols": "Columns"}
_PER_BAND = ("wavelengths_nm", "fwhm_nm", "band_names")


class Info(Algorithm):
    """Shows the metadata of an image."""

    command = "info"
    title = "Metadata of an image"
    summary = (
        "Shows what hyperfuse reads of an image: size, projection, wavelengths, bad bands, gaps, range of the values, "
        "and the record of how a fused image was made."
    )
    images = ("INPUT",)

    def initAlgorithm(self, configuration=None):
        self.addParameter(QgsProcessingParameterRasterLayer("INPUT", "Image"))
        self.add_extra()
        self.addParameter(QgsProcessingParameterFileDestination("OUTPUT", "Metadata", "HTML files (*.html)"))
        for key, title in _NUMBERS.items():
            self.addOutput(QgsProcessingOutputNumber(key.upper(), title))

    def processAlgorithm(self, parameters, context, feedback):
        image = self.named["INPUT"]
        outcome = self.run_program(["info", image, "--json"], parameters, context, feedback)
        if outcome.cancelled:
            return {}
        found = json.loads(outcome.output)
        page = self.parameterAsFileOutput(parameters, "OUTPUT", context)
        write_table(page, Path(image).name, found, _PER_BAND)
        return {"OUTPUT": page, **{key.upper(): found[key] for key in _NUMBERS}}
