import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrstudy.curvature import Operator, moment, spectral_density, spectral_quadrature
from lrstudy.curvature.spectrum import Quadrature

N = 50


def times(matrix, v):
    return matrix @ v


def operator(matrix):
    matrix = jnp.asarray(matrix, jnp.float32)
    return Operator(jax.tree_util.Partial(times, matrix), jnp.zeros(matrix.shape[0]))


def with_eigenvalues(eigenvalues, seed=0):
    n = len(eigenvalues)
    basis = np.linalg.qr(np.random.default_rng(seed).normal(size=(n, n)))[0]
    return basis * np.asarray(eigenvalues) @ basis.T


def distinct(quadrature, draw):
    """Nodes of a draw that weigh something, ascending, and their weights."""
    nodes, weights = np.asarray(quadrature.nodes[draw]), np.asarray(quadrature.weights[draw])
    kept = weights > 1e-6
    order = np.argsort(nodes[kept])
    return nodes[kept][order], weights[kept][order]


def test_moments_are_the_traces_of_powers():
    matrix = with_eigenvalues(np.random.default_rng(1).normal(size=N))
    found = spectral_quadrature(operator(matrix), jax.random.key(0), draws=64, steps=20)
    assert int(found.matvecs) == 64 * 20
    for power in (1, 2, 3, 4):
        estimate, error = moment(found, power)
        exact = np.trace(np.linalg.matrix_power(matrix, power)) / N
        assert abs(estimate - exact) < 4 * error, power
        # |x|_4-like spread of a unit vector in N dimensions: tr(A^2p) / n^2 over 64 draws, to within a factor.
        assert 0 < error < 3 * np.sqrt(2 * np.trace(np.linalg.matrix_power(matrix, 2 * power))) / N / 8
    np.testing.assert_allclose(moment(found, 0).estimate, 1, rtol=1e-5)


def test_a_draws_quadrature_is_exact_for_its_own_vector():
    """Gauss quadrature of m nodes integrates powers up to 2 m - 1: here those of one start vector, by its moments."""
    matrix = with_eigenvalues(np.linspace(-1, 1, N))
    few = spectral_quadrature(operator(matrix), jax.random.key(3), draws=2, steps=6)
    many = spectral_quadrature(operator(matrix), jax.random.key(3), draws=2, steps=N)
    for power in range(12):
        np.testing.assert_allclose(
            np.sum(few.weights * few.nodes**power, 1), np.sum(many.weights * many.nodes**power, 1), atol=1e-5
        )


@pytest.mark.parametrize("rotated", [False, True])
def test_with_as_many_steps_as_eigenvalues_nodes_and_weights_are_theirs(rotated):
    """Three distinct eigenvalues of multiplicities 1, 9 and 40: the space is invariant after three steps.

    A rotated matrix is rounded to float32, which splits the eigenvalues by some 1e-6, so that further steps find
    something left: copies of the three, and nodes on their way to one, whose weight is rounding.
    """
    values, counts = np.asarray([-2.0, 0.5, 3.0]), np.asarray([1, 9, 40])
    eigenvalues = np.repeat(values, counts)
    matrix = with_eigenvalues(eigenvalues) if rotated else jnp.diag(jnp.asarray(eigenvalues, jnp.float32))
    found = spectral_quadrature(operator(matrix), jax.random.key(0), draws=64, steps=10)
    assert 3 * 64 <= int(found.matvecs) <= (10 if rotated else 4) * 64
    means = []
    for draw in range(64):
        near = np.abs(np.asarray(found.nodes[draw]) - values[:, None]) < 1e-5
        assert rotated or near.any(axis=0).all()
        means.append(near @ np.asarray(found.weights[draw]))
    np.testing.assert_allclose(np.sum(means, axis=1), 1, rtol=1e-5)
    # The weight of an eigenspace of multiplicity m is m / n in the mean: a beta variable, of deviation below 1 / n^0.5.
    error = np.std(means, axis=0, ddof=1) / 8
    assert np.all(np.abs(np.mean(means, axis=0) - counts / N) < 4 * error)


def test_weights_are_the_squares_of_the_start_vectors_components():
    matrix = np.diag([1.0, 2.0, 4.0])
    found = spectral_quadrature(operator(matrix), jax.random.key(5), draws=1, steps=3)
    start = jax.random.normal(jax.random.split(jax.random.key(5), 1)[0], (3,))
    np.testing.assert_allclose(distinct(found, 0)[1], (start / jnp.linalg.norm(start)) ** 2, rtol=1e-4)


@pytest.mark.parametrize("eigenvalue", [0.0, 2.5, -1e-8])
def test_one_eigenvalue_is_one_node(eigenvalue):
    found = spectral_quadrature(operator(eigenvalue * np.eye(N)), jax.random.key(0))
    assert int(found.matvecs) == 4
    np.testing.assert_allclose(found.nodes, eigenvalue, rtol=1e-5)
    np.testing.assert_allclose(found.weights[:, 0], 1)
    grid, density = spectral_density(operator(eigenvalue * np.eye(N)), jax.random.key(0))
    spacing = grid[1] - grid[0]
    np.testing.assert_allclose(jnp.sum(density) * spacing, 1, rtol=1e-3)
    assert abs(grid[jnp.argmax(density)] - eigenvalue) <= 2 * spacing


@pytest.mark.parametrize("sigma", [None, 1e-4, 0.3])
def test_densities_integrate_to_one(sigma):
    one = operator(with_eigenvalues(np.repeat([0.0, 1.0, 5.0], [30, 15, 5])))
    grid, density = spectral_density(one, jax.random.key(0), draws=4, steps=80, sigma=sigma)
    assert grid.shape == density.shape == (1024,)
    # Rounding of a thousand cells in float32; the kernel's tails beyond six widths are 1e-9.
    np.testing.assert_allclose(jnp.sum(density) * (grid[1] - grid[0]), 1, rtol=1e-3)
    assert jnp.all(density >= -1e-4)


def test_a_density_is_the_smoothed_spectrum():
    eigenvalues = np.linspace(0, 1, N)
    one = operator(with_eigenvalues(eigenvalues))
    sigma = 0.15
    grid, density = spectral_density(one, jax.random.key(2), draws=64, steps=30, sigma=sigma)
    kernel = np.exp(-((np.asarray(grid)[:, None] - eigenvalues) ** 2) / 2 / sigma**2) / sigma / np.sqrt(2 * np.pi)
    # Of 64 draws in 50 dimensions each part of the spectrum is known to a few percent.
    np.testing.assert_allclose(density, kernel.mean(axis=1), atol=0.08)
    np.testing.assert_allclose([grid[0], grid[-1]], [-6 * sigma, 1 + 6 * sigma], atol=1e-3)


def test_a_product_that_is_not_finite_makes_nan():
    for bad in (np.nan, np.inf):
        one = operator(np.full((N, N), bad))
        found = spectral_quadrature(one, jax.random.key(0), draws=2, steps=5)
        assert np.isnan(found.weights).all()
        assert np.isnan(moment(found, 1).estimate)
        grid, density = spectral_density(one, jax.random.key(0), draws=2, steps=5)
        assert np.isnan(grid).all()
        assert np.isnan(density).all()


def test_it_is_one_program_for_operators_of_one_kind():
    traced = []

    def product(matrix, v):
        traced.append(1)
        return matrix @ v

    for scale in (1.0, 2.0):
        matvec = jax.tree_util.Partial(product, scale * jnp.eye(N))
        spectral_density(Operator(matvec, jnp.zeros(N)), jax.random.key(0), draws=3, steps=9)
        count = len(traced)
    assert count == len(traced) <= 2
    inside = jax.jit(lambda one, key, sigma: spectral_density(one, key, draws=2, steps=5, sigma=sigma))
    grid, density = inside(operator(np.diag(np.arange(1.0, N + 1))), jax.random.key(0), 0.5)
    np.testing.assert_allclose(jnp.sum(density) * (grid[1] - grid[0]), 1, rtol=1e-3)


def test_bad_arguments_are_refused():
    one, key = operator(np.eye(N)), jax.random.key(0)
    with pytest.raises(ValueError, match="draws must be at least 1, got 0"):
        spectral_density(one, key, draws=0)
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        spectral_quadrature(one, key, steps=0)
    for sigma in (0, -1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="sigma must be a positive number"):
            spectral_density(one, key, sigma=sigma)
    with pytest.raises(ValueError, match="points must be at least 2, got 1"):
        spectral_density(one, key, points=1)
    single = Quadrature(jnp.ones((1, 2)), jnp.full((1, 2), 0.5), jnp.int32(2))
    with pytest.raises(ValueError, match="power must be at least 0, got -1"):
        moment(single, -1)
    assert np.isnan(moment(single, 1).standard_error)
