"""``hyperfuse:evaluate``."""

from __future__ import annotations

import json

from qgis.core import (
    QgsProcessingOutputNumber,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
)

from .algorithm import Algorithm
from .arguments import options
from .pages import write_table
from .scores import SCORES


class Evaluate(Algorithm):
    """Scores a fused image."""

    command = "evaluate"
    title = "Evaluate a fused image"
    summary = (
        "Scores a fused image against a reference on the same grid: PSNR, SAM, ERGAS, SSIM, RMSE, UIQI and "
        "correlation, as numbers that a model can use, and as a page."
    )
    images = ("REFERENCE", "FUSED", "MASK")

    def initAlgorithm(self, configuration=None):
        self.addParameter(QgsProcessingParameterRasterLayer("REFERENCE", "Reference image"))
        self.addParameter(QgsProcessingParameterRasterLayer("FUSED", "Fused image"))
        self.addParameter(
            QgsProcessingParameterString("RATIO", "MSI pixels per HSI pixel, for ERGAS: 4, 3.2, or 4,2 for y,x", "4")
        )
        self.add_advanced(
            QgsProcessingParameterRasterLayer("MASK", "Mask: pixels that are not 0 are left out", optional=True)
        )
        self.add_extra()
        self.addParameter(
            QgsProcessingParameterFileDestination(
                "OUTPUT", "Scores", "HTML files (*.html)", optional=True, createByDefault=True
            )
        )
        for key, title in SCORES.items():
            self.addOutput(QgsProcessingOutputNumber(key.upper(), title))

    def processAlgorithm(self, parameters, context, feedback):
        words = [
            "evaluate",
            self.named["REFERENCE"],
            self.named["FUSED"],
            "--json",
            *options(
                [
                    ("--ratio", self.parameterAsString(parameters, "RATIO", context).strip()),
                    ("--mask", self.named["MASK"]),
                ]
            ),
        ]
        outcome = self.run_program(words, parameters, context, feedback)
        if outcome.cancelled:
            return {}
        scores = json.loads(outcome.output)
        results = {key.upper(): scores[key] for key in SCORES if scores.get(key) is not None}
        for key, title in SCORES.items():
            feedback.pushInfo(f"{title}: {scores.get(key)}")
        page = self.parameterAsFileOutput(parameters, "OUTPUT", context)
        if page:
            named = {SCORES.get(key, key.replace("_", " ")): value for key, value in scores.items()}
            write_table(page, "Scores", named)
            results["OUTPUT"] = page
        return results
