"""ALLoRA's gradients against published numbers."""

import jax
import jax.numpy as jnp
import numpy as np

from lrstudy.optimizers import allora_linear

UP, DOWN = [[0.0, 0.0], [0.3, 0.4]], [[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]


def test_rows_of_the_product_learn_at_their_own_rates():
    with jax.enable_x64(True):
        inputs, gradient, weights = jnp.asarray([1.0, 2, 3]), jnp.asarray([0.5, -1.0]), jnp.zeros((2, 3))
        outputs, pull = jax.vjp(allora_linear, inputs, weights, jnp.asarray(UP), jnp.asarray(DOWN))
        d_inputs, d_weights, d_up, d_down = pull(gradient)
    np.testing.assert_allclose(outputs, np.asarray(UP) @ np.asarray(DOWN) @ [1, 2, 3], rtol=1e-12)
    expected = [[2.828427125, 1.414213562], [-3.843498163, -1.921749082]]
    np.testing.assert_allclose(d_up, expected, rtol=0, atol=5.1e-10)
    expected = [[-0.288262362, -0.576524724, -0.864787087], [-0.384349816, -0.768699633, -1.153049449]]
    np.testing.assert_allclose(d_down, expected, rtol=0, atol=5.1e-10)
    # What goes below and to the frozen weights is plain.
    np.testing.assert_allclose(d_inputs, [-0.3, -0.4, -0.3], rtol=1e-12)
    np.testing.assert_allclose(d_weights, np.outer([0.5, -1.0], [1, 2, 3]), rtol=1e-12)


def test_gradients_of_a_batch_are_the_sum_of_its_examples_scaled_by_the_same_rows():
    """With eta^2 = e a row of zeros is scaled by sqrt(e); any batch axes."""
    rng = np.random.default_rng(0)
    inputs, weights = (jnp.float32(rng.normal(size=shape)) for shape in ((2, 3, 4), (5, 4)))
    up, down = jnp.zeros((5, 2)), jnp.float32(rng.normal(size=(2, 4)))

    def loss(up, eta_squared):
        return jnp.sum(jnp.sin(allora_linear(inputs, weights, up, down, eta_squared=eta_squared)))

    plain = jax.grad(lambda up: jnp.sum(jnp.sin(inputs @ (weights + up @ down).T)))(up)
    for eta_squared in (1.0, 4.0):
        # Sums of six products of size one.
        found = jax.grad(loss)(up, eta_squared)
        np.testing.assert_allclose(found, np.sqrt(eta_squared) * plain, rtol=0, atol=2e-5)
