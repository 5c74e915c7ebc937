"""Batch norm, ghost by ghost while training, and with the statistics of a data set in evaluation."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrstudy.ghosts import STATISTICS
from lrstudy.models import MLP, BatchNormMLP
from lrstudy.parametrization.model import Parametrized
from lrstudy.tasks import Digits
from tests.models import reference
from tests.models.cases import randomized

FEATURES, EPS = 5, 1e-5


def inputs(examples, seed=1):
    return np.random.default_rng(seed).normal(loc=0.5, size=(examples, FEATURES)).astype(np.float32)


def moments(x):
    return x.mean(0), x.var(0)


def plain(params, x, moments_of):
    """The network in float64; ``moments_of(layer, x)`` gives the mean and variance that normalise a layer's inputs."""
    params, x = reference.as_float64(params), x.astype(np.float64)
    for layer in range(2):
        x = x @ params[f"hidden_{layer}"]["kernel"]
        mean, variance = moments_of(layer, x)
        norm = params[f"norm_{layer}"]
        x = np.maximum((x - mean) / np.sqrt(variance + EPS) * norm["scale"] + norm["bias"], 0)
    return x @ params["readout"]["kernel"] + params["readout"]["bias"]


def close(found, expected):
    # Float32 keeps 6e-8 of every product; three layers of at most seven, and two norms that divide by a deviation of
    # about one, relative to the largest score.
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(("ghost_size", "ghosts"), [(0, 1), (12, 1), (4, 3)])
def test_every_ghost_of_a_training_batch_is_a_batch_of_its_own(ghost_size, ghosts):
    model = BatchNormMLP(outputs=4, width=7, ghost_size=ghost_size)
    x = inputs(12)
    params = randomized(model, x)
    expected = [plain(params, ghost, lambda _, h: moments(h)) for ghost in np.split(x, ghosts)]
    close(jax.jit(model.apply)({"params": params}, x), np.concatenate(expected))


def test_evaluation_has_the_statistics_of_the_data_set_layer_by_layer_whatever_the_ghosts_were():
    x, other = inputs(23), inputs(3, seed=2)
    params = randomized(BatchNormMLP(outputs=4, width=7), x)
    kept_moments = {}

    def keep(layer, h):
        kept_moments[layer] = moments(h)
        return kept_moments[layer]

    plain(params, x, keep)
    expected = plain(params, other, lambda layer, _: kept_moments[layer])
    for ghost_size in (0, 4):
        # Neither 23 nor 3 is made of ghosts of four.
        task = Digits(model=BatchNormMLP(outputs=4, width=7, ghost_size=ghost_size))
        kept = jax.jit(task.statistics)(params, x)
        assert kept.keys() == {STATISTICS}
        close(jax.jit(task.apply)(params, other, kept), expected)
    # An example is then alone: no other of its batch matters.
    close(jax.jit(task.apply)(params, other[:1], kept), expected[:1])


def test_a_digits_evaluation_is_that_with_the_statistics_of_the_training_set():
    task = Digits(model=BatchNormMLP(outputs=10, width=4, layers=1, ghost_size=32))
    data = jax.device_put(task.load())
    params = randomized(task.model, jnp.zeros((1, 64)))
    measured = jax.jit(task.evaluate)(params, data)
    h, v = (
        np.asarray(data[f"{name}_pixels"], np.float64) @ params["hidden_0"]["kernel"]
        for name in ("train", "validation")
    )
    norm, readout = reference.as_float64(params["norm_0"]), reference.as_float64(params["readout"])
    normed = np.maximum((v - h.mean(0)) / np.sqrt(h.var(0) + EPS) * norm["scale"] + norm["bias"], 0)
    logits = normed @ readout["kernel"] + readout["bias"]
    losses = np.log(np.exp(logits).sum(1)) - logits[np.arange(len(logits)), np.asarray(data["validation_labels"])]
    # Sums of 64 and means of 1437 float32 numbers, a few roundings of 6e-8 each.
    assert float(measured["validation_loss"]) == pytest.approx(losses.mean(), rel=1e-5)


def test_a_training_loss_is_of_ghosts_and_the_gradient_knows_their_statistics():
    x = jnp.asarray(inputs(12))
    model = BatchNormMLP(outputs=4, width=7, ghost_size=4)
    params = randomized(model, x)

    def total(own):
        return jnp.sum(jnp.square(model.apply({"params": own}, x)))

    gradient = jax.jit(jax.grad(total))(params)
    # The norm takes out the scale of what comes in, so the loss does not change along a unit's own weights: eps alone
    # keeps the product from zero, 1e-5 beside variances of about one.
    for layer in range(2):
        kernel, slope = (np.asarray(tree[f"hidden_{layer}"]["kernel"], np.float64) for tree in (params, gradient))
        lengths = np.linalg.norm(kernel, axis=0) * np.linalg.norm(slope, axis=0)
        assert (np.abs((kernel * slope).sum(0)) <= 1e-3 * lengths.max()).all()
        assert lengths.max() > 0


def test_statistics_of_a_model_without_batch_norm_are_none_and_change_nothing():
    task = Digits(model=MLP(outputs=4))
    x = inputs(6)
    params = randomized(task.model, x)
    kept = jax.jit(task.statistics)(params, x)
    assert not kept
    np.testing.assert_array_equal(jax.jit(task.apply)(params, x, kept), jax.jit(task.apply)(params, x))


def test_an_evaluation_passes_over_the_training_set_for_batch_norm_alone():
    plain, normed = (Digits(model=row(outputs=10, width=8)) for row in (MLP, BatchNormMLP))
    data = plain.load()

    def work(task):
        params = jax.eval_shape(task.init, jax.random.key(0))
        return jax.jit(task.evaluate).lower(params, data).compile().cost_analysis()["flops"]

    # Products and sums of 360 examples, and of 1437 more.
    weights = 64 * 8 + 8 * 8 + 8 * 10
    assert 360 * 2 * weights <= work(plain) < 1437 * 2 * weights <= work(normed)


def test_initial_norms_do_nothing_but_normalise_and_hidden_layers_have_no_bias():
    model = BatchNormMLP(outputs=10, width=16, layers=3, ghost_size=32)
    params = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 64)))["params"]
    count = 64 * 16 + 2 * 16 * 16 + 3 * 2 * 16 + 16 * 10 + 10
    assert sum(x.size for x in jax.tree.leaves(params)) == count
    for layer in range(3):
        np.testing.assert_array_equal(params[f"norm_{layer}"]["scale"], 1)
        np.testing.assert_array_equal(params[f"norm_{layer}"]["bias"], 0)


@pytest.mark.parametrize("wrap", [lambda module: module, lambda module: Parametrized(module, ())])
def test_ghosts_that_do_not_make_up_a_batch_are_refused_before_anything_is_compiled(wrap):
    task = Digits(model=wrap(BatchNormMLP(outputs=10, ghost_size=5)), batch_size=64)
    with pytest.raises(
        ValueError, match=r"^model\.ghost_size must be 0 or a divisor of task\.batch_size \(64\), got 5$"
    ):
        task.facts()
    assert dataclasses.replace(task, batch_size=65).facts() == {}


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match=r"^model\.ghost_size must be an int of at least 0, got -1$"):
        BatchNormMLP(outputs=4, ghost_size=-1)
    model = BatchNormMLP(outputs=4, width=7, ghost_size=4)
    params = randomized(model, inputs(4))
    with pytest.raises(ValueError, match=r"^ghost_size must be a divisor of the batch \(6\), got 4"):
        model.apply({"params": params}, jnp.asarray(inputs(6)))
    with pytest.raises(ValueError, match=r"^Digits: model must be given, got None$"):
        Digits().statistics(params, jnp.asarray(inputs(6)))
