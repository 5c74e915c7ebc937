import math
import re

import numpy as np
import pytest

from lrstudy.study.stability import Accuracies

# Three tasks of three updates each, evaluated after every update. Each row: after so many updates, tasks 1, 2, 3.
TABLE = np.asarray(
    [
        [0.10, 0.10, 0.10],  # 0
        [0.50, 0.11, 0.10],
        [0.70, 0.12, 0.10],
        [0.90, 0.13, 0.10],  # 3: task 1 is over
        [0.40, 0.50, 0.10],
        [0.60, 0.70, 0.10],
        [0.70, 0.80, 0.10],  # 6: task 2 is over
        [0.30, 0.20, 0.40],
        [0.35, 0.60, 0.60],
        [0.50, 0.75, 0.95],  # 9: task 3 is over
    ]
)


def accuracies(table=TABLE, steps=range(10), ends=(3, 6, 9)):
    return Accuracies(np.asarray(steps), np.asarray(table, float), ends)


def test_the_metrics_of_a_table_by_hand():
    found = accuracies()
    assert found.average(1) == pytest.approx(0.90)
    assert found.average(2) == pytest.approx((0.70 + 0.80) / 2)
    assert found.average(3) == pytest.approx((0.50 + 0.75 + 0.95) / 3)
    assert found.forgetting(2) == pytest.approx(0.90 - 0.70)
    assert found.forgetting(3) == pytest.approx(((0.90 - 0.50) + (0.80 - 0.75)) / 2)
    assert found.minimum(2) == pytest.approx(0.40)
    # The first task's worst moment comes in the third task, after its own end; so does the second's.
    assert found.minimum(3) == pytest.approx((0.30 + 0.20) / 2)
    assert found.worst_case(2) == pytest.approx(0.80 / 2 + 0.40 / 2)
    assert found.worst_case(3) == pytest.approx(0.95 / 3 + 2 / 3 * 0.25)


def test_with_one_task_there_is_nothing_to_keep():
    found = accuracies()
    for metric in (found.forgetting, found.minimum, found.worst_case):
        assert math.isnan(metric(1))


def test_the_minimum_leaves_out_the_tasks_own_time_and_what_comes_after_k():
    table = TABLE.copy()
    table[3, 0] = 0.0  # when task 1 is over: n must be greater than t_1
    table[7:, 0] = 0.0  # after task 2 is over
    table[:4, 1] = -1.0  # before task 2 is learnt
    assert accuracies(table).minimum(2) == pytest.approx(0.40)


def test_evaluating_at_the_ends_alone_hides_the_gap():
    found = accuracies()
    seldom = found.sampled((3, 6, 9))
    assert seldom.minimum(3) == pytest.approx((0.50 + 0.75) / 2)
    assert found.minimum(3) < seldom.minimum(3)
    # What does not look between the ends is the same.
    for k in (2, 3):
        assert seldom.average(k) == found.average(k)
        assert seldom.forgetting(k) == found.forgetting(k)


def test_a_learner_that_forgets_nothing_is_bounded_by_its_average():
    table = np.minimum(1.0, np.arange(10)[:, None] / np.asarray([3, 6, 9]))
    found = accuracies(table)
    for k in (2, 3):
        assert found.minimum(k) == 1.0
        assert found.worst_case(k) == pytest.approx(found.average(k))
        assert found.forgetting(k) == 0.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ends": (3, 9)}, "values must be of shape (10, 2), evaluations by tasks, got (10, 3)"),
        ({"steps": range(9)}, "values must be of shape (9, 3), evaluations by tasks, got (10, 3)"),
        ({"steps": [0, 2, 1, *range(3, 10)]}, "steps and ends must increase"),
        ({"ends": (3, 3, 9)}, "steps and ends must increase"),
        ({"ends": (3, 6, 12)}, "an evaluation must stand at the end of every task, got none after [12] updates"),
    ],
)
def test_tables_that_cannot_be(change, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        accuracies(**change)


@pytest.mark.parametrize("k", [0, 4])
def test_a_task_that_is_none(k):
    for metric in ("average", "minimum", "worst_case"):
        with pytest.raises(ValueError, match=rf"^k must be in \[1, 3\], got {k}$"):
            getattr(accuracies(), metric)(k)
