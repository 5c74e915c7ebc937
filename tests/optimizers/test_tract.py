"""TrAct's gradient against published numbers."""

import jax
import jax.numpy as jnp
import numpy as np

from lrstudy.optimizers import tract_linear

INPUTS = [[1.0, 2.0], [0.0, 1.0], [2.0, -1.0]]
GRADIENT = [[0.1, -0.2], [0.3, 0.1], [-0.1, 0.4]]


def test_the_kernels_gradient_is_that_of_the_activations():
    with jax.enable_x64(True):
        inputs, kernel = jnp.asarray(INPUTS), jnp.asarray([[1.0, -1.0], [0.5, 2.0]])
        outputs, pull = jax.vjp(tract_linear, inputs, kernel)
        d_inputs, d_kernel = pull(jnp.asarray(GRADIENT))
        far = jax.vjp(lambda w: tract_linear(inputs, w, ridge=1e9), kernel)[1](jnp.asarray(GRADIENT))[0]
        flat = inputs.reshape(3, 1, 2)
        spread = jax.vjp(lambda w: tract_linear(flat, w), kernel)[1](jnp.asarray(GRADIENT).reshape(3, 1, 2))[0]
        d_kernel, d_inputs, far, spread = map(np.asarray, (d_kernel, d_inputs, far, spread))
        kernel = np.asarray(kernel)
    np.testing.assert_allclose(outputs, np.asarray(INPUTS) @ [[1, -1], [0.5, 2]], rtol=1e-12)
    expected = [[-0.056603774, 0.285714286], [0.339622642, -0.333333333]]
    np.testing.assert_allclose(d_kernel.T, expected, rtol=0, atol=5.1e-10)
    np.testing.assert_allclose(d_inputs, np.asarray(GRADIENT) @ kernel.T, rtol=1e-12)
    # A large ridge leaves the plain gradient, divided by it.
    np.testing.assert_allclose(1e9 * far.T, [[-0.1, 0.6], [0.6, -0.7]], rtol=1e-7)
    np.testing.assert_allclose(spread, d_kernel, rtol=1e-12)
