"""Separable samples and the gradients of their logistic loss."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrstudy.tasks import RandomHalfspace, TwoDirections


def all_rows(task):
    rows, counts = task.batch((), jnp.int32(0), jnp.int32(0))
    return np.repeat(np.asarray(rows, np.float64), np.asarray(counts, int), axis=0)


@pytest.mark.parametrize("task", [TwoDirections(examples=7), RandomHalfspace(examples=9, features=3, data_seed=2)])
def test_loss_and_gradient_are_those_of_all_rows(task):
    theta = jnp.asarray([0.3, -0.2, 0.1][: task.init(jax.random.key(0))["theta"].size])
    batch = task.batch((), jnp.int32(0), jnp.int32(0))
    margins = all_rows(task) @ np.asarray(theta, np.float64)
    (loss, found), gradient = task.gradient({"theta": theta}, batch, ())
    assert loss == pytest.approx(np.mean(np.log1p(np.exp(-margins))), rel=1e-6)
    assert found["misclassified"] == np.sum(margins <= 0)
    own = -(1 / (1 + np.exp(margins))) @ all_rows(task) / len(margins)
    np.testing.assert_allclose(gradient["theta"], own, rtol=2e-6, atol=1e-7)
    auto = jax.grad(lambda p: task.loss(p, batch)[0])({"theta": theta})
    np.testing.assert_allclose(gradient["theta"], auto["theta"], rtol=2e-6, atol=1e-7)


def test_a_normalised_gradient_has_weights_of_sum_one_however_far_out():
    task = TwoDirections(examples=7, normalised=True)
    batch = task.batch((), jnp.int32(0), jnp.int32(0))
    (_, _), near = task.gradient({"theta": jnp.zeros(2)}, batch, ())
    np.testing.assert_allclose(near["theta"], -all_rows(task).mean(axis=0), rtol=1e-6)
    # Margins of 500 and 1500: both weights underflow, and only the smaller margin is left.
    (_, _), far = task.gradient({"theta": jnp.asarray([2000.0, 500.0])}, batch, ())
    np.testing.assert_allclose(far["theta"], [-0.5, 1.0], rtol=1e-6)


def test_a_random_sample_is_separated_by_more_than_its_gap():
    for seed in range(3):
        task = RandomHalfspace(gap=0.2, data_seed=seed)
        rows = all_rows(task)
        towards, _ = jax.random.split(jax.random.fold_in(jax.random.key(seed), 1))
        direction = np.asarray(jax.random.normal(towards, (5,)))
        assert (rows @ direction / np.linalg.norm(direction)).min() > 0.2 - 1e-6


@pytest.mark.parametrize(
    ("task", "changes", "message"),
    [
        (TwoDirections, {"examples": 1}, r"task\.examples must be in \[2, 2\^24\), got 1"),
        (RandomHalfspace, {"examples": 0}, r"task\.examples must be an int of at least 1, got 0"),
        (RandomHalfspace, {"gap": 0.0}, r"task\.gap must be a finite positive number, got 0.0"),
        (RandomHalfspace, {"data_seed": -1}, r"task\.data_seed must be an int of at least 0, got -1"),
    ],
)
def test_a_bad_field_is_refused(task, changes, message):
    with pytest.raises(ValueError, match=message):
        task(**changes)
