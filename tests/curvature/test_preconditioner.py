"""What an adaptive optimizer divides by, read from its state, against what it then does."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lrstudy.curvature import adam_preconditioner, preconditioned
from lrstudy.optimizers.float32_state import with_float32_state
from tests.curvature.problems import matrix_operator

PARAMS = {"w": jnp.asarray([1.0, -2.0, 3.0]), "b": jnp.asarray([0.5])}
GRADIENT = {"w": jnp.asarray([0.3, -1e-3, 4.0]), "b": jnp.asarray([-0.2])}
B2, EPS = 0.99, 1e-3
# The correction 1 - b2^t loses digits in float32.
CLOSE = {"rtol": 1e-5}


def after(transform, steps, gradients=None):
    state = transform.init(PARAMS)
    for t in range(steps):
        gradient = GRADIENT if gradients is None else gradients[t]
        _, state = transform.update(gradient, state, PARAMS)
    return state


def assert_trees_close(found, wanted):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **CLOSE), found, wanted)


@pytest.mark.parametrize("steps", [1, 2, 50])
@pytest.mark.parametrize(
    "around",
    [
        lambda adam: adam,
        lambda adam: optax.chain(optax.clip_by_global_norm(1e9), adam, optax.add_decayed_weights(0.1)),
        lambda adam: optax.masked(adam, {"w": True, "b": True}),
        with_float32_state,
        lambda adam: optax.inject_hyperparams(lambda learning_rate: optax.chain(adam, optax.scale(learning_rate)))(0.1),
    ],
    ids=["alone", "chain", "masked", "float32_state", "injected"],
)
def test_equal_gradients_give_their_size(steps, around):
    state = after(around(optax.scale_by_adam(b2=B2, eps=EPS)), steps)
    found = adam_preconditioner(state, eps=EPS, b2=B2)
    assert_trees_close(found, jax.tree.map(lambda g: jnp.abs(g) + EPS, GRADIENT))


def test_it_is_what_adam_divides_by():
    rng = np.random.default_rng(0)
    gradients = [jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), jnp.float32), PARAMS) for _ in range(6)]
    transform = optax.scale_by_adam(b1=0.0, b2=B2, eps=EPS, eps_root=0.01)
    state = after(transform, 5, gradients)
    updates, state = transform.update(gradients[5], state, PARAMS)
    diagonal = adam_preconditioner(state, eps=EPS, b2=B2, eps_root=0.01)
    assert_trees_close(updates, jax.tree.map(jnp.divide, gradients[5], diagonal))


def test_the_correction_of_the_momentum_is_a_factor_where_asked_for():
    state = after(optax.scale_by_adam(b1=0.9, b2=B2, eps=EPS), 3)
    plain, early = (adam_preconditioner(state, eps=EPS, b2=B2, b1=b1) for b1 in (None, 0.9))
    assert_trees_close(early, jax.tree.map(lambda p: (1 - 0.9**3) * p, plain))


def test_amsgrad_keeps_the_largest():
    small = jax.tree.map(lambda g: g / 10, GRADIENT)
    state = after(optax.scale_by_amsgrad(b2=B2, eps=EPS), 4, [GRADIENT, small, small, small])
    found = adam_preconditioner(state, eps=EPS, b2=B2)
    assert_trees_close(found, jax.tree.map(lambda g: jnp.abs(g) + EPS, GRADIENT))


@pytest.mark.parametrize("eps_in_sqrt", [True, False])
@pytest.mark.parametrize("bias_correction", [True, False])
def test_it_is_what_rmsprop_divides_by(eps_in_sqrt, bias_correction):
    transform = optax.scale_by_rms(decay=B2, eps=EPS, eps_in_sqrt=eps_in_sqrt, bias_correction=bias_correction)
    updates, state = transform.update(GRADIENT, after(transform, 3), PARAMS)
    diagonal = adam_preconditioner(state, eps=EPS, b2=B2, eps_in_sqrt=eps_in_sqrt)
    assert_trees_close(updates, jax.tree.map(jnp.divide, GRADIENT, diagonal))


def test_it_is_what_adagrad_divides_by():
    transform = optax.scale_by_rss(initial_accumulator_value=0.1, eps=EPS)
    updates, state = transform.update(GRADIENT, after(transform, 3), PARAMS)
    diagonal = adam_preconditioner(state, eps=EPS, b2=B2)
    assert_trees_close(updates, jax.tree.map(jnp.divide, GRADIENT, diagonal))


@pytest.mark.parametrize(
    ("transform", "found"),
    [
        (optax.sgd(0.1, momentum=0.9), r"got \[\]"),
        (optax.chain(optax.scale_by_adam(), optax.scale_by_rms()), "got .*ScaleByAdamState.*ScaleByRmsState"),
    ],
)
def test_none_or_two_are_refused(transform, found):
    with pytest.raises(ValueError, match=f"opt_state must hold exactly one of .*{found}"):
        adam_preconditioner(after(transform, 1), eps=EPS, b2=B2)


@pytest.mark.parametrize("transform", [optax.adam(0.1), optax.rmsprop(0.1, bias_correction=True)])
def test_a_state_before_its_first_update_is_refused(transform):
    with pytest.raises(ValueError, match="opt_state must be that after at least one update, got count 0"):
        adam_preconditioner(transform.init(PARAMS), eps=EPS, b2=B2)


def test_a_traced_count_of_zero_gives_nan():
    found = jax.jit(lambda state: adam_preconditioner(state, eps=EPS, b2=B2))(optax.adam(0.1).init(PARAMS))
    assert all(np.all(np.isnan(leaf)) for leaf in jax.tree.leaves(found))


def test_a_diagonal_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="diagonal must be shaped like the vectors"):
        preconditioned(matrix_operator(jnp.eye(3)), jnp.ones(4))
