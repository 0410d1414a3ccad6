"""A lock is held by one, ends with its process, and is taken over."""

import errno
import os
import signal
import subprocess
import sys
import textwrap

import pytest

from hyperfuse.runtime import locks
from hyperfuse.runtime.locks import LockedError, exclusive

HOLDER = """
    import sys, time
    from pathlib import Path
    from hyperfuse.runtime.locks import exclusive

    with exclusive(Path(sys.argv[1]), "busy"):
        print("held", flush=True)
        time.sleep(60)
"""


def test_one_holds_it_and_removes_it(tmp_path):
    path = tmp_path / "lock"
    with exclusive(path, "busy"):
        assert path.exists()
        with pytest.raises(LockedError, match="busy"), exclusive(path, "busy"):
            pass
        assert path.exists()
    assert not path.exists()
    with exclusive(path, "busy"):
        pass


def test_a_killed_process_holds_nothing(tmp_path):
    path = tmp_path / "lock"
    holder = subprocess.Popen([sys.executable, "-c", textwrap.dedent(HOLDER), path], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(LockedError), exclusive(path, "busy"):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert path.exists()
    with exclusive(path, "busy"):
        pass
    assert not path.exists()


def test_a_file_that_was_removed_before_it_was_locked_is_not_the_lock(tmp_path, monkeypatch):
    path, lock = tmp_path / "lock", locks._lock

    def removed_first(file):
        path.unlink()
        monkeypatch.setattr(locks, "_lock", lock)
        lock(file)

    monkeypatch.setattr(locks, "_lock", removed_first)
    with exclusive(path, "busy"):
        with pytest.raises(LockedError), exclusive(path, "busy"):
            pass
        assert path.exists()


def test_a_file_system_without_locks_holds_nobody_up(tmp_path, monkeypatch):
    def unsupported(file):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(locks, "_lock", unsupported)
    with exclusive(tmp_path / "lock", "busy"), exclusive(tmp_path / "lock", "busy"):
        assert not (tmp_path / "lock").exists()
    with exclusive(tmp_path / "no" / "such" / "folder", "busy"):
        pass
