import json

import numpy as np
import pytest

from lrstudy.study.claims import (
    Claim,
    Measurement,
    absolute,
    exponentiated,
    jackknife,
    largest,
    mean_interval,
    paired,
    ratio,
    smallest,
    table,
    unbounded,
    unsettled,
)


def claim(value, comparison="<", threshold=1.0, **interval):
    def measure(records):
        return Measurement(value, 3, **interval)

    return Claim("a1", "it is small", "section 1", (), measure, comparison, threshold)


@pytest.mark.parametrize(
    ("comparison", "below", "equal", "above"),
    [("<", True, False, False), ("<=", True, True, False), (">", False, False, True), (">=", False, True, True)],
)
def test_comparisons(comparison, below, equal, above):
    assert [claim(v, comparison).decide(None)["holds"] for v in (0.5, 1.0, 2.0)] == [below, equal, above]


def test_what_could_not_be_measured_does_not_hold():
    for comparison in ("<", ">"):
        entry = claim(float("nan"), comparison).decide(None)
        assert entry["holds"] is False
        assert entry["measured"] is None


def test_an_entry_has_the_fields_of_the_contract():
    entry = claim(0.5, low=0.1, high=0.9).decide(None)
    names = ["id", "statement", "source", "measured", "comparison", "threshold", "holds", "n", "ci_low", "ci_high"]
    assert list(entry) == names
    assert (entry["ci_low"], entry["ci_high"]) == (0.1, 0.9)


def test_students_interval_of_three_samples():
    """For 1, 2, 3: mean 2, standard error 1/sqrt(3), t(0.975, 2) = 4.302653."""
    found = mean_interval([1.0, 2.0, 3.0])
    assert found.value == 2.0
    assert found.high - 2.0 == pytest.approx(4.302653 / np.sqrt(3), rel=1e-6)
    assert found.low == pytest.approx(4.0 - found.high)


def test_one_sample_has_no_interval():
    assert np.isnan(mean_interval([1.0]).low)


def test_the_interval_covers_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = [m.low <= 0 <= m.high for m in (mean_interval(rng.normal(size=4)) for _ in range(4000))]
    # Binomial standard error at 95% of 4000 is 0.0034; four of them.
    assert abs(np.mean(covered) - 0.95) < 0.014


def test_a_paired_statistic_is_taken_of_the_means():
    found = paired(np.asarray([1.0, 3.0]), np.asarray([1.0, 1.0]), lambda a, b: a / b)
    assert found.value == 2.0
    assert found.n == 2
    # Leaving one out gives 3 and 1: the jackknife's error is sqrt(1/2 * 2) = 1, Student's factor 12.7062.
    assert found.high == pytest.approx(2 + 12.7062)


def test_a_paired_difference_has_students_interval():
    one, other = np.asarray([3.0, 1.0, 4.0, 1.0]), np.asarray([2.0, 7.0, 1.0, 8.0])
    found, expected = paired(one, other, lambda a, b: a - b), mean_interval(one - other)
    assert (found.value, found.low, found.high) == pytest.approx((expected.value, expected.low, expected.high))


def test_noise_without_an_interval_is_not_settled():
    """Without one of its seeds a statistic may have no value; nothing then bounds what other seeds would give."""

    def spread(chosen):
        return np.nan if len(chosen) < 3 else 0.5

    found = jackknife(spread, 3)
    assert found == unbounded(0.5, 3) == Measurement(0.5, 3, -np.inf, np.inf)
    entry = claim(found.value, low=found.low, high=found.high).decide(None)
    assert unsettled([entry]) == ["a1"]
    assert json.loads(json.dumps(entry, allow_nan=False)) == entry
    assert "[-inf, inf]" in table([entry])
    above = claim(0.5, low=0.2, high=np.inf).decide(None)
    assert unsettled([above]) == ["a1"]
    assert "[0.2, inf]" in table([above])


def test_the_table_says_no_loudly():
    text = table([claim(2.0).decide(None), claim(0.5, low=0.1, high=0.9).decide(None)])
    assert "NO" in text.splitlines()[1]
    assert "[0.1, 0.9]" in text.splitlines()[2]


def test_a_claim_that_noise_could_turn_is_named():
    settled, turned = claim(0.5, low=0.1, high=0.9).decide(None), claim(0.5, low=-0.2, high=1.2).decide(None)
    assert unsettled([settled, claim(2.0, low=1.5, high=2.5).decide(None), claim(0.5).decide(None)]) == []
    # Whether it holds or not.
    assert unsettled([turned, claim(1.1, low=0.7, high=1.5).decide(None)]) == ["a1", "a1"]
    assert "Not settled (?): a1; the claim is decided by the mean" in table([settled, turned]).splitlines()[-1]
    assert "decided by the mean" not in table([settled])
    # An end on the threshold counts as the comparison counts it.
    assert unsettled([claim(1.0, ">=", low=1.0, high=1.2).decide(None)]) == []
    assert unsettled([claim(1.1, ">", low=1.0, high=1.2).decide(None)]) == ["a1"]


def test_the_largest_of_several_is_not_called_settled_by_chance():
    """Student's ends by hand; the lower one at the level that picking the larger of two leaves (Bonferroni)."""
    samples = [np.asarray([-3.0, -1.0]), np.asarray([-1.5, -1.4])]
    found = largest(lambda level: [mean_interval(sample, level) for sample in samples])
    assert (found.value, found.n) == (-1.45, 2)
    # t of one degree of freedom at 0.9875 is tan(pi 0.4875).
    low = -1.45 - np.tan(np.pi * 0.4875) * 0.05
    assert (found.low, found.high) == pytest.approx((low, -2 + np.tan(np.pi * 0.475)))
    mirrored = smallest(lambda level: [mean_interval(-sample, level) for sample in samples])
    assert (mirrored.value, mirrored.low, mirrored.high) == pytest.approx((1.45, -found.high, -found.low))


def test_the_largest_of_equal_numbers_is_rarely_called_larger():
    """Five cells at the same mean: the lower end lies above it in at most about one of forty studies."""
    noise = np.random.default_rng(0).normal(size=(2000, 5, 5))
    lows = [largest(lambda level, own=own: [mean_interval(cell, level) for cell in own]).low for own in noise]
    assert np.mean(np.asarray(lows) > 0) < 0.025 + 3 * np.sqrt(0.025 * 0.975 / 2000)


def test_an_errors_size_mirrors_its_interval():
    found = absolute(Measurement(-0.2, 3, -0.3, 0.1))
    assert (found.value, found.n, found.low, found.high) == (0.2, 3, -0.1, 0.3)
    assert absolute(Measurement(0.2, 3, -0.1, 0.3)) == found


def test_a_number_measured_by_its_logarithm():
    found = exponentiated(Measurement(np.log(2), 3, np.log(0.5), np.log(8)))
    assert (found.value, found.n, found.low, found.high) == pytest.approx((2, 3, 0.5, 8))
    assert np.isnan(exponentiated(Measurement(0.0, 1)).high)
    assert exponentiated(Measurement(0.0, 3, -1000.0, 1000.0)) == Measurement(1.0, 3, 0.0, np.inf)


def test_the_interval_of_a_ratio_of_losses_stays_positive():
    first, second = np.asarray([0.02, 0.05, 0.01]), np.asarray([0.03, 0.02, 0.02])
    found = ratio(first, second)
    assert found.value == pytest.approx(np.mean(first) / np.mean(second))
    assert 0 < found.low < found.value < found.high
    log = paired(first, second, lambda one, other: np.log(one) - np.log(other))
    assert (np.log(found.low), np.log(found.high)) == pytest.approx((log.low, log.high))
