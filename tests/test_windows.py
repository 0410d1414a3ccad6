"""What Windows lacks is absent: the whole package loads, and files are fused, whole and in tiles."""

import os
import subprocess
import sys

SCRIPT = r"""
import builtins, os, pathlib, signal, sys, types, warnings

# Packages that do without these on Windows themselves.
import h5py, matplotlib.pyplot, numpy as np, psutil, pydantic, rasterio, rich.progress, safetensors
import scipy.optimize, torch
import multiprocessing.util, subprocess, tempfile, cyclopts

ABSENT = {"resource", "fcntl", "pwd", "grp", "termios", "tty", "pty", "syslog"}
find = builtins.__import__

def load(name, scope=None, *rest, **more):
    if name.partition(".")[0] in ABSENT and str((scope or {}).get("__name__")).startswith("hyperfuse"):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    return find(name, scope, *rest, **more)

builtins.__import__ = load
sys.modules["msvcrt"] = types.SimpleNamespace(LK_NBLCK=2, LK_UNLCK=0, locking=lambda *_: None)
for name in ("sysconf", "sched_getaffinity", "getuid", "geteuid", "getgid", "killpg", "setsid", "getpgid", "fork",
             "statvfs", "posix_fadvise", "mkfifo", "O_DIRECTORY", "O_NOFOLLOW", "wait4", "fchown", "chown"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGHUP", "SIGKILL", "SIGUSR1", "SIGALRM", "alarm", "setitimer", "pthread_sigmask"):
    if hasattr(signal, name):
        delattr(signal, name)

import hyperfuse as hf
folder = pathlib.Path(hf.__file__).parent
for file in sorted(folder.rglob("*.py")):
    module = ".".join(("hyperfuse", *file.relative_to(folder).with_suffix("").parts)).removesuffix(".__init__")
    if not module.endswith("__main__"):
        __import__(module)

from hyperfuse.cli import main
from hyperfuse.runtime.memory import peak_bytes, total_bytes
warnings.simplefilter("ignore")
assert total_bytes() > 0
assert peak_bytes() > 0
rng = np.random.default_rng(0)
place = dict(crs="EPSG:32633")
hsi = hf.Cube(rng.random((5, 16, 16)), wavelengths=[450, 500, 550, 600, 650], transform=(60, 0, 0, 0, -60, 0), **place)
msi = hf.Cube(rng.random((2, 32, 32)), wavelengths=[500, 600], transform=(30, 0, 0, 0, -30, 0), **place)
hf.write("hsi.tif", hsi)
hf.write("msi.tif", msi)
words = ["hsi.tif", "msi.tif", "--method", "regression", "--no-align", "--psf", "box"]
assert main(["fuse", *words[:2], "whole.tif", *words[2:]]) == 0
assert main(["fuse", *words[:2], "tiles.tif", *words[2:], "--tile", "16"]) == 0
assert hf.read("tiles.tif").shape == hf.fuse(hsi, msi, method="regression", align=False, psf="box").shape == (5, 32, 32)
assert main(["info", "whole.tif"]) == 0
"""


def test_without_the_modules_and_functions_of_unix_all_of_it_loads_and_fuses(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=tmp_path, env=os.environ, text=True, capture_output=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
