import dataclasses
import json

import jax
import pandas as pd
import pytest

from lrstudy.benchmark.table import held_out
from lrstudy.benchmark.workload import TABLE, Workload, workload
from lrstudy.tasks import Digits
from tests.benchmark.problems import bowl

ALL = {one.name: one for base in TABLE.values() for one in (base, *base.held_out())}


def test_variants_are_held_out_of_a_table_of_all():
    times = pd.DataFrame(1.0, index=["a"], columns=list(ALL))
    assert held_out(times) == {one.name: base.name for base in TABLE.values() for one in base.held_out()}
    assert all(base.variants for base in TABLE.values())


@pytest.mark.parametrize("name", ALL)
def test_a_workload_trains_and_its_metric_is_evaluated(name):
    task = ALL[name].task
    params = jax.eval_shape(task.init, jax.random.key(0))
    metrics = jax.eval_shape(task.evaluate, params, task.load())
    assert metrics[ALL[name].metric].shape == ()
    assert ALL[name].step_hint % ALL[name].evaluate_every == 0


def test_a_variant_is_found_by_its_name_and_another_name_is_refused():
    assert workload("digits_mlp_wide") == TABLE["digits_mlp"].held_out()[1]
    with pytest.raises(ValueError, match=r"^workload must be one of \[.*\] \(nearest: 'text'\), got 'txt'$"):
        workload("txt")


def test_a_definition_tells_workloads_apart_and_outlives_a_new_field():
    definitions = {name: json.loads(json.dumps(one.definition())) for name, one in ALL.items()}
    for name, one in ALL.items():
        assert [other for other, definition in definitions.items() if one.is_defined_as(definition)] == [name]
    mlp = TABLE["digits_mlp"]
    older = definitions["digits_mlp"]
    del older["task"]["standardised"]
    assert mlp.is_defined_as(older)
    assert not dataclasses.replace(mlp, task=dataclasses.replace(mlp.task, standardised=True)).is_defined_as(older)
    assert not dataclasses.replace(mlp, step_hint=510).is_defined_as(older)
    assert not mlp.is_defined_as(None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "least"}, r"mode must be one of \['min', 'max'\], got 'least'"),
        ({"evaluate_every": 0}, r"evaluate_every must be in \[1, step_hint \(1000\)\], got 0"),
        ({"evaluate_every": 1001}, r"evaluate_every must be in \[1, step_hint \(1000\)\], got 1001"),
    ],
)
def test_fields_are_checked(arguments, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        Workload("mine", Digits(), **arguments)
    assert bowl().held_out() == []
