import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrstudy.models import MLP
from lrstudy.tasks import ContinualDigits, Digits

TRAIN = 1437


@functools.cache
def numbered(task):
    """Data in which an example's pixel is its place times 64 plus the pixel's own, so that both can be read back."""
    places = (64 * np.arange(TRAIN)[:, None] + np.arange(64)).astype(np.float32)
    return {**task.load(), "train_pixels": places}


@functools.cache
def jitted(task):
    return jax.jit(task.batch)


def drawn(task, step, seed=0):
    """(place in the training set, task) of every example of a batch."""
    pixels = np.asarray(jitted(task)(numbered(task), jnp.int32(seed), jnp.int32(step))[0]).astype(int)
    assert (pixels // 64 == pixels[:, :1] // 64).all()
    matches = (pixels[:, None] % 64 == np.asarray(task.pixel_orders())).all(-1)
    assert (matches.sum(1) == 1).all()
    return pixels[:, 0] // 64, matches.argmax(1)


def test_rotations_turn_the_image():
    task = ContinualDigits(transform="rotate", tasks=4)
    image = np.random.default_rng(0).normal(size=64)
    for turns, order in enumerate(task.pixel_orders()):
        np.testing.assert_array_equal(image[order].reshape(8, 8), np.rot90(image.reshape(8, 8), turns))


def test_permutations_are_of_their_own_seed_and_the_first_is_none():
    first, again, other = (ContinualDigits(tasks=5, permutation_seed=seed).pixel_orders() for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first[0], np.arange(64))
    np.testing.assert_array_equal(np.sort(first, axis=1), np.tile(np.arange(64), (5, 1)))
    assert len(np.unique(first, axis=0)) == 5
    assert not (first[1:] == other[1:]).all(axis=1).any()
    # More tasks leave the earlier ones as they are.
    np.testing.assert_array_equal(ContinualDigits(tasks=3, permutation_seed=3).pixel_orders(), first[:3])


def test_tasks_follow_each_other_and_the_last_one_stays():
    task = ContinualDigits(steps_per_task=4, tasks=3)
    for step, expected in ((0, 0), (3, 0), (4, 1), (7, 1), (8, 2), (11, 2), (12, 2), (1000, 2)):
        assert set(drawn(task, step)[1]) == {expected}


def test_without_replay_the_batches_are_those_of_digits_in_the_tasks_order():
    task, plain = ContinualDigits(steps_per_task=30, batch_size=50), Digits(batch_size=50)
    data = task.load()
    for step in (0, 29, 31, 75):
        arguments = (jnp.int32(5), jnp.int32(step))
        (pixels, labels), (expected, same) = task.batch(data, *arguments), plain.batch(plain.load(), *arguments)
        np.testing.assert_array_equal(labels, same)
        np.testing.assert_array_equal(pixels, np.asarray(expected)[:, task.pixel_orders()[min(step // 30, 2)]])


def test_replay_has_its_share_its_power_law_and_its_memory():
    task = ContinualDigits(
        steps_per_task=10, tasks=4, replay=0.25, exponent=2.0, memory=20, batch_size=1000, permutation_seed=1
    )
    batches = [drawn(task, step) for step in range(30, 40)]
    place, which = (np.concatenate(column) for column in zip(*batches, strict=True))
    # Ages 3, 2 and 1 weigh 1/9, 1/4 and 1.
    weights = np.asarray([1 / 9, 1 / 4, 1])
    expected = np.append(0.25 * weights / weights.sum(), 0.75)
    found = np.bincount(which, minlength=4) / len(which)
    # Five standard deviations of a binomial share.
    assert (np.abs(found - expected) < 5 * np.sqrt(expected * (1 - expected) / len(which))).all()
    assert set(place[which < 3]) == set(range(20))
    assert len(set(place[which == 3])) > 1000
    # In the first task there is nothing to rehearse.
    assert set(drawn(task, 9)[1]) == {0}


@pytest.mark.parametrize(("exponent", "expected"), [(0.0, [1 / 3] * 3), (1.0, [2 / 11, 3 / 11, 6 / 11])])
def test_the_power_law_of_rehearsal(exponent, expected):
    task = ContinualDigits(tasks=5, exponent=exponent)
    # A quotient of two roundings of 6e-8.
    np.testing.assert_allclose(task.replay_shares(jnp.int32(3)), [*expected, 0, 0], atol=3e-7)
    np.testing.assert_array_equal(task.replay_shares(jnp.int32(0)), np.zeros(5))


def test_every_task_is_evaluated_in_its_own_order():
    task = ContinualDigits(model=MLP(outputs=10, width=16, layers=1))
    data = task.load()
    params = jax.jit(task.init)(jax.random.key(0))
    measured = {name: float(value) for name, value in jax.jit(task.evaluate)(params, data).items()}
    losses, accuracies = [], []
    for place, order in enumerate(task.pixel_orders()):
        logits = np.asarray(jax.jit(task.apply)(params, jnp.asarray(data["validation_pixels"][:, order])), np.float64)
        shifted = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        losses.append(-shifted[np.arange(360), data["validation_labels"]].mean())
        accuracies.append((logits.argmax(1) == data["validation_labels"]).mean())
        # A count of 360 over 360.
        assert measured[f"accuracy_{place}"] == pytest.approx(accuracies[-1], abs=1e-6)
    assert len(set(accuracies)) > 1
    assert measured["validation_accuracy"] == pytest.approx(np.mean(accuracies), abs=1e-6)
    # Float32 means of a thousand losses near 2.
    assert measured["validation_loss"] == pytest.approx(np.mean(losses), rel=2e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"transform": "shear"}, "task.transform must be 'permute' or 'rotate', got 'shear'"),
        ({"transform": "rotate", "tasks": 5}, "task.tasks must be at most 4 for rotations, got 5"),
        ({"tasks": 0}, "task.tasks must be a positive int, got 0"),
        ({"steps_per_task": 0}, "task.steps_per_task must be a positive int, got 0"),
        ({"replay": 1.5}, "task.replay must be in [0, 1], got 1.5"),
        ({"replay": float("nan")}, "task.replay must be in [0, 1], got nan"),
        ({"exponent": -1.0}, "task.exponent must be a finite number of at least 0, got -1.0"),
        ({"exponent": float("inf")}, "task.exponent must be a finite number of at least 0, got inf"),
        ({"memory": 0}, "task.memory must be in [1, 1437], got 0"),
        ({"memory": 1438}, "task.memory must be in [1, 1437], got 1438"),
        ({"permutation_seed": -1}, "task.permutation_seed must be an int of at least 0, got -1"),
        ({"batch_size": 0}, "task.batch_size must be in [1, 1437], got 0"),
    ],
)
def test_what_cannot_be_is_refused(arguments, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        ContinualDigits(**arguments)
