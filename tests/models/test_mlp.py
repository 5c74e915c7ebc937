import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrstudy.models import MLP
from tests.models import reference

FEATURES = 5


def randomized(model):
    """Parameters of which none is zero: initial biases are, which would hide a bias that is not used."""
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, FEATURES)))["params"]
    return jax.tree.map(lambda x: rng.normal(size=x.shape).astype(np.float32), shapes)


def inputs(examples):
    return np.random.default_rng(1).normal(size=(examples, FEATURES)).astype(np.float32)


@pytest.mark.parametrize("layers", [0, 1, 3])
def test_equals_plain_numpy(layers):
    model = MLP(outputs=4, width=6, layers=layers)
    params = randomized(model)
    x = inputs(7)
    expected = reference.mlp(params, x.astype(np.float64), layers)
    # Float32 keeps 6e-8 of every product; four layers of at most six of them, relative to the largest score.
    tolerance = 1e-5 * np.abs(expected).max()
    np.testing.assert_allclose(jax.jit(model.apply)({"params": params}, x), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("lead", [(), (3,), (2, 3)])
def test_leading_axes_are_free_and_the_result_is_float32(lead):
    model = MLP(outputs=4)
    scores, _ = jax.eval_shape(model.init_with_output, jax.random.key(0), jnp.ones((*lead, FEATURES)))
    assert scores.shape == (*lead, 4)
    assert scores.dtype == jnp.float32


@pytest.mark.parametrize(("width", "layers"), [(64, 2), (3, 1), (3, 4)])
def test_parameter_count(width, layers):
    model = MLP(outputs=10, width=width, layers=layers)
    shapes = jax.eval_shape(model.init, jax.random.key(0), jax.ShapeDtypeStruct((1, 64), jnp.float32))
    hidden = 64 * width + width + (layers - 1) * (width * width + width)
    assert sum(x.size for x in jax.tree.leaves(shapes)) == hidden + 10 * width + 10
    assert {x.dtype for x in jax.tree.leaves(shapes)} == {jnp.dtype(jnp.float32)}


def test_permuting_the_batch_permutes_the_outputs():
    model = MLP(outputs=4)
    variables = {"params": randomized(model)}
    x = inputs(6)
    order = np.array([3, 1, 5, 0, 2, 4])
    apply = jax.jit(model.apply)
    np.testing.assert_array_equal(apply(variables, x[order]), apply(variables, x)[order])
