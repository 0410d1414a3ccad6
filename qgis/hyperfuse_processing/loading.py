"""Layers that are loaded after an algorithm: their names, and the style next to their files."""

from __future__ import annotations

from qgis.core import QgsProcessingLayerPostProcessorInterface, QgsProcessingUtils
from qgis.PyQt import sip


def show_layer(context, path: str, name: str) -> None:
    """Name a layer that is to be loaded, if it is, and give it the style next to its file.

    Its file's name is taken where the user prefers that, unless it is a temporary one, which says nothing.
    """
    if context.willLoadLayerOnCompletion(path):
        details = context.layerToLoadOnCompletionDetails(path)
        details.name = name
        details.forceName = path.startswith(QgsProcessingUtils.tempFolder())
        details.setPostProcessor(_Styler.create())


class _Styler(QgsProcessingLayerPostProcessorInterface):
    """Loads the style next to a file, which Processing, unlike the rest of QGIS, does not."""

    held = ()

    @classmethod
    def create(cls):
        """Return one for one layer: the context deletes each, and nothing else holds the Python part until then."""
        cls.held = (*(one for one in cls.held if not sip.isdeleted(one)), cls())
        return cls.held[-1]

    def postProcessLayer(self, layer, context, feedback):
        layer.loadDefaultStyle()
        layer.triggerRepaint()
