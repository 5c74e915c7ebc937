"""Digits of which some labels are wrong."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrstudy.models import MLP
from lrstudy.tasks import Digits, NoisyDigits

TRAIN = 1437


@functools.cache
def data():
    return jax.device_put(Digits().load())


def whole_pass(corruption, ordering, seed):
    """Pixels and labels of one pass in the order of their visit."""
    task = NoisyDigits(batch_size=TRAIN, corruption=corruption, ordering=ordering)
    return [np.asarray(part) for part in jax.jit(task.batch)(data(), jnp.int32(seed), jnp.int32(0))]


def places(pixels):
    """The place of every image in the training set; no image is in it twice."""
    place = {row.tobytes(): i for i, row in enumerate(np.asarray(data()["train_pixels"]))}
    return np.asarray([place[row.tobytes()] for row in pixels])


@pytest.mark.parametrize("ordering", [0.0, 1.0])
def test_without_corruption_the_labels_are_right(ordering):
    pixels, labels = whole_pass(0.0, ordering, 1)
    visited = places(pixels)
    np.testing.assert_array_equal(np.sort(visited), np.arange(TRAIN))
    assert (ordering == 1.0) == np.array_equal(visited, np.arange(TRAIN))
    np.testing.assert_array_equal(labels, np.asarray(data()["train_labels"])[visited])


def test_an_examples_label_is_the_same_whenever_it_is_visited():
    (sorted_pixels, sorted_labels), (pixels, labels) = (whole_pass(1.0, ordering, 9) for ordering in (1.0, 0.0))
    np.testing.assert_array_equal(places(sorted_pixels), np.arange(TRAIN))
    np.testing.assert_array_equal(sorted_labels[places(pixels)], labels)


@pytest.mark.parametrize("corruption", [0.5, 1.0])
def test_labels_are_replaced_with_a_probability_that_falls_to_zero(corruption):
    seeds = 40
    task = NoisyDigits(corruption=corruption)
    replaced, classes = jax.vmap(task.replacements)(jnp.arange(seeds))
    tenths = np.asarray(replaced)[:, : TRAIN // 10 * 10].reshape(seeds, 10, -1).mean((0, 2))
    expected = corruption * (1 - (np.arange(10) + 0.5) * 143 / TRAIN)
    # Five standard deviations of a share of 40 * 143 examples.
    assert np.abs(tenths - expected).max() < 5 * np.sqrt(0.25 / (seeds * 143))
    counts = np.bincount(np.asarray(classes).ravel(), minlength=10)
    assert len(counts) == 10
    assert np.abs(counts / counts.sum() - 0.1).max() < 5 * np.sqrt(0.09 / counts.sum())


def test_every_seed_replaces_its_own_labels():
    task = NoisyDigits()
    first, second = (np.asarray(task.replacements(jnp.int32(seed))[0]) for seed in (0, 1))
    assert not np.array_equal(first, second)


def test_validation_is_that_of_digits():
    model = MLP(outputs=10, width=5, layers=1)
    params = Digits(model=model).init(jax.random.key(0))
    clean, noisy = (jax.jit(task.evaluate)(params, data()) for task in (Digits(model=model), NoisyDigits(model=model)))
    assert {k: float(v) for k, v in clean.items()} == {k: float(v) for k, v in noisy.items()}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"corruption": 1.5}, r"^task\.corruption must be in \[0, 1\], got 1\.5$"),
        ({"ordering": -1.0}, r"^task\.ordering must be in \[0, 1\], got -1\.0$"),
        ({"batch_size": 0}, r"^task\.batch_size must be in \[1, 1437\], got 0$"),
    ],
)
def test_errors(fields, message):
    with pytest.raises(ValueError, match=message):
        NoisyDigits(**fields)
