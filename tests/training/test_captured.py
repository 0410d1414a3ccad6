"""Steps that a GPU repeats from a recording; here a stand-in for the graph repeats them on the CPU."""

import copy

import pytest
import torch

from hyperfuse.errors import InputError
from hyperfuse.training import captured
from hyperfuse.training.captured import OptimisationStep, compile_loss, create_adam, set_rate


class Graph:
    """Repeats what was recorded, on the same tensors."""

    def __init__(self, launch, inputs, outputs):
        self.launch, self.inputs, self.outputs, self.replays = launch, inputs, outputs, 0

    def replay(self):
        self.replays += 1
        for old, new in zip(self.outputs, self.launch(self.inputs), strict=True):
            old.copy_(new)


@pytest.fixture
def graphs(monkeypatch):
    made = []

    def record(launch, inputs, earlier):
        own = tuple(None if x is None else x.clone() for x in inputs)
        made.append(Graph(launch, own, (torch.zeros(()), torch.zeros(()))))
        return captured._Recording(made[-1], own, made[-1].outputs)

    monkeypatch.setattr(captured, "_record", record)
    monkeypatch.setattr(OptimisationStep, "_launch_aside", OptimisationStep._launch)
    return made


def line():
    torch.manual_seed(0)
    return torch.nn.Linear(3, 1)


def squares(layer):
    return lambda x, y, weight: ((layer(x) - y).square() * (1 if weight is None else weight)).mean()


def batches(count, size=4):
    generator = torch.Generator().manual_seed(1)
    return [(*(torch.rand(size, n, generator=generator) for n in (3, 1)), None) for _ in range(count)]


def run(step, optimiser, examples):
    found = []
    for number, batch in enumerate(examples):
        set_rate(optimiser, 0.1 / (1 + number))
        found.append([float(value) for value in step(*batch)])
    return found


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW])
def test_recorded_steps_take_the_same_way(kind, graphs):
    layers = line(), line()
    optimisers = [create_adam(kind, one.parameters(), 1.0, recorded=n == 1) for n, one in enumerate(layers)]
    steps = [
        OptimisationStep(squares(one), one.parameters(), optimiser, gradient_norm=0.3, recorded=n == 1)
        for n, (one, optimiser) in enumerate(zip(layers, optimisers, strict=True))
    ]
    found = [run(step, optimiser, batches(8)) for step, optimiser in zip(steps, optimisers, strict=True)]
    torch.testing.assert_close(torch.tensor(found[1]), torch.tensor(found[0]))
    torch.testing.assert_close(layers[1].weight, layers[0].weight)
    assert [graph.replays for graph in graphs] == [8 - captured.WARM_UP_STEPS]


def test_the_step_in_closed_form():
    """The first step of Adam moves every weight by the learning rate, whatever the clipped gradient."""
    layer = line()
    before = copy.deepcopy(layer.weight.detach())
    optimiser = create_adam(torch.optim.Adam, layer.parameters(), 0.01, recorded=False)
    step = OptimisationStep(squares(layer), layer.parameters(), optimiser, gradient_norm=0.1, recorded=False)
    x, y, _ = batches(1)[0]
    expected = (torch.nn.functional.linear(x, before, layer.bias.detach()) - y).square().mean()
    loss, norm = step(x, y, None)
    assert float(loss) == pytest.approx(float(expected))
    assert float(torch.stack([p.grad.norm() for p in layer.parameters()]).norm()) == pytest.approx(0.1, rel=1e-3)
    assert float(norm) > 0.1
    torch.testing.assert_close((layer.weight - before).abs(), torch.full((1, 3), 0.01), rtol=1e-4, atol=0)


@pytest.mark.parametrize("recorded", [False, True])
def test_a_step_that_is_not_finite_changes_nothing(recorded, graphs):
    layer = line()
    optimiser = create_adam(torch.optim.AdamW, layer.parameters(), 0.01, recorded=recorded)
    step = OptimisationStep(squares(layer), layer.parameters(), optimiser, recorded=recorded)
    for _ in range(5):
        step(*batches(1)[0])
    weight, state = layer.weight.detach().clone(), copy.deepcopy(optimiser.state_dict()["state"])
    x, y, _ = batches(1)[0]
    loss, _ = step(x * float("nan"), y, None)
    assert not torch.isfinite(loss)
    assert torch.equal(layer.weight, weight)
    for number, values in optimiser.state_dict()["state"].items():
        assert all(torch.equal(value, state[number][key]) for key, value in values.items())
    step(x, y, None)
    assert not torch.equal(layer.weight, weight)


def test_every_shape_has_its_recording_up_to_a_number(graphs):
    layer = line()
    optimiser = create_adam(torch.optim.AdamW, layer.parameters(), 0.01, recorded=True)
    step = OptimisationStep(squares(layer), layer.parameters(), optimiser, recorded=True)
    for size in range(1, captured.MOST_RECORDINGS + 3):
        for batch in batches(captured.WARM_UP_STEPS + 2, size):
            step(*batch)
    assert [graph.replays for graph in graphs] == [2] * captured.MOST_RECORDINGS
    x, y, _ = batches(1, 1)[0]
    step(x, y, torch.ones(1, 1))  # another input: not a repetition
    assert graphs[0].replays == 2


def test_what_cannot_be_recorded_is_launched_and_noted_once(monkeypatch, graphs):
    def fail(launch, inputs, earlier):
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    monkeypatch.setattr(captured, "_record", fail)
    layer, notes = line(), []
    optimiser = create_adam(torch.optim.AdamW, layer.parameters(), 0.1, recorded=True)
    step = OptimisationStep(squares(layer), layer.parameters(), optimiser, recorded=True, note=notes.append)
    losses = [float(step(*batches(1)[0])[0]) for _ in range(8)]
    assert len(set(losses)) == 8
    assert len(notes) == 1
    assert notes[0].endswith("(operation not permitted when stream is capturing)")


def test_a_compiler_that_fails_is_an_error_that_says_what_to_do(monkeypatch):
    class CompilerError(RuntimeError):
        __module__ = "torch._dynamo.exc"

    def fail(loss, dynamic):
        def call(*inputs):
            raise CompilerError("\nno C compiler found\nat all")

        return call

    monkeypatch.setattr(torch, "compile", fail)
    with pytest.raises(InputError, match=r"torch.compile failed \(no C compiler found\); set compiled=false"):
        compile_loss(lambda x: x)(torch.zeros(1))
