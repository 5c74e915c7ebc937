"""Regression with labels of unequal noise, against its exact expectation and plain NumPy."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lrstudy.schedules import Constant, Linear
from lrstudy.tasks import NoisyRegression
from lrstudy.tasks.noisy_regression import expected_excess, expected_variances
from lrstudy.training import lanes
from lrstudy.training.averaging import merge, merge_weights
from lrstudy.training.program import Hyperparameters

SMALL = NoisyRegression((2.0, 0.5), 3.0, 0.2, 0.0, samples=40, batch_size=2, chains=3)


@jax.jit
def drawn(task, seed, steps):
    return jax.vmap(lambda step: task.batch((), seed, step))(steps)


def batches(task, seed, steps):
    return [np.asarray(part, np.float64) for part in drawn(task, jnp.int32(seed), jnp.arange(steps))]


def test_a_sample_is_the_same_whenever_it_is_visited():
    ordered = dataclasses.replace(SMALL, ordering=1.0)
    in_order, shuffled = (batches(task, 4, 20) for task in (ordered, SMALL))
    rows = [np.concatenate([x.reshape(40, -1), y.reshape(40, -1)], axis=1) for x, y in (in_order, shuffled)]
    assert not np.array_equal(*rows)
    np.testing.assert_array_equal(*(row[np.lexsort(row.T)] for row in rows))


def test_noise_falls_geometrically_from_the_worst_sample_to_the_best():
    variances = np.asarray(SMALL.variances(jnp.arange(40)), np.float64)
    expected = 3.0 * (0.2 / 3.0) ** ((np.arange(40) + 0.5) / 40)
    # An exponential of a logarithm in float32, of numbers of size one.
    np.testing.assert_allclose(variances, expected, rtol=1e-6)


def test_features_and_noise_have_their_variances():
    chains = 20_000
    task = dataclasses.replace(SMALL, samples=4, batch_size=1, ordering=1.0, chains=chains)
    features, noise = (part.reshape(4, chains, *part.shape[3:]) for part in batches(task, 0, 4))
    # Five standard errors of a variance, v sqrt(2 / n).
    np.testing.assert_allclose(noise.var(1), np.asarray(task.variances(jnp.arange(4))), rtol=5 * np.sqrt(2 / chains))
    feature_variances = features.var(1)
    np.testing.assert_allclose(feature_variances, np.tile([2.0, 0.5], (4, 1)), rtol=5 * np.sqrt(2 / chains))
    # And are not correlated: 1 / sqrt(n), five times.
    for sample in range(4):
        values = np.column_stack([features[sample], noise[sample]])
        assert np.abs(np.corrcoef(values.T) - np.eye(3)).max() < 5 / np.sqrt(chains)


ORDERINGS = (0.0, 1.0)


def test_training_is_plain_numpy_on_the_same_samples():
    tasks = [dataclasses.replace(SMALL, ordering=ordering) for ordering in ORDERINGS]
    steps, peak = 20, 0.05
    hparams = [Hyperparameters(Linear(peak, steps), task, {}, None, 7, steps) for task in tasks]
    lane, rows, final = lanes.run(hparams, lambda h: optax.sgd(h.schedule))
    for place, task in enumerate(tasks):
        reference, losses = np.zeros((3, 2)), []
        for step, (x, noise) in enumerate(zip(*batches(task, 7, steps), strict=True)):
            label = x.sum(-1) + noise
            residual = (x * reference).sum(-1) - label
            losses.append((0.5 * residual**2).mean())
            reference -= peak * (1 - step / steps) * (residual[..., None] * x).mean(0)
        # Twenty updates of numbers of size one, each with a few float32 roundings of 6e-8.
        np.testing.assert_allclose(lane.state.params["weights"][place], reference, rtol=0, atol=1e-5)
        np.testing.assert_allclose(rows["loss"][rows["lane"] == place], losses, rtol=2e-5)
        excess = 0.5 * ((reference - 1) ** 2 * [2.0, 0.5]).sum(-1)
        own = final["lane"] == place
        assert final["excess_loss"][own].item() == pytest.approx(excess.mean(), rel=1e-4)
        assert final["excess_loss_se"][own].item() == pytest.approx(excess.std(ddof=1) / np.sqrt(3), rel=1e-4)


# -- the exact expectation ---------------------------------------------------------------------------------------------


def one_direction(lam, s, **fields):
    return NoisyRegression((lam,), s, s, samples=16, **fields)


@pytest.mark.parametrize(("lam", "s", "eta"), [(1.0, 0.5, 0.1), (3.0, 2.0, 0.2), (0.5, 1.0, 1.0)])
def test_in_one_direction_the_moments_are_those_of_a_normal_feature(lam, s, eta):
    """E (1 - eta x^2)^2 = 1 - 2 eta lambda + 3 eta^2 lambda^2, and the noise adds eta^2 lambda s."""
    task = one_direction(lam, s)
    factor, added = 1 - 2 * eta * lam + 3 * (eta * lam) ** 2, eta**2 * lam * s
    first = factor + added
    second = factor * first + added
    for steps, moment in ((0, 1.0), (1, first), (2, second)):
        assert expected_excess(task, np.full(steps, eta)) == pytest.approx(0.5 * lam * moment, rel=1e-13)
    # E (e_1 + e_2)^2, where the mean of e_2 given e_1 is (1 - eta lambda) e_1.
    both = first + second + 2 * (1 - eta * lam) * first
    averaged = expected_excess(task, np.full(2, eta), {1: 0.5, 2: 0.5})
    assert averaged == pytest.approx(0.5 * lam * both / 4, rel=1e-13)


def test_a_batch_of_many_follows_the_mean_gradient():
    samples = 2**16
    task = NoisyRegression((2.0, 0.5), 1.0, 1.0, samples=samples, batch_size=samples)
    rate = 0.3
    deterministic = 0.5 * sum(lam * (1 - rate * lam) ** 2 for lam in (2.0, 0.5))
    # What sampling adds is at most eta^2 lambda (2 lambda + sum lambda + s) / B a direction.
    added = 0.5 * sum(rate**2 * lam**2 * (lam + 2.5 + 1) for lam in (2.0, 0.5)) / samples
    found = expected_excess(task, np.full(1, rate))
    assert deterministic < found
    assert found == pytest.approx(deterministic + added, rel=1e-12)


def test_weights_on_the_last_parameters_alone_are_no_average():
    rates = np.linspace(0.2, 0.1, 9)
    assert expected_excess(SMALL, rates, {9: 1.0}) == expected_excess(SMALL, rates)
    assert expected_excess(SMALL, rates, {4: 1.0}) == expected_excess(SMALL, rates[:4])
    assert expected_excess(SMALL, rates, {0: 1.0}) == 0.5 * 2.5


def test_variances_of_batches():
    level = 3.0 * (0.2 / 3.0) ** ((np.arange(40) + 0.5) / 40)
    np.testing.assert_allclose(expected_variances(SMALL, 5), np.full(5, level.mean()), rtol=1e-14)
    ordered = expected_variances(dataclasses.replace(SMALL, ordering=1.0), 20)
    np.testing.assert_allclose(ordered, level.reshape(20, 2).mean(1), rtol=1e-14)


STEPS, RATE = 48, 0.2
ENDS = [STEPS - 4 * age for age in range(5, -1, -1)]


@functools.cache
def simulated():
    """A task in both orders, and six checkpoints of 64 seeds of 64 chains each: (ordering, end, seed, chain, 2)."""
    task = NoisyRegression((1.0, 0.3), 2.0, 0.1, samples=STEPS, chains=64)
    tasks = [dataclasses.replace(task, ordering=ordering) for ordering in ORDERINGS]
    hparams = [
        Hyperparameters(Constant(RATE), own, {}, None, seed, end) for own in tasks for end in ENDS for seed in range(64)
    ]
    weights = lanes.run(hparams, lambda h: optax.sgd(h.schedule))[0].state.params["weights"]
    return tasks, np.asarray(weights).reshape(2, 6, 64, 64, 2)


@pytest.mark.parametrize("kind", ["last", "ema", "uniform"])
def test_the_simulation_has_the_exact_expectation(kind):
    """Of the last parameters and of averages of six checkpoints."""
    tasks, weights = simulated()
    shares = np.eye(6)[-1] if kind == "last" else merge_weights(kind, 6)
    expected = [expected_excess(task, np.full(STEPS, RATE), dict(zip(ENDS, shares, strict=True))) for task in tasks]
    for place in (0, 1):
        errors = np.asarray(merge(list(weights[place]), shares), np.float64) - 1
        losses = 0.5 * (errors**2 @ [1.0, 0.3]).mean(1)
        error = losses.std(ddof=1) / np.sqrt(64)
        assert abs(losses.mean() - expected[place]) < 4 * error
        # That is a sharp statement: the other order is many times that away.
        assert abs(losses.mean() - expected[1 - place]) > 10 * error


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"ordering": 2.0}, r"^task\.ordering must be in \[0, 1\], got 2\.0$"),
        ({"worst_noise": 0.0}, r"^task\.worst_noise must be a finite positive variance, got 0\.0$"),
        ({"best_noise": float("inf")}, r"^task\.best_noise must be a finite positive variance, got inf$"),
        ({"eigenvalues": ()}, r"^task\.eigenvalues must be one or more finite variances, got \(\)$"),
        (
            {"eigenvalues": (1.0, -1.0)},
            r"^task\.eigenvalues must be one or more finite variances, got \(1\.0, -1\.0\)$",
        ),
        ({"batch_size": 1025}, r"^task\.batch_size must be in \[1, samples\], got 1025$"),
        ({"samples": 0}, r"^task\.samples must be in \[1, 65536\], got 0$"),
        ({"chains": 0}, r"^task\.chains must be a positive int, got 0$"),
    ],
)
def test_errors(fields, message):
    with pytest.raises(ValueError, match=message):
        NoisyRegression(**fields)


def test_the_expectation_is_that_of_one_pass_in_a_known_order():
    with pytest.raises(ValueError, match=r"^steps must be at most the 20 of one pass, got 21$"):
        expected_excess(SMALL, np.full(21, 0.1))
    with pytest.raises(ValueError, match=r"^task\.ordering must be 0 or 1, got 0\.5$"):
        expected_excess(dataclasses.replace(SMALL, ordering=0.5), np.full(2, 0.1))
