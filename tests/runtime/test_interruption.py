import threading

import pytest

from hyperfuse.runtime.interruption import (
    finish_removals,
    interrupt,
    interruptible,
    remove_at_the_end,
    start_command,
    uninterrupted,
)


def test_without_a_block_it_is_raised_at_once():
    with pytest.raises(KeyboardInterrupt):
        interrupt(KeyboardInterrupt())


def test_the_outermost_block_counts_and_work_within_is_interrupted():
    done = []

    def make():
        with uninterrupted():
            done.append("made")
            try:
                with interruptible():
                    with uninterrupted(), uninterrupted():
                        interrupt(KeyboardInterrupt())
                        done.append("inner")
                    done.append("never")
            finally:
                done.append("removed")

    with pytest.raises(KeyboardInterrupt):
        make()
    assert done == ["made", "inner", "removed"]


def test_within_another_block_work_is_not_interrupted():
    done = []

    def make():
        with uninterrupted():
            with uninterrupted(), interruptible():
                interrupt(KeyboardInterrupt())
                done.append("work")
            done.append("end")

    with pytest.raises(KeyboardInterrupt):
        make()
    assert done == ["work", "end"]


def test_it_takes_the_place_of_another_error_of_the_block():
    def fail():
        with uninterrupted():
            interrupt(KeyboardInterrupt())
            raise ValueError

    with pytest.raises(KeyboardInterrupt) as caught:
        fail()
    assert isinstance(caught.value.__context__, ValueError)


def test_blocks_of_other_threads_hold_nothing_back():
    inside, ended = threading.Event(), threading.Event()

    def work():
        with uninterrupted(), interruptible(), uninterrupted():
            inside.set()
            ended.wait(10)

    thread = threading.Thread(target=work)
    thread.start()
    inside.wait(10)
    try:
        with pytest.raises(KeyboardInterrupt):
            interrupt(KeyboardInterrupt())
    finally:
        ended.set()
        thread.join()


def test_what_a_signal_left_is_removed_once(tmp_path):
    start_command()
    gone = []
    first = remove_at_the_end(tmp_path / "a", lambda: gone.append("a"))
    remove_at_the_end(tmp_path / "b", lambda: gone.append("b"))
    first()
    finish_removals()
    finish_removals()
    assert gone == ["a", "b"]


def test_blocks_that_an_earlier_command_left_open_hold_nothing_back():
    left_open = uninterrupted()
    left_open.__enter__()
    start_command()
    with pytest.raises(KeyboardInterrupt):
        interrupt(KeyboardInterrupt())
    left_open.__exit__(None, None, None)
    with pytest.raises(KeyboardInterrupt):
        interrupt(KeyboardInterrupt())
