import math

import numpy as np
import pandas as pd
import pytest

from lrstudy.benchmark import reached, score, times_of

INF = math.inf
TRIALS = [[30, 10, INF], [12, 40, 50], [INF, INF, INF]]
AT_THE_FIRST = np.ones((3, 3), int)


def test_the_median_over_studies_of_the_best_trials():
    assert times_of(TRIALS) == 12
    # All met the target at their first evaluation, so the first trial of every study counts.
    assert times_of(TRIALS, evaluations=AT_THE_FIRST, trial_rule="eval_index") == 30


def test_the_tables_of_studies_and_trials_made_by_hand():
    parity = pd.DataFrame([[30, 20, INF, 8], [11, 18, 7, 25]], index=["A", "B"], columns=["v", "w", "x", "y"])
    assert score(parity, rule="parity") == pytest.approx({"A": 0.598485, "B": 0.821970}, abs=5e-7)


def test_the_earliest_evaluation_counts_however_long_it_took():
    trials, evaluations = [[100, 30]], [[1, 2]]
    assert times_of(trials) == 30
    assert times_of(trials, evaluations=evaluations, trial_rule="eval_index") == 100
    # The evaluation of a trial that missed is not read.
    assert times_of([[INF, 30]], evaluations=[[1, 2]], trial_rule="eval_index") == 30


def test_a_miss_takes_part_in_the_median():
    assert times_of([[1, INF], [INF, INF], [INF, np.nan]]) == INF
    assert times_of([[1], [2], [INF], [INF]]) == INF
    assert times_of([[1], [2], [3], [INF]]) == 2.5


@pytest.mark.parametrize(
    ("trials", "arguments", "message"),
    [
        ([1, 2], {}, r"trials must be a table of studies x trials, got one of shape \(2,\)"),
        ([[]], {}, r"trials must be a table of studies x trials, got one of shape \(1, 0\)"),
        ([[1], [1, 2]], {}, r"trials must be a table of studies x trials, got \[\[1\], \[1, 2\]\]"),
        ([[1, -2]], {}, r"trials must be positive, infinite for a miss, got -2\.0"),
        ([[1]], {"trial_rule": "times"}, r"trial_rule must be one of \['time', 'eval_index'\] \(nearest: 'time'\), "),
        ([[1]], {"trial_rule": "eval_index"}, r"evaluations must be given for eval_index, of shape \(1, 1\), got None"),
    ],
)
def test_arguments_are_checked(trials, arguments, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        times_of(trials, **arguments)


def test_a_target_is_met_by_the_first_value_that_is_no_worse():
    values = [math.nan, 3, 2, 1, 2, 0.5]
    assert reached(values, 2, mode="min") == 2
    assert reached(values, 0.6, mode="min") == 5
    assert reached(values, 0.4, mode="min") is None
    assert reached(values, 3, mode="max") == 1
    assert reached([], 3, mode="max") is None
    with pytest.raises(ValueError, match=r"^mode must be one of \['min', 'max'\], got 'least'$"):
        reached(values, 1, mode="least")
