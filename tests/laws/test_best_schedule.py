"""The schedule that a law likes best, and what is refused."""

import numpy as np
import pytest

from lrstudy.laws import AnnealingLaw, ConvexBound, ExtrapolationWarning, LawError, MultiPowerLaw, best_schedule
from lrstudy.schedules import WSD, Cosine, Linear, Tabulated

STEPS = 1_200
PEAK = 3e-3
MULTI = MultiPowerLaw(2.8, 0.52, 0.5, 60.0, 1.0, 0.5, 0.5)
ANNEALING = AnnealingLaw(2.8, 0.52, 0.5, 0.4)


def final(law, schedule, warmup_steps=0):
    return law.predict(schedule, steps=[STEPS - 1], warmup_steps=warmup_steps)[0]


@pytest.mark.parametrize("end", [0.0, 3e-4])
def test_it_beats_hand_made_ones_and_keeps_to_what_it_was_told(end):
    best = best_schedule(MULTI, STEPS, peak=PEAK, warmup_steps=100, end=end)
    assert isinstance(best, Tabulated)
    rates = np.asarray(best(np.arange(STEPS + 1)))
    np.testing.assert_allclose(rates[:100], PEAK * np.arange(100) / 100, rtol=1e-6)
    assert rates[100] == pytest.approx(PEAK)
    assert (np.diff(rates[100:]) <= 1e-9).all()
    assert rates[100:].min() >= end * (1 - 1e-6)
    assert rates[STEPS] == pytest.approx(end)
    others = [
        Cosine(PEAK, STEPS, warmup_steps=100, end=end),
        Linear(PEAK, STEPS, warmup_steps=100, end=end),
        *(
            WSD(PEAK, STEPS, warmup_steps=100, decay_fraction=f, end=end, shape=s)
            for f in (0.1, 0.2, 0.4)
            for s in ("linear", "1-sqrt")
        ),
    ]
    assert final(MULTI, best, 100) < min(final(MULTI, other, 100) for other in others)


def test_the_annealing_law_drops_at_once():
    """Its loss is convex in the drops and linear in what each brings, so all of the fall happens at one step."""
    best = np.asarray(best_schedule(ANNEALING, STEPS, peak=PEAK, end=3e-4).values)[:STEPS]

    def sudden(at):
        rates = np.where(np.arange(STEPS) < at, PEAK, 3e-4)
        return final(ANNEALING, rates)

    least = min(sudden(at) for at in range(1, STEPS))
    # Knots lie up to 1,200 / 63 steps apart, and within that the fall is a line.
    assert final(ANNEALING, best) == pytest.approx(least, abs=2e-4)
    assert ((best > 1.1 * 3e-4) & (best < 0.9 * PEAK)).sum() <= 2 * STEPS / 63


@pytest.mark.parametrize(("steps", "warmup"), [(400, 150), (1_200, 300)])
def test_the_sum_of_a_long_warmup_counts(steps, warmup):
    best = np.asarray(best_schedule(ANNEALING, steps, peak=PEAK, end=3e-4, warmup_steps=warmup).values)[:steps]
    ramp = PEAK * np.arange(warmup) / warmup

    def loss(rates):
        return ANNEALING.predict(rates, steps=[steps - 1], warmup_steps=warmup)[0]

    sudden = [
        loss(np.concatenate([ramp, np.where(np.arange(warmup, steps) < at, PEAK, 3e-4)]))
        for at in range(warmup + 1, steps, 3)
    ]
    assert loss(best) == pytest.approx(min(sudden), abs=2e-4)


def test_padding_is_refused():
    padded = [np.concatenate([np.full(600, PEAK), np.zeros(n)]) for n in (1, 300, 600)]
    losses = [ANNEALING.predict(s, steps=[len(s) - 1])[0] for s in padded]
    assert losses[0] > losses[1] > losses[2]  # the law's fault, which is why
    with pytest.raises(ValueError, match=r"AnnealingLaw wants \d+ of 1200 updates at no rate"):
        best_schedule(ANNEALING, STEPS, peak=PEAK)


@pytest.mark.parametrize("law", [ANNEALING, MULTI], ids=lambda law: type(law).__name__)
def test_a_peak_without_bound_is_refused(law):
    with pytest.raises(ValueError, match="predicts a lower loss for any higher peak"):
        best_schedule(law, STEPS, peak=None)


def test_the_convex_bound_has_a_peak_and_a_line():
    best = best_schedule(ConvexBound(), 400, peak=None)
    rates = np.asarray(best.values)[:400]
    # arXiv:2310.07831: linear decay is nearly the best; its bound at the best peak is 0.10062987 at 0.0496.
    assert ConvexBound().predict(rates, steps=[399])[0] < 0.10062987
    assert rates[0] == pytest.approx(0.0496, rel=0.02)
    np.testing.assert_allclose(rates, rates[0] * (1 - np.arange(400) / 400), atol=0.03 * rates[0])


def test_a_rate_that_may_rise_is_at_least_as_good():
    with pytest.warns(ExtrapolationWarning, match="the rate rises again, and MultiPowerLaw does not know"):
        free = best_schedule(MULTI, STEPS, peak=PEAK, end=3e-4, monotone=False)
    falling = best_schedule(MULTI, STEPS, peak=PEAK, end=3e-4)
    # Both searches stop within what ten seeds of a run would hide.
    assert final(MULTI, free) <= final(MULTI, falling) + 1e-4


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"law": 3}, "law must be a law of loss curves, got 3"),
        ({"total_steps": 1}, "total_steps must be an int of at least 2, got 1"),
        ({"peak": -1.0}, "peak must be a finite positive number, got -1.0"),
        ({"end": -1e-3}, r"end must be in \[0, peak\), got -0.001"),
        ({"end": 1.0}, r"end must be in \[0, peak\), got 1.0"),
        ({"warmup_steps": 1_199}, r"warmup_steps must be an int in \[0, total_steps - 2\], got 1199"),
    ],
)
def test_bad_arguments(changed, message):
    given = {"law": MULTI, "total_steps": STEPS, "peak": PEAK} | changed
    with pytest.raises(LawError, match=message):
        best_schedule(given.pop("law"), given.pop("total_steps"), **given)
