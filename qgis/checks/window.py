"""Fuse in QGIS's own windows, and grab them; `qgis.bin --code` runs this, called by tests/qgis_plugin/test_window.py.

The environment variable HYPERFUSE_JOB names a file of JSON with "hsi", "msi", "output" and "folder", where pictures and
answers go.
"""

import json
import os
import time
import traceback
from pathlib import Path

from processing.gui.AlgorithmDialog import AlgorithmDialog
from qgis.core import QgsApplication, QgsProject, QgsRasterLayer
from qgis.PyQt.QtCore import QEventLoop, QTimer
from qgis.PyQt.QtWidgets import QApplication, QDockWidget, QLineEdit
from qgis.utils import iface, plugins

_job = json.loads(Path(os.environ["HYPERFUSE_JOB"]).read_text("utf-8"))
_folder = Path(_job["folder"])
_answers = {}


def _wait(until, seconds=300):
    end = time.monotonic() + seconds
    while not until() and time.monotonic() < end:
        QApplication.processEvents(QEventLoop.ProcessEventsFlag.AllEvents, 50)
        time.sleep(0.01)
    return until()


def _pause(seconds):
    end = time.monotonic() + seconds
    _wait(lambda: time.monotonic() > end, seconds + 1)


def _fuse():
    provider = plugins["hyperfuse_processing"].provider
    _answers["methods are listed"] = bool(_wait(lambda: provider.catalogue.methods))
    window = iface.mainWindow()
    window.resize(1100, 720)
    for dock in window.findChildren(QDockWidget):
        dock.setVisible(dock.objectName() in ("Layers", "ProcessingToolbox"))
        if dock.objectName() == "ProcessingToolbox":
            dock.findChild(QLineEdit).setText("hyperfuse")
    for name in ("hsi", "msi"):
        QgsProject.instance().addMapLayer(QgsRasterLayer(_job[name], Path(_job[name]).stem))
    before = set(QgsProject.instance().mapLayers())

    algorithm = QgsApplication.processingRegistry().createAlgorithmById("hyperfuse:fuse")
    dialog = AlgorithmDialog(algorithm, False, window)
    layers = {layer.name(): layer for layer in QgsProject.instance().mapLayers().values()}
    images = {"HSI": layers["hsi"], "MSI": layers["msi"]}
    dialog.setParameters({**images, "METHOD": _job["method"], "OUTPUT": _job["output"]})
    dialog.resize(760, 700)
    dialog.show()
    _pause(0.5)
    dialog.grab().save(str(_folder / "dialog.png"))
    combination = dialog.mainWidget().wrappers["METHOD"].wrappedWidget()
    _answers["offered"] = [combination.itemText(row) for row in range(combination.count())]
    shown = []
    start = time.monotonic()
    dialog.runAlgorithm()
    dialog.feedback.progressChanged.connect(shown.append)
    _answers["finished"] = bool(_wait(lambda: set(QgsProject.instance().mapLayers()) - before))
    _answers["seconds"] = time.monotonic() - start
    _pause(0.5)
    _answers["progress"] = shown
    dialog.close()
    _cancel(images)
    (layer,) = (QgsProject.instance().mapLayer(key) for key in set(QgsProject.instance().mapLayers()) - before)
    _answers["layer"] = {
        "name": layer.name(),
        "renderer": layer.renderer().type(),
        "bands": list(layer.renderer().usesBands()),
        "band names": [layer.bandName(band) for band in range(1, layer.bandCount() + 1)],
    }
    iface.setActiveLayer(layer)
    iface.zoomToActiveLayer()
    canvas = iface.mapCanvas()
    canvas.waitWhileRendering()
    _pause(1)
    window.grab().save(str(_folder / "map.png"))
    picture = canvas.grab().toImage()
    _answers["colours"] = len(
        {picture.pixel(x, y) for x in range(0, picture.width(), 7) for y in range(0, picture.height(), 7)}
    )


def _cancel(images):
    """Start a fusion in a dialog, and click Cancel once the program runs."""
    algorithm = QgsApplication.processingRegistry().createAlgorithmById("hyperfuse:fuse")
    dialog = AlgorithmDialog(algorithm, False, iface.mainWindow())
    dialog.setParameters({**images, "OUTPUT": str(_folder / "cancelled.tif")})
    ended = []
    dialog.algorithmFinished.connect(lambda *_: ended.append(time.monotonic()))
    dialog.show()
    dialog.runAlgorithm()
    _pause(1)
    start = time.monotonic()
    dialog.cancelButton().click()
    _wait(lambda: ended, 30)
    _answers["cancelled after"] = ended[0] - start if ended else None
    dialog.close()


def _run():
    try:
        _fuse()
    except BaseException:
        _answers["traceback"] = traceback.format_exc()
    finally:
        (_folder / "answers.json").write_text(json.dumps(_answers, default=str), "utf-8")
        os._exit(0)


QTimer.singleShot(500, _run)
