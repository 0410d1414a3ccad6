"""Run the algorithms in a QGIS without windows, with Debian's own Python; called by tests/qgis_plugin/test_qgis.py.

Usage: python3 headless.py JOB.json, with "plugins" (a folder), "folder" (with hsi.tif and msi.tif), "program", and
"answers", the file to write.
"""

import faulthandler
import json
import os
import sys
import threading
import time
from pathlib import Path

faulthandler.enable()
job = json.loads(Path(sys.argv[1]).read_text("utf-8"))
folder = Path(job["folder"])
sys.path += ["/usr/share/qgis/python/plugins", job["plugins"]]

from qgis.core import (  # noqa: E402
    QgsApplication,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProject,
    QgsRasterLayer,
)

QgsApplication.setPrefixPath("/usr", True)
app = QgsApplication([], True)
app.initQgis()

import hyperfuse_processing  # noqa: E402
import processing  # noqa: E402
from processing.core.Processing import Processing  # noqa: E402
from processing.core.ProcessingConfig import ProcessingConfig  # noqa: E402

Processing.initialize()
plugin = hyperfuse_processing.classFactory(None)
plugin.initProcessing()
registry = QgsApplication.processingRegistry()
answers = {}


class Feedback(QgsProcessingFeedback):
    """Remembers what is shown."""

    def __init__(self):
        super().__init__(False)
        self.said = {"progress": [], "text": [], "info": [], "warning": [], "error": [], "command": []}
        self.progressChanged.connect(self.said["progress"].append)

    def setProgressText(self, text):
        self.said["text"].append(text)

    def pushInfo(self, text):
        self.said["info"].append(text)

    def pushWarning(self, text):
        self.said["warning"].append(text)

    def pushCommandInfo(self, text):
        self.said["command"].append(text)

    def reportError(self, text, fatalError=False):
        self.said["error"].append(text)


class Cancelling(Feedback):
    """Cancels by itself, after some seconds or where a text is shown, and notes the processes that there are."""

    def __init__(self, when):
        super().__init__()
        self.cancelled, self.processes, self.when = None, set(), when
        if not isinstance(when, str):
            threading.Timer(when, self.cancel_now).start()

    def setProgressText(self, text):
        super().setProgressText(text)
        if isinstance(self.when, str) and self.when in text and self.cancelled is None:
            self.cancel_now()

    def cancel_now(self):
        self.processes = descendants(os.getpid())
        self.cancelled = time.monotonic()
        self.cancel()


def call(name, algorithm, parameters, feedback=None, loaded=False):
    """Run an algorithm; keep its results or failure, what was said, the time, and the layers that were loaded."""
    feedback = feedback or Feedback()
    context = QgsProcessingContext()
    context.setProject(QgsProject.instance())
    start = time.monotonic()
    answer = answers[name] = {"said": feedback.said}
    try:
        run = processing.runAndLoadResults if loaded else processing.run
        answer["results"] = run(algorithm, parameters, feedback=feedback, context=context)
    except QgsProcessingException as error:
        answer["failure"] = str(error)
    answer["seconds"] = time.monotonic() - start
    return answer


def layers():
    """Describe the layers of the project, and empty it."""
    found = []
    for layer in QgsProject.instance().mapLayers().values():
        renderer = layer.renderer()
        found.append(
            {
                "name": layer.name(),
                "source": layer.source(),
                "size": [layer.width(), layer.height(), layer.bandCount()],
                "renderer": renderer.type(),
                "bands": list(renderer.usesBands()),
                "band_names": [layer.bandName(band) for band in range(1, layer.bandCount() + 1)],
            }
        )
    QgsProject.instance().clear()
    return found


def check(algorithm, parameters, context):
    """Return what an algorithm says of parameters before it runs."""
    return list(registry.createAlgorithmById(algorithm).checkParameterValues(parameters, context))


def descendants(process):
    """Return the processes below one."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            rest = path.read_text("utf-8", "replace").rsplit(")", 1)[1].split()
        except OSError:
            continue
        if rest[0] != "Z":
            parents[int(path.parent.name)] = int(rest[1])
    below, known = [process], set()
    while below:
        above = below.pop()
        new = [child for child, parent in parents.items() if parent == above and child not in known]
        known.update(new)
        below += new
    return known


pair = {"HSI": str(folder / "hsi.tif"), "MSI": str(folder / "msi.tif")}
fuse = {**pair, "METHOD": "bicubic"}

# The program.
os.environ.pop("HYPERFUSE_EXECUTABLE", None)
os.environ["PATH"] = "/usr/bin:/bin"
algorithm = registry.createAlgorithmById("hyperfuse:fuse")
answers["without a program"] = list(algorithm.canExecute())
ProcessingConfig.setSettingValue("HYPERFUSE_EXECUTABLE", job["program"])
answers["with a setting"] = list(algorithm.canExecute())
ProcessingConfig.setSettingValue("HYPERFUSE_EXECUTABLE", "")
os.environ["HYPERFUSE_EXECUTABLE"] = job["program"]

# What QGIS sets for its own libraries, as nonsense.
for name in job["hostile"]:
    os.environ[name] = "/nonsense"
outputs = {
    "OUTPUT": str(folder / "new folder ü" / "fused.tif"),
    "UNCERTAINTY": "TEMPORARY_OUTPUT",
    "REPORT": str(folder / "report.html"),
}
call("fuse", "hyperfuse:fuse", {**pair, "EFFORT": "fast", **outputs}, loaded=True)
answers["layers"] = layers()

# Names that a shell would take apart, a variable of a file that holds several, chosen bands.
odd = job["odd"]
layer = QgsRasterLayer(odd["HSI"], "a variable")
QgsProject.instance().addMapLayer(layer)
answers["variable"] = [layer.isValid(), layer.bandCount()]
chosen = {"HSI": layer.id(), "MSI": odd["MSI"], "HSI_BANDS": [1, 2, 3, 7]}
call("odd names", "hyperfuse:fuse", {**chosen, "METHOD": "bicubic", "OUTPUT": odd["OUTPUT"]})
QgsProject.instance().clear()

# Cancelled after some seconds, or when the program says that it works on tiles.
for name, when in job["cancel"].items():
    feedback = Cancelling(when)
    before = {path.name for path in folder.iterdir()}
    answer = call(name, "hyperfuse:fuse", {**pair, **job["slow"], "OUTPUT": str(folder / "cancelled.tif")}, feedback)
    answer["after"] = time.monotonic() - (feedback.cancelled or 0)
    answer["ended"] = sorted(feedback.processes)
    answer["alive"] = sorted(feedback.processes & descendants(1)) + sorted(descendants(os.getpid()))
    answer["new"] = sorted({path.name for path in folder.iterdir()} - before)

# The other algorithms.
simulated = str(folder / "simulated")
call(
    "simulate",
    "hyperfuse:simulate",
    {"REFERENCE": str(folder / "reference.tif"), "SRF": "boxes:4", "OUTPUT": simulated},
    loaded=True,
)
answers["simulated layers"] = layers()
scored = {"REFERENCE": str(folder / "reference.tif"), "FUSED": outputs["OUTPUT"], "RATIO": "3"}
call("evaluate", "hyperfuse:evaluate", {**scored, "OUTPUT": str(folder / "scores.html")})
call("info", "hyperfuse:info", {"INPUT": outputs["OUTPUT"], "OUTPUT": str(folder / "info.html")})
call("failure", "hyperfuse:fuse", {**fuse, "PSF": "sigma:x", "OUTPUT": str(folder / "failed.tif")})

# What is refused before the program starts.
layer = QgsRasterLayer("type=xyz&url=http://127.0.0.1:9/{z}/{x}/{y}.png", "tiles", "wms")
QgsProject.instance().addMapLayer(layer)
away = str(folder / "away.tif")
refused = {
    "as it should be": {},
    "swapped": {"HSI": pair["MSI"], "MSI": pair["HSI"]},
    "no overlap": {"MSI": away},
    "same ground": {"MSI": away, "SAME_GROUND": True},
    "no file": {"HSI": layer.id()},
    "missing": {"MSI": str(folder / "gone.tif")},
    "quote": {"EXTRA": "--set 'a"},
    "two responses": {"SRF": "sentinel-2a", "SRF_FILE": "a.csv"},
}
context = QgsProcessingContext()
context.setProject(QgsProject.instance())
answers["refused"] = {
    name: check("hyperfuse:fuse", {**fuse, "OUTPUT": "TEMPORARY_OUTPUT", **values}, context)
    for name, values in refused.items()
}
nothing = {"REFERENCE": pair["MSI"], "RATIO": "3", "OUTPUT": simulated}
answers["no responses"] = check("hyperfuse:simulate", nothing, context)

# A list of methods, once it is known.
plugin.provider.catalogue.refresh()
algorithm = registry.createAlgorithmById("hyperfuse:fuse")  # which owns its parameters
answers["methods"] = algorithm.parameterDefinition("METHOD").metadata().get("widget_wrapper", {}).get("value_hints", [])
plugin.unload()
answers["unloaded"] = registry.providerById("hyperfuse") is None
Path(job["answers"]).write_text(json.dumps(answers, default=str), "utf-8")
# Without taking QGIS apart, at which it may crash.
os._exit(0)
