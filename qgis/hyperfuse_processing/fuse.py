"""``hyperfuse:fuse``."""

from __future__ import annotations

from html import escape

from qgis.core import (
    QgsCoordinateTransform,
    QgsCsException,
    QgsProcessingParameterBand,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterEnum,
    QgsProcessingParameterFile,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
)

from .algorithm import Algorithm
from .arguments import options
from .loading import show_layer

# Pixel sizes of one grid in another coordinate system differ by less.
_SAME_SIZE = 1.01


class Fuse(Algorithm):
    """Fuses an HSI with an MSI."""

    command = "fuse"
    title = "Fuse HSI and MSI"
    summary = (
        "Fuses a hyperspectral image of low resolution (HSI) with a multispectral or panchromatic one of high "
        "resolution (MSI) into an image that has the bands of the first and the pixels of the second."
    )
    images = ("HSI", "MSI", "MASK", "REFERENCE")

    def shortHelpString(self):
        methods = [
            f"<p><b>{escape(str(one['name']))}</b>: {escape(str(one.get('summary') or ''))}</p>"
            for one in self.stated("methods")
        ]
        about = (
            f"<p>{self.summary}</p><p>Without a method the default of the program is used, which fits itself to the "
            "pair and needs no training data. Geometry, blur and spectral responses are found from the files and the "
            "pair where nothing is given. The result opens in the colours of its wavelengths.</p>"
        )
        return about + ("<h3>Methods</h3>" + "".join(methods) if methods else "")

    def initAlgorithm(self, configuration=None):
        self.addParameter(QgsProcessingParameterRasterLayer("HSI", "Hyperspectral image (HSI)"))
        self.addParameter(
            QgsProcessingParameterBand(
                "HSI_BANDS", "Bands of the HSI (none: all)", None, "HSI", optional=True, allowMultiple=True
            )
        )
        self.addParameter(QgsProcessingParameterRasterLayer("MSI", "Multispectral or panchromatic image (MSI)"))
        self.addParameter(
            QgsProcessingParameterBand(
                "MSI_BANDS", "Bands of the MSI (none: all)", None, "MSI", optional=True, allowMultiple=True
            )
        )
        names = [str(one["name"]) for one in self.stated("methods")]
        self.add_choice("METHOD", "Method (empty: the default)", names)
        self.addParameter(
            QgsProcessingParameterEnum(
                "EFFORT",
                "Effort (of methods that fit a network)",
                ["fast", "normal", "best"],
                usesStaticStrings=True,
                optional=True,
            )
        )
        self.add_srf()
        self.add_advanced(
            QgsProcessingParameterString("PSF", "Blur of the HSI: sigma:1.5, fwhm:3, mtf:0.3, box", optional=True)
        )
        self.add_advanced(
            QgsProcessingParameterString("RATIO", "MSI pixels per HSI pixel: 3, 3.2, or 4,2 for y,x", optional=True)
        )
        self.add_advanced(QgsProcessingParameterFile("SENSOR", "Sensor (sensor.yaml)", extension="yaml", optional=True))
        self.add_advanced(
            QgsProcessingParameterRasterLayer(
                "MASK", "Mask on the MSI's grid: pixels that are not 0 are not used", optional=True
            )
        )
        self.add_advanced(
            QgsProcessingParameterBoolean("NO_ALIGN", "The positions in the files are exact: estimate no shift", False)
        )
        self.add_advanced(
            QgsProcessingParameterBoolean("SAME_GROUND", "Both cover the same ground, corner to corner", False)
        )
        self.add_advanced(
            QgsProcessingParameterRasterLayer("REFERENCE", "Image to score against in the report", optional=True)
        )
        self.add_extra()
        self.addParameter(QgsProcessingParameterRasterDestination("OUTPUT", "Fused image"))
        self.addParameter(
            QgsProcessingParameterRasterDestination(
                "UNCERTAINTY", "Expected error of every pixel and band", optional=True, createByDefault=False
            )
        )
        self.addParameter(
            QgsProcessingParameterFileDestination(
                "REPORT", "Report", "HTML files (*.html)", optional=True, createByDefault=False
            )
        )

    def problem(self, parameters, context):
        return super().problem(parameters, context) or self._problem_of_pair(parameters, context)

    def _problem_of_pair(self, parameters, context):
        hsi, msi = (self.layer(parameters, name, context) for name in ("HSI", "MSI"))
        if hsi is None or msi is None or self.parameterAsBoolean(parameters, "SAME_GROUND", context):
            return ""
        georeferenced = [layer.crs().isValid() for layer in (hsi, msi)]
        if not all(georeferenced):
            if not any(georeferenced) and hsi.width() * hsi.height() > msi.width() * msi.height():
                return (
                    f"The HSI ({hsi.width()} x {hsi.height()} pixels) has more pixels than the MSI "
                    f"({msi.width()} x {msi.height()}): are the two swapped?"
                )
            return ""
        extent = hsi.extent()
        try:
            transform = QgsCoordinateTransform(hsi.crs(), msi.crs(), context.transformContext())
            extent = transform.transformBoundingBox(extent)
        except QgsCsException:
            return ""  # the program decides
        if not extent.intersects(msi.extent()):
            return f"{hsi.name()} (HSI) and {msi.name()} (MSI) do not overlap"
        hsi_size = (extent.width() * extent.height() / (hsi.width() * hsi.height())) ** 0.5
        msi_size = (msi.rasterUnitsPerPixelX() * msi.rasterUnitsPerPixelY()) ** 0.5
        if hsi_size * _SAME_SIZE < msi_size:
            return (
                f"The pixels of the HSI ({hsi_size:.4g} in the units of the MSI) are smaller than those of the MSI "
                f"({msi_size:.4g}): are the two swapped?"
            )
        return ""

    def processAlgorithm(self, parameters, context, feedback):
        output = self.parameterAsOutputLayer(parameters, "OUTPUT", context)
        uncertainty = self._asked(parameters, "UNCERTAINTY") and self.parameterAsOutputLayer(
            parameters, "UNCERTAINTY", context
        )
        report = self._asked(parameters, "REPORT") and self.parameterAsFileOutput(parameters, "REPORT", context)
        effort = self.parameterAsEnumString(parameters, "EFFORT", context)
        text = self.parameterAsString
        words = [
            "fuse",
            self.named["HSI"],
            self.named["MSI"],
            output,
            "--overwrite",
            "--style",
            "qgis",
            *options(
                [
                    ("--bands", self.bands(parameters, "HSI_BANDS", context)),
                    ("--msi-bands", self.bands(parameters, "MSI_BANDS", context)),
                    ("--method", text(parameters, "METHOD", context).strip()),
                    ("--effort", effort),
                    ("--srf", self.srf(parameters, context)),
                    ("--psf", text(parameters, "PSF", context).strip()),
                    ("--ratio", text(parameters, "RATIO", context).strip()),
                    ("--sensor", self.parameterAsFile(parameters, "SENSOR", context)),
                    ("--mask", self.named["MASK"]),
                    ("--no-align", self.parameterAsBoolean(parameters, "NO_ALIGN", context)),
                    ("--same-ground", self.parameterAsBoolean(parameters, "SAME_GROUND", context)),
                    ("--uncertainty", uncertainty),
                    ("--report", report),
                    ("--reference", self.named["REFERENCE"]),
                ]
            ),
        ]
        written = [path for path in (output, uncertainty, report) if path]
        outcome = self.run_program(words, parameters, context, feedback, written)
        if outcome.cancelled:
            return {}
        name = self.labels["HSI"]
        show_layer(context, output, f"{name}, fused")
        results = {"OUTPUT": output}
        if uncertainty:
            show_layer(context, uncertainty, f"{name}, expected error")
            results["UNCERTAINTY"] = uncertainty
        if report:
            results["REPORT"] = report
        return results

    @staticmethod
    def _asked(parameters, name):
        return parameters.get(name) not in (None, "")
