from hypothesis import given, settings
from hypothesis import strategies as st

from hyperfuse.training.order import DataOrder, ProcessBatches


@given(st.integers(0, 5), st.integers(1, 40), st.integers(0, 3))
@settings(max_examples=25, deadline=None)
def test_an_epoch_has_every_patch_once_and_epochs_differ(seed, patches, epoch):
    order = DataOrder(seed, patches, 4)
    corners = [order.locate(epoch * patches + n) for n in range(patches)]
    assert {place[0] for place in corners} == {epoch}
    assert sorted(place[1] for place in corners) == list(range(patches))


def test_seed_and_epoch_change_the_order_and_asking_does_not():
    order = DataOrder(0, 50, 4)
    first = [order.locate(n)[1] for n in range(50)]
    second = [order.locate(n)[1] for n in range(50, 100)]
    assert first != second
    assert first == [DataOrder(0, 50, 8, 2).locate(n)[1] for n in reversed(range(50))][::-1]
    assert first != [DataOrder(1, 50, 4).locate(n)[1] for n in range(50)]


def test_a_patch_has_its_own_random_numbers():
    order = DataOrder(3, 10, 4)
    drawn = {n: order.generator(n).random() for n in range(30)}
    assert len(set(drawn.values())) == 30
    assert {n: DataOrder(3, 10, 2, 2).generator(n).random() for n in reversed(range(30))} == drawn


def test_all_patches_of_a_step_have_one_ratio_and_all_ratios_come():
    order = DataOrder(0, 100, 4, 2)
    choices = [order.choice(n, 3) for n in range(800)]
    assert all(len(set(choices[step * 8 : step * 8 + 8])) == 1 for step in range(100))
    assert set(choices) == {0, 1, 2}
    assert {DataOrder(0, 100, 4, 2).choice(n, 1) for n in range(20)} == {0}


@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(0, 4), st.integers(0, 4))
@settings(max_examples=25, deadline=None)
def test_processes_split_every_batch_and_a_resume_continues(processes, local, accumulation, first, more):
    order = DataOrder(0, 1000, processes * local, accumulation)
    last = first + more
    alone = list(ProcessBatches(order, 0, last))
    parts = [list(ProcessBatches(order, first, last, rank, processes)) for rank in range(processes)]
    together = [[n for piece in pieces for n in piece] for pieces in zip(*parts, strict=True)]
    assert together == alone[first * accumulation :]
    assert [n for batch in alone for n in batch] == list(range(last * order.step_patches))
    assert len(ProcessBatches(order, first, last)) == more * accumulation
