import pytest

from hyperfuse.reports.numbers import counted, duration, exact, number


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (number(0.000123456, 3), "1.23 × 10⁻⁴"),
        (number(-2.5e7, 3), "−2.50 × 10⁷"),
        (number(123456.7, 4), "123\u202f457"),
        (number(-0.01234, 3), "−0.0123"),
        (number(0.0), "0.000"),
        (number(None), "–"),
        (number(1.2345, 3, "°"), "1.23°"),
        (exact(30.0, "m"), "30 m"),
        (counted(12000, "pixel"), "12\u202f000 pixels"),
        (duration(3599.9), "60 min 0 s"),
        (duration(0.04), "0.0 s"),
    ],
)
def test_numbers_are_set_as_people_read_them(shown, expected):
    assert shown == expected
