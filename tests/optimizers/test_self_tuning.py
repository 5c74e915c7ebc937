"""The layer of self-tuning networks: its formula, its response, and what its hyperparameters are trained on."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrstudy.optimizers import (
    hyper_linear,
    hyper_linear_init,
    perturbed_hyperparameters,
    self_tuning_objective,
    whose_turn,
)

INPUTS, OUTPUTS, HYPER = 4, 3, 2


def test_the_layer_is_affine_in_an_examples_hyperparameters():
    layer = hyper_linear_init(jax.random.key(0), INPUTS, OUTPUTS, HYPER)._replace(scale=jnp.float32(1.5))
    rng = np.random.default_rng(0)
    x, hyper = rng.normal(size=(5, INPUTS)), rng.normal(size=(5, HYPER))
    expected = []
    for one, own in zip(x, hyper, strict=True):
        response = np.asarray(layer.response) @ own
        plain = 1.5 * (np.asarray(layer.kernel) @ one + layer.bias)
        expected.append(
            plain
            + response[:OUTPUTS] * (np.asarray(layer.response_kernel) @ one)
            + response[OUTPUTS:] * layer.response_bias
        )
    found = hyper_linear(layer, jnp.float32(x), jnp.float32(hyper))
    # Sums of five products of size one.
    np.testing.assert_allclose(found, expected, rtol=0, atol=3e-6)
    nothing = hyper_linear(layer, jnp.float32(x), jnp.zeros((5, HYPER)))
    np.testing.assert_array_equal(nothing, hyper_linear(layer, jnp.float32(x), None))
    bound = 1 / math.sqrt(INPUTS)
    assert all((np.abs(leaf) <= bound).all() for leaf in (layer.kernel, layer.bias, layer.response_kernel))
    assert 0 < np.abs(layer.response).max() < 0.05


def test_hyperparameters_are_perturbed_and_their_entropy_is_kept_up():
    raw = jnp.float32([0.5, -1.0])
    scale = np.log1p(np.exp(np.asarray(raw, np.float64)))
    drawn = perturbed_hyperparameters(jax.random.key(1), jnp.float32([1, -1]), raw, 20_000)
    # Within five standard errors: the deviation over sqrt(n), and over sqrt(2 n).
    np.testing.assert_allclose(drawn.mean(axis=0), [1, -1], rtol=0, atol=5 * scale.max() / math.sqrt(20_000))
    np.testing.assert_allclose(drawn.std(axis=0), scale, rtol=5 / math.sqrt(40_000))
    objective = self_tuning_objective(jnp.float32(2), raw, tau=0.01)
    entropy = np.sum(np.log(scale * math.sqrt(2 * math.pi * math.e)))
    np.testing.assert_allclose(objective, 2 - 0.01 * entropy, rtol=1e-6)
    # A wider perturbation is worth something.
    assert (jax.grad(self_tuning_objective, argnums=1)(jnp.float32(2), raw) < 0).all()


def test_two_steps_of_the_weights_for_one_of_the_hyperparameters():
    turns = [whose_turn(step, warmup=2) == "weights" for step in range(8)]
    assert turns == [True, True, True, True, False, True, True, False]
    with pytest.raises(ValueError, match=r"^validation must be an int of at least 1, got 0$"):
        whose_turn(0, validation=0)
