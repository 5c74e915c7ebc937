"""Sharpness along a run: what a warm start saves, what it misses, and what is counted."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrstudy.curvature import Operator, SharpnessTracker, Status
from tests.curvature.problems import KEY, counting, matrix_operator, rotated

N = 60
BULK = np.linspace(-1, 1, N - 2)


@functools.cache
def compiled(tracker):
    return jax.jit(tracker.update)


def following(tracker, matrices, operator_of=matrix_operator):
    """All results of a tracker, and its last state."""
    update = compiled(tracker)
    state, results = tracker.init(jnp.zeros(N), KEY), []
    for matrix in matrices:
        state, result = update(state, operator_of(matrix))
        results.append(result)
    return state, results


def drifting(steps):
    """Matrices whose largest eigenvalue grows from 3 to 4 while its vector turns by a tenth of a right angle."""
    for t in np.linspace(0, 1, steps):
        angle = 0.1 * np.pi / 2 * t
        turn = np.eye(N)
        turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        yield jnp.asarray(turn @ np.diag([3 + t, 2.0, *BULK]) @ turn.T, jnp.float32)


def test_a_warm_start_follows_at_fewer_products_than_a_cold_one():
    _, warm = following(SharpnessTracker(audit_every=0), drifting(15))
    _, cold = following(SharpnessTracker(audit_every=1), drifting(15))
    for result, t in zip(warm, np.linspace(0, 1, 15), strict=True):
        assert int(result.status) == Status.CONVERGED
        # The residual squared over a gap of a third of the value.
        assert float(result.values[0]) == pytest.approx(3 + t, rel=1e-5)
    products = [sum(int(r.matvecs) for r in results[1:]) for results in (warm, cold)]
    # An audited measurement is the warm one and a cold one beside it.
    assert products[0] < products[1] - products[0]


def test_products_are_counted_as_they_are_made():
    matrix = rotated(np.r_[3, 2, BULK])
    operator, made = counting(matrix)
    tracker = SharpnessTracker(audit_every=3)
    update = jax.jit(lambda state: tracker.update(state, operator))
    state = tracker.init(jnp.zeros(N), KEY)
    for calls in range(1, 8):
        before = len(made)
        state, result = update(state)
        jax.effects_barrier()
        assert int(result.matvecs) == len(made) - before
        assert int(state.products) == len(made)
        assert int(state.calls) == calls


def test_the_first_measurement_pays_for_the_probe():
    matrix = rotated(np.r_[3, 2, BULK])
    state, (first, second) = following(SharpnessTracker(audit_every=0), [matrix, matrix])
    assert int(second.matvecs) < int(first.matvecs) - 2
    assert int(state.missed) == 0


def spiked(followed, hidden):
    """Two directions that no product mixes, and a bulk."""
    diagonal = jnp.asarray(np.r_[followed, hidden, np.linspace(-1, 1, 598)], jnp.float32)
    return Operator(jax.tree_util.Partial(jnp.multiply, diagonal), jnp.zeros(600))


def test_an_audit_finds_the_eigenvalue_that_a_warm_start_misses():
    # The other block overtakes by 7% but has 0.2% of the start: 5% of a random direction in 600 dimensions. After the
    # four products that the followed one takes, it is still hidden; an audit's start knows nothing of the past.
    tracker = SharpnessTracker(audit_every=4)
    update = compiled(tracker)
    state, values, missed = tracker.init(jnp.zeros(600), KEY), [], []
    for hidden in (2.0, *[3.2] * 6):
        state, result = update(state, spiked(3.0, hidden))
        values.append(float(result.values[0]))
        missed.append(int(state.missed))
    assert values == pytest.approx([3, 3, 3, 3, 3.2, 3.2, 3.2], rel=1e-4)
    assert missed == [0, 0, 0, 0, 1, 1, 1]


def test_after_a_nan_the_tracker_starts_anew():
    matrix = rotated(np.r_[3, 2, BULK])
    state, results = following(SharpnessTracker(audit_every=0), [matrix, matrix * np.nan, matrix, matrix])
    assert [int(r.status) for r in results] == [
        Status.CONVERGED,
        Status.NON_FINITE,
        Status.CONVERGED,
        Status.CONVERGED,
    ]
    assert np.isnan(results[1].values[0])
    for result in results[2:]:
        assert float(result.values[0]) == pytest.approx(3, rel=1e-5)
    assert int(state.calls) == 4
    # The third is cold, the fourth warm again.
    assert int(results[3].matvecs) < int(results[2].matvecs)


def test_trackers_in_one_vmap_give_what_they_give_one_by_one():
    runs = jnp.stack([jnp.stack(list(drifting(4))) * scale for scale in (1.0, 5.0)])
    tracker = SharpnessTracker(audit_every=1)
    update = jax.jit(jax.vmap(lambda state, matrix: tracker.update(state, matrix_operator(matrix))))
    state = jax.vmap(lambda _: tracker.init(jnp.zeros(N), KEY))(jnp.arange(2))
    together = []
    for step in range(4):
        state, result = update(state, runs[:, step])
        together.append(result)
    for lane in range(2):
        alone_state, alone = following(tracker, runs[lane])
        assert int(state.products[lane]) == int(alone_state.products)
        for found, wanted in zip(together, alone, strict=True):
            assert int(found.matvecs[lane]) == int(wanted.matvecs)
            # A batched matrix product rounds otherwise.
            np.testing.assert_allclose(found.values[lane], wanted.values, rtol=1e-5)


def test_a_state_keeps_its_types_as_a_loop_needs():
    tracker = SharpnessTracker(audit_every=0)
    matrices = jnp.stack(list(drifting(4)))
    scanned, results = jax.lax.scan(
        lambda state, matrix: tracker.update(state, matrix_operator(matrix)), tracker.init(jnp.zeros(N), KEY), matrices
    )
    assert int(scanned.calls) == 4
    np.testing.assert_allclose(results.values[:, 0], np.linspace(3, 4, 4), rtol=1e-5)


def test_parameters_in_a_tree():
    params = {"a": jnp.zeros((3, 4)), "b": jnp.zeros(())}
    tracker = SharpnessTracker()
    operator = Operator(lambda v: {"a": 2 * v["a"], "b": 5 * v["b"]}, params)
    state, result = jax.jit(tracker.update)(tracker.init(params, KEY), operator)
    assert float(result.values[0]) == pytest.approx(5, rel=1e-5)
    assert abs(float(result.vectors["b"][0])) == pytest.approx(1, rel=1e-2)
    assert state.vector.shape == (13,)


def test_audits_of_negative_eigenvalues_find_nothing_that_was_missed():
    one = Operator(jax.tree_util.Partial(lambda d, v: d * v, -jnp.linspace(1.0, 2.0, 700)), jnp.zeros(700))
    tracker = SharpnessTracker(audit_every=1)
    state = tracker.init(jnp.zeros(700), jax.random.key(0))
    for _ in range(3):
        state, found = tracker.update(state, one)
    np.testing.assert_allclose(found.values[0], -1.0, rtol=1e-3)
    assert int(state.missed) == 0


def test_outside_of_a_program_it_is_compiled_once():
    matrix = jnp.diag(jnp.linspace(0.0, 1.0, 77))
    tracker = SharpnessTracker()
    state, before = tracker.init(jnp.zeros(77), KEY), SharpnessTracker._updated._cache_size()
    for _ in range(3):
        state, _ = tracker.update(state, matrix_operator(matrix))
    assert SharpnessTracker._updated._cache_size() == before + 1
