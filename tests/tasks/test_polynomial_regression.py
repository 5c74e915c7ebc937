"""Regression on a polynomial: its tangent kernel, its test loss, and its linear limit, against independent forms."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lrstudy.schedules import Constant
from lrstudy.tasks import PolynomialRegression
from lrstudy.tasks.base import INIT_STREAM, stream_key
from lrstudy.tasks.polynomial_regression import coefficients, linear_path, mean_square, targets
from lrstudy.training import lanes
from lrstudy.training.program import Hyperparameters

TASK = PolynomialRegression(1.7, 0.6, directions=5, units=8, samples=20)


def moved(task=TASK, size=0.3):
    """Parameters away from the start."""
    rng = np.random.default_rng(1)
    shape = (task.units, task.directions)
    initial = rng.normal(size=shape) / np.sqrt(task.directions)
    return {"displacement": jnp.float32(size * rng.normal(size=shape)), "initial": jnp.float32(initial)}


def plain(task, params, inputs):
    """The output from its definition, in float64."""
    start, now = (np.asarray(w, np.float64) for w in (params["initial"], params["initial"] + params["displacement"]))
    before, after = (np.asarray(inputs, np.float64) @ w.T for w in (start, now))
    return task.alpha * (after + task.eps / 2 * after**2 - before - task.eps / 2 * before**2).mean(1)


def test_outputs_are_the_centred_network():
    inputs = TASK.load()["inputs"]
    expected = plain(TASK, moved(), inputs)
    # Sums of a few float32 products of numbers of size one to ten.
    np.testing.assert_allclose(TASK.outputs(moved(), jnp.asarray(inputs)), expected, atol=2e-5)
    start = TASK.init(jax.random.key(0))
    np.testing.assert_array_equal(TASK.outputs(start, jnp.asarray(inputs)), np.zeros(20))
    assert float(jnp.var(start["initial"])) == pytest.approx(1 / 5, rel=0.5)


def test_the_kernel_is_the_gram_matrix_of_the_gradients_by_the_weights():
    inputs = jnp.asarray(TASK.load()["inputs"])

    def gram(params):
        def outputs(displacement):
            return TASK.outputs({**params, "displacement": displacement}, inputs)

        jacobian = jax.jacobian(outputs)(params["displacement"]).reshape(20, -1)
        return np.asarray(jacobian, np.float64) @ np.asarray(jacobian, np.float64).T

    params = moved()
    kernel, change = (np.asarray(part, np.float64) * TASK.alpha**2 / 8 for part in TASK.tangent_kernel(params, inputs))
    start = {**params, "displacement": jnp.zeros_like(params["displacement"])}
    # Two sums of float32 products; the largest entries count for the rounding of all.
    scale = np.abs(gram(params)).max()
    np.testing.assert_allclose(kernel, gram(start), rtol=0, atol=1e-6 * scale)
    np.testing.assert_allclose(kernel + change, gram(params), rtol=0, atol=1e-6 * scale)


def test_a_small_change_of_the_kernel_is_not_lost_in_rounding():
    """A ten-thousandth of the displacement changes it by a ten-thousandth, and by a square that is 1e-4 as large."""
    inputs = jnp.asarray(TASK.load()["inputs"])
    params, small = moved(size=0.1), moved(size=1e-5)
    whole, part = (np.asarray(TASK.tangent_kernel(p, inputs)[1], np.float64) for p in (params, small))
    added = TASK.eps * np.asarray(inputs @ params["displacement"].T, np.float64)
    second = (np.asarray(inputs) @ np.asarray(inputs).T) * (added @ added.T) / TASK.units
    np.testing.assert_allclose(part * 1e4, whole - second * (1 - 1e-4), rtol=0, atol=3e-6 * np.abs(whole).max())


def test_the_frozen_tree_has_no_gradient_and_descent_moves_the_weights():
    inputs = jnp.asarray(TASK.load()["inputs"])
    params = moved()
    gradient = jax.grad(lambda p: TASK.loss(p, inputs)[0])(params)
    np.testing.assert_array_equal(gradient["initial"], np.zeros((8, 5)))

    def of_weights(weights):
        before, after = inputs @ params["initial"].T, inputs @ weights.T
        outputs = TASK.alpha * jnp.mean(after + TASK.eps / 2 * after**2 - before - TASK.eps / 2 * before**2, axis=1)
        return jnp.mean((outputs - targets(inputs)) ** 2) / 2

    direct = jax.grad(of_weights)(params["initial"] + params["displacement"])
    np.testing.assert_allclose(gradient["displacement"], direct, rtol=0, atol=1e-5 * float(jnp.abs(direct).max()))


def test_the_test_loss_is_that_of_all_inputs():
    params = moved()
    inputs = np.random.default_rng(2).normal(size=(400_000, 5))
    errors = (plain(TASK, params, inputs) - targets(inputs)) ** 2 / 2
    found = float(TASK.evaluate(params, TASK.load())["test_loss"])
    assert abs(found - errors.mean()) < 4 * errors.std() / np.sqrt(len(errors))
    linear, quadratic = coefficients(TASK, jax.tree.map(lambda x: np.asarray(x, np.float64), params))
    values = inputs @ linear + np.einsum("bi,ij,bj->b", inputs, quadratic, inputs)
    np.testing.assert_allclose(values, plain(TASK, params, inputs), atol=1e-5)
    assert mean_square(linear, quadratic) == pytest.approx((values**2).mean(), rel=0.02)
    # Before any update it is the mean of the target's square over two: E x^4 / 8 = 3 / 8.
    assert float(TASK.evaluate(TASK.init(jax.random.key(0)), TASK.load())["test_loss"]) == pytest.approx(3 / 8)


def test_metrics_of_the_kernel():
    data, params = TASK.load(), moved()
    inputs = jnp.asarray(data["inputs"])
    kernel, change = (np.asarray(part, np.float64) for part in TASK.tangent_kernel(params, inputs))
    labels, now = np.asarray(targets(inputs), np.float64), kernel + change
    found = TASK.evaluate(params, data)
    assert float(found["kernel_change"]) == pytest.approx(np.linalg.norm(change) / np.linalg.norm(kernel), rel=1e-5)
    aligned = labels @ now @ labels / np.linalg.norm(now) / (labels @ labels)
    assert float(found["kernel_alignment"]) == pytest.approx(aligned, rel=1e-5)
    # A kernel that is the target's own outer product is aligned by one: here both are of one sample.
    one = dataclasses.replace(TASK, samples=1)
    assert float(one.evaluate(moved(one), one.load())["kernel_alignment"]) == pytest.approx(1, rel=1e-6)


def trained(alphas, steps, seed=3, rate=0.1):
    tasks = [dataclasses.replace(TASK, alpha=alpha) for alpha in alphas]
    hparams = [Hyperparameters(Constant(rate * 8 / t.alpha**2), t, {}, None, seed, steps) for t in tasks]
    lane, _, _ = lanes.run(hparams, lambda h: optax.sgd(h.schedule), record_every=steps)
    return tasks, np.asarray(lane.state.params["displacement"], np.float64)


def test_training_tends_to_the_closed_form_of_the_linearised_model():
    """In s = alpha u; what is left falls tenfold with ten times alpha."""
    alphas, steps = (1e2, 1e3, 1e4), 40
    tasks, displacements = trained(alphas, steps)
    initial = np.asarray(TASK.init(stream_key(3, INIT_STREAM))["initial"])
    gaps = []
    for task, found in zip(tasks, displacements, strict=True):
        (expected,) = linear_path(task, initial, 0.1 * 8 / task.alpha**2, [steps])
        gaps.append(np.linalg.norm(found - expected) / np.linalg.norm(expected))
    assert gaps[0] < 0.05
    # 1e-4 at the last alpha, of which float32 rounding takes some 1e-6.
    np.testing.assert_allclose(gaps[1:], np.divide(gaps[:-1], 10), rtol=0.05)


def test_the_closed_form_is_gradient_descent_on_the_linearised_model():
    inputs = TASK.load()["inputs"].astype(np.float64)
    initial = np.asarray(moved()["initial"], np.float64)
    slopes = 1 + TASK.eps * inputs @ initial.T
    features = (TASK.alpha / 8 * slopes[:, :, None] * inputs[:, None]).reshape(20, -1)
    current, found = np.zeros(40), []
    for step in range(31):
        if step in (0, 1, 30):
            found.append(current.reshape(8, 5))
        current = current - 0.5 * features.T @ (features @ current - targets(inputs)) / 20
    expected = linear_path(TASK, initial, 0.5, [0, 1, 30])
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)
    linear, quadratic = coefficients(TASK, {"displacement": found[2], "initial": initial}, linearised=True)
    values = inputs @ linear + np.einsum("bi,ij,bj->b", inputs, quadratic, inputs)
    np.testing.assert_allclose(values, features @ found[2].ravel(), atol=1e-12)


def test_a_pass_visits_every_sample_once_and_the_next_one_in_another_order():
    task = dataclasses.replace(TASK, batch_size=5)
    data = task.load()
    batches = np.concatenate([task.batch(data, jnp.int32(2), jnp.int32(step)) for step in range(8)]).reshape(2, 20, 5)
    assert not np.array_equal(*batches)
    for one in batches:
        np.testing.assert_array_equal(one[np.lexsort(one.T)], data["inputs"][np.lexsort(data["inputs"].T)])
    np.testing.assert_array_equal(TASK.batch(data, jnp.int32(2), jnp.int32(7)), data["inputs"])
    assert TASK.tokens_per_step() == 20
    assert not np.array_equal(dataclasses.replace(TASK, data_seed=1).load()["inputs"], data["inputs"])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"alpha": 0.0}, r"^task\.alpha must be a finite positive number, got 0\.0$"),
        ({"eps": -0.1}, r"^task\.eps must be a finite number of at least 0, got -0\.1$"),
        ({"directions": 0}, r"^task\.directions must be an int of at least 1, got 0$"),
        ({"units": 0}, r"^task\.units must be an int of at least 1, got 0$"),
        ({"samples": 0}, r"^task\.samples must be an int of at least 1, got 0$"),
        ({"data_seed": -1}, r"^task\.data_seed must be an int of at least 0, got -1$"),
        ({"batch_size": 201}, r"^task\.batch_size must be in \[1, samples\] or none, got 201$"),
    ],
)
def test_errors(fields, message):
    with pytest.raises(ValueError, match=message):
        PolynomialRegression(**fields)
