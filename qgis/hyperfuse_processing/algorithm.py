"""What the algorithms have in common: images from layers, the call of the program, and its messages."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from qgis.core import (
    QgsProcessingAlgorithm,
    QgsProcessingException,
    QgsProcessingParameterFile,
    QgsProcessingParameterString,
    QgsRasterLayer,
)

from . import arguments, child
from .enums import ADVANCED
from .executable import ExecutableError

EXTRA = "EXTRA"
# Before it, the time that the start took says little of what remains.
_FRACTION_FOR_TIME = 0.1


class Algorithm(QgsProcessingAlgorithm):
    """An algorithm that calls a command of the program.

    A subclass names its command in ``command``, and its images, by parameter, in ``images``. While it runs, ``named``
    has the images as the program names them, None for those that are left out, and ``labels`` as the user knows them.
    """

    command = ""
    title = ""
    summary = ""
    images: tuple = ()
    documentation = "https://hyperfuse.example/blob/main/docs/qgis.md"

    def __init__(self):
        super().__init__()
        self.named = {}
        self.labels = {}

    def name(self):
        return self.command

    def displayName(self):
        return self.title

    def group(self):
        return ""

    def groupId(self):
        return ""

    def icon(self):
        return self.provider().icon()

    def shortDescription(self):
        return self.summary

    def shortHelpString(self):
        return self.summary

    def helpUrl(self):
        return self.documentation

    def createInstance(self):
        return type(self)()

    def canExecute(self):
        return self.provider().can_execute()

    def stated(self, names):
        """Return what the program states: ``methods``, ``srfs`` or ``presets``; empty while that is not known."""
        return [] if self.provider() is None else getattr(self.provider().catalogue, names)

    def add_choice(self, name, description, choices, optional=True):
        """Add a parameter for a name: a list where the names are known, and a text where they are not."""
        parameter = QgsProcessingParameterString(name, description, optional=optional)
        if choices:
            parameter.setMetadata({"widget_wrapper": {"value_hints": choices}})
        self.addParameter(parameter)

    def add_advanced(self, parameter):
        """Add a parameter that the dialog shows under the advanced ones."""
        parameter.setFlags(parameter.flags() | ADVANCED)
        self.addParameter(parameter)

    def add_srf(self):
        """Add the spectral responses of the MSI: a name, or a table."""
        self.add_choice("SRF", "Spectral responses of the MSI (such as sentinel-2a)", self.stated("srfs"))
        self.add_advanced(
            QgsProcessingParameterFile("SRF_FILE", "Spectral responses of the MSI as a table (CSV)", optional=True)
        )

    def add_extra(self):
        """Add the parameter for options that have none of their own."""
        self.add_advanced(
            QgsProcessingParameterString(EXTRA, f"Further options of hyperfuse {self.command}", optional=True)
        )

    def srf(self, parameters, context):
        """Return the responses as the program takes them, or None."""
        file = self.parameterAsFile(parameters, "SRF_FILE", context)
        return file or self.parameterAsString(parameters, "SRF", context).strip() or None

    # Checks

    def checkParameterValues(self, parameters, context):
        problem = self.problem(parameters, context)
        if problem:
            return False, problem
        return super().checkParameterValues(self._as_layers(parameters, context), context)

    def problem(self, parameters, context):
        """Return in one line what is wrong with the parameters together; empty where nothing is."""
        for name in self.images:
            if parameters.get(name) in (None, ""):
                continue
            try:
                self.image(parameters, name, context)
            except QgsProcessingException as error:
                return str(error)
        if parameters.get("SRF_FILE") and parameters.get("SRF"):
            return "The spectral responses are given twice, by name and as a table: leave out one of them"
        try:
            arguments.extra_words(self.parameterAsString(parameters, EXTRA, context))
        except ValueError as error:
            return f"Further options: {str(error).lower()}"
        return ""

    def _as_layers(self, parameters, context):
        """Replace images that hyperfuse reads and QGIS does not, such as a .mat, by a layer that QGIS accepts."""
        replaced = dict(parameters)
        for name in self.images:
            if parameters.get(name) and self.parameterAsRasterLayer(parameters, name, context) is None:
                replaced[name] = QgsRasterLayer()
        return replaced

    # Images

    def layer(self, parameters, name, context):
        """Return the raster layer of a parameter, or None where QGIS cannot open what it names."""
        layer = self.parameterAsRasterLayer(parameters, name, context)
        return layer if layer is not None and layer.isValid() else None

    def image(self, parameters, name, context):
        """Return an image as the program names it.

        Raises:
            QgsProcessingException: it comes from no file.
        """
        label = self.parameterDefinition(name).description()
        layer = self.layer(parameters, name, context)
        if layer is None:
            text = self.parameterAsString(parameters, name, context)
            found = arguments.image_name(text)
            if found is None:
                raise QgsProcessingException(f"{label}: {text or 'nothing is chosen'}: is no file and no layer of one")
            return found
        source, _, opened_with = layer.source().partition("|")
        found = arguments.image_name(layer.source()) or arguments.image_name(source)
        if layer.providerType() != "gdal" or found is None:
            raise QgsProcessingException(
                f"{label}: the layer {layer.name()} is not of a file but of {layer.providerType()} "
                f"({layer.source()[:80]}); export it to a GeoTIFF first"
            )
        if opened_with and arguments.image_name(layer.source()) is None:
            raise QgsProcessingException(
                f"{label}: the layer {layer.name()} is opened with {opened_with[:80]}, which hyperfuse does not know; "
                "add the file itself as a layer"
            )
        return found

    def prepareAlgorithm(self, parameters, context, feedback):
        # Layers belong to the main thread, in which this is called.
        self.named = {
            name: None if parameters.get(name) in (None, "") else self.image(parameters, name, context)
            for name in self.images
        }
        layers = {name: self.layer(parameters, name, context) for name, image in self.named.items() if image}
        self.labels = {
            name: Path(self.named[name]).name if layer is None else layer.name() for name, layer in layers.items()
        }
        return True

    def bands(self, parameters, name, context):
        """Return the chosen bands as the program takes them; empty: all."""
        return arguments.band_ranges(self.parameterAsInts(parameters, name, context))

    # The call

    def run_program(self, words, parameters, context, feedback, outputs=()):
        """Call the program, show what it says, and return how it ended.

        Args:
            words: after the program's name.
            parameters: of the algorithm, with further words.
            context: of the algorithm.
            feedback: that shows progress and messages.
            outputs: files that it writes.

        Raises:
            QgsProcessingException: with the program's own line where it fails.
        """
        extra = arguments.extra_words(self.parameterAsString(parameters, EXTRA, context))
        try:
            program = self.provider().executable()
        except ExecutableError as error:
            raise QgsProcessingException(str(error)) from error
        command = [program, *words, *extra, "--progress", "json"]
        feedback.pushCommandInfo(arguments.shown(command))
        for path in outputs:
            with contextlib.suppress(OSError):  # the program says what is wrong with it
                Path(path).absolute().parent.mkdir(parents=True, exist_ok=True)
        try:
            outcome = child.run(command, _Reporter(feedback), feedback.isCanceled, outputs)
        except OSError as error:
            raise QgsProcessingException(f"{program}: cannot be started ({error.strerror})") from error
        if outcome.cancelled:
            feedback.pushInfo("Cancelled: nothing was written")
        elif outcome.code:
            raise QgsProcessingException(outcome.error)
        return outcome


class _Reporter:
    """Shows the events of the program in a Processing dialog."""

    def __init__(self, feedback) -> None:
        self._feedback = feedback
        self._text = ""

    def __call__(self, event: dict[str, Any]) -> None:
        kind, message = event.get("event"), str(event.get("message") or "")
        if kind == "progress":
            fraction = float(event.get("progress") or 0)
            self._feedback.setProgress(100 * fraction)
            text = message + (_time_left(event.get("eta_s")) if fraction >= _FRACTION_FOR_TIME else "")
            if text and text != self._text:
                self._text = text
                self._feedback.setProgressText(text)
        elif kind == "warning":
            self._feedback.pushWarning(message)
        else:
            self._feedback.pushInfo(message)


def _time_left(seconds: Any) -> str:
    if not isinstance(seconds, (int, float)) or seconds < 1:
        return ""
    if seconds < 90:
        return f" (about {round(seconds)} s left)"
    return f" (about {round(seconds / 60)} min left)"
