import math

import pytest

from lrstudy.benchmark.calibration import calibration, ruleset
from lrstudy.benchmark.rows import row


def record(point, steps, values=(1.0,), mode="min"):
    return {
        "hyperparameters": {"learning_rate": point},
        "steps_to_target": steps,
        "budget": 100,
        "values": list(values),
        "identity": {"definition": {"mode": mode}},
    }


def test_the_point_that_serves_all_workloads_is_best_and_not_the_fastest_on_one():
    """By hand: ratios (1, 2, miss) and (miss, 1, 2); scores 1/2, (2/3 + 1)/2, (2/3)/2."""
    steps = {"a": (10, 20, None), "b": (None, 10, 20)}
    found = calibration({name: [record(i, n) for i, n in enumerate(own)] for name, own in steps.items()})
    assert found.scores == pytest.approx([1 / 2, 5 / 6, 1 / 3])
    assert found.best == 1
    assert found.times.loc[2, "a"] == math.inf
    submission = found.submission(row("adam"))
    assert submission.points == [{"learning_rate": 1}]
    assert submission.space is None


def test_where_scores_are_the_same_times_decide():
    """Either meets one target alone: a half each. The first needs 50 and the budget of 100, the other 10 and that."""
    steps = {"a": (50, None), "b": (None, 10)}
    found = calibration({name: [record(i, n) for i, n in enumerate(own)] for name, own in steps.items()})
    assert found.scores == pytest.approx([0.5, 0.5])
    assert found.best == 1


@pytest.mark.parametrize(("mode", "best"), [("min", 1), ("max", 2)])
def test_where_nothing_meets_a_target_best_values_decide(mode, best):
    """The least value is the second point's, the largest the third's; the first came to none."""
    values = ([None], [1.0, None], [2.0, 5.0])
    found = calibration({"a": [record(i, None, own, mode) for i, own in enumerate(values)]})
    assert found.scores == [0.0, 0.0, 0.0]
    assert found.best == best


def test_points_must_be_the_same_on_every_workload():
    with pytest.raises(ValueError, match="records must be of the same points on every workload, got others on b"):
        calibration({"a": [record(0, 1)], "b": [record(1, 1)]})
    with pytest.raises(ValueError, match="records must hold those of a workload at least, got none"):
        calibration({})
    with pytest.raises(ValueError, match="points must be a positive int, got 0"):
        ruleset(0)
