"""The order in which samples are visited."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from lrstudy.tasks.ordering import MAX_SAMPLES, check_ordering, qualities, visited


@functools.partial(jax.jit, static_argnames=("sizes", "epoch"))
def one_pass(seed, ordering, sizes, epoch=0):
    """Every sample of one pass in the order of its visit."""
    length = sizes[0] // sizes[1]
    steps = epoch * length + jnp.arange(length)
    return jax.vmap(lambda step: visited(seed, step, ordering, sizes))(steps).reshape(-1)


@pytest.mark.parametrize("ordering", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("sizes", [(1, 1), (2, 1), (97, 1), (64, 8), (1437, 8)])
def test_a_pass_visits_every_sample_once(sizes, ordering):
    order = np.asarray(one_pass(3, ordering, sizes))
    assert len(order) == sizes[0] // sizes[1] * sizes[1]
    assert len(set(order.tolist())) == len(order)
    assert order.min() >= 0
    assert order.max() < sizes[0]


@pytest.mark.parametrize("samples", [2, 1024, 1025, MAX_SAMPLES])
def test_an_ordering_of_one_ascends_in_quality(samples):
    everything = visited(jnp.int32(5), jnp.int32(0), 1.0, (samples, samples))
    np.testing.assert_array_equal(everything, np.arange(samples))
    assert (np.diff(qualities(samples)) > 0).all()


def test_an_ordering_of_zero_is_random_anew_in_every_pass_and_for_every_seed():
    sizes = (64, 4)
    orders = [one_pass(seed, 0.0, sizes, epoch) for seed in range(3) for epoch in range(3)]
    assert len({tuple(np.asarray(order).tolist()) for order in orders}) == 9


def test_a_random_order_favours_no_sample():
    seeds, samples = 4_000, 10
    first = np.asarray(jax.vmap(lambda seed: one_pass(seed, 0.0, (samples, 1)))(jnp.arange(seeds)))
    for place in (0, 4, 9):
        counts = np.bincount(first[:, place], minlength=samples)
        # Five standard deviations of a binomial count.
        assert (np.abs(counts - seeds / samples) < 5 * np.sqrt(seeds * 0.1 * 0.9)).all()


def test_between_them_the_order_is_sorted_in_part():
    """At one half the keys are q + u: the rank correlation of a uniform number with its sum with another is 0.7.

    It is 12 E[q F(q + u)] - 3 with E[q F(q + u)] = E[max of two such sums] / 4 = (1 + 7 / 30) / 4.
    """
    correlations = [
        np.mean([stats.spearmanr(one_pass(seed, o, (512, 1)), np.arange(512)).statistic for seed in range(3)])
        for o in (0.0, 0.5, 1.0)
    ]
    # A rank correlation of 512 pairs has a standard deviation below 1 / sqrt(511), the mean of three one of 0.026.
    assert (np.abs(np.subtract(correlations, [0.0, 0.7, 1.0])) < [5 * 0.026, 5 * 0.026, 1e-12]).all()


def test_orderings_are_lanes():
    lanes = jax.vmap(lambda ordering: one_pass(1, ordering, (64, 4)))(jnp.asarray([0.0, 1.0]))
    for lane, ordering in zip(lanes, (0.0, 1.0), strict=True):
        np.testing.assert_array_equal(lane, one_pass(1, ordering, (64, 4)))


@pytest.mark.parametrize(
    ("ordering", "samples", "message"),
    [
        (-0.1, 5, r"^task\.ordering must be in \[0, 1\], got -0\.1$"),
        (float("nan"), 5, r"^task\.ordering must be in \[0, 1\], got nan$"),
        (0.5, 0, r"^task\.samples must be in \[1, 65536\], got 0$"),
        (0.5, 65_537, r"^task\.samples must be in \[1, 65536\], got 65537$"),
    ],
)
def test_errors(ordering, samples, message):
    with pytest.raises(ValueError, match=message):
        check_ordering(ordering, samples)
