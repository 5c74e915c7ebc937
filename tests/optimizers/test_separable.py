"""The counts of the paper's table, its iterates, and what the solvers refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrstudy.optimizers import batch_perceptron, logistic_gd, normalized_batch_perceptron, normalized_logistic_gd

SOLVERS = (batch_perceptron, normalized_batch_perceptron, logistic_gd, normalized_logistic_gd)
PUBLISHED = {
    # examples: gradient descent at 100; normalised at 100, 10, 1, 0.1; the perceptron and its normalised form
    10: (4, (2, 2, 7, 60), 4, 2),
    100: (31, (2, 2, 11, 110), 31, 2),
    1000: (308, (2, 2, 16, 157), 301, 2),
}


def hard_sample(examples):
    """Theorem 5.1: one example with the label 1 against opposite ones."""
    features = np.asarray([[0.5, -1.0], *[[-0.5, -1.0]] * (examples - 1)])
    return features, np.asarray([1.0, *[-1.0] * (examples - 1)])


@pytest.mark.parametrize("x64", [False, True])
@pytest.mark.parametrize("examples", PUBLISHED)
def test_updates_are_those_of_the_papers_table(examples, x64):
    plain, normalised, perceptron, normalised_perceptron = PUBLISHED[examples]
    sample = hard_sample(examples)
    with jax.enable_x64(x64):
        assert int(logistic_gd(*sample, step_size=100.0)[1]) == plain
        found = tuple(int(normalized_logistic_gd(*sample, step_size=step)[1]) for step in (100.0, 10.0, 1.0, 0.1))
        assert found == normalised
        assert int(batch_perceptron(*sample)[1]) == perceptron
        assert int(normalized_batch_perceptron(*sample)[1]) == normalised_perceptron


def test_a_huge_step_makes_the_perceptrons_iterates():
    """Theorem 4.1: theta / gamma after one update is (1/2, 3/4), and after two approaches (1, 1/4)."""
    sample = np.asarray([[1.0, -1.0], [-1.0, -4.0]]), np.asarray([1.0, -1.0])
    for solve, step in ((logistic_gd, 10.0), (batch_perceptron, 1.0)):
        theta, made = solve(*sample, step_size=step, max_iterations=1)
        assert int(made) == 1
        np.testing.assert_allclose(theta / step, [0.5, 0.75], rtol=1e-6)
    theta, _ = logistic_gd(*sample, step_size=10.0, max_iterations=2)
    np.testing.assert_allclose(theta / 10, [0.962070910, 0.287929090], rtol=1e-6)
    theta, made = batch_perceptron(*sample)
    assert (theta.tolist(), int(made)) == ([1.0, 0.25], 2)
    np.testing.assert_allclose(logistic_gd(*sample, step_size=1e4, max_iterations=2)[0] / 1e4, theta, rtol=1e-6)


def test_steps_may_be_lanes_and_do_not_compile_anew():
    sample = hard_sample(100)
    steps = jnp.asarray([100.0, 10.0, 1.0, 0.1])
    counts = jax.vmap(lambda step: normalized_logistic_gd(*sample, step_size=step)[1])(steps)
    assert counts.tolist() == [2, 2, 11, 110]


def test_it_gives_up_where_it_is_told():
    theta, made = logistic_gd(*hard_sample(1000), step_size=100.0, max_iterations=20)
    assert int(made) == 20
    assert np.isfinite(theta).all()


def test_a_step_scales_a_perceptron_and_changes_nothing_else():
    for solve in (batch_perceptron, normalized_batch_perceptron):
        theta, made = solve(*hard_sample(100))
        scaled, again = solve(*hard_sample(100), step_size=8.0)
        assert int(made) == int(again)
        np.testing.assert_array_equal(scaled, 8 * theta)


@pytest.mark.parametrize("solve", SOLVERS)
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": np.ones(3)}, r"features must have the shape \(examples, features\), got \(3,\)"),
        ({"features": np.ones((0, 2)), "labels": np.ones(0)}, "features must have the shape"),
        ({"features": np.full((3, 2), np.nan)}, "features must be finite"),
        ({"labels": np.ones(2)}, r"labels must have the shape \(3,\), got \(2,\)"),
        ({"labels": np.asarray([0.0, 1.0, 1.0])}, r"labels must be -1 or 1, got \[0.0, 1.0\]"),
        ({"step_size": 0.0}, "step_size must be a positive number, got 0.0"),
        ({"step_size": np.inf}, "step_size must be a positive number, got inf"),
        ({"max_iterations": 0}, "max_iterations must be an int of at least 1, got 0"),
    ],
)
def test_what_a_solver_refuses(solve, changes, message):
    given = {"features": np.ones((3, 2)), "labels": np.ones(3), "step_size": 1.0, "max_iterations": 5} | changes
    with pytest.raises(ValueError, match=message):
        solve(given.pop("features"), given.pop("labels"), **given)
