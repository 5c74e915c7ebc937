"""Lion's sign in terms of the new momentum against optax's."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lrstudy.optimizers.lion import lion_direction
from tests.optimizers.promises import check_promises


@pytest.mark.parametrize("numbers", [{"b1": 0.9, "b2": 0.99}, {"b1": 0.95, "b2": 0.98}, {"b1": 0.9, "b2": 0.1}])
def test_signs_are_those_of_optax_wherever_rounding_leaves_one(numbers):
    """100 gradients of 4,096 numbers whose signs change slowly, so that many sums come close to zero.

    Both sums are of terms of size |m| and |g|. Here the momentum is weighed by b1 / b2 and the gradient by |1 - b1 /
    b2|, and every one of the four roundings is of half an eps; the new momentum itself was rounded twice.
    """
    b1, b2 = numbers["b1"], numbers["b2"]
    rng = np.random.default_rng(0)
    ours, theirs = lion_direction(**numbers), optax.scale_by_lion(**numbers)
    states = [transform.init({"kernel": jnp.zeros(4096)}) for transform in (ours, theirs)]
    updates = [jax.jit(transform.update) for transform in (ours, theirs)]
    gradient, close = np.zeros(4096), 0
    for _ in range(100):
        gradient = 0.9 * gradient + rng.normal(size=4096)
        grads, old = {"kernel": jnp.asarray(gradient, jnp.float32)}, np.asarray(states[1].mu["kernel"], np.float64)
        (a, states[0]), (b, states[1]) = (update(grads, state) for update, state in zip(updates, states, strict=True))
        exact = b1 * old + (1 - b1) * np.asarray(grads["kernel"], np.float64)
        sizes = b1 / b2 * (np.abs(old) + np.abs(gradient)) + abs(1 - b1 / b2) * np.abs(gradient)
        decided = np.abs(exact) > 4 * np.finfo(np.float32).eps * sizes
        close += int((~decided).sum())
        np.testing.assert_array_equal(a["kernel"][decided], b["kernel"][decided])
        np.testing.assert_array_equal(states[0].mu["kernel"], states[1].mu["kernel"])
    assert close < 20


def test_nothing_moves_where_there_has_been_no_gradient():
    transform = lion_direction(b1=0.9, b2=0.99)
    steps, _ = transform.update({"kernel": jnp.asarray([0.6, 0.0])}, transform.init({"kernel": jnp.ones(2)}))
    assert steps["kernel"].tolist() == [1.0, 0.0]


def test_promises():
    check_promises(lion_direction, {"b1": 0.9, "b2": 0.99})
