import numpy as np
import pytest

from lrstudy.study.claims import Claim, Measurement, mean_interval, paired, table, unsettled


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


def test_the_table_says_no_loudly():
    text = table([claim(2.0).decide(None), claim(0.5, low=0.1, high=0.9).decide(None)])
    assert "NO" in text.splitlines()[1]
    assert "[0.1, 0.9]" in text.splitlines()[2]


def test_a_claim_that_noise_could_turn_is_named():
    settled, turned = claim(0.5, low=0.1, high=0.9).decide(None), claim(0.5, low=-0.2, high=1.2).decide(None)
    assert unsettled([settled, claim(2.0, low=1.5, high=2.5).decide(None), claim(0.5).decide(None)]) == []
    # Whether it holds or not.
    assert unsettled([turned, claim(1.1, low=0.7, high=1.5).decide(None)]) == ["a1", "a1"]
    assert "a1: the claim is decided by the mean" in table([settled, turned]).splitlines()[-1]
    assert "decided by the mean" not in table([settled])
    # An end on the threshold counts as the comparison counts it.
    assert unsettled([claim(1.0, ">=", low=1.0, high=1.2).decide(None)]) == []
    assert unsettled([claim(1.1, ">", low=1.0, high=1.2).decide(None)]) == ["a1"]
