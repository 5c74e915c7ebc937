import numpy as np
import pytest

from lrstudy.laws import random_features as rf

RNG = np.random.default_rng(0)
FEATURES, LABELS = RNG.normal(size=(12, 30)), RNG.normal(size=12)
TALL = RNG.normal(size=(30, 12))


def test_the_minimum_norm_solution_is_that_of_the_pseudoinverse():
    (found,) = rf.solve(FEATURES, LABELS, rf.minimum_norm)
    np.testing.assert_allclose(found, np.linalg.pinv(FEATURES) @ LABELS, rtol=1e-10)
    np.testing.assert_allclose(FEATURES @ found, LABELS, rtol=1e-10)


def test_directions_that_the_features_do_not_reach_are_left_alone():
    doubled = np.concatenate([TALL, TALL], axis=1)
    (once,), (twice,) = (rf.solve(features, np.arange(30.0), rf.minimum_norm) for features in (TALL, doubled))
    np.testing.assert_allclose(twice, np.concatenate([once, once]) / 2, rtol=1e-9)


def test_the_ridge_solves_its_normal_equations():
    (found,) = rf.solve(FEATURES, LABELS, rf.ridge(0.7))
    gradient = FEATURES.T @ (FEATURES @ found - LABELS) + 0.7 * found
    np.testing.assert_allclose(gradient, 0, atol=1e-11)


@pytest.mark.parametrize("steps", [0, 1, 7, 300])
def test_gradient_descent_is_that_of_its_steps(steps):
    (found,) = rf.solve(FEATURES, LABELS, rf.gradient_descent(steps))
    rate, coefficients = 1 / np.linalg.norm(FEATURES, 2) ** 2, np.zeros(30)
    for _ in range(steps):
        coefficients -= rate * FEATURES.T @ (FEATURES @ coefficients - LABELS)
    np.testing.assert_allclose(found, coefficients, atol=1e-12)


def test_no_penalty_and_endless_descent_are_the_minimum_norm_solution():
    wanted, *others = rf.solve(FEATURES, LABELS, rf.minimum_norm, rf.ridge(0.0), rf.gradient_descent(10**7))
    for found in others:
        np.testing.assert_allclose(found, wanted, rtol=1e-10)


def test_the_condition_number_is_that_of_the_smaller_gram_matrix():
    assert rf.condition(FEATURES) == pytest.approx(np.linalg.cond(FEATURES @ FEATURES.T), rel=1e-9)
    assert rf.condition(TALL) == pytest.approx(np.linalg.cond(TALL.T @ TALL), rel=1e-9)
    assert rf.condition(np.zeros((2, 3))) == np.inf


def test_the_test_error_is_the_mean_over_inputs():
    weights, target, coefficients = RNG.normal(size=(3, 5)), RNG.normal(size=3), RNG.normal(size=5)
    inputs = RNG.normal(size=(400_000, 3))
    squares = np.square(np.maximum(inputs @ weights, 0) @ coefficients - inputs @ target)
    found = rf.test_error(rf.error_moments(weights, target), target, coefficients)
    assert abs(found - squares.mean()) < 5 * squares.std() / np.sqrt(len(squares))


def test_the_moments_of_more_features_serve_fewer():
    weights, target = RNG.normal(size=(3, 5)), RNG.normal(size=3)
    own, more = (rf.error_moments(some, target) for some in (weights[:, :2], weights))
    coefficients = np.asarray([0.3, -1.2])
    assert rf.test_error(more, target, coefficients) == pytest.approx(
        rf.test_error(own, target, coefficients), rel=1e-12
    )


def test_double_descent_is_that_of_an_independent_computation():
    """Means over 20 samples of others, of 100 in 20 directions with noise 0.5, at 50 and 400 features.

    Samples scatter by a quarter about their mean, so that two means of 20 differ by 8% of it, one standard deviation.
    """
    for count, wanted in {50: (0.647, 0.332), 400: (0.319, 0.107)}.items():
        found = []
        for seed in range(20):
            rng = np.random.default_rng(seed)
            inputs, weights, target = rng.normal(size=(100, 20)), rng.normal(size=(20, count)), rng.normal(size=20)
            target /= np.linalg.norm(target)
            labels = inputs @ target + 0.5 * rng.normal(size=100)
            moments = rf.error_moments(weights, target)
            ways = rf.solve(np.maximum(inputs @ weights, 0), labels, rf.minimum_norm, rf.gradient_descent(100))
            found.append([rf.test_error(moments, target, coefficients) for coefficients in ways])
        np.testing.assert_allclose(np.log(np.mean(found, axis=0)), np.log(wanted), atol=0.25)
