import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from lrstudy.tasks.shuffling import MAX_ITEMS, _sides, check_items, epoch_items, epoch_items_on_host

SIZES = [(1, 1), (3, 2), (10, 3), (257, 257), (70_001, 100)]


@functools.cache
def jitted(items, batch_size):
    one = functools.partial(epoch_items, items=items, batch_size=batch_size)
    return jax.jit(jax.vmap(jax.vmap(one, (None, 0)), (0, None)))


def batches(seeds, steps, items, batch_size):
    """The batches of every seed and step, of shape (seeds, steps, batch)."""
    return np.asarray(jitted(items, batch_size)(jnp.asarray(seeds, jnp.int32), jnp.asarray(steps, jnp.int32)))


def epoch(seed, number, items, batch_size):
    """All batches of an epoch, one after the other."""
    steps = items // batch_size
    return batches([seed], number * steps + np.arange(steps), items, batch_size).reshape(-1)


@pytest.mark.parametrize(("items", "batch_size"), SIZES)
def test_an_epoch_visits_every_item_at_most_once_and_leaves_out_what_fills_no_batch(items, batch_size):
    for seed, number in ((0, 0), (1, 5)):
        found = epoch(seed, number, items, batch_size)
        assert found.dtype == np.uint32
        assert found.max() < items
        assert len(np.unique(found)) == len(found) == items // batch_size * batch_size


@pytest.mark.parametrize("items", [2, 17, 256, 5000])
def test_with_a_batch_of_one_an_epoch_is_a_permutation(items):
    np.testing.assert_array_equal(np.sort(epoch(3, 2, items, 1)), np.arange(items))


@pytest.mark.parametrize(("items", "batch_size"), [*SIZES, (2**31 + 11, 5), (MAX_ITEMS, 3)])
def test_jax_and_numpy_agree_to_the_bit(items, batch_size):
    traced = jax.jit(lambda seed, step: epoch_items(seed, step, items, batch_size))
    for seed in (0, 1, 2**31 - 1):
        for step in (0, 1, min(items // batch_size, 2**31 - 2), 12_345, 2**31 - 1):
            found = traced(jnp.int32(seed), jnp.int32(step))
            assert found.dtype == jnp.uint32
            np.testing.assert_array_equal(found, epoch_items_on_host(seed, step, items, batch_size))


def test_lanes_of_seeds_draw_what_each_draws_alone():
    seeds = jnp.arange(5)
    lanes = jax.jit(jax.vmap(lambda seed: epoch_items(seed, jnp.int32(77), 1000, 16)))(seeds)
    for seed, lane in enumerate(lanes):
        np.testing.assert_array_equal(lane, epoch_items_on_host(seed, 77, 1000, 16))


def test_epochs_and_seeds_have_orders_of_their_own():
    orders = batches(range(5), range(250), 500, 10).reshape(25, 500)
    for i, first in enumerate(orders):
        for second in orders[:i]:
            # One place in 500 is the same by chance: mean 1, and far below 20.
            assert (first == second).sum() < 20


@pytest.mark.parametrize("items", [3, 4, 5])
def test_every_order_of_a_handful_of_items_is_equally_likely(items):
    orders = batches(range(150), range(200), items, items).reshape(-1, items)
    found, counts = np.unique(orders, axis=0, return_counts=True)
    assert len(found) == math.factorial(items)
    expected = len(orders) / len(found)
    # A chi-squared exceeds its 0.9999 quantile by chance once in 10,000.
    assert ((counts - expected) ** 2 / expected).sum() < stats.chi2.ppf(0.9999, len(found) - 1)


def test_few_places_of_the_table_are_no_items():
    """So that a batch is found in one pass or two, whatever the number of items."""
    for items in (64, 65, 1000, 4097, 10**6 + 1, 2**31 + 7, MAX_ITEMS):
        lines, columns = map(int, _sides(items))
        assert items <= lines * columns <= 2**32
        assert lines * columns - items < 2 * math.isqrt(items) + 2


@pytest.mark.parametrize("items", [97, 1024])
def test_places_and_neighbours_look_uniform(items):
    # The first batches of 20 epochs of 30 seeds.
    orders = batches(range(30), np.arange(20) * (items // 8), items, 8).reshape(-1, 8).astype(int)
    first, rank = orders.reshape(-1), [np.corrcoef(np.arange(8), order)[0, 1] for order in orders]
    # Means of 4800 uniform numbers: five standard errors.
    assert abs(np.mean((first + 0.5) / items) - 0.5) < 5 * np.sqrt(1 / 12 / len(first))
    bins = np.bincount(first * 16 // items, minlength=16)
    sizes = np.bincount(np.arange(items) * 16 // items, minlength=16) / items * len(first)
    assert ((bins - sizes) ** 2 / sizes).sum() < stats.chi2.ppf(0.9999, 15)
    # A correlation of eight random numbers with their places has the variance 1 / 7.
    assert abs(np.mean(rank)) < 5 * np.sqrt(1 / 7 / len(rank))


def test_a_whole_epoch_has_no_trend():
    order = epoch(0, 0, 20_000, 1).astype(float)
    for lag in (1, 2, 7, 64):
        # Five standard errors of a correlation of so many independent pairs.
        assert abs(np.corrcoef(order[:-lag], order[lag:])[0, 1]) < 5 / np.sqrt(len(order))
    assert abs(np.corrcoef(np.arange(len(order)), order)[0, 1]) < 5 / np.sqrt(len(order))


def test_no_list_of_the_order_is_made():
    lowered = jax.jit(lambda seed, step: epoch_items(seed, step, 2**30, 32)).lower(jnp.int32(0), jnp.int32(0))
    assert lowered.compile().memory_analysis().temp_size_in_bytes < 2**16


def test_what_an_epoch_cannot_hold_is_refused():
    check_items(5, 5, "which there are")
    with pytest.raises(ValueError, match=r"^task\.batch_size must be in \[1, 4\], which there are, got 5$"):
        check_items(4, 5, "which there are")
    with pytest.raises(ValueError, match=r"^task\.split must be a slice, .* of at most 4294967295 items, "):
        check_items(MAX_ITEMS + 1, 5, "which there are")


def test_orders_stay_what_they_were():
    """A run that was saved goes on with the batches of its own order, whichever version of this package trains it."""
    assert epoch_items_on_host(0, 0, 1000, 4).tolist() == [43, 852, 359, 430]
    assert epoch_items_on_host(7, 12_345, 1000, 4).tolist() == [109, 81, 726, 348]
    assert epoch_items_on_host(2**31 - 1, 99, MAX_ITEMS, 3).tolist() == [2869931069, 2782899386, 3986025082]
