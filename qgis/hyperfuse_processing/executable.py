"""The program ``hyperfuse``: where it is, its version, and the environment in which it starts. Needs no QGIS."""

from __future__ import annotations

import configparser
import glob
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

NAME = "hyperfuse"
VARIABLE = "HYPERFUSE_EXECUTABLE"
# What QGIS sets for its own Python, GDAL and PROJ, which breaks any other; the environment of a Python that QGIS was
# started from.
_REMOVED = (
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONEXECUTABLE",
    "LD_LIBRARY_PATH",
    "GDAL_DATA",
    "GDAL_DRIVER_PATH",
    "PROJ_LIB",
    "PROJ_DATA",
    "VIRTUAL_ENV",
)
# Folders in which pip, pipx, uv, conda and Homebrew put programs of a user; QGIS is often started without them in PATH.
_FOLDERS = (
    "~/.local/bin",
    "~/Library/Python/3*/bin",
    "~/AppData/Roaming/Python/Python3*/Scripts",
    "~/AppData/Local/Programs/Python/Python3*/Scripts",
    "/opt/homebrew/bin",
    "/usr/local/bin",
    *(
        f"{base}/{kind}{environment}{folder}"
        for base in ("~", "~/opt", "/opt", "~/AppData/Local")
        for kind in ("miniforge3", "mambaforge", "miniconda3", "anaconda3", "micromamba")
        for environment in ("/envs/hyperfuse", "")
        for folder in ("/bin", "/Scripts")
    ),
    "~/.virtualenvs/hyperfuse/bin",
    "~/.venv/bin",
)
_INSTALL = (
    "install it in a Python of its own (pipx install hyperfuse), or name the program in "
    "Settings > Options > Processing > Providers > hyperfuse"
)
_VERSIONS: dict[tuple[str, float], str] = {}
_LOCK = threading.Lock()


class ExecutableError(Exception):
    """There is no program that can be used; the message is one line that says what to do."""


def plugin_version() -> str:
    """Return the version of the plugin, which is that of the package it was built from."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(Path(__file__).with_name("metadata.txt"), "utf-8")
    return parser["general"]["version"]


def find_executable(setting: str = "", environ=None) -> str:
    """Return the path of the program: of the setting, of HYPERFUSE_EXECUTABLE, in PATH, or in a usual folder.

    Args:
        setting: path that the user has set; empty: none.
        environ: in place of the process's environment.

    Raises:
        ExecutableError: there is none, or what was set is no program.
    """
    environ = os.environ if environ is None else environ
    for path, where in ((setting, "the setting of the provider"), (environ.get(VARIABLE, ""), VARIABLE)):
        if path.strip():
            found = shutil.which(str(Path(path.strip()).expanduser()), path=environ.get("PATH", ""))
            if found is None:
                raise ExecutableError(f"{path}: is no program that can be started ({where}); {_INSTALL}")
            return str(Path(found).absolute())
    home = environ.get("HOME") or environ.get("USERPROFILE") or str(Path.home())
    folders = [environ.get("PATH", "")]
    for folder in _FOLDERS:
        pattern = home + folder[1:] if folder.startswith("~") else folder
        folders += sorted(glob.glob(pattern), reverse=True)  # noqa: PTH207 - Path.glob takes no absolute pattern
    found = shutil.which(NAME, path=os.pathsep.join(folders))
    if found is None:
        raise ExecutableError(f"the program hyperfuse is not found; {_INSTALL}")
    return str(Path(found).absolute())


def clean_environment(environ=None, **variables: str) -> dict[str, str]:
    """Return the environment of the program: that of QGIS without what belongs to QGIS's own libraries.

    Args:
        environ: in place of the process's environment.
        variables: further ones.
    """
    kept = dict(os.environ if environ is None else environ)
    for name in _REMOVED:
        kept.pop(name, None)
    kept["PYTHONIOENCODING"] = "utf-8"  # a pipe on Windows would have another
    kept.update(variables)
    return kept


def hidden_window() -> dict[str, int]:
    """Return the arguments of Popen that open no console on Windows, nor let its signals reach QGIS."""
    if sys.platform != "win32":
        return {}
    return {"creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP}


def find_version(path: str) -> str:
    """Return the version of a program; it is started once for each state of its file.

    Raises:
        ExecutableError: it does not start, or is no hyperfuse.
    """
    try:
        key = (path, Path(path).stat().st_mtime)
    except OSError as error:
        raise ExecutableError(f"{path}: {error.strerror}; {_INSTALL}") from error
    with _LOCK:
        if key not in _VERSIONS:
            _VERSIONS[key] = _ask_version(path)
        return _VERSIONS[key]


def _ask_version(path: str) -> str:
    try:
        done = subprocess.run(
            [path, "--version"],
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=False,
            **hidden_window(),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ExecutableError(f"{path}: does not start ({error}); {_INSTALL}") from error
    found = re.match(rb"hyperfuse (\d+\.\d+\S*)", done.stdout)
    if done.returncode or found is None:
        lines = (done.stderr or done.stdout).decode("utf-8", "replace").strip().splitlines()
        raise ExecutableError(f"{path}: is no hyperfuse that works ({lines[-1] if lines else 'it says nothing'})")
    return found[1].decode()


def check_version(path: str, version: str, plugin: str) -> None:
    """Refuse a program whose options may be others than those the plugin knows.

    Up to 1.0 programs with the same first two numbers as the plugin are accepted, from 1.0 on those with the same
    first; never an older one.

    Raises:
        ExecutableError: it is too old or too new.
    """
    have, need = _numbers(version), _numbers(plugin)
    same = 1 if need[0] else 2
    if have < need[:same]:
        raise ExecutableError(
            f"{path} is hyperfuse {version}, too old for this plugin, which is {plugin}; "
            f"upgrade it (pip install --upgrade hyperfuse), or install the plugin of {version}"
        )
    if have[:same] > need[:same]:
        raise ExecutableError(
            f"{path} is hyperfuse {version}, too new for this plugin, which is {plugin}; "
            f"install the plugin of {version}"
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])


def usable_executable(setting: str = "") -> str:
    """Return the path of the program, after its version was checked.

    Raises:
        ExecutableError: none is found, or it cannot be used.
    """
    path = find_executable(setting)
    check_version(path, find_version(path), plugin_version())
    return path
