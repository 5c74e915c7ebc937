"""Names, dictionaries and trunks."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrstudy
from lrstudy import schedules
from lrstudy.schedules import (
    TABLE,
    WSD,
    WSDS,
    Constant,
    Infinite,
    Sampled,
    Schedule,
    ScheduleError,
    Tabulated,
    from_dict,
    stack,
    to_dict,
)

from .cases import ALL, STYLES
from .reference import rates


def test_every_row_is_named_by_its_class_and_exported():
    for name, cls in TABLE.items():
        assert cls.__name__ == name
        assert issubclass(cls, Schedule)
        assert getattr(schedules, name) is cls
        assert name in schedules.__all__


def test_every_class_has_a_case():
    assert {type(schedule) for schedule in ALL.values()} == set(TABLE.values())


@pytest.mark.parametrize("name", ALL)
def test_round_trip_through_json(name):
    data = json.loads(json.dumps(to_dict(ALL[name])))
    assert from_dict(data) == ALL[name]
    assert data == ALL[name].to_dict()
    assert (data["name"], data["version"]) == (type(ALL[name]).__name__, 1)
    arguments = {field.name for field in dataclasses.fields(ALL[name])}
    assert set(data) == {"name", "version"} | arguments


def test_a_dictionary_written_by_hand():
    data = {"name": "WSDS", "peak": 1, "ends": [10, 20]}
    assert from_dict(data) == WSDS(1.0, (10, 20))
    assert data == {"name": "WSDS", "peak": 1, "ends": [10, 20]}


def test_concrete_arrays_become_numbers():
    data = WSD(jnp.float32(0.5), np.array(100), decay_steps=np.int32(10)).to_dict()
    assert from_dict(json.loads(json.dumps(data))) == WSD(0.5, 100, decay_steps=10)


def test_batches_and_tracers_have_no_dictionary():
    with pytest.raises(ScheduleError, match=r"^Constant: peak must be a concrete number, got array"):
        stack([Constant(1.0), Constant(2.0)]).to_dict()
    with pytest.raises(ScheduleError, match=r"^WSD: total_steps must be a concrete number, got "):
        jax.jit(lambda total: WSD(1.0, total, decay_steps=1).trunk()[1])(10)


ARGUMENTS = ["peak", "warmup_steps", "init_value", "warmup_style"]
REFUSED = [
    (3, "from_dict: data must be a mapping with the key 'name', got 3"),
    ({}, f"from_dict: name must be one of {list(TABLE)}, got None"),
    ({"name": "Cosin"}, f"from_dict: name must be one of {list(TABLE)} (nearest: 'Cosine'), got 'Cosin'"),
    ({"name": "zzz"}, f"from_dict: name must be one of {list(TABLE)}, got 'zzz'"),
    ({"name": "Constant", "peak": 1.0, "version": 2}, "Constant: version must be 1, got 2"),
    (
        {"name": "Constant", "peak": 1.0, "warmup_step": 3},
        f"Constant: argument must be one of {ARGUMENTS} (nearest: 'warmup_steps'), got 'warmup_step'",
    ),
    ({"name": "Linear", "peak": 1.0}, "Linear: total_steps must be given, got None"),
    ({"name": "Linear", "peak": 1.0, "total_steps": 1.5}, "Linear: total_steps must be a positive int, got 1.5"),
]


@pytest.mark.parametrize(("data", "message"), REFUSED)
def test_bad_dictionaries(data, message):
    with pytest.raises(ScheduleError) as error:
        from_dict(data)
    assert str(error.value) == message


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("length", [{"decay_steps": 29}, {"decay_fraction": 0.145}])
def test_a_wsd_branches_from_its_trunk(length, style):
    schedule = WSD(3e-3, 200, warmup_steps=17, init_value=1e-4, warmup_style=style, **length)
    trunk, step = schedule.trunk()
    assert trunk == Constant(3e-3, warmup_steps=17, init_value=1e-4, warmup_style=style)
    assert step == 200 - 29
    assert type(step) is int
    np.testing.assert_array_equal(rates(trunk, range(step + 1)), rates(schedule, range(step + 1)))
    assert schedule(step + 1) < trunk(step + 1)


@pytest.mark.parametrize("name", [name for name in ALL if name.partition("-")[0] not in ("WSD", "Infinite")])
def test_the_others_have_no_trunk(name):
    assert ALL[name].trunk() is None


def test_importing_and_planning_start_no_backend():
    program = (
        "from jax._src import xla_bridge\n"
        "from lrstudy.schedules import WSD, WSDS, from_dict, stack\n"
        "runs = [WSD(1e-3, 100 + i, decay_fraction=0.1) for i in range(10)]\n"
        "stack(runs), from_dict(runs[0].to_dict()), runs[0].trunk(), WSDS(1e-3, [100, 200])\n"
        "print(xla_bridge.backends_are_initialized())\n"
    )
    root = Path(lrstudy.__file__).parents[1]
    run = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"


def test_an_annealed_infinite_run_branches_from_the_endless_one():
    endless = Infinite(3e-3, 1e-3, warmup_steps=5, cooldown_end=20, end=1e-4)
    annealed = dataclasses.replace(endless, anneal_start=50, anneal_end=80)
    assert endless.trunk() is None
    assert annealed.trunk() == (endless, 50)
    np.testing.assert_array_equal(rates(annealed, range(51)), rates(endless, range(51)))
    assert annealed(51) < endless(51)


def test_a_schedule_of_a_schedule_is_written_whole():
    data = Sampled(WSD(1.0, 100, decay_steps=10), 100, 4).to_dict()
    assert data["schedule"]["name"] == "WSD"
    assert from_dict(json.loads(json.dumps(data))) == Sampled(WSD(1.0, 100, decay_steps=10), 100, 4)


def test_a_table_is_one_leaf():
    table = Tabulated(np.linspace(1, 0, 1000))
    assert len(jax.tree.leaves(table)) == 2
    assert from_dict(json.loads(json.dumps(table.to_dict()))) == table
    assert hash(Tabulated([1.0, 0.0])) == hash(Tabulated(np.float32([1, 0])))
    assert Tabulated([1.0, 0.0]) != Tabulated([1.0, 0.5])
    assert Tabulated([1.0, 0.0]) != WSD(1.0, 10, decay_steps=1)
