import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrstudy.tasks import DiagonalRegression, OrthogonalRegression, ReluRegression

TASKS = [OrthogonalRegression(4), DiagonalRegression(4), ReluRegression(4)]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: type(task).__name__)
def test_the_whole_sample_is_a_batch_that_is_always_the_same(task):
    inputs, labels = task.sample()
    whole = dataclasses.replace(task, batch_size=None)
    for step in (0, 5):
        batch = whole.batch((), jnp.int32(3), jnp.int32(step))
        np.testing.assert_array_equal(batch[0], inputs)
        np.testing.assert_array_equal(batch[1], labels)
    assert np.ptp(labels) > 0


@pytest.mark.parametrize("task", TASKS, ids=lambda task: type(task).__name__)
def test_the_tangent_trace_is_that_of_the_hessian_where_the_sample_is_fitted(task):
    """Against JAX's dense Hessian at parameters from long descent on the whole sample, whose residuals are rounding."""
    inputs, labels = task.sample()
    params = task.init(jax.random.key(1))

    def loss(params):
        return task.loss(params, (inputs, labels))[0]

    rate = 0.02 if isinstance(task, DiagonalRegression) else 0.3

    def step(_, params):
        return jax.tree.map(lambda x, g: x - rate * g, params, jax.grad(loss)(params))

    params = jax.lax.fori_loop(0, 20_000, step, params)
    assert loss(params) < 1e-9
    flat, unravel = jax.flatten_util.ravel_pytree(params)
    dense = jax.hessian(lambda x: loss(unravel(x)))(flat)
    # The residuals r, of root mean square (2 loss)^(1/2) < 5e-5, leave r times the outputs' own curvature.
    np.testing.assert_allclose(task.evaluate(params, ())["tangent_trace"], jnp.trace(dense), rtol=1e-3)


def test_orthogonal_examples_have_the_same_hessian_everywhere():
    task = OrthogonalRegression(1, samples=6, directions=6)
    inputs, labels = task.sample()
    np.testing.assert_array_equal(inputs, np.eye(6))
    dense = jax.hessian(lambda w: task.loss({"w": w}, (inputs, labels))[0])(jnp.arange(6.0))
    np.testing.assert_allclose(dense, np.eye(6) / 6, rtol=1e-6)
    assert float(task.evaluate({"w": jnp.ones(6)}, ())["tangent_trace"]) == 1.0


def test_a_step_from_one_example_multiplies_its_error_alone():
    task = OrthogonalRegression(1, samples=6, directions=6)
    _, labels = task.sample()
    params = task.init(jax.random.key(0))
    batch = task.batch((), jnp.int32(2), jnp.int32(7))
    (place,) = np.nonzero(np.asarray(batch[0])[0])[0]
    gradient = jax.grad(lambda p: task.loss(p, batch)[0])(params)
    after = params["w"] - 1.9 * gradient["w"]
    errors = np.asarray(after - labels) / np.asarray(-labels)
    expected = np.where(np.arange(6) == place, 1 - 1.9, 1.0)
    np.testing.assert_allclose(errors, expected, rtol=1e-6)


def test_examples_are_drawn_with_replacement_and_the_sample_does_not_follow_the_runs_seed():
    task = DiagonalRegression(4, batch_size=64)
    inputs, _ = task.batch((), jnp.int32(0), jnp.int32(0))
    sample = np.asarray(task.sample()[0])
    rows = [int(np.nonzero((sample == row).all(axis=1))[0][0]) for row in np.asarray(inputs)]
    assert len(set(rows)) < len(rows)
    assert not np.array_equal(inputs, task.batch((), jnp.int32(1), jnp.int32(0))[0])


def test_the_teachers_are_what_they_are_said_to_be():
    sparse = DiagonalRegression(0, nonzeros=2).teacher(jax.random.key(0))
    assert (np.nonzero(sparse["u"])[0].tolist(), float(sparse["v"].sum())) == ([0, 1], 0.0)
    small = ReluRegression(0, width=9, teacher_width=2).teacher(jax.random.key(0))
    assert np.nonzero(small["readout"])[0].tolist() == [0, 1]


def test_the_start_of_the_diagonal_network_is_the_zero_function():
    task = DiagonalRegression(4, initial_size=0.3)
    params = task.init(jax.random.key(0))
    np.testing.assert_array_equal(task.outputs(params, task.sample()[0]), 0.0)
    np.testing.assert_allclose(params["u"], 0.3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: OrthogonalRegression(samples=4, directions=3), "task.directions must be at least task.samples"),
        (lambda: DiagonalRegression(samples=0), "task.samples must be an int of at least 1, got 0"),
        (lambda: ReluRegression(batch_size=0), "task.batch_size must be an int of at least 1 or none, got 0"),
        (lambda: ReluRegression(data_seed=-1), "task.data_seed must be an int of at least 0, got -1"),
        (lambda: ReluRegression(width=2, teacher_width=3), "task.teacher_width must be in"),
        (lambda: DiagonalRegression(nonzeros=41), "task.nonzeros must be in"),
    ],
)
def test_fields_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
