"""Enumerations that QGIS 3.36 moved, under their names in both."""

from __future__ import annotations

from qgis.core import Qgis, QgsProcessingParameterDefinition, QgsProcessingParameterNumber

if hasattr(Qgis, "ProcessingParameterFlag"):
    ADVANCED = Qgis.ProcessingParameterFlag.Advanced
    DOUBLE = Qgis.ProcessingNumberParameterType.Double
else:
    ADVANCED = QgsProcessingParameterDefinition.Flag.FlagAdvanced
    DOUBLE = QgsProcessingParameterNumber.Type.Double
