"""Extreme eigenvalues: known spectra, what ends a solve, and what a solve costs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrstudy.curvature import Operator, Status, lanczos, top_eigs
from lrstudy.curvature.vectors import norm
from tests.curvature.problems import (
    KEY,
    matrix_operator,
    path_laplacian,
    rotated,
)

# The residual squared over the gap bounds the error of a value; these gaps are above 1e-2 of the value.
ERROR = 1e-4


def settle(matrix, start=KEY, max_matvecs=100, **options):
    # Tests share sizes and options where they can, and with them a compiled solver.
    return top_eigs(matrix_operator(matrix), start, max_matvecs=max_matvecs, **options)


@pytest.mark.parametrize(
    ("eigenvalues", "which", "wanted"),
    [
        (1 / np.arange(1, 101), "LA", 1.0),
        (1 / np.arange(1, 101), "SA", 0.01),
        (1 / np.arange(1, 101) ** 2, "LA", 1.0),  # a noisy quadratic model's spectrum
        (np.r_[-10.0, 3.0, np.linspace(-1, 1, 98)], "LA", 3.0),
        (np.r_[-10.0, 3.0, np.linspace(-1, 1, 98)], "SA", -10.0),
        (np.r_[-10.0, 3.0, np.linspace(-1, 1, 98)], "LM", -10.0),
        (np.r_[10.0, -3.0, np.linspace(-1, 1, 98)], "LM", 10.0),
        (-1 - np.arange(100.0), "LA", -1.0),
    ],
)
def test_known_spectra(eigenvalues, which, wanted):
    result = settle(rotated(eigenvalues), which=which)
    assert int(result.status) == Status.CONVERGED
    # The smallest of 1/i is in the dense end of the spectrum: its error is bounded by its own residual alone.
    assert float(result.values[0]) == pytest.approx(wanted, rel=1e-3 if wanted == 0.01 else ERROR)
    assert float(result.residuals[0]) <= 1e-3 * abs(wanted) * 1.01


def test_the_vector_and_the_residual_are_true():
    matrix = rotated(np.linspace(-2, 5, 100))
    result = settle(matrix, max_matvecs=100)
    vector = result.vectors[0]
    assert float(jnp.linalg.norm(vector)) == pytest.approx(1, rel=1e-5)
    true = float(jnp.linalg.norm(matrix @ vector - result.values[0] * vector))
    assert float(result.residuals[0]) == pytest.approx(true, rel=1e-2, abs=1e-5)


def test_two_distinct_eigenvalues_take_two_products():
    # The space of products is of dimension two.
    result = settle(rotated(np.r_[np.full(50, 1.0), np.full(50, 4.0)]))
    assert int(result.status) == Status.CONVERGED
    assert int(result.matvecs) == 2
    assert float(result.values[0]) == pytest.approx(4, rel=1e-5)


def test_clustered_eigenvalues_are_within_their_cluster():
    # A cluster a thousandth wide is one eigenvalue for a tolerance of a thousandth.
    result = settle(rotated(np.r_[1, 0.999, 0.9985, np.linspace(0, 0.6, 97)]))
    assert int(result.status) == Status.CONVERGED
    assert 0.9985 <= float(result.values[0]) <= 1 + 1e-5
    tight = settle(rotated(np.r_[1, 0.999, 0.9985, np.linspace(0, 0.6, 97)]), tol=1e-5)
    assert float(tight.values[0]) == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize("n", [1, 5, 100])
def test_a_zero_matrix(n):
    result = settle(jnp.zeros((n, n)))
    assert int(result.status) == Status.CONVERGED
    assert float(result.values[0]) == 0
    assert float(result.residuals[0]) == 0


@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("n", [1, 2, 7])
def test_fewer_rows_than_products(n, dense):
    matrix = rotated(np.arange(1.0, n + 1))
    result = settle(matrix, dense=dense)
    assert int(result.status) == Status.CONVERGED
    assert float(result.values[0]) == pytest.approx(n, rel=1e-5)
    assert int(result.matvecs) <= n


@pytest.mark.parametrize("k", [1, 10])
def test_path_laplacian(k):
    # Eigenvalues 2 - 2 cos(i pi / (n + 1)) crowd at the end, gaps there are 1e-3; n products make the space the whole.
    angles = np.arange(100, 100 - k, -1) * np.pi / 101
    result = settle(path_laplacian(100), k=k, tol=1e-5)
    assert int(result.status) == Status.CONVERGED
    np.testing.assert_allclose(result.values, 2 - 2 * np.cos(angles), rtol=1e-5)
    assert k > 1 or float(result.values[0]) == pytest.approx(3.999032564583976, rel=1e-5)


def test_eigenvalues_of_an_operator_larger_than_the_buffer():
    # Beyond 512 rows the basis is thinned out on the way; the known gaps are 2% and 1%.
    values = np.r_[1, 0.98, 0.97, np.linspace(-0.9, 0.9, 597)]
    diagonal = jnp.asarray(np.random.default_rng(0).permutation(values), jnp.float32)
    operator = Operator(jax.tree_util.Partial(jnp.multiply, diagonal), jnp.zeros(600))
    one = top_eigs(operator, KEY, max_matvecs=200)
    several = top_eigs(operator, KEY, k=3, max_matvecs=200)
    assert int(one.status) == int(several.status) == Status.CONVERGED
    assert int(one.matvecs) > lanczos._ROWS
    assert float(one.values[0]) == pytest.approx(1, rel=ERROR)
    np.testing.assert_allclose(several.values, [1, 0.98, 0.97], rtol=ERROR)
    gram = np.asarray(several.vectors) @ np.asarray(several.vectors).T
    np.testing.assert_allclose(gram, np.eye(3), atol=1e-4)


def test_an_invariant_space_ends_the_solve_and_is_named():
    # Peers without this guard give 9.6 here.
    matrix = jnp.diag(jnp.asarray([3.0, 1.0, *[0.0] * 8]))
    result = settle(matrix, jnp.zeros(10).at[:2].set(1.0), dense=False)
    assert int(result.status) == Status.BREAKDOWN
    assert int(result.matvecs) == 2
    assert float(result.values[0]) == pytest.approx(3, rel=1e-6)


def test_an_eigenvector_as_the_start_is_a_breakdown_not_a_claim_of_the_largest():
    result = settle(jnp.diag(jnp.asarray([3.0, 1.0, *[0.0] * 8])), jnp.zeros(10).at[1].set(5.0), dense=False)
    assert int(result.status) == Status.BREAKDOWN
    assert float(result.values[0]) == pytest.approx(1, rel=1e-6)


def test_a_multiple_eigenvalue_is_found_as_often_as_wanted_where_the_space_breaks_down():
    result = settle(rotated(np.r_[[2.0] * 3, [0.0] * 37]), k=3, dense=False)
    np.testing.assert_allclose(result.values, [2, 2, 2], rtol=1e-4)


def test_too_few_products_give_the_value_so_far_and_its_error_bar():
    matrix = path_laplacian(100)
    result = settle(matrix, max_matvecs=6)
    assert int(result.status) == Status.MAX_MATVECS
    assert int(result.matvecs) == 6
    distance = np.min(np.abs(np.linalg.eigvalsh(matrix) - float(result.values[0])))
    assert float(result.residuals[0]) > 1e-3 * 4
    assert distance <= float(result.residuals[0])


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10**6),
    st.sampled_from([(2, 2, "LA"), (17, 3, "LM"), (31, 4, "SA"), (33, 2, "LM"), (60, 1, "SA"), (60, 4, "LA")]),
)
def test_random_matrices_agree_with_numpy(seed, case):
    n, k, which = case
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(n, n)) * np.exp(rng.uniform(-3, 3))
    matrix = np.asarray((matrix + matrix.T) / 2, np.float32)
    exact = np.linalg.eigvalsh(matrix.astype(float))
    wanted = {"LA": exact[::-1], "SA": exact, "LM": exact[np.argsort(-np.abs(exact))]}[which][:k]
    result = settle(matrix, jax.random.key(seed), k=k, which=which, tol=1e-5)
    assert int(result.status) == Status.CONVERGED
    # Two eigenvalues as large in size but of unlike sign may change places.
    same = np.abs if which == "LM" else np.asarray
    bound = 3e-5 * np.abs(exact).max()
    np.testing.assert_allclose(same(result.values), same(wanted), atol=bound)
    assert np.all(np.asarray(result.residuals) <= bound)


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1e-8, 1e8, 1e20])
@pytest.mark.parametrize("n", [40, 600])
def test_the_size_of_the_operator_does_not_matter(scale, n):
    """Squares of what is smaller than 1e-19 or larger than 1e19 are no float32; the eigenvalue is one."""
    eigenvalues = jnp.linspace(-0.5, 0.8, n).at[n // 2].set(1.0)
    one = Operator(jax.tree_util.Partial(lambda d, v: jnp.float32(scale) * (d * v), eigenvalues), jnp.zeros(n))
    found = top_eigs(one, jax.random.key(0), check_symmetry=True)
    assert int(found.status) == Status.CONVERGED
    np.testing.assert_allclose(found.values[0], scale, rtol=1e-3)


@pytest.mark.parametrize("largest", [0.0, 2e-38, 1e-20, 3.0, 1e20, 3e38, np.inf, np.nan])
def test_a_length_is_a_float_wherever_there_is_one(largest):
    vector = jnp.asarray([0.5, -1.0], jnp.float32) * jnp.float32(largest)
    expected = np.float32(np.linalg.norm(np.asarray(vector, np.float64)))
    np.testing.assert_allclose(jax.jit(norm)(vector), expected, rtol=3e-7)
