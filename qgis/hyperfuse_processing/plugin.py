"""What QGIS starts and stops."""

from __future__ import annotations

from qgis.core import QgsApplication

from .provider import Provider


class Plugin:
    """Adds the provider to Processing, in the program and in ``qgis_process``.

    Args:
        iface: of QGIS, or None in ``qgis_process``.
    """

    def __init__(self, iface):
        self.iface = iface
        self.provider = None

    def initProcessing(self):
        """Add the provider."""
        self.provider = Provider()
        QgsApplication.processingRegistry().addProvider(self.provider)

    def initGui(self):
        """Add the provider, and fetch the names that dialogs offer while the user does something else."""
        self.initProcessing()
        self.provider.catalogue.refresh_in_background()

    def unload(self):
        """Remove the provider."""
        if self.provider is not None:
            QgsApplication.processingRegistry().removeProvider(self.provider)
            self.provider = None
