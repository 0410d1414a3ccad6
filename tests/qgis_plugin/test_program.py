"""The plugin's modules that need no QGIS: where the program is, how it is called, how it ends."""

import json
import os
import signal
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
from hyperfuse_processing import arguments, child, executable
from hyperfuse_processing.catalogue import Catalogue
from hyperfuse_processing.pages import write_table

from hyperfuse.io.encoding.scratch import scratch_folder

REMOVED = (
    *("PYTHONHOME", "PYTHONPATH", "PYTHONEXECUTABLE", "LD_LIBRARY_PATH", "VIRTUAL_ENV"),
    *("GDAL_DATA", "GDAL_DRIVER_PATH", "PROJ_LIB", "PROJ_DATA"),
)


@pytest.fixture
def program(tmp_path):
    """Make a program of Python code, in a folder with a name that a shell would take apart."""

    def make(code, name="hyperfuse", folder="a 'b'; ü"):
        path = tmp_path / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!{sys.executable} -SI\n{textwrap.dedent(code)}")
        path.chmod(0o755)
        return str(path)

    return make


def test_the_program_is_of_the_setting_then_of_the_variable_then_in_path_then_in_a_usual_folder(program, tmp_path):
    paths = {name: program("", folder=name) for name in ("set", "variable", "path", "home/.local/bin")}
    environ = {"PATH": str(tmp_path / "path"), "HOME": str(tmp_path / "home"), executable.VARIABLE: paths["variable"]}
    assert executable.find_executable(paths["set"], environ) == paths["set"]
    assert executable.find_executable("", environ) == paths["variable"]
    del environ[executable.VARIABLE]
    assert executable.find_executable("", environ) == paths["path"]
    environ["PATH"] = str(tmp_path)
    assert executable.find_executable("", environ) == paths["home/.local/bin"]


def test_a_program_that_was_named_and_is_none_is_not_replaced_by_another(program, tmp_path):
    program("", folder="path")
    environ = {"PATH": str(tmp_path / "path"), executable.VARIABLE: str(tmp_path / "gone")}
    with pytest.raises(executable.ExecutableError, match=r"gone: is no program .*HYPERFUSE_EXECUTABLE"):
        executable.find_executable("", environ)
    with pytest.raises(executable.ExecutableError, match="the setting of the provider"):
        executable.find_executable(str(tmp_path), environ)


def test_without_a_program_one_line_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setattr(executable, "_FOLDERS", ())
    with pytest.raises(executable.ExecutableError, match="pipx install hyperfuse") as caught:
        executable.find_executable("", {"PATH": str(tmp_path)})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("version", "plugin", "says"),
    [
        ("0.1.9", "0.2.0", "too old"),
        ("0.2.0", "0.2.3", None),
        ("0.3.0", "0.2.0", "too new"),
        ("1.0.0", "0.9.0", "too new"),
        ("1.4", "1.2.0", None),
        ("2.0", "1.9", "too new"),
    ],
)
def test_programs_of_other_versions_are_named(version, plugin, says):
    if says is None:
        executable.check_version("/bin/hyperfuse", version, plugin)
        return
    with pytest.raises(executable.ExecutableError, match=says) as caught:
        executable.check_version("/bin/hyperfuse", version, plugin)
    assert version in str(caught.value)
    assert plugin in str(caught.value)


def test_the_version_is_what_the_program_says_and_no_other_program_is_taken_for_it(program):
    assert executable.find_version(program("print('hyperfuse 0.7.1')")) == "0.7.1"
    with pytest.raises(executable.ExecutableError, match="boom"):
        executable.find_version(program("raise SystemExit('boom')", name="other"))


def test_the_environment_has_nothing_of_the_libraries_of_qgis():
    environ = executable.clean_environment({**dict.fromkeys(REMOVED, "/nonsense"), "HOME": "/home"}, TMPDIR="/t")
    assert environ == {"HOME": "/home", "PYTHONIOENCODING": "utf-8", "TMPDIR": "/t"}


def test_words_reach_the_program_as_they_are(program):
    path = program("import json, sys; print(json.dumps(sys.argv[1:]))")
    words = ["a b", "c'd\"e", "$(touch x); `y`", "ü – 中", "", "*.tif", "line\nbreak"]
    assert json.loads(child.run([path, *words], print).output) == words


def test_events_come_while_the_program_works(program):
    path = program("""
        import json, sys, time
        def say(**event):
            print(json.dumps(event), file=sys.stderr, flush=True)
        say(event="progress", progress=0.5, message="half", eta_s=1)
        print("a line of a library", file=sys.stderr, flush=True)
        say(event="warning", message="odd")
        time.sleep(0.5)
        say(event="result", files=["a.tif"])
        print("out ü")
        """)
    seen = []
    outcome = child.run([path], lambda event: seen.append((event["event"], event["message"], time.monotonic())))
    end = time.monotonic()
    assert [one[:2] for one in seen] == [("progress", "half"), ("note", "a line of a library"), ("warning", "odd")]
    assert end - seen[0][2] > 0.4
    assert (outcome.code, outcome.output, outcome.error, outcome.files) == (0, "out ü\n", "", ("a.tif",))


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (
            'import sys; sys.stderr.write(\'{"event": "error", "message": "no overlap"}\\nlast\\n\'); sys.exit(2)',
            "no overlap",
        ),
        ("raise ValueError('odd')", "ValueError: odd"),
        ("raise SystemExit(3)", "exit code 3"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "signal 9 (out of memory?)"),
    ],
)
def test_a_failure_is_the_line_of_the_program_or_how_it_ended(program, code, error):
    outcome = child.run([program(f"import os, signal, sys; {code}")], lambda event: None)
    assert outcome.code != 0
    assert error in outcome.error


_WORKS = """
    import os, signal, subprocess, sys, time
    if {deaf}:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    worker = subprocess.Popen(["sleep", "60"])
    open(sys.argv[1], "w").write(f"{{os.getpid()}} {{worker.pid}}")
    sys.stderr.write("started\\n")
    sys.stderr.flush()
    time.sleep(60)
    """


@pytest.mark.parametrize("deaf", [False, True])
def test_a_cancelled_program_and_its_workers_end_within_a_second(program, tmp_path, deaf):
    started = threading.Event()
    asked = []

    def cancelled():
        if started.is_set():
            asked.append(time.monotonic())
        return started.is_set()

    outcome = child.run(
        [program(_WORKS.format(deaf=deaf)), str(tmp_path / "ids")], lambda event: started.set(), cancelled
    )
    assert outcome.cancelled
    assert time.monotonic() - asked[0] < 1
    process, worker = map(int, (tmp_path / "ids").read_text().split())
    assert not _alive(process)
    assert not _alive(worker) or not deaf  # of a program that ends by itself, its workers are its own
    if not deaf and _alive(worker):
        os.kill(worker, signal.SIGKILL)


def _alive(process):
    """Whether a process still runs a second after it was killed: the system ends it when it comes to it."""
    until = time.monotonic() + 1
    while time.monotonic() < until:
        try:
            if Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return False
        except OSError:
            return False
        time.sleep(0.01)
    return True


def test_scratch_of_a_killed_program_is_removed_and_that_of_others_is_not(tmp_path):
    outputs = [str(tmp_path / "fused.tif")]
    with scratch_folder(tmp_path, "fused.tif") as earlier:
        before = child._scratch(outputs)
        assert before == {earlier}
        with scratch_folder(tmp_path, "hyperfuse") as held, scratch_folder(tmp_path, "other.tif") as other:
            for name in (".fused.tif.abcd1234.part", ".hyperfuse.abcd1234.part", ".fused.tif.tiles"):
                (tmp_path / name / "new").mkdir(parents=True)
                (tmp_path / name / "lock").touch()
            (tmp_path / ".fused.tif.tiles.lock").touch()
            moving = tmp_path / ".fused.tif.abcd1235.part"
            moving.mkdir()
            (moving / "moves.json").touch()
            stay = {earlier, held, other, moving}
            child._remove_scratch(outputs, before, tiles=False)
            tiles = {tmp_path / ".fused.tif.tiles", tmp_path / ".fused.tif.tiles.lock"}
            assert set(tmp_path.iterdir()) == stay | tiles
            child._remove_scratch(outputs, before, tiles=True)
            assert set(tmp_path.iterdir()) == stay


def test_images_are_named_as_the_program_names_them(tmp_path, monkeypatch):
    file = tmp_path / "a b.nc"
    file.touch()
    monkeypatch.chdir(tmp_path)
    assert arguments.image_name("a b.nc") == str(file)
    assert arguments.image_name(f'NETCDF:"{file}":cube') == f"{file}:cube"
    assert arguments.image_name(f"NETCDF:{file}:cube") == f"{file}:cube"
    assert arguments.image_name(f'HDF5:"{file}"://group/cube') == f"{file}:group/cube"
    assert arguments.image_name(f"{file}:cube") == f"{file}:cube"
    for other in ("", "gone.tif", "/vsicurl/https://example.com/a.tif", "type=xyz&url=https://example.com", "GPKG:a:b"):
        assert arguments.image_name(other) is None


def test_the_catalogue_is_listed_once_per_program_and_empty_without_one(program, tmp_path):
    calls = tmp_path / "calls"
    path = program(f"""
        import json, sys
        if sys.argv[1] == "--version":
            print("hyperfuse 0.1.0")
        else:
            open({str(calls)!r}, "a").write("x")
            srfs = {{"boxes:N": "", "nikon-d700": ""}}
            print(json.dumps({{"methods": [{{"name": "gsa"}}], "srfs": srfs, "presets": ["mtf"]}}))
        """)
    kept = tmp_path / "kept.json"
    for _ in range(2):
        catalogue = Catalogue(kept, lambda: path)
        catalogue.refresh()
        assert ([one["name"] for one in catalogue.methods], catalogue.srfs, catalogue.presets) == (
            ["gsa"],
            ["nikon-d700"],
            ["mtf"],
        )
    assert calls.read_text() == "x"
    kept.write_text("[1]")
    catalogue = Catalogue(kept, lambda: str(tmp_path / "gone"))
    catalogue.refresh_in_background().join()
    assert (catalogue.methods, catalogue.srfs, catalogue.presets) == ([], [], [])


def test_pages_escape_and_have_a_row_per_band(tmp_path):
    page = tmp_path / "page.html"
    write_table(
        str(page),
        "<a>",
        {"bands": 2, "band_names": ["<b>", "c"], "mean": 0.25, "fwhm_nm": None},
        ["band_names", "fwhm_nm"],
    )
    text = page.read_text("utf-8")
    assert "&lt;a&gt;" in text
    assert "<tr><td>1</td><td>&lt;b&gt;</td></tr><tr><td>2</td><td>c</td></tr>" in text
    assert "<th>mean</th><td>0.25</td>" in text
    assert "fwhm" not in text
