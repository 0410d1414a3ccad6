import signal
import subprocess
import sys

import pytest

from hyperfuse.runtime.locks import FileLock

HOLD = "import sys, time; from hyperfuse.runtime.locks import FileLock; from pathlib import Path\n"
HOLD += "lock = FileLock(Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"


def test_a_lock_excludes_others_until_it_is_released(tmp_path):
    lock = FileLock(tmp_path / "lock")
    with pytest.raises(BlockingIOError):
        FileLock(tmp_path / "lock")
    lock.release()
    lock.release()
    FileLock(tmp_path / "lock").release()


def test_the_lock_of_a_process_ends_with_it(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "lock")], stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == b"held\n"
        with pytest.raises(BlockingIOError):
            FileLock(tmp_path / "lock")
        child.send_signal(signal.SIGKILL)
    FileLock(tmp_path / "lock").release()
