"""Gradients orthogonal to their weights: the reference's numbers, its hazard, and the guard against it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lrstudy.optimizers import TABLE, orthogonal_gradient
from tests.optimizers.promises import check_promises, tree, unstacked

W = jnp.float32([[1, 2], [3, 4]])
G = jnp.float32([[0.1, -0.2], [0.3, -0.4]])


def projected(gradient, weights, **settings):
    transform = orthogonal_gradient(**settings)
    return jax.jit(transform.update)(gradient, transform.init(weights), weights)[0]


def test_the_published_projection():
    expected = [[0.141421378, -0.141421363], [0.424264133, -0.282842726]]
    # Numbers of at most size one, good to a few roundings; the reference's own differ from sqrt(2)/10 by as much.
    np.testing.assert_allclose(projected(G, W), expected, rtol=0, atol=3e-8 * 4)


def test_what_is_left_is_orthogonal_and_as_long_as_the_gradient():
    params, grads = tree(0), tree(1)
    found = projected(grads, params)
    single = projected(unstacked(grads), unstacked(params))
    for one, other in zip(*map(jax.tree.leaves, (unstacked(found), single)), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=4 * 6e-8 * 10)
    pairs = [(single[n]["kernel"], unstacked(params)[n]["kernel"], unstacked(grads)[n]["kernel"])
             for n in ("block_0", "block_2", "hidden", "readout")]  # fmt: skip
    for step, weights, gradient in pairs:
        # Sums of at most 24 products of numbers of at most size four.
        assert abs(jnp.vdot(step, weights)) < 24 * 4 * 6e-8 * 4
        np.testing.assert_allclose(jnp.linalg.norm(step), jnp.linalg.norm(gradient), rtol=24 * 6e-8)
    for name in ("bias", "scale"):
        group = ("hidden",) if name == "bias" else ("blocks", "norm")
        one, other = found, grads
        for word in group:
            one, other = one[word], other[word]
        np.testing.assert_array_equal(one[name], other[name])


def reference(gradient, weights):
    """The authors' rule, which has no guard."""
    rest = gradient - jnp.vdot(weights, gradient) / (jnp.vdot(weights, weights) + 1e-30) * weights
    return rest * (jnp.linalg.norm(gradient) / (jnp.linalg.norm(rest) + 1e-30))


def test_of_a_number_the_reference_makes_noise_of_any_sign_and_here_nothing_is_left():
    found = {}
    for weight, gradient in ((3.0, 0.1), (3.0, 0.7), (1.1, 0.3)):
        w, g = jnp.full((1, 1), weight), jnp.full((1, 1), gradient)
        found[weight, gradient] = float(reference(g, w)[0, 0])
        assert float(projected(g, w)[0, 0]) == 0
        # As a gain it keeps its gradient.
        np.testing.assert_array_equal(projected(g[0], w[0]), g[0])
    # What is left is 0 or a rounding error, which is blown up to the length of the gradient.
    for (_, gradient), noise in found.items():
        assert noise == 0 or abs(abs(noise) - gradient) < 1e-6
    assert any(found.values())


@pytest.mark.parametrize("side", [2, 600])
def test_nothing_is_left_of_a_gradient_along_the_weights(side):
    weights = jnp.float32(np.random.default_rng(0).normal(size=(side, side)))
    np.testing.assert_array_equal(projected(-0.7 * weights, weights), 0)


def test_settings():
    vector = jnp.float32([3, 4])
    np.testing.assert_allclose(
        projected(jnp.float32([1, 0]), vector, min_ndim=1), np.asarray([4, -3]) / 5, rtol=0, atol=4 * 6e-8
    )
    np.testing.assert_array_equal(projected(G, W, min_ndim=3), G)
    # cos(g, w) = -11 / (5 sqrt 36) leaves sqrt(1 - 0.0133) of the gradient, less than its whole.
    np.testing.assert_array_equal(projected(G, W, rtol=1.0), 0)
    assert projected(G.astype(jnp.bfloat16), W.astype(jnp.bfloat16)).dtype == jnp.bfloat16
    np.testing.assert_allclose(projected(G, 0 * W), G, rtol=1e-6)
    np.testing.assert_array_equal(projected(0 * G, W), 0)


def test_promises():
    check_promises(orthogonal_gradient, {"eps": 1e-30, "rtol": 1e-6})


def test_the_row_is_adam_of_gradients_across_the_weights():
    settings = {"b1": 0.8, "b2": 0.9, "eps": 0.1}
    row = TABLE["perp_adamw"].build(0.1, **settings, weight_decay=0.0)
    plain = optax.adam(0.1, **settings)
    expected, _ = plain.update({"kernel": projected(G, W)}, plain.init({"kernel": W}))
    found, _ = jax.jit(row.update)({"kernel": G}, row.init({"kernel": W}), {"kernel": W})
    # Steps of at most a tenth, a few roundings.
    np.testing.assert_allclose(found["kernel"], expected["kernel"], rtol=0, atol=0.1 * 6e-8 * 10)
    along, _ = jax.jit(row.update)({"kernel": W}, row.init({"kernel": W}), {"kernel": W})
    np.testing.assert_array_equal(along["kernel"], 0)


def test_parameters_are_needed():
    transform = orthogonal_gradient()
    with pytest.raises(ValueError, match="params must be given"):
        transform.update(G, transform.init(W))
