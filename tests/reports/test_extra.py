"""Figures and reports are an extra: what needs it is named, and nothing loads it unasked."""

import subprocess
import sys

import pytest


def run(code):
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    return found.stdout.strip()


@pytest.mark.parametrize(("package", "purpose"), [("matplotlib", "drawing figures"), ("jinja2", "a report")])
def test_a_missing_package_is_named_with_the_extra(package, purpose):
    code = f"""
import sys
sys.modules[{package!r}] = None
from hyperfuse.errors import MissingDependencyError
try:
    import hyperfuse.reports.fusion
except MissingDependencyError as error:
    print(error)
"""
    assert run(code) == f"{purpose} needs the package {package}: pip install 'hyperfuse[report]'"


def test_the_package_and_its_command_line_load_no_figures():
    code = "import sys, hyperfuse, hyperfuse.cli; print({'matplotlib', 'jinja2'} & set(sys.modules))"
    assert run(code) == "set()"
