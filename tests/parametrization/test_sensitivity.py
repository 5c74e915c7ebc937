import math

import pytest

from lrstudy.parametrization import learning_rate_at_threshold, learning_rate_sensitivity

RATES = [0.5, 0.25, 1.0, 2.0]


def test_published_goldens():
    assert learning_rate_sensitivity([2.0, 1.5, 1.2, 1.4, 5.0], 3) == pytest.approx(0.62, rel=1e-15)
    assert learning_rate_sensitivity([2.0, 1.5, math.nan], 3) == pytest.approx(2 / 3, rel=1e-15)


def test_a_flat_curve_has_none_and_a_diverged_run_counts_as_untrained():
    assert learning_rate_sensitivity([1.0, 1.0], 3) == 0
    assert learning_rate_sensitivity([1.0, math.inf], 3) == 1
    assert learning_rate_sensitivity([1.0, -math.inf], 3) == 1


@pytest.mark.parametrize(
    ("losses", "initial", "message"),
    [([], 1, "losses"), ([math.nan], 1, "losses"), ([1.0], math.nan, "initial_loss"), ([[1.0]], 1, "losses")],
)
def test_sensitivity_of_nothing_is_refused(losses, initial, message):
    with pytest.raises(ValueError, match=message):
        learning_rate_sensitivity(losses, initial)


def test_the_crossing_is_interpolated_in_log_rate():
    # From 0.25 to 0.5 the loss falls from 1.0 to 0.2; at 0.6 half of that octave is behind.
    assert learning_rate_at_threshold(RATES, [0.2, 1.0, 0.1, 9.0], 0.6) == pytest.approx(0.25 * 2**0.5, rel=1e-15)


def test_the_first_of_several_crossings_counts():
    assert learning_rate_at_threshold([1, 2, 4, 8], [1.0, 0.0, 1.0, 0.0], 0.5) == pytest.approx(2**0.5, rel=1e-15)


def test_a_loss_at_the_level_is_a_crossing_and_one_that_is_never_above_is_none():
    assert learning_rate_at_threshold([1, 2], [1.0, 0.5], 0.5) == 2
    assert math.isnan(learning_rate_at_threshold([1, 2], [0.4, 0.3], 0.5))
    assert math.isnan(learning_rate_at_threshold([1, 2], [0.9, 0.8], 0.5))
    assert math.isnan(learning_rate_at_threshold([1, 2, 4], [math.inf, 0.3, 0.2], 0.5))


def test_bad_grids_are_refused():
    with pytest.raises(ValueError, match="one value a rate"):
        learning_rate_at_threshold([1, 2], [1.0], 0.5)
    for rates in ([0.0, 1.0], [1.0, 1.0], [math.inf, 1.0]):
        with pytest.raises(ValueError, match="positive, finite and different"):
            learning_rate_at_threshold(rates, [1.0, 0.0], 0.5)
