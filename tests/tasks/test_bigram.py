import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrstudy.tasks import BigramTable

VOCABULARY = 6
TASK = BigramTable(vocabulary=VOCABULARY, batch_size=VOCABULARY**2)
HALF = VOCABULARY // 2


def distribution():
    """Row i: the distribution of the successor of token i."""
    certain = np.eye(VOCABULARY, k=1)[:HALF]
    return np.concatenate([certain, np.full((VOCABULARY - HALF, VOCABULARY), 1 / VOCABULARY)])


def optimum():
    """Logits at which float32 probabilities are exactly those of the data: exp(-200) is zero."""
    return {"logits": jnp.asarray(np.log(np.maximum(distribution(), math.exp(-200))), jnp.float32)}


def whole_distribution():
    """The batch in which every pair appears in proportion to its probability."""
    contexts, successors = np.divmod(np.arange(VOCABULARY**2), VOCABULARY)
    return jnp.int32(contexts), jnp.int32(np.where(contexts < HALF, contexts + 1, successors))


def test_batches_have_the_distribution_of_the_task():
    samples, size = 100, 360
    task = BigramTable(vocabulary=VOCABULARY, batch_size=size)
    batches = jax.jit(jax.vmap(lambda step: task.batch((), jnp.int32(3), step)))(jnp.arange(samples))
    contexts, successors = (np.asarray(b).ravel() for b in batches)
    counts = np.zeros((VOCABULARY, VOCABULARY))
    np.add.at(counts, (contexts, successors), 1)
    expected = distribution() * samples * size / VOCABULARY
    assert not counts[expected == 0].any()
    # Five standard deviations of a Poisson count, in each of 21 cells.
    assert (np.abs(counts - expected) <= 5 * np.sqrt(expected)).all()


def test_half_of_the_contexts_are_deterministic():
    for vocabulary in (2, 6, 20):
        flags = BigramTable(vocabulary=vocabulary).is_deterministic(jnp.arange(vocabulary))
        assert flags.tolist() == [True] * (vocabulary // 2) + [False] * (vocabulary // 2)


def test_the_trace_of_each_hessian_block_at_the_optimum():
    logits = optimum()["logits"]

    def expected_loss(table):
        return TASK.loss({"logits": table}, whole_distribution())[0]

    hessian = np.asarray(jax.jit(jax.hessian(expected_loss))(logits))
    traces = np.einsum("ijij->i", hessian)
    p = distribution()
    closed = (1 - (p**2).sum(1)) / VOCABULARY
    assert closed.tolist() == pytest.approx([0] * HALF + [(1 - 1 / VOCABULARY) / VOCABULARY] * HALF)
    # Float32: a sum of six products of numbers below one, each with an error of 6e-8.
    np.testing.assert_allclose(traces, closed, rtol=0, atol=1e-6)
    for i in range(VOCABULARY):
        block = (np.diag(p[i]) - np.outer(p[i], p[i])) / VOCABULARY
        np.testing.assert_allclose(hessian[i, :, i], block, rtol=0, atol=1e-6)
        assert not np.delete(hessian[i], i, axis=1).any()


def test_at_the_optimum_the_gradient_vanishes_and_so_does_the_excess():
    gradient = jax.jit(jax.grad(lambda p: TASK.loss(p, whole_distribution())[0]))(optimum())["logits"]
    # Differences of probabilities below one, rounded at 6e-8.
    np.testing.assert_allclose(gradient, 0, atol=2e-7)
    measured = TASK.evaluate(optimum(), ())
    assert float(measured["deterministic_excess"]) == 0
    # The logarithm of 6 is 1.8: three roundings of 1e-7.
    assert abs(float(measured["uncertain_excess"])) <= 3e-7
    assert abs(float(measured["excess"])) <= 3e-7


def test_the_excess_is_the_divergence_from_the_data():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(VOCABULARY, VOCABULARY)).astype(np.float32)
    p, table = distribution(), logits.astype(np.float64)
    log_q = table - np.log(np.exp(table).sum(1, keepdims=True))
    divergence = (p * (np.log(np.where(p > 0, p, 1)) - log_q)).sum(1)
    measured = {k: float(v) for k, v in TASK.evaluate({"logits": jnp.asarray(logits)}, ()).items()}
    # Float32: sums of six terms of size two.
    assert measured == pytest.approx(
        {
            "excess": divergence.mean(),
            "deterministic_excess": divergence[:HALF].mean(),
            "uncertain_excess": divergence[HALF:].mean(),
        },
        abs=2e-6,
    )


def test_the_excess_is_the_expected_loss_less_the_entropy():
    logits = {"logits": jnp.asarray(np.random.default_rng(1).normal(size=(VOCABULARY, VOCABULARY)), jnp.float32)}
    entropy = math.log(VOCABULARY) / 2
    loss = float(TASK.loss(logits, whole_distribution())[0])
    assert float(TASK.evaluate(logits, ())["excess"]) == pytest.approx(loss - entropy, abs=2e-6)


def test_every_context_starts_uniform():
    measured = TASK.evaluate(TASK.init(jax.random.key(0)), ())
    assert float(measured["deterministic_excess"]) == pytest.approx(math.log(VOCABULARY), rel=1e-6)
    assert float(measured["uncertain_excess"]) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"vocabulary": 7}, r"^task\.vocabulary must be a positive even int, got 7$"),
        ({"vocabulary": 0}, r"^task\.vocabulary must be a positive even int, got 0$"),
        ({"vocabulary": -2}, r"^task\.vocabulary must be a positive even int, got -2$"),
        ({"batch_size": 0}, r"^task\.batch_size must be a positive int, got 0$"),
    ],
)
def test_errors(fields, message):
    with pytest.raises(ValueError, match=message):
        BigramTable(**fields)
