"""Sums over drops in blocks against sums over every drop."""

import numpy as np
import pytest

from benchmarks.real_curves import WARMUP, rates
from lrstudy.laws import FunctionalScalingLaw, MultiPowerLaw
from lrstudy.laws.drops import COARSE, FINE, WIDTH, drop_blocks
from lrstudy.laws.rate_path import rate_path

MULTI = MultiPowerLaw(3.15, 0.52, 0.508, 455.0, 1.5, 0.5, 0.5)
FUNCTIONAL = FunctionalScalingLaw(3.15, 0.52, 0.504, 6.6, 77.0, 950.0, 0.22)


def multi_power(law, path, t):
    """The paper's equation, term by term."""
    total, k = path.sums, np.arange(1, t + 1)
    since = total[t] - total[k - 1]
    brought = 1 - (law.C * path.rates[k] ** -law.gamma * since + 1) ** -law.beta
    return law.L0 + law.A * total[t] ** -law.alpha - law.B * np.sum(path.drops[k] * brought)


def functional(law, path, t):
    total, i = path.sums, np.arange(1, t + 1)
    reached = 1 - (1 + law.c4 * (total[t] - total[i])) ** -law.gamma
    brought = path.drops[i] * (law.c3 + total[i] ** -law.s) * reached
    return law.L0 + law.c1 * total[t] ** -law.s - law.c2 * np.sum(brought)


@pytest.mark.parametrize("name", ["cosine_24000", "wsd_20000_24000", "wsdcon_3", "constant_24000"])
@pytest.mark.parametrize(
    ("law", "exact"), [(MULTI, multi_power), (FUNCTIONAL, functional)], ids=["multi", "functional"]
)
def test_blocks_give_the_sum_over_all_drops(name, law, exact):
    schedule = rates(name)
    path = rate_path(schedule, len(schedule), warmup_steps=WARMUP)
    steps = np.arange(2_176, len(schedule), 3_997)
    expected = [exact(law, path, t) for t in steps]
    # The midpoint rule errs with the square of a block's length: 64 times less with 8 times the blocks.
    np.testing.assert_allclose(law.predict(schedule, steps=steps, warmup_steps=WARMUP), expected, atol=1e-6)
    coarse = law.formula(law.rows(path, steps, COARSE))
    np.testing.assert_allclose(coarse, expected, atol=64 * 1e-6)
    # And of the last update every drop by itself, exactly; warmup's rates are no drops there.
    after = path.rates[WARMUP:]
    alone = rate_path(after, len(after))
    last = law.formula(law.end_rows(after))
    np.testing.assert_allclose(last, exact(law, alone, len(after) - 1), rtol=1e-12)


SHAPES = {
    "to_0": np.linspace(1e-3, 0, 4_000),
    "cosine_to_0": 5e-4 * (1 + np.cos(np.pi * np.arange(4_001) / 4_000)),
    "dip": np.where(abs(np.arange(4_000) - 1_501) <= 1, 1e-4, 1e-3),
    "sawtooth": 1e-3 * (1 - np.arange(4_000) % 100 / 110),
    "jitter": 1e-3 * (1 + 0.05 * np.random.default_rng(0).uniform(-1, 1, 4_000)),
    "0 in the middle": np.concatenate([np.linspace(1e-3, 0, 2_000), np.full(500, 0.0), np.full(1_500, 5e-4)]),
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize(
    ("law", "exact"), [(MULTI, multi_power), (FUNCTIONAL, functional)], ids=["multi", "functional"]
)
def test_falls_and_rises_and_rates_of_0(name, law, exact):
    """Falls and rises that undo each other keep the error of both.

    In a block of h = log(2) / 32 in the logarithm of the time since a drop, the sum of rates since it, which is at
    most its square where rates fall to 0, has a variance of (2h)^2 / 12 in its own; what a drop brings has a second
    derivative in that of 1 at most.
    """
    rates_ = SHAPES[name]
    path = rate_path(rates_, len(rates_))
    steps = np.array([700, 1_503, 2_400, len(rates_) - 2, len(rates_) - 1])
    found = law.predict(rates_, steps=steps)
    assert np.isfinite(found).all()
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = np.array([exact(law, path, t) for t in steps])
    factor = law.B if law is MULTI else law.c2 * (law.c3 + path.sums[20] ** -law.s)
    allowed = (2 * np.log(2) / FINE) ** 2 / 12 * factor * np.abs(path.drops).sum()
    known = np.isfinite(expected)
    assert known.sum() >= 3
    np.testing.assert_allclose(found[known], expected[known], atol=max(allowed, 1e-6))


def test_a_sudden_drop_is_one_exact_block():
    schedule = np.concatenate([np.full(500, 1.0), np.full(500, 0.25)])
    blocks = drop_blocks(rate_path(schedule, 1_000), np.array([100, 500, 900]), FINE)
    assert blocks.row.tolist() == [1, 2]
    assert blocks.drop.shape == (2, WIDTH)
    for row, since in enumerate([0.0, 100.0]):
        assert np.count_nonzero(blocks.drop[row]) == 1
        found = [column[row, 0] for column in blocks[1:]]
        assert found == pytest.approx([0.75, 0.25, 500.25, since])


def test_a_rate_that_rises_again_takes_back_what_its_fall_brought():
    fall = np.concatenate([np.full(300, 1e-3), np.full(300, 1e-4)])
    back = np.concatenate([fall, np.full(20_000, 1e-3)])
    flat = np.full(len(back), 1e-3)
    law = MultiPowerLaw(3.15, 0.0, 0.5, 100.0, 1.5, 0.9, 0.5)
    low, risen, never = (law.predict(s, steps=[len(s) - 1])[0] for s in (fall, back, flat))
    assert low < risen - 0.01
    assert risen == pytest.approx(never, abs=0.02)
