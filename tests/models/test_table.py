import dataclasses

import pytest

from lrstudy import models, tasks

DECIDED_BY_TASKS = {"vocabulary", "context", "outputs"}
LINEN_FIELDS = {"parent", "name"}


def without_default(model):
    fields = [f for f in dataclasses.fields(model) if f.name not in LINEN_FIELDS]
    return {f.name for f in fields if f.default is f.default_factory is dataclasses.MISSING}


@pytest.mark.parametrize("name", models.TABLE)
def test_only_what_a_task_decides_lacks_a_default(name):
    needed = without_default(models.TABLE[name])
    assert needed
    assert needed <= DECIDED_BY_TASKS


@pytest.mark.parametrize("name", models.TABLE)
def test_hyperparameters_are_plain_numbers(name):
    row = models.TABLE[name]
    for field in dataclasses.fields(row):
        if field.name not in LINEN_FIELDS | DECIDED_BY_TASKS:
            assert type(field.default) in (int, float, bool), field.name


@pytest.mark.parametrize("name", models.TABLE)
def test_models_are_hashable_values(name):
    # A task that holds one is a pytree whose structure JAX compares and hashes.
    row = models.TABLE[name]
    decided = dict.fromkeys(without_default(row), 8)
    assert row(**decided) == row(**decided)
    assert hash(row(**decided)) == hash(row(**decided))
    assert row(**decided) != row(**{**decided, next(iter(decided)): 9})


FITS = [(task, model) for task, row in tasks.TABLE.items() for model in row.model_names]


def test_the_tasks_with_models_are_those_with_data():
    fits = {"digits": "mlp", "text": "transformer"}
    expected = {name: model for name in tasks.TABLE for ending, model in fits.items() if name.endswith(ending)}
    assert dict(FITS) == expected
    assert len(FITS) == len(expected) >= 6


@pytest.mark.parametrize(("task", "model"), FITS)
def test_a_task_decides_just_the_fields_without_a_default(task, model):
    assert set(tasks.TABLE[task]().model_arguments()) == without_default(models.TABLE[model])
