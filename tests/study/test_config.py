import dataclasses
import json

import jax
import pytest

from lrstudy.schedules import WRAPPERS
from lrstudy.study import choices
from lrstudy.study.choices import Choice, choice
from lrstudy.study.config import RunConfig, default_model, resolve, schedule_of, trunk_of, with_value
from lrstudy.study.errors import ConfigError
from tests.schedules.cases import ALL

BASE = RunConfig(
    task=choice("task", "digits"),
    schedule=choice("schedule", "WSD", peak=0.01, decay_fraction=0.2),
    optimizer=choice("optimizer", "adamw"),
    steps=100,
)


def test_every_leaf_is_a_column():
    columns = resolve(BASE).columns
    assert columns["schedule"] == "WSD"
    assert columns["schedule.total_steps"] == 100
    assert columns["schedule.decay_fraction"] == 0.2
    assert columns["task"] == "digits"
    assert columns["task.batch_size"] == 64
    assert columns["model"] == "mlp"
    assert columns["model.width"] == 64
    assert columns["optimizer"] == "adamw"
    assert columns["optimizer.b1"] == 0.9
    assert (columns["seed"], columns["steps"], columns["clip_norm"]) == (0, 100, None)


def test_the_same_configuration_is_the_same_run():
    assert resolve(BASE).run_id == resolve(dataclasses.replace(BASE)).run_id
    spelled = with_value(BASE, "schedule.total_steps", 100)
    assert resolve(spelled).run_id == resolve(BASE).run_id


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("schedule.peak", 0.02),
        ("seed", 1),
        ("steps", 101),
        ("optimizer.b2", 0.95),
        ("task.batch_size", 32),
        ("model.width", 32),
        ("clip_norm", 1.0),
        ("optimizer", "sgd"),
        ("schedule", "Cosine"),
    ],
)
def test_any_changed_leaf_is_another_run(path, value):
    assert resolve(with_value(BASE, path, value)).run_id != resolve(BASE).run_id


def test_the_text_itself_is_part_of_a_runs_identity(tmp_path):
    ids = []
    for text in (b"a" * 5000, b"b" * 5000):
        path = tmp_path / f"{text[:1].decode()}.txt"
        path.write_bytes(text)
        config = dataclasses.replace(BASE, task=choice("task", "text", path=str(path)))
        run = resolve(config)
        assert run.columns["task.bytes"] == 5000
        ids.append(run.columns["task.sha256"])
    assert ids[0] != ids[1]


def test_numbers_are_lanes_and_the_rest_is_structure():
    def structure(path, value):
        return jax.tree.structure(resolve(with_value(BASE, path, value)).hyperparameters)

    same = jax.tree.structure(resolve(BASE).hyperparameters)
    for path, value in (("schedule.peak", 0.5), ("seed", 3), ("optimizer.eps", 1e-6), ("steps", 7)):
        assert structure(path, value) == same, path
    for path, value in (("schedule", "Cosine"), ("task.batch_size", 8), ("model.layers", 3)):
        assert structure(path, value) != same, path


def test_renaming_a_choice_keeps_what_both_share():
    assert with_value(BASE, "schedule", "Cosine").schedule == Choice("Cosine", {"peak": 0.01})
    assert with_value(BASE, "schedule", Choice("Linear", {"peak": 1.0})).schedule.arguments == {"peak": 1.0}


def test_defaults_that_follow_from_the_length():
    assert resolve(with_value(BASE, "schedule", "WSDS")).schedule.ends == (25, 50, 100)
    bare = dataclasses.replace(BASE, schedule=choice("schedule", "WSD", peak=0.1))
    assert resolve(bare).schedule.decay_fraction == 0.1


def test_a_schedule_comes_back_from_its_columns():
    for name in ("WSD", "WSDS", "Cosine", "Constant", "CyclicCosine"):
        run = resolve(with_value(BASE, "schedule", name))
        assert schedule_of({k: v for k, v in run.columns.items() if v is not None}) == run.schedule


def test_the_trunk_of_a_wsd_run():
    config, step = trunk_of(resolve(BASE))
    assert (config.schedule.name, config.steps, step) == ("Constant", 80, 80)
    assert config.schedule.arguments["peak"] == 0.01
    assert trunk_of(resolve(with_value(BASE, "schedule", "Cosine"))) is None
    whole = with_value(with_value(BASE, "schedule.decay_fraction", 1.0), "steps", 50)
    assert trunk_of(resolve(whole)) is None


def test_models_fit_their_task():
    assert default_model(BASE) == Choice("mlp")
    assert default_model(dataclasses.replace(BASE, task=choice("task", "river"))) is None
    with pytest.raises(ConfigError, match="the model of task digits must be one of"):
        resolve(dataclasses.replace(BASE, model=choice("model", "transformer")))


@pytest.mark.parametrize(
    ("path", "value", "text"),
    [
        ("steps", 0, "steps must be an int of at least 1, got 0"),
        ("steps", 2.0, "steps must be an int of at least 1, got 2.0"),
        ("seed", -1, "seed must be an int of at least 0, got -1"),
        ("clip_norm", -1.0, "clip_norm must be a positive number or none, got -1.0"),
        ("evaluate_every", 15, "evaluate_every must be 0 or a multiple of record_every (10), got 15"),
        ("task.batch_size", 0, "task.batch_size must be in [1, 1437], got 0"),
        ("schedule.decay_fraction", 1.5, "WSD: decay_fraction must be"),
    ],
)
def test_bad_values_name_path_rule_and_value(path, value, text):
    with pytest.raises(ConfigError) as caught:
        resolve(with_value(BASE, path, value))
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_rule_that_names_other_leaves_says_what_they_are():
    warmed = with_value(with_value(BASE, "schedule.warmup_steps", 25), "steps", 10)
    with pytest.raises(ConfigError) as caught:
        resolve(warmed)
    assert str(caught.value) == "WSD: warmup_steps must be in [0, total_steps), got 25; total_steps is 10"


def test_unknown_names_suggest_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'Cosine'"):
        choice("schedule", "Cosin")
    with pytest.raises(ConfigError, match="did you mean 'peak'"):
        choice("schedule", "Cosine", peek=1.0)
    with pytest.raises(ConfigError, match="did you mean 'seed'"):
        with_value(BASE, "sed", 1)
    with pytest.raises(ConfigError, match="did you mean 'decay_fraction'"):
        with_value(BASE, "schedule.decay_fractio", 1)


def test_an_argument_without_default_must_be_given():
    with pytest.raises(ConfigError, match=r"schedule\.peak must be given for Cosine"):
        resolve(dataclasses.replace(BASE, schedule=Choice("Cosine")))


@pytest.mark.parametrize("name", [name for name in ALL if type(ALL[name]).__name__ not in WRAPPERS])
def test_every_schedule_is_rebuilt_from_the_columns_of_its_run(name):
    columns = choices.columns_of("schedule", type(ALL[name]).__name__, ALL[name])
    assert schedule_of(json.loads(json.dumps(columns))) == ALL[name]


def test_a_gradient_that_clipping_does_not_reach_is_not_clipped_in_silence():
    clipped = dataclasses.replace(BASE, optimizer=choice("optimizer", "sam"), clip_norm=1.0)
    rule = r"none \(--config.clip_norm=none\) for sam, which steps along a gradient of its own that is not clipped"
    with pytest.raises(ConfigError, match=f"^clip_norm must be {rule}, got 1.0$"):
        resolve(clipped)
    assert resolve(dataclasses.replace(clipped, clip_norm=None)).optimizer["rho"] == 0.05
