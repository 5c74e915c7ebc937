import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrstudy.models import MLP
from tests.models import reference
from tests.models.cases import randomized

FEATURES = 5


def inputs(examples):
    return np.random.default_rng(1).normal(size=(examples, FEATURES)).astype(np.float32)


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("layers", [0, 1, 3])
def test_equals_plain_numpy(layers, norm):
    model = MLP(outputs=4, width=6, layers=layers, layer_norm=norm)
    x = inputs(7)
    params = randomized(model, x)
    expected = reference.mlp(params, x.astype(np.float64), layers, norm)
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
    x = inputs(6)
    variables = {"params": randomized(model, x)}
    order = np.array([3, 1, 5, 0, 2, 4])
    apply = jax.jit(model.apply)
    np.testing.assert_array_equal(apply(variables, x[order]), apply(variables, x)[order])


def test_with_norms_the_size_of_a_hidden_layer_does_not_matter():
    model = MLP(outputs=4, width=64, layer_norm=True)
    x = inputs(6)
    params = randomized(model, x)
    larger = {**params, "hidden_0": jax.tree.map(lambda w: 3 * w, params["hidden_0"])}
    first, second = (jax.jit(model.apply)({"params": own}, x) for own in (params, larger))
    # The norm adds 1e-6 to a mean square of about 0.5.
    np.testing.assert_allclose(first, second, rtol=0, atol=5e-6 * float(jnp.abs(first).max()))
    shapes = (jax.tree.map(jnp.shape, randomized(m, x)) for m in (model, MLP(outputs=4, width=64)))
    assert len({str(shape) for shape in shapes}) == 1
