"""When iterations end, and what is recorded of them."""

import pytest

from hyperfuse.methods.tensor.iterations import Iterations


class Clock:
    """Shows a time that the test sets."""

    now = 100.0

    def __call__(self):
        return self.now


def test_they_are_as_many_as_allowed():
    reports = []
    steps = Iterations(4, progress=lambda fraction, message="": reports.append((fraction, message)))
    assert list(steps) == [0, 1, 2, 3]
    assert steps.details() == {"iterations": 4, "end": "iterations"}
    assert reports == [(0.25, "iteration 1"), (0.5, "iteration 2"), (0.75, "iteration 3"), (1.0, "iteration 4")]


def test_they_end_below_the_tolerance_of_the_first_value():
    steps = Iterations(10, tolerance=0.3)
    for number in steps:
        steps.record(change=1 / (number + 1), objective=10.0 - number)
    assert steps.details() == {
        "iterations": 4,
        "end": "converged",
        "change": [1.0, 0.5, 0.3333, 0.25],
        "objective": [10.0, 9.0, 8.0, 7.0],
    }


@pytest.mark.parametrize(("seconds", "expected"), [(100, 4), (10, 1), (40, 1), (46, 2), (1000, 10)])
def test_none_is_begun_that_would_exceed_the_time(seconds, expected):
    clock = Clock()
    steps = Iterations(10, budget_seconds=seconds, clock=clock)
    for _ in steps:
        clock.now += 20  # of 90 % of the time
    assert steps.details() == {"iterations": expected, "end": "iterations" if expected == 10 else "budget"}


def test_loops_within_an_iteration_see_the_time_too():
    clock = Clock()
    steps = Iterations(2, budget_seconds=10, clock=clock)
    assert not steps.late()
    assert steps.late(9.5)
    clock.now += 9.5
    assert steps.late()
    assert list(steps) == [0]
    assert steps.details()["end"] == "budget"
    assert not Iterations(2, clock=clock).late(1e9)


def test_a_long_record_is_thinned():
    steps = Iterations(200)
    for number in steps:
        steps.record(change=float(number))
    found = steps.details()["change"]
    assert len(found) == 40
    assert (found[0], found[-1]) == (0.0, 199.0)
    assert found == sorted(set(found))


def test_a_long_duration_is_stated_first():
    clock, reports = Clock(), []
    for _ in Iterations(10, progress=lambda _, message="": reports.append(message), clock=clock):
        clock.now += 90
    assert reports[0] == "iteration 1 of 10, about 15 min in all"
