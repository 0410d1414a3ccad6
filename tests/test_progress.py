from hyperfuse.progress import part, silent


def test_a_part_maps_its_fractions_into_its_range():
    calls = []
    inner = part(part(lambda *arguments: calls.append(arguments), 0.5, 1.0), 0.0, 0.5)
    for fraction in (0.0, 0.5, 1.0):
        inner(fraction, "tile")
    assert calls == [(0.5, "tile"), (0.625, "tile"), (0.75, "tile")]


def test_silence_takes_what_progress_takes():
    assert silent(0.5) is None
    assert silent(0.5, "message") is None
