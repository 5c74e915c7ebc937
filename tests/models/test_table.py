import dataclasses
import re

import jax
import jax.numpy as jnp
import pytest

from lrstudy import models, tasks
from tests.tasks.tfds.made import shared_folder

DECIDED_BY_TASKS = {"vocabulary", "context", "outputs"}
DECIDED_BY_PARAMETRIZATION = {"attention_scale", "branch_scale", "logit_scale"}
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
def test_hyperparameters_are_plain_values(name):
    row = models.TABLE[name]
    for field in dataclasses.fields(row):
        if field.name not in LINEN_FIELDS | DECIDED_BY_TASKS | DECIDED_BY_PARAMETRIZATION:
            assert type(field.default) in (int, float, bool, str), field.name


@pytest.mark.parametrize("name", models.TABLE)
def test_what_a_parametrization_decides_is_plain_by_default(name):
    plain = {"attention_scale": None, "branch_scale": 1.0, "logit_scale": 1.0}
    for field in dataclasses.fields(models.TABLE[name]):
        if field.name in DECIDED_BY_PARAMETRIZATION:
            assert field.default == plain[field.name]


def test_a_field_of_several_models_is_of_one_type():
    """A study of several models has one column for it."""
    types = {}
    for row in models.TABLE.values():
        for field in dataclasses.fields(row):
            types.setdefault(field.name, set()).add(str(field.type))
    assert {name: found for name, found in types.items() if len(found) > 1 and name not in LINEN_FIELDS} == {}


VARIANTS = {
    "batch_norm_mlp": [{}, {"layers": 0}],
    "bias_free_mlp": [{}, {"layers": 0}],
    "convnet": [{}],
    "mlp": [{}, {"layers": 0}],
    "resnet": [{}, {"layers": 0}],
    "transformer": [{}, {"layers": 0}, {"tied": True}, {"scan_layers": True}, {"kv_heads": 1}],
}


@pytest.mark.parametrize(("name", "options"), [(n, options) for n in models.TABLE for options in VARIANTS[n]])
def test_overrides_name_the_one_readout_and_every_tensor_of_a_stack(name, options):
    row = models.TABLE[name]
    model = row(**dict.fromkeys(without_default(row), 8), **options)
    inputs = jnp.zeros((1, 8), jnp.int32) if name == "transformer" else jnp.zeros((1, 64))
    tree = jax.eval_shape(model.init, jax.random.key(0), inputs)["params"]
    paths = ["/".join(key.key for key in path) for path, _ in jax.tree_util.tree_leaves_with_path(tree)]
    fields = {path: {} for path in paths}
    for pattern, values in model.spec_overrides():
        # One that matches nothing is an error of whoever reads them.
        assert any(re.search(pattern, path) for path in paths), pattern
        for path in paths:
            fields[path] |= values if re.search(pattern, path) else {}
    tied = options.get("tied", False)
    readout = "embedding/embedding" if tied else "readout/kernel"
    assert [p for p in paths if fields[p].get("tied" if tied else "role") in (True, "output")] == [readout]
    assert [p for p in paths if fields[p].get("in_stack")] == [p for p in paths if p.startswith("block")]
    shared = [p for p in paths if fields[p].get("role") == "hidden"]
    assert len(shared) == (4 if "kv_heads" in options else 0)
    assert all(re.search("attention/(key|value)/kernel", p) for p in shared)


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
    networks = ("mlp", "convnet", "resnet")
    fits = {
        "digits": (*networks, "batch_norm_mlp"),
        "text": ("transformer",),
        "arithmetic": ("mlp", "bias_free_mlp"),
    }
    expected = {name: names for name in tasks.TABLE for ending, names in fits.items() if name.endswith(ending)}
    # What is evaluated after several tasks has no one data set whose statistics a batch norm could have.
    expected["continual_digits"] = networks
    # Of texts and of images; a task whose data set is named has those of what that holds.
    expected["tfds"] = ("transformer", "convnet", "resnet", "mlp")
    assert {name: row.model_names for name, row in tasks.TABLE.items() if row.model_names} == expected
    assert len(expected) >= 6


@pytest.mark.parametrize(("task", "model"), FITS)
def test_a_task_decides_just_the_fields_without_a_default(task, model):
    given = {}
    if task == "tfds":
        given = {"name": "made_texts" if model == "transformer" else "made_images", "data_dir": shared_folder()}
    assert set(tasks.TABLE[task](**given).model_arguments()) == without_default(models.TABLE[model])
