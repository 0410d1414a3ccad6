import sys
from types import SimpleNamespace

import pytest

from hyperfuse.progress import part, showing, silent


def test_a_part_maps_its_fractions_into_its_range():
    calls = []
    inner = part(part(lambda *arguments: calls.append(arguments), 0.5, 1.0), 0.0, 0.5)
    for fraction in (0.0, 0.5, 1.0):
        inner(fraction, "tile")
    assert calls == [(0.5, "tile"), (0.625, "tile"), (0.75, "tile")]


def test_silence_takes_what_progress_takes():
    assert silent(0.5) is None
    assert silent(0.5, "message") is None


def test_a_function_is_passed_on_and_false_shows_nothing():
    calls = []
    with showing(lambda *arguments: calls.append(arguments), "fusing") as report:
        report(0.5, "tile")
    assert calls == [(0.5, "tile")]
    with showing(False, "fusing") as report:
        assert report is silent


def test_a_bar_on_a_terminal(capsys, monkeypatch):
    with showing(True, "fusing") as report:
        assert report is silent  # stderr is a file
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    with showing(True, "fusing") as report:
        report(0.5, "tile 3")
    out, err = capsys.readouterr()
    assert out == ""
    assert "50%" in err
    assert "fusing: tile 3" in err


@pytest.mark.parametrize("kernel", [True, False])
def test_a_bar_in_a_notebook(monkeypatch, kernel):
    shown = []
    shell = SimpleNamespace(kernel=1) if kernel else SimpleNamespace()
    display = SimpleNamespace(
        HTML=str, display=lambda value, *, display_id: SimpleNamespace(update=lambda text: shown.append(text))
    )
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell, display=display))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    with showing(True, "fusing") as report:
        report(0.25, "<tile>")
    expected = '<progress max="1" value="0.250"></progress> 25% fusing: &lt;tile&gt;'
    assert shown == ([expected] if kernel else [])
