import importlib

import pytest

from experiments import published
from lrstudy.study.choices import choice
from lrstudy.study.derived import static_parts
from lrstudy.study.plan import make_plan
from lrstudy.study.plan_checks import unready

NAMED = {
    "budgeted_schedules": {published.IMAGENET, published.LM1B},
    "instability_proxies": {published.C4},
    "lazy_to_rich": {published.MNIST},
    "memory_efficient": {published.C4},
    "mup_transfer": {published.CIFAR10, published.WIKIPEDIA},
    "river_valley": {published.C4},
}


def tasks_of(name, preset):
    parts = static_parts(importlib.import_module(f"experiments.{name}").EXPERIMENT.presets[preset]())
    return [part.base.task for part in parts.values()]


@pytest.mark.parametrize("name", NAMED)
def test_paper_presets_alone_name_the_papers_data(name):
    named = [task.arguments["name"] for task in tasks_of(name, "paper") if task.name == "tfds"]
    assert set(named) == NAMED[name]
    for preset in ("smoke", "cpu", "gpu"):
        assert not [task for task in tasks_of(name, preset) if task.name == "tfds"]


def test_a_paper_preset_is_planned_without_its_data(monkeypatch, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    parts = static_parts(importlib.import_module("experiments.lazy_to_rich").EXPERIMENT.presets["paper"]())
    plan = make_plan({"projection": parts["projection"]})
    [line] = unready(plan)
    assert line.startswith("task.name must be a prepared data set, got 'mnist'")
    assert all(run.columns["task.name"] == "mnist" for run in plan.runs().values())


def test_a_data_set_keeps_what_is_said_of_batches_and_evaluations():
    stand_in = choice("task", "digits", batch_size=64, standardised=True)
    assert published.published(stand_in, "") is stand_in
    own = published.published(stand_in, published.CIFAR10, side=16)
    assert own.name == "tfds"
    expected = {"name": "cifar10", "validation_split": "test", "batch_size": 64, "side": 16}
    assert dict(own.arguments) == expected
