import errno
import os
import re
import subprocess
import sys

import pytest

import hyperfuse
from hyperfuse.cli.app import COMMANDS, main
from hyperfuse.cli.options import Dtype
from hyperfuse.errors import HyperfuseError, HyperfuseWarning, InputError


@pytest.fixture
def broken(monkeypatch):
    """Make the command ``methods`` end with the given exception."""
    import hyperfuse.methods

    def raising(error):
        def fail():
            raise error

        monkeypatch.setattr(hyperfuse.methods, "list_methods", fail)

    return raising


def test_version(run):
    assert run("--version") == (0, f"hyperfuse {hyperfuse.__version__}\n", "")


def test_help_lists_the_commands(run):
    code, out, err = run("--help")
    assert (code, err) == (0, "")
    listed = [line.split()[1] for line in out.splitlines() if re.match(r"│ \w", line)]
    assert listed == list(COMMANDS)
    assert run() == (0, out, "")


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_starts_with_the_line_of_the_list(run, command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    code, out, _ = run(command, "--help")
    assert code == 0
    assert out.startswith(f"Usage: hyperfuse {command}")
    assert COMMANDS[command] in out
    assert "--debug" in out
    assert "[default: None]" not in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("fusee", "a"), 'unknown command "fusee". Did you mean "fuse"?'),
        (("fuse", "a", "b", "c", "--methd", "gsa"), "unknown option: --methd. Did you mean --method?"),
        (("fuse", "a", "b"), 'command "fuse" parameter OUT requires an argument'),
        (("evaluate", "a", "b", "c", "--ratio", "2"), "one argument too many: c; see --help"),
        (("fuse", "a", "b", "c", "--set", "x=1", "y=2"), "y=2: is no file; write --set before each name=value"),
        (("fuse", "a", "b", "c", "--seed", "x"), "invalid value for --seed: 'x' is not a whole number"),
        (("fuse", "a", "b", "c", "--dtype", "float23"), 'invalid value "float23" for --dtype.'),
        (("evaluate", "a", "b", "--ratio", "2", "--ratio", "3"), "parameter --ratio specified multiple times"),
    ],
)
def test_a_call_that_cannot_be_parsed_is_told_in_one_line(fails, words, message):
    code, found = fails(*words)
    assert code == 2
    assert found.startswith(message)


def test_the_types_to_write_are_those_of_the_files():
    from typing import get_args

    from hyperfuse.io.encoding.options import DTYPES

    assert get_args(Dtype) == DTYPES


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (InputError("the input\nis wrong"), 2, "the input is wrong"),
        (HyperfuseError("it failed"), 1, "it failed"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "x.tif"), 1, "x.tif: no such file or directory"),
        (OSError(errno.ENOSPC, "No space left on device", "x.tif"), 1, "x.tif: no space left on the device; free some"),
        (MemoryError(), 1, "not enough memory"),
        (
            ZeroDivisionError("division by zero"),
            1,
            "unexpected ZeroDivisionError: division by zero; --debug shows where",
        ),
    ],
)
def test_failures_are_told_in_one_line_with_their_exit_code(fails, broken, error, code, message):
    broken(error)
    found, line = fails("methods")
    assert found == code
    assert line.startswith(message)


def test_debug_shows_the_traceback(run, broken):
    broken(InputError("the input is wrong"))
    code, _, err = run("methods", "--debug")
    assert code == 2
    assert "Traceback (most recent call last)" in err
    assert err.splitlines()[-1] == "error: the input is wrong"


def test_warnings_for_users_are_lines_and_others_are_hidden(run, monkeypatch):
    import warnings

    import hyperfuse.methods

    def warn():
        warnings.warn("first\nsecond", HyperfuseWarning, stacklevel=1)
        warnings.warn("for developers", RuntimeWarning, stacklevel=1)
        return []

    monkeypatch.setattr(hyperfuse.methods, "list_methods", warn)
    _, _, err = run("methods")
    assert err == "warning: first second\n"
    _, _, err = run("methods", "--debug")
    assert "warning: first second (HyperfuseWarning at " in err
    assert "warning: for developers (RuntimeWarning at " in err


def loaded_after(code):
    """Run code in a new process; return the names of the packages that it loaded."""
    listing = "import sys; print(*sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)"
    script = f"{code}\n{listing}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


HEAVY = {"torch", "rasterio", "pyrsr", "matplotlib", "scipy", "pydantic", "h5py", "numpy", "yaml"}


@pytest.mark.parametrize(
    "code",
    [
        "import hyperfuse",
        "from hyperfuse.cli import main; main(['--help'])",
        "from hyperfuse.cli import main; main(['--version'])",
        "from hyperfuse.cli import main; main(['fuse', '--help'])",
    ],
)
def test_starting_loads_nothing_heavy(code):
    assert not HEAVY & loaded_after(code)


def test_methods_load_no_compiler():
    # torch's compiler takes two seconds of every start of a command that fuses.
    script = "import sys, hyperfuse.methods; print('torch._dynamo' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("words", [["-c", "import hyperfuse"], ["-m", "hyperfuse", "--help"]])
def test_starting_takes_less_than_three_tenths_of_a_second(words):
    def processor_seconds():
        # Time on the processor: other work on the machine must not fail the test.
        before = os.times()
        subprocess.run([sys.executable, *words], check=True, capture_output=True)
        after = os.times()
        return after.children_user - before.children_user + after.children_system - before.children_system

    assert min(processor_seconds() for _ in range(5)) < 0.3


def test_a_closed_pipe_is_silent():
    script = f"{sys.executable} -m hyperfuse methods | head -c 1 >/dev/null; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.strip() in {"0", "1"}


def test_a_pipe_that_is_closed_at_once_gives_one(monkeypatch, capsys):
    class Closed:
        def write(self, text):
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")

        def flush(self):
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")

        def isatty(self):
            return False

    monkeypatch.setattr(sys, "stdout", Closed())
    assert main(["methods", "--json"]) == 1
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_ctrl_c_gives_130_and_no_traceback(tmp_path, files):
    import signal

    script = (
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # ignored where tests run in the background
        "import hyperfuse.scenes.fuse as scenes\n"
        "def fuse(*args, **kwargs): os.kill(os.getpid(), signal.SIGINT); time.sleep(10)\n"
        "scenes.fuse_tiles = fuse\n"
        "from hyperfuse.cli import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    words = [str(files / name) for name in ("hsi.tif", "msi.tif", "fused.tif")]
    done = subprocess.run([sys.executable, "-c", script, "fuse", *words], capture_output=True, text=True)
    assert done.returncode == 128 + signal.SIGINT
    assert done.stderr == "error: interrupted\n"
    assert sorted(path.name for path in files.iterdir()) == ["hsi.tif", "msi.tif", "reference.tif"]


def test_the_package_runs_as_a_module_with_the_exit_code():
    done = subprocess.run([sys.executable, "-m", "hyperfuse", "fusee"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: unknown command")
