"""The products of dense layers are those of ``lax.dot_general``."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrstudy.models.products import flat_dot_general

LAYERS = {
    "dense": nn.Dense(5, use_bias=False),
    "to heads": nn.DenseGeneral((2, 3), use_bias=False),
    "from heads": nn.DenseGeneral(7, axis=(-2, -1), use_bias=False),
    "with a bias": nn.Dense(5),
}


def both(name, x):
    """The layer with flax's product and with ours, and its parameters."""
    plain = LAYERS[name]
    return plain, plain.clone(dot_general=flat_dot_general), plain.init(jax.random.key(1), x)


@pytest.mark.parametrize("leading", [(), (6,), (2, 3), (2, 3, 4)])
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_the_same_for_any_leading_axes(name, leading):
    x = jax.random.normal(jax.random.key(0), (*leading, 3, 4))
    plain, flat, params = both(name, x)
    expected, found = plain.apply(params, x), flat.apply(params, x)
    assert found.shape == expected.shape
    # Sums of at most twelve products of numbers of order one, in another order.
    np.testing.assert_allclose(found, expected, rtol=0, atol=12 * 2**-23 * np.abs(expected).max())


@pytest.mark.parametrize("name", LAYERS)
def test_the_gradient_of_a_kernel_sums_over_one_axis(name):
    x = jax.random.normal(jax.random.key(0), (2, 3, 4)) if name != "from heads" else jnp.ones((2, 5, 3, 4))
    _, flat, params = both(name, x)
    jaxpr = jax.make_jaxpr(jax.grad(lambda own: jnp.sum(jnp.sin(flat.apply(own, x)))))(params)
    found = [e.params["dimension_numbers"][0] for e in jaxpr.eqns if e.primitive.name == "dot_general"]
    assert len(found) == 2
    assert all(len(axes) == 1 for contracted in found for axes in contracted)


def test_settings_are_passed_on():
    x, kernel = jnp.ones((2, 3, 4), jnp.bfloat16), jnp.ones((4, 5), jnp.bfloat16)
    dimensions = (((2,), (0,)), ((), ()))
    assert flat_dot_general(x, kernel, dimensions).dtype == jnp.bfloat16
    assert flat_dot_general(x, kernel, dimensions, preferred_element_type=jnp.float32).dtype == jnp.float32
