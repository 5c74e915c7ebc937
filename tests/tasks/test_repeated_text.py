import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrstudy.tasks import RepeatedText
from lrstudy.tasks.repeated_text import MAX_WINDOWS, _primes

WINDOWS = 53
"""Of the text that is imagined here, a prime, so that no size below divides it."""


@functools.partial(jax.jit, static_argnames="windows")
def places(task, windows, seed, step):
    return task.places(windows, seed, step)


def visited(steps, *, windows=WINDOWS, seed=0, **fields):
    """Places of all windows that so many steps of twelve windows see, in order."""
    task = RepeatedText(**{"batch_size": 12} | fields)
    return np.concatenate([places(task, windows, jnp.int32(seed), jnp.int32(step)) for step in range(steps)])


def test_every_pass_visits_each_window_of_the_set_once_and_no_other():
    seen = visited(9, unique=36).reshape(3, 36)
    first = set(seen[0].tolist())
    assert len(first) == 36
    assert [set(one.tolist()) for one in seen] == [first] * 3
    assert len({tuple(one) for one in seen.tolist()}) > 1


def test_a_pass_that_no_batch_divides_goes_on_in_the_next_batch():
    seen = visited(7, unique=7).reshape(12, 7)
    assert [len(set(one.tolist())) for one in seen] == [7] * 12


def test_beyond_what_the_text_has_the_set_is_all_of_it():
    seen = visited(5, unique=MAX_WINDOWS)[:WINDOWS]
    assert sorted(seen.tolist()) == list(range(WINDOWS))


def test_the_slice_gives_one_of_so_many_windows_and_is_apart_from_the_set():
    seen = visited(10, unique=20, repeated=3, every=4)
    from_slice, rest = seen[::4], np.delete(seen, slice(None, None, 4))
    assert set(from_slice.tolist()).isdisjoint(rest.tolist())
    # 30 visits of the slice's 3 windows, 90 of the set's 20: four passes and a half.
    assert np.unique(from_slice, return_counts=True)[1].tolist() == [10] * 3
    assert sorted(np.unique(rest, return_counts=True)[1].tolist()) == [4] * 10 + [5] * 10


def test_a_text_that_is_too_short_leaves_the_set_what_the_slice_does_not_take():
    seen = visited(8, unique=MAX_WINDOWS, repeated=5, every=2)
    assert len(set(seen[::2].tolist())) == 5
    assert len(set(seen[1::2].tolist())) == WINDOWS - 5


def test_the_data_seed_chooses_the_windows_and_the_runs_seed_their_order():
    one, other_order = visited(1, unique=12), visited(1, unique=12, seed=1)
    assert set(one.tolist()) == set(other_order.tolist())
    assert one.tolist() != other_order.tolist()
    others = [set(visited(1, unique=12, data_seed=seed).tolist()) for seed in range(1, 4)]
    assert set(one.tolist()) not in others


def test_strides_divide_no_size():
    primes = _primes()
    assert primes[:3].tolist() == [65_537, 65_539, 65_543]
    assert len(set(primes.tolist())) == 512
    # The largest products are still whole numbers of uint32.
    assert (MAX_WINDOWS - 1) ** 2 < 2**32


def test_the_largest_text_is_visited_without_a_gap():
    seen = visited(1, batch_size=MAX_WINDOWS, windows=MAX_WINDOWS)
    assert len(np.unique(seen)) == MAX_WINDOWS


def test_windows_lie_side_by_side_and_share_one_byte(tmp_path):
    path = tmp_path / "text"
    path.write_bytes(bytes(range(200)))
    task = RepeatedText(path=str(path), context=5)
    train, text = task.load()["train"], task.corpus()
    assert train.shape == ((text.train.size - 1) // 5, 6)
    np.testing.assert_array_equal(train[:, -1][:-1], train[1:, 0])
    np.testing.assert_array_equal(train[0], text.train[:6])


def test_of_a_long_text_windows_are_spread_over_all_of_it(tmp_path):
    path = tmp_path / "text"
    path.write_bytes(np.random.default_rng(0).integers(0, 256, 3 * MAX_WINDOWS, np.uint8).tobytes())
    task = RepeatedText(path=str(path), context=2)
    train, text = task.load()["train"], task.corpus()
    assert task.facts()["windows"] == len(train) == MAX_WINDOWS
    last = (text.train.size - 1) // 2 * 2
    np.testing.assert_array_equal(train[-1], text.train[last - 2 : last + 1])


def test_a_slice_larger_than_the_text_is_refused(tmp_path):
    path = tmp_path / "text"
    path.write_bytes(bytes(200))
    rule = "task.repeated must be below the text's 35 windows, got 35"
    with pytest.raises(ValueError, match=rule):
        RepeatedText(path=str(path), context=5, every=2, repeated=35).facts()


@pytest.mark.parametrize("field", ["unique", "repeated"])
def test_sizes_are_checked(field):
    with pytest.raises(ValueError, match=f"task.{field} must be an int of at least 1, got 0"):
        RepeatedText(**{field: 0})
