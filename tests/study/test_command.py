import pytest
from absl import flags

from lrstudy.study.choices import Choice, choice
from lrstudy.study.command import parse, read_command
from lrstudy.study.config import RunConfig
from lrstudy.study.errors import ConfigError
from lrstudy.study.experiment import Experiment
from lrstudy.study.main import define_common_flags
from lrstudy.study.part import Part, axis

BASE = RunConfig(
    task=choice("task", "digits"),
    schedule=choice("schedule", "WSD", peak=0.01, decay_fraction=0.2),
    optimizer=choice("optimizer", "adamw"),
)
SEEDS = axis("seed", [0, 1])


def experiment(**parts):
    return Experiment("test", "A test", "?", {"cpu": lambda: parts, "smoke": lambda: parts})


ONE = experiment(**{"": Part(BASE, [SEEDS])})
TWO = experiment(toy=Part(BASE, [SEEDS]), text=Part(BASE))


def command(study, *arguments):
    values = flags.FlagValues()
    define_common_flags(values)
    parse(study, ["program", *arguments], values)
    return read_command(study, values)


def configs(study, *arguments, part=""):
    return list(command(study, *arguments).parts[part].configs())


def test_without_flags_the_preset_stands():
    assert [c.seed for c in configs(ONE)] == [0, 1]
    assert configs(ONE)[0].schedule == BASE.schedule


def test_a_leaf_is_set_and_typed():
    [first, _] = configs(ONE, "--config.schedule.peak=0.5", "--config.steps=7", "--config.model.width=32")
    assert (first.schedule.arguments["peak"], first.steps) == (0.5, 7)
    assert first.model == Choice("mlp", {"width": 32})


def test_both_spellings_of_a_flag():
    assert configs(ONE, "--config.steps", "9")[0].steps == 9


def test_none_is_a_value_of_an_optional_leaf():
    assert configs(ONE, "--config.clip_norm=2.5")[0].clip_norm == 2.5
    assert configs(ONE, "--config.clip_norm=none")[0].clip_norm is None


def test_a_class_is_chosen_by_name_and_brings_its_flags():
    [first, _] = configs(ONE, "--config.task=text", "--config.task.context=8", "--config.model.heads=1")
    assert first.task == Choice("text", {"context": 8})
    assert first.model == Choice("transformer", {"heads": 1})
    [first, _] = configs(ONE, "--config.optimizer=momentum", "--config.optimizer.nesterov=true")
    assert first.optimizer.arguments["nesterov"] is True


def test_a_leaf_of_another_class_is_unknown():
    with pytest.raises(ConfigError, match=r"Unknown command line flag 'config\.schedule\.decay_fraction'"):
        configs(ONE, "--config.schedule=Cosine", "--config.schedule.decay_fraction=0.1")


def test_tuples():
    [first, _] = configs(ONE, "--config.task=quadratic", "--config.task.eigenvalues=1,2.5,3")
    assert first.task.arguments["eigenvalues"] == (1.0, 2.5, 3.0)
    swept = configs(ONE, "--config.task=quadratic", "--sweep.task.eigenvalues=1,2,3;4,5,6", "--config.seed=0")
    assert [c.task.arguments["eigenvalues"] for c in swept] == [(1.0, 2.0, 3.0), (4.0, 5.0, 6.0)]


def test_sweeps_make_a_grid():
    found = configs(ONE, "--sweep.schedule.peak=1e-3:1e-1:3:log", "--sweep.seed=5,6")
    grid = {(peak, seed) for peak in (0.001, 0.01, 0.1) for seed in (5, 6)}
    assert {(c.schedule.arguments["peak"], c.seed) for c in found} == grid
    assert len(found) == 6


def test_names_can_be_swept_with_the_flags_of_all():
    found = configs(ONE, "--sweep.schedule=WSD,Cosine", "--sweep.schedule.peak=0.1,0.2", "--config.seed=0")
    assert [(c.schedule.name, c.schedule.arguments["peak"]) for c in found] == [
        ("WSD", 0.1), ("WSD", 0.2), ("Cosine", 0.1), ("Cosine", 0.2)
    ]  # fmt: skip


def test_a_fixed_value_takes_the_place_of_an_axis():
    assert [c.seed for c in configs(ONE, "--config.seed=9")] == [9]


def test_parts_have_flags_of_their_own():
    found = command(TWO, "--config.toy.steps=5", "--sweep.text.seed=1,2,3")
    assert [c.steps for c in found.parts["toy"].configs()] == [5, 5]
    assert [(c.steps, c.seed) for c in found.parts["text"].configs()] == [(1000, 1), (1000, 2), (1000, 3)]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--config.schedule.peek=1"], "Did you mean: config.schedule.peak"),
        (["--config.peek=1"], "Unknown command line flag 'config.peek'"),
        (["--config.schedle=WSD"], "Unknown command line flag 'config.schedle'"),
        (["--config.schedule=WSDD"], "did you mean 'WSD'?"),
        (["--sweep.schedule=WSD,Cosin"], "did you mean 'Cosine'?"),
        (["--config.steps=1.5"], "an int is needed, got '1.5'"),
        (["--sweep.seed=1:x:3"], "lo:hi:n[:log]"),
        (["--preset=cpuu"], "preset must be one of ['cpu', 'smoke'], got 'cpuu'"),
        (["stray"], "unexpected argument 'stray'"),
        (["--executor=loop"], "executor"),
    ],
)
def test_mistakes_are_one_line(arguments, text):
    with pytest.raises(ConfigError) as caught:
        command(ONE, *arguments)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(caught.value).count("config.") <= 1 + 3


def test_every_leaf_has_a_flag_with_its_default():
    values = flags.FlagValues()
    define_common_flags(values)
    parse(ONE, ["program"], values)
    for leaf in ("steps", "schedule", "schedule.decay_fraction", "task.batch_size", "model.width", "optimizer.b1"):
        assert f"config.{leaf}" in values
        assert f"sweep.{leaf}" in values
    assert "default 0.2" in values["config.schedule.decay_fraction"].help
    assert "default 64" in values["config.task.batch_size"].help


def test_a_tuple_of_steps_is_a_value_and_can_be_swept():
    [first, _] = configs(ONE, "--config.schedule=WSDS", "--config.schedule.ends=10,20,30")
    assert first.schedule.arguments["ends"] == (10, 20, 30)
    ends = [
        c.schedule.arguments["ends"] for c in configs(ONE, "--config.schedule=WSDS", "--sweep.schedule.ends=9;9,30")
    ]
    assert ends == [(9,), (9, 30)] * 2


@pytest.mark.parametrize(("name", "value"), [("decay_steps", "30"), ("decay_lengths", "3,4")])
def test_an_alternative_takes_the_place_of_the_presets(name, value):
    cls = "WSD" if name == "decay_steps" else "WSDS"
    [first, _] = configs(ONE, f"--config.schedule={cls}", f"--config.schedule.{name}={value}")
    assert "decay_fraction" not in first.schedule.arguments
    assert name in first.schedule.arguments


def test_classes_of_a_sweep_take_the_arguments_that_they_have():
    found = configs(
        ONE, "--sweep.schedule=Cosine;Polynomial", "--config.schedule.exponent=2", "--config.schedule.peak=0.5"
    )
    arguments = [c.schedule.arguments for c in found if c.seed == 0]
    assert arguments == [{"peak": 0.5, "exponent": 2.0}, {"peak": 0.5}]
    found = configs(ONE, "--sweep.optimizer=sgd,momentum", "--config.optimizer.momentum=0.5")
    assert [dict(c.optimizer.arguments) for c in found if c.seed == 0] == [{}, {"momentum": 0.5}]


def test_a_list_is_described_by_what_it_holds():
    values = flags.FlagValues()
    define_common_flags(values)
    parse(ONE, ["program", "--config.task=mixed_text"], values)
    for leaf, items in (("paths", "texts"), ("boundaries", "ints"), ("shares", "numbers")):
        assert values[f"config.task.{leaf}"].help.startswith(f"{items} separated by commas, or @FILE; default")
