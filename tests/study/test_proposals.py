"""The candidates of AutoLRS: a Gaussian process written out in NumPy is the reference."""

import numpy as np
import pytest

from lrstudy.study.proposals import _LENGTH_SCALE, _NOISE, GRID, Proposals

LOW, HIGH = 1e-3, 1e-1
MILLION = 1e6


def places(rates):
    return np.log(np.asarray(rates) / LOW) / np.log(HIGH / LOW)


def matern(a, b):
    """Matern 5/2."""
    d = np.sqrt(5) * np.abs(a[:, None] - b[None]) / _LENGTH_SCALE
    return (1 + d + d**2 / 3) * np.exp(-d)


def posterior(asked, losses):
    """Mean and deviation over the grid, in units of the losses' own mean and deviation."""
    grid, known = np.linspace(0, 1, GRID), places(asked)
    y = np.asarray(losses, float)
    scale = y.std() or 1.0
    gram = matern(known, known) + _NOISE * np.eye(len(known))
    cross = matern(grid, known)
    mean = cross @ np.linalg.solve(gram, (y - y.mean()) / scale)
    variance = 1 - np.sum(cross * np.linalg.solve(gram, cross.T).T, axis=1)
    return mean * scale + y.mean(), np.sqrt(variance) * scale


def loss_at(rate):
    return (np.log10(rate) + 2.2) ** 2 + 0.3 * np.sin(40 * np.log(rate))


def in_turn(proposals, count, losses=loss_at):
    rates = []
    for _ in range(count):
        [rate] = proposals.ask(1)
        rates.append(rate)
        proposals.tell([rate], [losses(rate)])
    return rates


@pytest.mark.parametrize("seed", range(2))
def test_without_a_kappa_asking_at_once_is_asking_in_turn(seed):
    at_once = Proposals(LOW, HIGH, seed=(seed,)).ask(10)
    assert in_turn(Proposals(LOW, HIGH, seed=(seed,)), 10) == at_once
    assert in_turn(Proposals(LOW, HIGH, seed=(seed,)), 10, lambda rate: np.inf if rate > 0.01 else rate) == at_once


@pytest.mark.parametrize("seed", range(2))
def test_a_million_deviations_are_pure_exploration(seed):
    """Sequential search with the authors' kappa goes where the variance is largest, to a millionth of the means' range.

    If x has the lowest mean - kappa * deviation, no deviation exceeds its own by more than (range of means) / kappa.
    """
    proposals = Proposals(LOW, HIGH, kappa=MILLION, seed=(seed,))
    rates = proposals.ask(1)
    proposals.tell(rates, [loss_at(rates[0])])
    for _ in range(9):
        mean, deviation = posterior(rates, [loss_at(rate) for rate in rates])
        [rate] = proposals.ask(1)
        own = deviation[np.argmin(np.abs(np.linspace(0, 1, GRID) - places(rate)))]
        # The solve of a Gram matrix of condition 10 / _NOISE = 1e5 is good to 1e5 * 2e-16 / _NOISE of the deviation.
        assert own >= deviation.max() - np.ptp(mean) / MILLION - 1e-6
        rates.append(rate)
        proposals.tell([rate], [loss_at(rate)])


def test_where_no_two_variances_tie_a_million_deviations_ask_for_the_same_rates():
    assert in_turn(Proposals(LOW, HIGH, kappa=MILLION, seed=(0,)), 10) == Proposals(LOW, HIGH, seed=(0,)).ask(10)


@pytest.mark.parametrize("kappa", [0.5, 2.0])
def test_a_kappa_asks_for_the_lowest_bound(kappa):
    proposals = Proposals(LOW, HIGH, kappa=kappa, seed=(1,))
    rates = proposals.ask(1)
    proposals.tell(rates, [loss_at(rates[0])])
    for _ in range(6):
        mean, deviation = posterior(rates, [loss_at(rate) for rate in rates])
        bound = mean - kappa * deviation
        bound[np.round(places(rates) * (GRID - 1)).astype(int)] = np.inf
        [rate] = proposals.ask(1)
        place = int(np.round(places([rate])[0] * (GRID - 1)))
        assert bound[place] == pytest.approx(bound.min(), abs=1e-6)
        rates.append(rate)
        proposals.tell([rate], [loss_at(rate)])


def test_the_kriging_believer_stands_in_for_losses_that_are_not_known():
    """Two at once are one, and then one more as if the process's mean had been observed."""
    both = Proposals(LOW, HIGH, kappa=1.0, seed=(2,))
    believed = Proposals(LOW, HIGH, kappa=1.0, seed=(2,))
    first = in_turn(both, 3)
    assert in_turn(believed, 3) == first
    two = both.ask(2)
    assert believed.ask(1) == two[:1]
    mean, _ = posterior(first, [loss_at(rate) for rate in first])
    believed.tell(two[:1], [mean[int(np.round(places(two[:1])[0] * (GRID - 1)))]])
    assert believed.ask(1) == two[1:]


def test_no_rate_is_asked_for_twice_and_all_lie_within():
    rates = Proposals(LOW, HIGH, seed=(3,)).ask(60)
    assert len(set(rates)) == 60
    assert min(rates) == LOW
    assert max(rates) == HIGH
    exploiting = Proposals(LOW, HIGH, kappa=0.0, seed=(3,))
    assert len(set(in_turn(exploiting, 20))) == 20


def test_exploration_leaves_no_wide_gap():
    """Whoever always halves the largest of nine gaps (one may have been small by chance) leaves none above 2 / 9."""
    for seed in range(4):
        found = np.sort(places(Proposals(LOW, HIGH, seed=(seed,)).ask(10)))
        assert np.diff(found).max() <= 2 / 9 + 2 / GRID


def test_the_first_rate_follows_the_seed():
    assert len({Proposals(LOW, HIGH, seed=(1, stage)).ask(1)[0] for stage in range(8)}) > 4


def test_diverged_rates_count_as_the_worst_finite_one():
    losses = {True: np.nan, False: np.inf}
    for bad in losses.values():
        one, other = (Proposals(LOW, HIGH, kappa=1.0, seed=(4,)) for _ in range(2))
        in_turn(one, 6, lambda rate, bad=bad: bad if rate > 0.02 else loss_at(rate))
        in_turn(other, 6, loss_at)
        assert np.isfinite(one.ask(1)).all()
    only_bad = Proposals(LOW, HIGH, kappa=1.0, seed=(5,))
    assert len(set(in_turn(only_bad, 4, lambda _: np.inf))) == 4


def test_misuse_is_refused():
    proposals = Proposals(LOW, HIGH)
    with pytest.raises(ValueError, match=r"count must be in \[1, 257\], got 258"):
        proposals.ask(258)
    with pytest.raises(ValueError, match=r"must have been asked for, got 0\.5"):
        proposals.tell([0.5], [1.0])
