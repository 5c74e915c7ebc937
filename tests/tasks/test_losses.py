"""Losses and gradients against plain NumPy in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrstudy.tasks import NoisyQuadratic
from tests.tasks.cases import LANDSCAPES, TASKS, case, to_numpy


def cross_entropies(logits, targets):
    logits = np.asarray(logits, np.float64)
    shifted = logits - logits.max(-1, keepdims=True)
    log_sum = np.log(np.exp(shifted).sum(-1))
    return log_sum - np.take_along_axis(shifted, np.asarray(targets)[..., None].astype(int), -1)[..., 0]


def bigram(task, params, batch):
    contexts, successors = batch
    return cross_entropies(params["logits"][contexts], successors).mean()


def digits(task, params, batch):
    return cross_entropies(jax.jit(task.apply)(params, jnp.asarray(batch[0])), batch[1]).mean()


def federated_digits(task, params, batch):
    """The clients' first batches, weighted like the clients."""
    pixels, labels, weights = batch
    logits = jax.jit(task.apply)(params, jnp.asarray(pixels[:, 0]))
    return np.asarray(weights, np.float64) @ cross_entropies(logits, labels[:, 0]).mean(1)


def modular_arithmetic(task, params, batch):
    """Of a case that subtracts; the results that come with the batch are not read."""
    pairs = np.asarray(batch[0])
    inputs = np.eye(task.modulus, dtype=np.float32)[pairs].reshape(len(pairs), -1)
    logits = jax.jit(task.apply)(params, jnp.asarray(inputs))
    return cross_entropies(logits, (pairs[:, 0] - pairs[:, 1]) % task.modulus).mean()


def text(task, params, batch):
    return cross_entropies(jax.jit(task.apply)(params, jnp.int32(batch[:, :-1])), batch[:, 1:]).mean()


def quadratic(task, params, batch):
    return (0.5 * params["position"].astype(np.float64) ** 2 * task.eigenvalues).sum(1).mean()


def river(task, params, batch):
    x, y = (params[name].astype(np.float64) for name in "xy")
    return (task.curvature / 2 * (y - np.sin(x)) ** 2 - task.slope * x).mean()


def noisy_regression(task, params, batch):
    features, noise = (part.astype(np.float64) for part in batch)
    labels = features.sum(-1) + noise
    return (0.5 * ((features * params["weights"]).sum(-1) - labels) ** 2).mean()


def polynomial_regression(task, params, batch):
    start, now = (w.astype(np.float64) for w in (params["initial"], params["initial"] + params["displacement"]))
    before, after = (batch.astype(np.float64) @ w.T for w in (start, now))
    outputs = task.alpha * (after + task.eps / 2 * after**2 - before - task.eps / 2 * before**2).mean(1)
    return (0.5 * (outputs - batch[:, 0] ** 2 / 2) ** 2).mean()


def tanh_regression(task, params, batch):
    z = batch.astype(np.float64) @ params["input"] / np.sqrt(task.directions)
    for weights in params["hidden"]:
        z = task.residual * z + task.branch_scale**task.residual * np.tanh(z) @ weights / np.sqrt(task.width)
    outputs = np.tanh(z) @ params["readout"] / (task.gamma * np.sqrt(task.width))
    return (0.5 * (outputs - batch[:, 0] ** 2 + 1 - batch[:, 1] * batch[:, 2]) ** 2).mean()


def half_squares(outputs_of):
    """Of a fitted sample's batch: inputs and labels, which are taken as given."""

    def reference(task, params, batch):
        inputs, labels = (part.astype(np.float64) for part in batch)
        return ((outputs_of(task, params, inputs) - labels) ** 2).mean() / 2

    return reference


def relu_outputs(task, params, inputs):
    hidden = np.maximum(inputs @ params["input"] / np.sqrt(task.directions), 0)
    return hidden @ params["readout"] / np.sqrt(task.width)


def signed_rows(task, params, batch):
    rows, counts = (part.astype(np.float64) for part in batch)
    return counts @ np.log1p(np.exp(-rows @ params["theta"].astype(np.float64))) / counts.sum()


def feature_noise(task, params, batch):
    patches, labels = (part.astype(np.float64) for part in batch)
    responses = np.maximum(np.einsum("jmd,npd->njmp", params["filters"].astype(np.float64), patches), 0) ** 2
    signs = responses.sum(3).mean(2)
    return (0.5 * (signs[:, 0] - signs[:, 1] - labels) ** 2).mean()


def random_features(task, params, batch):
    features, labels = (part.astype(np.float64) for part in batch)
    return ((features @ params["coefficients"] - labels) ** 2).sum() / 2


REFERENCE = {f.__name__: f for f in (bigram, digits, federated_digits, noisy_regression, quadratic, river, text)}
REFERENCE |= {
    "feature_noise": feature_noise,
    "modular_arithmetic": modular_arithmetic,
    "random_features": random_features,
    "random_halfspace": signed_rows,
    "two_directions": signed_rows,
    "polynomial_regression": polynomial_regression,
    "tanh_regression": tanh_regression,
    "diagonal_regression": half_squares(lambda task, params, inputs: inputs @ (params["u"] ** 2 - params["v"] ** 2)),
    "orthogonal_regression": half_squares(lambda task, params, inputs: inputs @ params["w"]),
    "relu_regression": half_squares(relu_outputs),
    "continual_digits": digits,
    "mixed_text": text,
    "noisy_digits": digits,
    "repeated_text": text,
    "tfds": text,
}


@pytest.mark.parametrize("name", TASKS)
def test_loss_equals_plain_numpy(name):
    c = case(name)
    batch = c.batch(1, 2)
    expected = REFERENCE[name](c.task, to_numpy(c.params), batch)
    # Float32 keeps 6e-8 of every term; a mean of 50 positive ones, of logits below 20, loses a few such errors more.
    # On a landscape the noise of the batch must not show: it is of the size of the loss itself.
    assert float(jax.jit(c.task.loss)(c.params, batch)[0]) == pytest.approx(expected, rel=3e-6)


@pytest.mark.parametrize("name", ["digits", "mixed_text", "text"])
def test_the_models_outputs_are_float32(name):
    c = case(name)
    inputs = c.batch(0, 0)[0] if name == "digits" else c.batch(0, 0)[:, :-1].astype(np.int32)
    assert jax.eval_shape(c.task.apply, c.params, jnp.asarray(inputs)).dtype == jnp.float32


def quadratic_gradient(task, params, noise):
    return {"position": np.asarray(task.eigenvalues) * params["position"] + noise}


def river_gradient(task, params, noise):
    hill = task.curvature * (params["y"] - np.sin(params["x"]))
    return {"x": -hill * np.cos(params["x"]) - task.slope, "y": hill + noise}


GRADIENT = {"quadratic": quadratic_gradient, "river": river_gradient}


@pytest.mark.parametrize("name", LANDSCAPES)
def test_each_chain_has_its_own_gradient_and_noise(name):
    c = case(name)
    noise = c.batch(1, 2)
    gradient = to_numpy(jax.jit(jax.grad(c.task.loss, has_aux=True))(c.params, noise)[0])
    expected = GRADIENT[name](c.task, to_numpy(c.params), noise)
    assert gradient.keys() == expected.keys()
    for key, value in expected.items():
        # Three or four roundings of 6e-8 relative to the largest term of the sum.
        np.testing.assert_allclose(gradient[key], value, rtol=0, atol=1e-6 * (1 + np.abs(value).max()))


@pytest.mark.parametrize("name", LANDSCAPES)
def test_noise_does_not_change_the_loss(name):
    c = case(name)
    loss = jax.jit(c.task.loss)
    noise = c.batch(1, 2)
    without = loss(c.params, np.zeros_like(noise))[0]
    assert float(loss(c.params, noise)[0]) == float(without)
    assert float(loss(c.params, 1e6 * noise)[0]) == float(without)


@pytest.mark.parametrize("name", LANDSCAPES)
def test_noise_has_the_variance_of_the_task(name):
    base = TASKS[name]
    chains = 50_000
    task = type(base)(**{f: getattr(base, f) for f in base.lane_fields}, chains=chains)
    noise = np.asarray(jax.jit(task.batch)((), jnp.int32(0), jnp.int32(0)), np.float64).reshape(chains, -1)
    variance = np.atleast_1d(base.noise)
    # Five standard errors: sqrt(v / n) for a mean, v sqrt(2 / n) for a variance, v / sqrt(n) for a covariance.
    np.testing.assert_allclose(noise.mean(0), 0, atol=5 * np.sqrt(variance.max() / chains))
    np.testing.assert_allclose(noise.var(0), variance, rtol=5 * np.sqrt(2 / chains))
    covariance = np.cov(noise.T).reshape(len(variance), -1) - np.diag(noise.var(0, ddof=1))
    np.testing.assert_allclose(covariance, 0, atol=5 * variance.max() / np.sqrt(chains))


@pytest.mark.parametrize("name", LANDSCAPES)
def test_chains_do_not_see_each_other(name):
    c = case(name)
    noise = c.batch(1, 2)
    gradient = jax.jit(jax.grad(c.task.loss, has_aux=True))
    alone = to_numpy(gradient(c.params, noise)[0])
    moved = to_numpy(gradient(jax.tree.map(lambda x: x.at[0].add(1.0), c.params), noise)[0])
    for key in alone:
        np.testing.assert_array_equal(moved[key][1:], alone[key][1:])
        assert (moved[key][0] != alone[key][0]).all()


@pytest.mark.parametrize("name", LANDSCAPES)
def test_evaluation_gives_the_mean_over_chains_and_its_standard_error(name):
    c = case(name)
    measured = to_numpy(jax.jit(c.task.evaluate)(c.params, ()))
    params = to_numpy(c.params)
    chains = [REFERENCE[name](c.task, {k: v[i : i + 1] for k, v in params.items()}, None) for i in range(6)]
    # Rounding of the loss, as above.
    assert measured[c.task.objective] == pytest.approx(np.mean(chains), rel=3e-6)
    assert measured[c.task.objective + "_se"] == pytest.approx(np.std(chains, ddof=1) / np.sqrt(6), rel=1e-5)


def test_the_loss_of_many_chains_is_a_mean_and_their_gradient_is_not():
    one, many = (NoisyQuadratic((2.0,), (1.0,), (3.0,), chains=n) for n in (1, 64))
    for task in (one, many):
        params, noise = task.init(jax.random.key(0)), jnp.zeros((task.chains, 1))
        value, gradient = jax.value_and_grad(lambda p, t=task, n=noise: t.loss(p, n)[0])(params)
        assert float(value) == 0.5 * 2 * 3**2
        np.testing.assert_array_equal(gradient["position"], np.full((task.chains, 1), 6.0))
