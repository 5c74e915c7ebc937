"""Schedules from gradient norms."""

import jax
import numpy as np
import pytest

from lrstudy.schedules import ScheduleError, Tabulated, refined
from lrstudy.schedules.refined import smoothed

AS_GIVEN = {"smoothing": 0, "points": 1, "drop": 0}
SIX, EIGHT, FIVE = [4, 2, 1, 1, 2, 4], [8, 4, 2, 1, 1, 1, 2, 4], [4, 2, 1, 1, 2]
# norms, optimizer, the schedule to ten digits
REFINED = [
    ([5.0] * 6, "sgd", [1, 0.8, 0.6, 0.4, 0.2, 0]),
    ([5.0] * 6, "adam", [1, 0.8, 0.6, 0.4, 0.2, 0]),
    ([5.0] * 5, "sgd", [1, 0.75, 0.5, 0.25, 0]),
    (FIVE, "sgd", [0.125, 0.45, 1, 0.2, 0]),
    (SIX, "sgd", [0.1220238095, 0.4404761905, 1, 0.2380952381, 0.0119047619, 0]),
    (SIX, "adam", [0.4642857143, 0.7857142857, 1, 0.4285714286, 0.0714285714, 0]),
    (EIGHT, "sgd", [0.02449324324, 0.09628378378, 0.3581081081, 1, 0.5675675676, 0.1351351351, 0.006756756757, 0]),
    (EIGHT, "adam", [0.2045454545, 0.3863636364, 0.6818181818, 1, 0.6363636364, 0.2727272727, 0.04545454545, 0]),
]


@pytest.mark.parametrize(("norms", "optimizer", "values"), REFINED)
def test_golden(norms, optimizer, values):
    with jax.enable_x64(True):
        table = refined(norms, optimizer=optimizer, **AS_GIVEN)
        # Half a unit of the tenth digit.
        np.testing.assert_allclose(table.values, values, rtol=0, atol=5e-11)
    assert isinstance(table, Tabulated)
    np.testing.assert_allclose(refined(norms, optimizer=optimizer, **AS_GIVEN).values, values, rtol=0, atol=6e-8)


@pytest.mark.parametrize("size", [1e-200, 1e-30, 1e30, 1e200])
def test_the_unit_of_the_norms_is_of_no_consequence(size):
    found = refined(np.array(SIX) * size, **AS_GIVEN)
    np.testing.assert_allclose(found.values, refined(SIX, **AS_GIVEN).values, rtol=0, atol=1e-7)


def test_the_running_median_is_continued_by_reflection():
    norms = np.array([5, 1, 9, 2, 8, 3, 7, 4, 6, 5.0])
    np.testing.assert_array_equal(smoothed(norms, 0.3), [5, 5, 2, 8, 3, 7, 4, 6, 5, 6])


def test_the_beginning_is_continued_by_its_first_value():
    # A mirror would put 2 where the first of the growing norms is held.
    assert smoothed(np.arange(1.0, 11), 0.5)[0] == 1


def test_equal_norms_give_a_line_however_they_are_treated():
    table = refined([7.0] * 12, points=51)
    np.testing.assert_allclose(table.values, np.linspace(1, 0, 51), rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    ("smoothing", "count", "width"), [(0.1, 10_000, 1001), (0.1, 100, 11), (0.1, 10, 1), (0.58, 100, 59), (0, 50, 1)]
)
def test_the_width_of_the_median(smoothing, count, width):
    # A median of odd width w keeps a block of (w + 1) / 2 ones away from the ends and removes a smaller one.
    for block, kept in ((width // 2 + 1, True), (width // 2, False)):
        norms = np.zeros(3 * count)[:count]
        norms[count // 5 : count // 5 + block] = 1
        assert smoothed(norms, smoothing).any() == kept


def test_few_norms_become_a_long_table_and_a_schedule_of_any_length():
    norms = np.geomspace(1, 3, 25)
    table = refined(norms, total_steps=200, scale=3e-3)
    assert table.values.shape == (10_000,)
    assert table(199) == table(10**6) == 0
    np.testing.assert_allclose(np.asarray(table(np.arange(200))).max(), 3e-3, rtol=1e-3)
    # Norms that grow, as near the end of a run, are answered by a rate that falls faster than a line.
    assert table(100) < 0.5 * table(0)


def test_what_is_dropped():
    norms = [90, 0.01, *SIX, 70, 0.02]
    kept = refined(SIX, **AS_GIVEN)
    assert refined(norms, smoothing=0, points=1) == kept
    assert refined([4, 2, np.inf, 1, 1, 2, np.inf, 4], **AS_GIVEN) == kept


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"optimizer": "adm"}, "optimizer must be one of ['sgd', 'adam'] (nearest: 'adam'), got 'adm'"),
        ({"smoothing": 1}, "smoothing must be in [0, 1), got 1"),
        ({"points": 0}, "points must be a positive int, got 0"),
        ({"drop": -1}, "drop must be a non-negative int, got -1"),
        ({"gradient_norms": [1, 2, 0.0, -1]}, "gradient_norms[2] must be a positive number, got 0.0"),
        ({"gradient_norms": [1, float("nan")]}, "gradient_norms[1] must be a positive number, got nan"),
        ({"gradient_norms": [[1.0]]}, "gradient_norms must be a sequence of positive numbers, got [[1.0]]"),
        ({"gradient_norms": "big"}, "gradient_norms must be a sequence of positive numbers, got 'big'"),
        ({"gradient_norms": [1, 2, 3, 4, 5]}, "gradient_norms must be at least 2 * drop + 2 finite numbers, got 5"),
    ],
)
def test_refusals(arguments, message):
    with pytest.raises(ScheduleError) as error:
        refined(**{"gradient_norms": SIX, **arguments})
    assert str(error.value) == f"refined: {message}"
