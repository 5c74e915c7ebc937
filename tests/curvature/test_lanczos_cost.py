"""What a solve costs: products, compilations, and what a good start saves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrstudy.curvature import Status, hessian, lanczos, top_eigs
from tests.curvature.problems import (
    KEY,
    counting,
    matrix_operator,
    network_loss,
    network_params,
    regression_data,
    rotated,
)


@pytest.mark.parametrize(
    "options", [{}, {"check_symmetry": True, "max_matvecs": 5}, {"k": 3, "tol": 1e-6, "max_matvecs": 60}]
)
def test_matvecs_counts_the_products_that_are_made(options):
    operator, made = counting(rotated(1 / np.arange(1, 61)))
    result = top_eigs(operator, KEY, **options)
    jax.effects_barrier()
    assert int(result.matvecs) == len(made)


def test_matvecs_counts_those_of_a_formed_matrix():
    operator, made = counting(rotated(np.arange(9.0)))
    assert int(top_eigs(operator, KEY).matvecs) == 9
    jax.effects_barrier()
    assert len(made) == 9


def test_other_parameters_compile_nothing_anew():
    batch = regression_data()
    top_eigs(hessian(network_loss, network_params(seed=1), batch), KEY)
    before = lanczos._compiled._cache_size()
    for seed in range(2, 5):
        result = top_eigs(hessian(network_loss, network_params(seed=seed), batch), jax.random.key(seed))
    assert int(result.status) == Status.CONVERGED
    assert lanczos._compiled._cache_size() == before


def test_problems_in_one_vmap_give_what_they_give_one_by_one():
    matrices = jnp.stack([rotated(np.linspace(-seed, 2 + seed, 60), seed) for seed in range(4)])
    keys = jax.random.split(KEY, 4)
    together = jax.jit(jax.vmap(lambda matrix, key: top_eigs(matrix_operator(matrix), key)))(matrices, keys)
    for i in range(4):
        alone = top_eigs(matrix_operator(matrices[i]), keys[i])
        assert int(together.matvecs[i]) == int(alone.matvecs)
        # A batched matrix product rounds otherwise.
        np.testing.assert_allclose(together.values[i], alone.values, rtol=1e-5)


def test_a_start_vector_near_the_answer_saves_products():
    operator = matrix_operator(rotated(np.r_[1, 0.9, np.linspace(-0.8, 0.8, 58)]))
    cold = top_eigs(operator, KEY)
    near = cold.vectors[0] + 1e-3 * jax.random.normal(KEY, (60,))
    warm = top_eigs(operator, near)
    assert int(warm.status) == Status.CONVERGED
    assert int(warm.matvecs) < int(cold.matvecs)
    assert float(warm.values[0]) == pytest.approx(float(cold.values[0]), rel=1e-4)


def test_a_key_of_the_old_kind_is_a_key():
    operator = matrix_operator(rotated(np.arange(60.0)))
    old, new = top_eigs(operator, jax.random.PRNGKey(3)), top_eigs(operator, jax.random.key(3))
    assert float(old.values[0]) == float(new.values[0])
