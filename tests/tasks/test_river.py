import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrstudy.tasks import CurvedRiver

TASK = CurvedRiver(chains=1)
CREST = np.pi / 2


@jax.jit
def derivatives(point):
    def energy(point):
        return TASK.energies({"x": point[:1], "y": point[1:]})[0]

    return jax.grad(energy)(point), jax.hessian(energy)(point)


def gradient_and_hessian(x, y):
    with jax.enable_x64(True):
        return jax.tree.map(np.asarray, derivatives(jnp.array([x, y])))


def sine_to_the_flattest_direction(x, y):
    """The sine of the angle between the gradient and the Hessian's smallest eigenvector."""
    gradient, hessian = gradient_and_hessian(x, y)
    _, vectors = np.linalg.eigh(hessian)
    # The part of the gradient along the other eigenvector: precise for small angles too.
    return float(abs(vectors[:, 1] @ gradient) / np.linalg.norm(gradient))


def river(x):
    """The river to first order in slope / curvature.

    On y = sin x + u the gradient is (-c u cos x - g, c u) and the flattest direction to lowest order (1, cos x); they
    are parallel where c u = -g cos x / (1 + cos^2 x): in a bend the river runs a little up the hill, on a crest not.
    """
    return np.sin(x) - TASK.slope / TASK.curvature * np.cos(x) / (1 + np.cos(x) ** 2)


POINTS = np.linspace(-1.0, 4.0, 11)


@pytest.mark.parametrize("x", POINTS)
def test_on_the_river_the_gradient_points_along_the_flattest_direction(x):
    # At the offset u = O(g / c) the eigenvector turns by u sin x cos x / (1 + cos^2 x)^2 <= g / c, which is left out.
    assert sine_to_the_flattest_direction(x, river(x)) <= TASK.slope / TASK.curvature


@pytest.mark.parametrize("x", POINTS)
@pytest.mark.parametrize("off", [-0.02, 0.02])
def test_off_the_river_it_points_elsewhere(x, off):
    # The pull of the hill, 20 * 0.02 * sqrt(1 + cos^2 x), is eighty times the slope.
    assert sine_to_the_flattest_direction(x, river(x) + off) > 0.9


def test_on_a_crest_the_river_is_the_curve_itself():
    assert river(CREST) == pytest.approx(1.0, abs=1e-16)
    # Rounding of float64 alone.
    assert sine_to_the_flattest_direction(CREST, np.sin(CREST)) < 1e-13


@pytest.mark.parametrize("x", [0.0, 0.7, CREST])
def test_the_hessian_on_the_curve(x):
    _, hessian = gradient_and_hessian(x, np.sin(x))
    assert hessian.dtype == np.float64
    cos, c = np.cos(x), TASK.curvature
    # Rounding of float64 in terms of size 20.
    np.testing.assert_allclose(hessian, c * np.array([[cos * cos, -cos], [-cos, 1]]), rtol=0, atol=1e-13)
    np.testing.assert_allclose(np.linalg.eigvalsh(hessian), [0, c * (1 + cos * cos)], rtol=0, atol=1e-13)


def test_noise_acts_across_the_river_only():
    task = CurvedRiver(chains=4)
    params = {"x": jnp.array([0.0, 1.0, 2.0, 3.0]), "y": jnp.array([0.5, 0.0, 1.0, -1.0])}
    gradient = jax.jit(jax.grad(lambda p, noise: task.loss(p, noise)[0]))
    noise = jnp.array([1.0, -2.0, 4.0, 0.5])
    still, shaken = gradient(params, jnp.zeros(4)), gradient(params, noise)
    np.testing.assert_array_equal(shaken["x"], still["x"])
    # Differences of numbers below 64 in float32: at most two units of 64 * 2^-24.
    np.testing.assert_allclose(shaken["y"] - still["y"], noise, rtol=0, atol=2 * 64 * 2.0**-24)


def test_chains_start_at_the_origin():
    start = CurvedRiver(chains=3).init(jax.random.key(5))
    assert {name: value.tolist() for name, value in start.items()} == {"x": [0] * 3, "y": [0] * 3}


def test_evaluation_splits_the_loss_into_hill_and_river():
    task = CurvedRiver(curvature=8.0, slope=0.25, chains=2)
    # y - sin x is 1/2 and -1 at x = 0 and x = 0; the hill is 4 times their squares.
    params = {"x": jnp.array([0.0, 0.0]), "y": jnp.array([0.5, -1.0])}
    measured = {k: float(v) for k, v in task.evaluate(params, ()).items()}
    assert measured == {
        "expected_loss": 2.5,
        "expected_loss_se": 1.5,  # of 1 and 4: the standard deviation 3 / sqrt(2) over sqrt(2)
        "hill_loss": 2.5,
        "river_position": 0,
        "first_chain_x": 0,
        "first_chain_y": 0.5,
    }
    downstream = task.evaluate({"x": jnp.array([2.0, 4.0]), "y": jnp.sin(jnp.array([2.0, 4.0]))}, ())
    assert (float(downstream["hill_loss"]), float(downstream["river_position"])) == (0, 3)
    assert float(downstream["expected_loss"]) == -0.25 * 3
