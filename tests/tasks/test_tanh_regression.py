"""The tanh network: descent against plain NumPy, its place among the parametrizations, its sample and its kernel."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrstudy.curvature import ntk, top_eigs
from lrstudy.parametrization import ParamSpec, rules
from lrstudy.tasks import TanhRegression
from lrstudy.tasks.tanh_regression import targets

TASK = TanhRegression(width=9, directions=4, samples=12)


def start(task=TASK, seed=0):
    return task.init(jax.random.key(seed)), task.batch((), jnp.int32(seed), jnp.int32(0))


def plain_step(params, inputs, gamma, rate):
    """Outputs after one update of the three-layer network, all of it written out, in float64."""
    v, (w,), a = (np.asarray(params[name], np.float64) for name in ("input", "hidden", "readout"))
    x = np.asarray(inputs, np.float64)
    d, n = v.shape
    y = x[:, 0] ** 2 - 1 + x[:, 1] * x[:, 2]

    def forward(v, w, a):
        first = np.tanh(x @ v / np.sqrt(d))
        second = np.tanh(first @ w / np.sqrt(n))
        return first, second, second @ a / (gamma * np.sqrt(n))

    first, second, f = forward(v, w, a)
    error = (f - y) / len(x)
    into_second = np.outer(error, a) / (gamma * np.sqrt(n)) * (1 - second**2)
    into_first = into_second @ w.T / np.sqrt(n) * (1 - first**2)
    v_new = v - rate * x.T @ into_first / np.sqrt(d)
    w_new = w - rate * first.T @ into_second / np.sqrt(n)
    a_new = a - rate * second.T @ error / (gamma * np.sqrt(n))
    return forward(v_new, w_new, a_new)[2]


@pytest.mark.parametrize("gamma", [1.0, 3.0])
def test_an_update_moves_the_function_as_plain_numpy_does(gamma):
    task = dataclasses.replace(TASK, gamma=gamma)
    params, inputs = start(task)
    rate = 2 * gamma**2
    gradient = jax.grad(lambda p: task.loss(p, inputs)[0])(params)
    moved = jax.tree.map(lambda w, g: w - rate * g, params, gradient)
    # Outputs of size one from sums of ten float32 products, made twice.
    np.testing.assert_allclose(task.outputs(moved, inputs), plain_step(params, inputs, gamma, rate), rtol=0, atol=3e-5)


@pytest.mark.parametrize(("name", "gamma"), [("ntk", 1.0), ("mean_field", 3.0), ("mup", 3.0)])
def test_it_is_the_parametrization_of_base_width_one(name, gamma):
    """In effective weights, theta = multiplier times parameter: their initial size, and rate times multiplier squared.

    The input's finite root of D stands beside the rules, which know widths alone.
    """
    n = 9.0
    shapes = {"input": ParamSpec("input", 1, n), "hidden": ParamSpec("hidden", n, n)}
    shapes["readout"] = ParamSpec("output", n, 1)
    own = {"input": 1.0, "hidden": n**-0.5, "readout": n**-0.5 / gamma}
    fan_in = {"input": 1.0, "hidden": n**-0.5, "readout": n**-0.5}
    for tensor, spec in shapes.items():
        rule = rules(spec, parametrization=name, optimizer="sgd")
        assert rule.mult * rule.init * fan_in[tensor] == pytest.approx(own[tensor], rel=1e-12)
        assert rule.lr * rule.mult**2 == pytest.approx(gamma**2 * own[tensor] ** 2, rel=1e-12)


def test_a_residual_stack_adds_its_branches():
    task = dataclasses.replace(TASK, layers=3, residual=True, branch_scale=0.5)
    params, inputs = start(task)
    z = np.asarray(inputs) @ np.asarray(params["input"]) / 2
    for weights in np.asarray(params["hidden"]):
        z = z + 0.5 * np.tanh(z) @ weights / 3
    np.testing.assert_allclose(task.outputs(params, inputs), np.tanh(z) @ params["readout"] / 3, rtol=0, atol=1e-5)
    none = dataclasses.replace(task, branch_scale=1e-30)
    bare = np.tanh(np.asarray(inputs) @ np.asarray(params["input"]) / 2) @ params["readout"] / 3
    np.testing.assert_allclose(none.outputs(params, inputs), bare, rtol=0, atol=1e-5)


def test_the_sharpness_of_its_kernel_is_of_the_size_of_one_over_gamma_squared():
    params, inputs = start()
    wide = dataclasses.replace(TASK, gamma=3.0)
    kernels = [
        float(top_eigs(ntk(task.outputs, params, inputs, scale=1 / 12), jax.random.key(0)).values[0])
        for task in (TASK, wide)
    ]
    jacobian = jax.jacobian(lambda p: TASK.outputs(p, inputs))(params)
    rows = np.concatenate([np.asarray(leaf, np.float64).reshape(12, -1) for leaf in jax.tree.leaves(jacobian)], axis=1)
    assert kernels[0] == pytest.approx(np.linalg.norm(rows, 2) ** 2 / 12, rel=1e-4)
    assert kernels[0] == pytest.approx(9 * kernels[1], rel=1e-4)


def test_the_sample_follows_from_the_seed_and_a_pass_visits_all_of_it():
    whole = np.asarray(TASK.batch((), jnp.int32(2), jnp.int32(0)))
    np.testing.assert_array_equal(whole, TASK.batch((), jnp.int32(2), jnp.int32(7)))
    assert not np.array_equal(whole, TASK.batch((), jnp.int32(3), jnp.int32(0)))
    part = dataclasses.replace(TASK, batch_size=4)
    batches = np.concatenate([part.batch((), jnp.int32(2), jnp.int32(step)) for step in range(6)]).reshape(2, 12, 4)
    assert not np.array_equal(*batches)
    for one in batches:
        np.testing.assert_array_equal(one[np.lexsort(one.T)], whole[np.lexsort(whole.T)])
    assert (TASK.tokens_per_step(), part.tokens_per_step()) == (12, 4)


def test_targets_have_mean_zero_and_variance_three_and_no_linear_part():
    inputs = np.random.default_rng(1).normal(size=(200_000, 4))
    labels = inputs[:, 0] ** 2 - 1 + inputs[:, 1] * inputs[:, 2]
    np.testing.assert_allclose(targets(jnp.asarray(inputs[:50], jnp.float32)), labels[:50], atol=1e-5)
    # Standard errors are below 0.02.
    np.testing.assert_allclose(
        [labels.mean(), labels.var(), *(labels @ inputs / len(labels))], [0, 3, 0, 0, 0, 0], atol=0.1
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"gamma": 0.0}, r"^task\.gamma must be a finite positive number, got 0\.0$"),
        ({"branch_scale": float("inf")}, r"^task\.branch_scale must be a finite positive number, got inf$"),
        ({"width": 0}, r"^task\.width must be an int of at least 1, got 0$"),
        ({"layers": -1}, r"^task\.layers must be an int of at least 0, got -1$"),
        ({"directions": 2}, r"^task\.directions must be an int of at least 3, got 2$"),
        ({"samples": 0}, r"^task\.samples must be an int of at least 1, got 0$"),
        ({"test_samples": 0}, r"^task\.test_samples must be an int of at least 1, got 0$"),
        ({"batch_size": 65}, r"^task\.batch_size must be in \[1, samples\] or none, got 65$"),
    ],
)
def test_bad_fields_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        TanhRegression(**fields)
