"""``hyperfuse:simulate``."""

from __future__ import annotations

from pathlib import Path

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingOutputFile,
    QgsProcessingOutputRasterLayer,
    QgsProcessingParameterFolderDestination,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
)

from .algorithm import Algorithm
from .arguments import options
from .enums import DOUBLE
from .loading import show_layer


class Simulate(Algorithm):
    """Makes a pair from a reference."""

    command = "simulate"
    title = "Simulate a pair"
    summary = (
        "Makes a pair from a reference image of high resolution in space and spectrum: an HSI of low resolution, an "
        "MSI, and sensor.yaml in a folder. Fused again, the pair shows how good a method is: evaluate it against the "
        "reference."
    )
    images = ("REFERENCE",)

    def initAlgorithm(self, configuration=None):
        self.addParameter(QgsProcessingParameterRasterLayer("REFERENCE", "Reference image"))
        self.addParameter(
            QgsProcessingParameterString("RATIO", "MSI pixels per HSI pixel: 4, 3.2, or 4,2 for y,x", "4")
        )
        self.add_srf()
        self.add_choice("PRESET", "Blur, phase and border (empty: as in remote sensing)", self.stated("presets"))
        self.add_advanced(
            QgsProcessingParameterString("PSF", "Blur in place of the preset's: sigma:1.5, fwhm:3, box", optional=True)
        )
        for name, image in (("SNR_HSI", "HSI"), ("SNR_MSI", "MSI")):
            self.add_advanced(
                QgsProcessingParameterNumber(
                    name, f"Signal-to-noise ratio of the {image} in dB (none: no noise)", DOUBLE, optional=True
                )
            )
        self.add_extra()
        self.addParameter(QgsProcessingParameterFolderDestination("OUTPUT", "Folder"))
        self.addOutput(QgsProcessingOutputRasterLayer("HSI", "HSI"))
        self.addOutput(QgsProcessingOutputRasterLayer("MSI", "MSI"))
        self.addOutput(QgsProcessingOutputFile("SENSOR", "Sensor"))

    def problem(self, parameters, context):
        found = super().problem(parameters, context)
        if not found and self.srf(parameters, context) is None:
            return "The spectral responses of the MSI are missing: give a name such as sentinel-2a, or a table"
        return found

    def processAlgorithm(self, parameters, context, feedback):
        folder = self.parameterAsString(parameters, "OUTPUT", context)
        text = self.parameterAsString
        words = [
            "simulate",
            self.named["REFERENCE"],
            folder,
            "--overwrite",
            "--format",
            "tif",
            "--style",
            "qgis",
            *options(
                [
                    ("--ratio", text(parameters, "RATIO", context).strip()),
                    ("--srf", self.srf(parameters, context)),
                    ("--preset", text(parameters, "PRESET", context).strip()),
                    ("--psf", text(parameters, "PSF", context).strip()),
                    ("--snr-hsi", self._number(parameters, "SNR_HSI", context)),
                    ("--snr-msi", self._number(parameters, "SNR_MSI", context)),
                ]
            ),
        ]
        outcome = self.run_program(words, parameters, context, feedback, [folder])
        if outcome.cancelled:
            return {}
        results = {"OUTPUT": folder, "SENSOR": str(Path(folder) / "sensor.yaml")}
        for name, file in (("HSI", "hsi.tif"), ("MSI", "msi.tif")):
            results[name] = str(Path(folder) / file)
            if context.project() is not None:
                details = QgsProcessingContext.LayerDetails(f"simulated {name}", context.project(), name)
                context.addLayerToLoadOnCompletion(results[name], details)
                show_layer(context, results[name], f"{self.labels['REFERENCE']}, simulated {name}")
        return results

    def _number(self, parameters, name, context):
        return None if parameters.get(name) is None else self.parameterAsDouble(parameters, name, context)
