"""The provider: algorithms, and the setting that names the program."""

from __future__ import annotations

from pathlib import Path

from processing.core.ProcessingConfig import ProcessingConfig, Setting
from qgis.core import QgsApplication, QgsProcessingProvider
from qgis.PyQt.QtGui import QIcon

from .catalogue import Catalogue
from .evaluate import Evaluate
from .executable import ExecutableError, plugin_version, usable_executable
from .fuse import Fuse
from .info import Info
from .simulate import Simulate

_SETTING = "HYPERFUSE_EXECUTABLE"
_ICON = str(Path(__file__).with_name("icon.svg"))


class Provider(QgsProcessingProvider):
    """The algorithms of hyperfuse."""

    def __init__(self):
        super().__init__()
        folder = Path(QgsApplication.qgisSettingsDirPath())
        self.catalogue = Catalogue(folder / "hyperfuse_methods.json", self.executable_setting)

    def id(self):
        return "hyperfuse"

    def name(self):
        return "hyperfuse"

    def longName(self):
        return "hyperfuse: hyperspectral and multispectral image fusion"

    def versionInfo(self):
        return plugin_version()

    def icon(self):
        return QIcon(_ICON)

    def svgIconPath(self):
        return _ICON

    def helpId(self):
        return "hyperfuse"

    def load(self):
        group = self.name()
        ProcessingConfig.settingIcons[group] = self.icon()
        ProcessingConfig.addSetting(
            Setting(group, _SETTING, "Program hyperfuse (empty: searched)", "", valuetype=Setting.FILE)
        )
        ProcessingConfig.readSettings()
        self.refreshAlgorithms()
        return True

    def unload(self):
        ProcessingConfig.removeSetting(_SETTING)

    def loadAlgorithms(self):
        for kind in (Fuse, Simulate, Evaluate, Info):
            self.addAlgorithm(kind())

    def supportedOutputRasterLayerExtensions(self):
        return ["tif", "img"]

    def defaultRasterFileExtension(self):
        return "tif"

    def executable_setting(self):
        """Return the path of the program that the user has set, or an empty text."""
        return str(ProcessingConfig.getSetting(_SETTING) or "")

    def executable(self):
        """Return the path of the program.

        Raises:
            ExecutableError: there is none that this plugin can use.
        """
        return usable_executable(self.executable_setting())

    def can_execute(self):
        """Return whether there is a program, and in one line what to do where there is none."""
        try:
            self.executable()
        except ExecutableError as error:
            return False, str(error)
        return True, ""
