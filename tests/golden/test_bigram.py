"""The bigram table: SGD at rate 10 on 32 pairs a step for 1000 steps, a linear decay over the last 200.

Published (one seed of another generator of random numbers): the excess of uncertain contexts falls from .0678 to .0290
in the decay, that of deterministic ones from .00238 to .00212; a rate of 1 leaves deterministic contexts at .02132.
"""

import numpy as np
import pytest

from lrstudy.schedules import WSD, Constant
from lrstudy.tasks import BigramTable

from .runs import sgd

STEPS, DECAY, SEEDS = 1000, 200, (0, 1, 2, 3)
TASK = BigramTable(vocabulary=20, batch_size=32)


@pytest.fixture(scope="module")
def decayed():
    before, after = sgd(TASK, [WSD(10.0, STEPS, decay_steps=DECAY, shape="linear")], SEEDS, STEPS, STEPS - DECAY)
    return {k: v[0] for k, v in before.items()}, {k: v[0] for k, v in after.items()}


@pytest.fixture(scope="module")
def constant():
    """Excesses of shape (rates, seeds) after the whole run at rates 10 and 1."""
    return sgd(TASK, [Constant(10.0), Constant(1.0)], SEEDS, STEPS, STEPS - DECAY)[1]


def test_the_decay_more_than_halves_the_excess_of_uncertain_contexts(decayed):
    before, after = decayed
    assert before["uncertain_excess"].mean() > 2 * after["uncertain_excess"].mean()


def test_the_decay_hardly_helps_deterministic_contexts(decayed):
    before, after = decayed
    cut = 1 - after["deterministic_excess"] / before["deterministic_excess"]
    assert (cut < 0.15).all()
    # Their excess is one over the sum of the rates at their draws: 800 steps before the decay and 100 more at its end.
    # Each context is drawn 320 times in the decay, so its share is known to 6 %, and the mean of ten to 2 %, which is
    # 0.002 of a ninth. Five of those:
    np.testing.assert_allclose(cut, 1 / 9, rtol=0, atol=0.01)


def test_a_low_rate_leaves_deterministic_contexts_far_behind(decayed, constant):
    low = constant["deterministic_excess"][1]
    assert (low > 5 * decayed[1]["deterministic_excess"]).all()
    # Uncertain ones gain instead: their excess is noise, which grows with the rate.
    assert (constant["uncertain_excess"][1] < decayed[1]["uncertain_excess"]).all()


def test_without_a_decay_uncertain_contexts_do_not_improve(decayed, constant):
    before, after = decayed
    high = constant["uncertain_excess"][0]
    # Stationary noise: the same size before and at the end of a constant rate, less than half with the decay.
    assert high.mean() > 2 * after["uncertain_excess"].mean()
    assert 1 / 1.5 < high.mean() / before["uncertain_excess"].mean() < 1.5


def test_deterministic_excesses_are_those_published(decayed, constant):
    # They are sums over all steps and hardly vary: the number of times that each of ten contexts is drawn in 1000 steps
    # of 32 is 1600 +- 39, and the excess, one over it, is known to 2.4 % / sqrt(10) on average; five of those.
    known = 5 * 0.024 / np.sqrt(10)
    np.testing.assert_allclose(constant["deterministic_excess"][0], 0.00191, rtol=known)
    np.testing.assert_allclose(constant["deterministic_excess"][1], 0.02132, rtol=known)
    np.testing.assert_allclose(decayed[1]["deterministic_excess"], 0.00212, rtol=known)
    np.testing.assert_allclose(decayed[0]["deterministic_excess"], 0.00238, rtol=known * np.sqrt(1000 / 800))
