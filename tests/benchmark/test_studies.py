import json
import math

import pytest

from lrstudy.benchmark import score, speedup
from lrstudy.benchmark.clock import Clock, measure, time_on
from lrstudy.benchmark.studies import budgets_of, run_studies, times_table
from lrstudy.benchmark.submission import Ruleset
from tests.benchmark.problems import bowl, descent, steps_to

RULESET = Ruleset(3, 2, 1.0)
RATES = (0.05, 0.1, 0.2, 0.4)
TARGET = 0.1


@pytest.fixture(scope="module")
def records():
    return run_studies(bowl(), descent(RATES), RULESET, target=TARGET, seed=1501)


def test_there_is_a_record_of_every_trial(records):
    assert [(record["study"], record["trial"]) for record in records] == [(s, t) for s in range(3) for t in range(2)]
    assert [record["seed"] for record in records] == list(range(1501, 1507))
    assert json.loads(json.dumps(records)) == records
    for record in records:
        steps = steps_to(TARGET, record["hyperparameters"]["rate"], bowl())
        assert record["steps_to_target"] == steps
        assert record["steps"][record["evaluation"] - 1] == steps
        assert (record["budget"], record["outcome"], record["clock"]) == (60, "ok", None)
    for study in range(3):
        rates = [record["hyperparameters"]["rate"] for record in records if record["study"] == study]
        assert len(set(rates)) == 2


def test_the_table_has_the_median_of_the_fastest(records):
    fastest = [min(record["steps_to_target"] for record in records if record["study"] == study) for study in range(3)]
    table = times_table([descent(RATES)], {("descent", "bowl"): records})
    assert table.loc["descent", "bowl"] == sorted(fastest)[1]
    assert score(table) == {"descent": 1.0}


def test_an_update_of_two_gradients_pays_twice(records):
    single, double = (
        times_table([descent(RATES, gradients_per_step=n)], {("descent", "bowl"): records}, axis="grad_evals")
        for n in (1, 2)
    )
    assert double.equals(2 * single)
    assert budgets_of([descent(RATES, gradients_per_step=2)], {("descent", "bowl"): records}, "grad_evals") == {
        "bowl": 120
    }


def record(study, steps, evaluation, clock=None):
    return {"study": study, "steps_to_target": steps, "evaluation": evaluation, "budget": 100, "clock": clock}


def test_a_miss_is_infinite_and_shown():
    own = [record(0, 10, 1), record(0, None, None), record(1, None, None), record(2, 20, 2)]
    own.insert(3, record(1, None, None))
    own.append(record(2, 15, 3))
    records = {("descent", "bowl"): own, ("descent", "pit"): [record(study, None, None) for study in range(3)]}
    table = times_table([descent(RATES)], records)
    assert table.to_dict() == {"bowl": {"descent": 15}, "pit": {"descent": math.inf}}
    # By the index of the evaluation the third study's best is the trial that took longer.
    assert times_table([descent(RATES)], records, trial_rule="eval_index").loc["descent", "bowl"] == 20
    budgets = budgets_of([descent(RATES)], records, "steps")
    assert speedup(table, "descent", "descent", budgets=budgets) == 1


def test_seconds_count_compilation_once_and_every_update():
    clock = Clock(3.0, 0.5)
    assert time_on("seconds", 10, descent(RATES), clock) == 8
    assert time_on("seconds", math.inf, descent(RATES), clock) == math.inf
    table = times_table([descent(RATES)], {("descent", "bowl"): [record(0, 10, 1, clock._asdict())]}, axis="seconds")
    assert table.loc["descent", "bowl"] == 8
    with pytest.raises(ValueError, match=r"^clock must be given for an axis of seconds, got None$"):
        time_on("seconds", 10, descent(RATES))
    with pytest.raises(ValueError, match=r"^axis must be one of \[.*\] \(nearest: 'seconds'\), got 'second'$"):
        time_on("second", 10, descent(RATES))


def test_an_update_takes_some_time():
    clock = measure(bowl(), descent(RATES), {"rate": 0.1}, seed=1)
    assert 0 < clock.step_seconds < clock.compile_seconds < 60
