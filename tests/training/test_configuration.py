from pathlib import Path

import pytest
import yaml

from hyperfuse.datasets import read_split
from hyperfuse.errors import InputError
from hyperfuse.networks import create_network
from hyperfuse.training.configuration import TrainingConfig, differences, load_config, to_yaml
from hyperfuse.training.sections import BaseSection, Duration, NetworkSection


@pytest.fixture
def file(tmp_path, made):
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump({**made.tiny, "output": "run"}))
    return path


def refused(file, *overrides):
    with pytest.raises(InputError) as caught:
        load_config(file, overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"{file}: ")


def test_overrides_reach_into_sections_and_are_read_as_yaml(file):
    config = load_config(
        file,
        [
            "batch=8",
            "optimiser.learning_rate=1e-3",
            "data.train=[a, b]",
            "losses={l1: 1, ssim: 0.1}",
            "average.decay=0.99",
            "network.options.width=16",
            "schedule={name: cosine, period: 300 epochs, per: epoch}",
            "schedule.minimum=1e-5",
        ],
    )
    assert config.batch == 8
    assert config.optimiser.learning_rate == 1e-3
    assert config.data.train == ("a", "b")
    assert config.losses == {"l1": 1.0, "ssim": 0.1}
    assert config.average.decay == 0.99
    assert config.network.options["width"] == 16
    assert config.schedule.period == Duration(300, "epochs")
    assert config.schedule.minimum == 1e-5
    assert load_config(file, ["average={}", "average=null"]).average is None


def test_what_is_written_is_read_back(file, tmp_path):
    config = load_config(file, ["schedule={name: one-cycle}", "average={decay: 0.99}", "data.test=['no', '01']"])
    again = tmp_path / "again.yaml"
    again.write_text(to_yaml(config))
    assert load_config(again) == config
    assert list(differences(config, load_config(again))) == []
    assert list(differences(config, load_config(again, ["batch=8", "schedule.rise=0.5"]))) == [
        ("batch", 4, 8),
        ("schedule.rise", 0.3, 0.5),
    ]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("optimizer.learning_rate=1", "no key 'optimizer'; did you mean 'optimiser'?"),
        ("optimiser.lerning_rate=1", "no key 'optimiser.lerning_rate'; did you mean 'learning_rate'?"),
        ("schedule={name: cosine, peroid: 3}", "no key 'schedule.peroid'; did you mean 'period'?"),
        ("schedule={name: cosin}", "schedule.name: no schedule is called 'cosin'; did you mean 'cosine'?"),
        ("schedule={period: 3}", "the key 'schedule.name' is missing"),
        ("average={decays: 0.9}", "no key 'average.decays'; did you mean 'decay'?"),
        ("losses={l2: 1}", "no loss is called 'l2'; did you mean 'l1'?"),
        ("losses={l1: 0}", "losses: every weight is 0"),
        ("losses={l1: -1}", "the weight of the loss 'l1' is negative"),
        ("batch=0", "batch: input should be greater than 0 (given: 0)"),
        ("batch=many", "batch: input should be a valid integer"),
        ("length=0", "length: write a number of steps"),
        ("length=2 hours", "length: write a number of steps"),
        ("average.decay=1", "average.decay: input should be less than 1 (given: 1)"),
        ("degradation.preset=uest", "degradation.preset: input should be 'uestc', 'dhif', 'mtf' or 'stored'"),
        ("batch", "an override is key=value, such as optimiser.learning_rate=1e-3; got 'batch'"),
        ("batch.size=3", "the override 'batch.size=3': batch is a value, it has no keys below it"),
        ("data.train=[one", "the override 'data.train=[one' is not a value in YAML"),
        ("data.test=[1, 2]", "data.test: write the name of a split, or names of scenes"),
    ],
)
def test_errors_are_one_line_with_the_nearest_name(file, word, message):
    assert refused(file, word).startswith(message)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.validation=[three, one]"], "'one' is both in data.train and in data.validation"),
        (["data.test=[three]"], "'three' is both in data.validation and in data.test"),
        (["data.test=[Three]"], "'three' is both in data.validation and in data.test"),
        (["data.test=[two]"], "'two' is both in data.train and in data.test"),
        (["data.train=uestc-train", "data.test=uestc-train"], "'uestc-train' is both in data.train and in data.test"),
        (["data.validation=[]"], "nothing to validate on"),
        (["data.hold_out=0.2"], "data.validation and data.hold_out exclude each other"),
        (["data.train=[]"], "data.train names no scene"),
    ],
)
def test_scenes_in_two_parts_are_refused(file, overrides, message):
    assert refused(file, *overrides).startswith(message)


def test_scenes_may_be_shared_where_crops_of_them_are_held_out(file):
    assert load_config(file, ["data.validation=[]", "data.hold_out=0.2"]).data.train == ("one", "two")


def test_overlaps_are_refused_once_splits_are_known(file):
    config = load_config(file, ["data.train=first", "data.validation=second", "data.test=third"])
    assert config.with_names(["a"], ["b"], ["c"]).data.validation == ("b",)
    with pytest.raises(InputError, match=r"'b' is both in data\.validation and in data\.test"):
        config.with_names(["a"], ["b"], ["b"])
    with pytest.raises(InputError, match=r"'a' is both in data\.train and in data\.validation"):
        config.with_names(["a"], ["a"], ["c"])


def test_settings_that_contradict_each_other(file):
    assert "windows of 11 pixels, data.patch is 8" in refused(file, "data.patch=8", "losses.ssim=0.1")
    stored = "degradation.preset=stored"
    assert "remove augmentation.symmetries" in refused(file, stored, "augmentation.symmetries=true")
    assert "no jitter and one ratio" in refused(file, stored, "degradation.width_jitter=0.1")


def test_intermediate_outputs_and_a_base_exclude_each_other(make):
    with pytest.raises(ValueError, match=r"network\.intermediate does not work with a base"):
        make(network={"intermediate": True}, base={"method": "gsa"})


def test_files_that_cannot_be_read(tmp_path):
    assert "cannot be read (no such file or directory)" in refused(tmp_path / "none.yaml")
    (tmp_path / "a.yaml").write_text("batch: [1, 2\nlength: 3")
    assert "not a YAML file" in refused(tmp_path / "a.yaml")
    (tmp_path / "b.yaml").write_text("- 1")
    assert "is a mapping of keys" in refused(tmp_path / "b.yaml")
    (tmp_path / "c.yaml").write_text("output: run")
    assert refused(tmp_path / "c.yaml") == "the key 'length' is missing"


def test_nothing_in_a_file_is_executed(tmp_path):
    (tmp_path / "a.yaml").write_text("!!python/object/apply:os.system ['touch here']")
    assert "not a YAML file" in refused(tmp_path / "a.yaml")


@pytest.mark.parametrize(
    ("text", "steps", "patches"),
    [(5, 5, 40), ("1 step", 1, 8), ("2 epochs", 980, 7840), ("1 epoch", 490, 3920)],
)
def test_lengths_in_steps_and_epochs(make, text, steps, patches):
    span = make(length=text).length
    assert span.steps(3920, 8) == steps
    assert span.patches(3920, 8) == patches
    assert Duration(1, "epochs").steps(10, 4) == 3


def test_a_length_is_also_a_wall_time_with_the_schedule_over_it(make):
    config = make(length="1.5 minutes", schedule={"name": "one-cycle", "rise": 0.5, "start": 0.1})
    rate, highest = config.create_schedule(3920), config.optimiser.learning_rate
    assert config.length.milliseconds == 90_000
    assert rate(0) == pytest.approx(0.1 * highest)
    assert rate(45_000) == pytest.approx(highest, rel=1e-3)
    assert rate(90_000) == 0
    changes = {"name": "steps", "factor": 0.1, "at": ["0.5 minutes", "1 minute"]}
    rate = make(length="2 minutes", schedule=changes).create_schedule(3920)
    assert [rate(ms) / highest for ms in (29_999, 30_000, 60_000)] == pytest.approx([1, 0.1, 0.01])
    assert make(length="8 minutes").model_dump(mode="json")["length"] == "8 minutes"


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"length": "0 minutes"}, "or '8 minutes'"),
        ({"length": "1 minute", "validation": {"every": "1 minute"}}, "minutes are for length and schedule"),
        (
            {"length": 5, "schedule": {"name": "cosine", "period": "1 minute"}},
            "schedule.period is in minutes, length in",
        ),
        ({"length": "5 minutes", "schedule": {"name": "steps", "factor": 0.1, "at": [9]}}, "schedule.at is in steps"),
        (
            {"length": "5 minutes", "schedule": {"name": "one-cycle", "per": "epoch"}},
            "schedule.per=epoch counts patches",
        ),
    ],
)
def test_wall_time_and_counts_do_not_mix(make, keys, message):
    with pytest.raises(ValueError, match=message):
        make(**keys)


def test_schedules_are_made_for_the_run(make):
    config = make(
        length="2000 epochs",
        batch=4,
        accumulation=2,
        optimiser={"learning_rate": 2e-4},
        schedule={"name": "cosine", "per": "epoch", "period": "300 epochs", "minimum": 1e-5},
    )
    rate = config.create_schedule(3920)
    assert rate(0) == rate(3919) == 2e-4
    assert rate(300 * 3920) == pytest.approx(1e-5)
    assert rate(600 * 3920) == pytest.approx(2e-4)
    whole = make(length=10, batch=2, schedule={"name": "cosine", "minimum": 0.0}).create_schedule(100)
    assert whole(20) == pytest.approx(0.0)
    cycle = make(length=11, batch=2, schedule={"name": "one-cycle", "rise": 0.5}).create_schedule(100)
    assert cycle(10) == pytest.approx(2e-3)
    assert cycle(20) == pytest.approx(0.0)
    assert make().create_schedule(100)(12345) == 2e-3


def test_a_schedule_in_steps(make):
    halved = make(length="100 epochs", batch=8, schedule={"name": "steps", "factor": 0.5, "at": ["80 epochs", 7]})
    rate = halved.create_schedule(1000)
    assert [rate(seen) / 2e-3 for seen in (0, 55, 56, 79_999, 80_000)] == [1, 1, 0.5, 0.5, 0.25]
    schedule = {"name": "steps", "factor": 0.95, "every": "5 epochs", "first": "1 epoch", "times": 3}
    rate = make(length="100 epochs", schedule=schedule).create_schedule(10)
    assert [rate(10 * epoch) / 2e-3 for epoch in (0, 1, 5, 6, 11, 99)] == pytest.approx(
        [1, 0.95, 0.95, 0.95**2, 0.95**3, 0.95**3]
    )
    rate = make(length=9, batch=1, schedule={"name": "steps", "factor": 0.5, "every": 4}).create_schedule(10)
    assert [rate(seen) / 2e-3 for seen in (3, 4, 8)] == [1, 0.5, 0.25]


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        ({}, "factor"),
        ({"factor": 0.5}, "needs either schedule.at"),
        ({"factor": 0.5, "at": [3], "every": 2}, "needs either schedule.at"),
        ({"factor": 0.5, "at": [3], "times": 2}, "belong to schedule.every"),
    ],
)
def test_a_schedule_in_steps_that_is_not_whole(make, schedule, said):
    with pytest.raises(ValueError, match=said):
        make(schedule={"name": "steps", **schedule})


def test_a_configuration_cannot_be_changed(make):
    with pytest.raises(ValueError, match="frozen"):
        make().batch = 3
    assert TrainingConfig.model_validate(make().model_dump()) == make()


CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_configurations_that_ship_are_whole(path):
    config = load_config(path, ["data.folder=elsewhere"])
    assert config.data.folder == Path("elsewhere")
    network = create_network(config.network.name, hsi_bands=31, msi_bands=3, **config.network.options)
    assert network.name in path.stem
    if path.stem.endswith("-cave-x4"):
        assert path.stem == f"{network.name}-cave-x4"
        assert config.degradation.ratios == (4,)
        assert config.data.patch % getattr(network, "side_multiple", 1) == 0
    assert not load_config(path).data.folder.is_absolute()
    assert not load_config(path).output.is_absolute()
    names = {
        part: read_split("cave", value) if isinstance(value := getattr(config.data, part), str) else value
        for part in ("train", "validation", "test")
    }
    assert config.with_names(**names).data.train  # nothing is shared


def test_the_released_recipe_is_as_it_is_known():
    config = load_config(CONFIGS / "feinfn-release-cave-x4.yaml")
    assert config.length.patches(3920, config.step_patches) == 2000 * 3920
    assert config.length.steps(3920, config.step_patches) == 2000 * 490
    rate = config.create_schedule(3920)
    assert [rate(epoch * 3920) for epoch in (0, 150, 300)] == pytest.approx([2e-4, 1.05e-4, 1e-5])
    assert (config.batch, config.accumulation, config.optimiser.gradient_norm) == (4, 2, 1e-4)
    assert config.losses == {"l1": 1.0, "ssim": 0.1}
    assert config.augmentation == type(config.augmentation)()


@pytest.mark.parametrize(
    ("name", "patches", "rates"),
    [
        ("psrt", 2000 * 3920, {0: 1e-4, 1999 * 3920: 1e-4}),
        ("bdt", 2000 * 3920, {0: 1e-4, 1999 * 3920: 1e-4}),
        ("3dt-net", 100 * 20_000, {0: 1e-4, 80 * 20_000 - 1: 1e-4, 80 * 20_000: 5e-5}),
        ("dspnet", 100 * 20_000, {0: 3e-4, 20_000: 2.85e-4, 5 * 20_000: 2.85e-4, 6 * 20_000: 3e-4 * 0.95**2}),
        ("mimo-sst", 1001 * 1202 * 16, {0: 1e-4, 10**7: 1e-4}),
        ("restfnet", 10_000, {0: 1e-4, 9_999: 1e-4}),
        ("tfnet", 10_000, {0: 1e-4, 9_999: 1e-4}),
        ("ssrnet", 10_000, {0: 1e-4, 9_999: 1e-4}),
        ("hsrnet", 150_001 * 32, {0: 1e-4, 150_000 * 32: 1e-4}),
        ("mog-dcn", 502_500 * 4, {0: 1e-4, 2_000_000: 1e-4}),
        ("fusformer", 1000 * 3920, {0: 1e-3, 199 * 3920: 1e-3, 200 * 3920: 1e-4, 400 * 3920: 1e-5}),
        ("dhif", 2_500_000 * 4, {0: 3e-4, 20_000: 2.85e-4, 119_999: 2.85e-4, 9_999_999: 3e-4 * 0.95**30}),
    ],
)
def test_recipes_of_compared_networks_are_those_of_their_programs(name, patches, rates):
    config = load_config(CONFIGS / f"{name}-cave-x4.yaml")
    assert config.length.patches(3920, config.step_patches) == patches
    rate = config.create_schedule(3920)
    assert {seen: rate(seen) for seen in rates} == pytest.approx(rates)


def test_a_base_is_read_and_what_it_cannot_be_with_is_refused(file):
    config = load_config(file, ["base={method: feinfn, settings: {steps: 0}}", "base.versions=2"])
    assert config.base.settings == {"steps": 0}
    assert config.base.versions == 2
    assert "augmentation.mix does not work with a base" in refused(file, "base={method: x}", "augmentation.mix=0.5")
    assert "network.weights and network.zero_output exclude each other" in refused(
        file, "network.weights=w", "network.zero_output=true"
    )


@pytest.mark.parametrize(
    ("section", "old", "new"),
    [
        (name, old, new)
        for name, kind in (("network", NetworkSection), ("base", BaseSection))
        for old, new in kind.renamed.items()
    ],
)
def test_renamed_keys_are_refused_with_their_new_names(file, section, old, new):
    base = "base={method: bicubic}"
    assert refused(file, base, f"{section}.{old}=true") == f"the key '{section}.{old}' is called {new!r} now"
    load_config(file, [base, f"{section}.{new}=true"])
