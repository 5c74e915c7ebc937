"""The server's side of FedHyper against its published sequence and a float64 reference."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lrstudy.feedback import ServerFeedback, find
from lrstudy.optimizers import TABLE, effective_lr, fedhyper
from lrstudy.schedules import Constant
from lrstudy.training import checkpoint


def rounds(transform, changes):
    """Server's weights and state after every round, from zero."""
    params = jnp.zeros(np.shape(changes[0]), jnp.float32)
    state, update, found = transform.init(params), jax.jit(transform.update), []
    for change in changes:
        updates, state = update(-jnp.float32(change), state, params)
        params = optax.apply_updates(params, updates)
        found.append((np.asarray(params), state))
    return found


def test_fedhyper_g_follows_the_published_factors():
    """Inner products 0.3, 0.5, -2, 1, 9 from the second round on, of changes in one dimension."""
    changes = [1.0]
    for product in (0.3, 0.5, -2.0, 1.0, 9.0):
        changes.append(product / changes[-1])
    rates = [float(effective_lr(state)) for _, state in rounds(fedhyper(Constant(1.0)), [[c] for c in changes])]
    np.testing.assert_allclose(rates, [1, 1.3, 1.8, 0.2, 1.2, 5], rtol=1e-6)


RNG = np.random.default_rng(0)
CHANGES = [RNG.normal(size=4) for _ in range(8)]


def inner(first, second, product):
    raw = first @ second
    return raw if product == "raw" else raw / (np.linalg.norm(first) * np.linalg.norm(second))


def reference(kind, product, beta, momentum):
    """Weights and the clients' factor after every round, in float64, with the published bounds."""
    low, high = {"G": (-0.8, 4), "GM": (-0.2, 4), "SL": (-np.inf, np.inf), "CL": (0, 0)}[kind]
    x, a, running = np.zeros(4), 0.0, np.zeros(4)
    for k, change in enumerate(CHANGES):
        if k:
            a = np.clip(a + beta * inner(change, CHANGES[k - 1], product), low, high)
        x = x + (1 + a if kind in ("G", "GM") else 1) * change
        if kind == "GM":
            x = x + a * momentum * running
        running = change + momentum * running
        yield x, np.clip(1 + a, 0.1, 10) if kind == "SL" else 1.0


@pytest.mark.parametrize("product", ["raw", "cosine"])
@pytest.mark.parametrize("kind", ["G", "GM", "SL", "CL"])
def test_every_form_is_its_formula(kind, product):
    numbers = {"kind": kind, "product": product, "beta": 0.7, "momentum": 0.8}
    found = rounds(TABLE["fedhyper"].build(1.0, **numbers), CHANGES)
    for (params, state), change, (weights, scale) in zip(
        found, CHANGES, reference(kind, product, 0.7, 0.8), strict=True
    ):
        # Sums of at most eight products of size ten.
        np.testing.assert_allclose(params, weights, rtol=0, atol=2e-5)
        feedback = find(state, ServerFeedback)
        np.testing.assert_allclose(feedback.client_scale, scale, rtol=1e-5)
        assert bool(feedback.cosine) == (product == "cosine")
        if kind == "CL":
            np.testing.assert_array_equal(feedback.change, np.float32(change))
        else:
            assert feedback.change is None


@pytest.mark.parametrize("kind", ["SL", "CL"])
def test_the_forms_of_the_clients_leave_the_server_to_fedavg(kind):
    for (params, state), total in zip(
        rounds(fedhyper(1.0, kind=kind), CHANGES), np.cumsum(CHANGES, axis=0), strict=True
    ):
        np.testing.assert_allclose(params, total, rtol=0, atol=5e-6)
        assert float(effective_lr(state)) == 1


def test_server_local_reaches_the_clients():
    """In the released code the factor is computed and dropped; here it leaves one and stays within its bounds."""
    scales = [float(find(s, ServerFeedback).client_scale) for _, s in rounds(fedhyper(1.0, kind="SL"), CHANGES)]
    assert scales[0] == 1
    assert len(set(scales)) > 3
    assert min(scales) >= 0.1
    assert max(scales) <= 10


def test_a_cosine_does_not_depend_on_the_scale_of_the_changes():
    large, small = (
        [float(effective_lr(s)) for _, s in rounds(fedhyper(1.0, product="cosine"), [by * c for c in CHANGES])]
        for by in (1.0, 1e-3)
    )
    np.testing.assert_allclose(small, large, rtol=1e-5)


def test_a_round_without_any_change_leaves_the_factor():
    found = rounds(fedhyper(1.0, product="cosine"), [[0.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    assert [float(effective_lr(s)) for _, s in found] == [1, 1, 2]


@pytest.mark.parametrize("kind", ["G", "GM", "SL", "CL"])
def test_every_form_comes_back_from_a_checkpoint(kind, tmp_path):
    _, state = rounds(fedhyper(1.0, kind=kind), CHANGES)[3]
    checkpoint.save(tmp_path, 4, state, {})
    restored = checkpoint.restore(tmp_path, jax.eval_shape(lambda: state)).tree
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    for a, b in zip(jax.tree.leaves(restored), jax.tree.leaves(state), strict=True):
        np.testing.assert_array_equal(a, b)
