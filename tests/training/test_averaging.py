"""Weights over checkpoints, and that averaging them is a decay."""

import functools
import inspect
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lrstudy.schedules import SHAPES, Constant, Linear
from lrstudy.tasks import NoisyQuadratic
from lrstudy.training import averaging, lanes
from lrstudy.training.averaging import KINDS, merge, merge_weights
from lrstudy.training.program import Hyperparameters

GOLDEN = {
    "ema": [0.32768, 0.08192, 0.1024, 0.128, 0.16, 0.2],
    "ema_normalised": [0.0888194987, 0.1110243733, 0.1387804666, 0.1734755833, 0.2168444791, 0.2710555989],
    "decay:1-sqrt": [0.4472135955, 0.1852419365, 0.1421411372, 0.1198305218, 0.105572809, 0],
    "decay:inverse": [0.6428571429, 0.1397515528, 0.0611413043, 0.0342987805, 0.0219512195, 0.1],
    "uniform": [1 / 6] * 6,
    "linear": [n / 21 for n in (1, 2, 3, 4, 5, 6)],
    "decay:linear": [0.2, 0.2, 0.2, 0.2, 0.2, 0],
}


@pytest.mark.parametrize("kind", GOLDEN)
def test_golden(kind):
    # Printed to ten decimals: half a unit of the last.
    np.testing.assert_allclose(merge_weights(kind, 6), GOLDEN[kind], rtol=0, atol=5.1e-11)


@pytest.mark.parametrize("k", [1, 2, 3, 6, 100])
@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_shares(kind, k):
    weights = merge_weights(kind, k, alpha=0.3)
    assert weights.shape == (k,)
    # A sum of k numbers below one, each with a rounding of 1.1e-16.
    assert abs(weights.sum() - 1) <= k * 1.2e-16
    assert (weights >= 0).all()


def test_every_shape_of_a_decay_is_a_kind():
    assert {kind.removeprefix("decay:") for kind in KINDS if kind.startswith("decay:")} == set(SHAPES)


@pytest.mark.parametrize("alpha", [0.01, 0.2, 0.9])
def test_the_plain_recursion_gives_the_oldest_what_the_others_leave(alpha):
    plain, normalised = (merge_weights(kind, 8, alpha) for kind in ("ema", "ema_normalised"))
    assert plain[0] == pytest.approx((1 - alpha) ** 7, rel=1e-14)
    np.testing.assert_allclose(plain[1:] / plain[-1], normalised[1:] / normalised[-1], rtol=1e-14)
    assert plain[0] / plain[1] == pytest.approx((1 - alpha) / alpha, rel=1e-14)
    assert normalised[0] / normalised[1] == pytest.approx(1 - alpha, rel=1e-14)


def test_weights_are_the_same_inside_of_jit():
    inside = jax.jit(lambda x: x * jnp.asarray(merge_weights("decay:1-sqrt", 6)))(jnp.float32(1))
    np.testing.assert_array_equal(inside, merge_weights("decay:1-sqrt", 6).astype(np.float32))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("unifrom", 3), r"^kind must be one of \['uniform', .*\] \(nearest: 'uniform'\), got 'unifrom'$"),
        (("decay", 3), r"^kind must be one of .*, got 'decay'$"),
        (("uniform", 0), r"^k must be a positive int, got 0$"),
        (("uniform", 2.5), r"^k must be a positive int, got 2.5$"),
        (("uniform", True), r"^k must be a positive int, got True$"),
        (("ema", "3"), r"^k must be a positive int, got '3'$"),
        (("ema", 3, "3"), r"^alpha must be in \(0, 1\), got '3'$"),
        (("ema", 3, True), r"^alpha must be in \(0, 1\), got True$"),
        (("ema", 3, None), r"^alpha must be in \(0, 1\), got None$"),
        (("ema", 3, 0.0), r"^alpha must be in \(0, 1\), got 0.0$"),
        (("ema", 3, 1.0), r"^alpha must be in \(0, 1\), got 1.0$"),
        (("ema", 3, float("nan")), r"^alpha must be in \(0, 1\), got nan$"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(merge_weights)(*arguments)  # past the tests' own type checker


# -- merging -----------------------------------------------------------------------------------------------------------


def test_bfloat16_trees_are_added_up_in_float32():
    trees = [{"w": jnp.full(3, value, jnp.bfloat16)} for value in (256, 1, 1)]
    merged = merge(trees, [1.0, 1.0, 1.0])
    # bfloat16 has eight bits: 256 + 1 is 256 in it, twice; 258 it can hold.
    assert merged["w"].dtype == jnp.bfloat16
    assert merged["w"].astype(float).tolist() == [258.0] * 3


def test_a_merge_needs_one_weight_a_checkpoint():
    message = re.escape("weights must be one for each of 2 > 0 checkpoints, got 3")
    with pytest.raises(ValueError, match=f"^{message}$"):
        merge([{}, {}], np.ones(3))
    with pytest.raises(ValueError, match="one for each of 0 > 0 checkpoints, got 0"):
        merge([], [])


@functools.cache
def trajectory(steps=60, chains=4, rate=0.25):
    """Every place of plain SGD at a constant rate on a noisy quadratic."""
    task = NoisyQuadratic(chains=chains)

    def body(params, step):
        batch = task.batch((), jnp.int32(3), step)
        gradient = jax.grad(lambda p: task.loss(p, batch)[0])(params)
        return optax.apply_updates(params, jax.tree.map(lambda g: -rate * g, gradient)), params["position"]

    return np.asarray(jax.lax.scan(body, task.init(jax.random.key(0)), jnp.arange(steps + 1))[1], np.float64)


@pytest.mark.parametrize("shape", SHAPES)
def test_merging_checkpoints_is_decaying_the_increments_between_them(shape):
    path = trajectory()
    spaced = path[::12]
    kinds = merge_weights(f"decay:{shape}", len(spaced))
    multipliers = 1 - np.cumsum(kinds)[:-1]
    assert (np.diff(multipliers) <= 1e-15).all()
    np.testing.assert_allclose(averaging.decay_weights(multipliers), kinds, rtol=0, atol=4e-16)
    decayed = spaced[0] + np.tensordot(multipliers, np.diff(spaced, axis=0), axes=1)
    merged = merge([{"x": jnp.asarray(x, jnp.float32)} for x in spaced], kinds)["x"]
    # Six float32 products and sums of numbers below the largest coordinate: a rounding of 6e-8 each.
    np.testing.assert_allclose(merged, decayed, rtol=0, atol=12 * 6e-8 * np.abs(spaced).max())


def test_where_gradients_do_not_depend_on_the_place_a_decayed_run_is_a_merge():
    """On a plane with noise, SGD under a linear decay to zero ends at the uniform mean of the constant run's places."""
    task = NoisyQuadratic(eigenvalues=(0.0, 0.0), noise=(1.0, 4.0), start=(1.0, -1.0), chains=3)
    rate, steps = 0.5, 24

    def trained(schedule, lengths):
        hparams = [Hyperparameters(schedule, task, {}, None, 5, length) for length in lengths]
        return lanes.run(hparams, lambda h: optax.sgd(h.schedule))[0].state.params["position"]

    # The rate of update t is (steps - t) / steps of the peak: the first is whole, so the decay's increments are those
    # between the places after updates 1, 2, ..., steps.
    places = list(trained(Constant(rate), range(1, steps + 1)))
    decayed = trained(Linear(rate, steps), [steps])[0]
    merged = merge(places, merge_weights("uniform", steps))
    scale = max(float(jnp.abs(place).max()) for place in places)
    # One float32 rounding of at most 6e-8 for every update, and for every product and sum of the mean.
    np.testing.assert_allclose(merged, decayed, rtol=0, atol=3 * steps * 6e-8 * scale)


# -- while training goes on --------------------------------------------------------------------------------------------


def shown(count, dtype=jnp.float32):
    """Parameters 1, 2, ... that a run shows its averages."""
    return [{"w": jnp.full((2,), n, dtype), "b": jnp.asarray(-n, dtype)} for n in range(1, count + 1)]


def run_window(n, interval, trees):
    update = jax.jit(averaging.window_update)
    state = averaging.window_init(jax.tree.map(jnp.zeros_like, trees[0]), n)
    for tree in trees:
        state = update(state, tree, interval)
    return state


@pytest.mark.parametrize(("n", "interval", "count"), [(1, 1, 5), (3, 1, 2), (3, 1, 3), (3, 1, 11), (4, 5, 29)])
def test_a_window_averages_the_latest_checkpoints(n, interval, count):
    taken = [step for step in range(1, count + 1) if step % interval == 0][-n:]
    average = averaging.window_average(run_window(n, interval, shown(count)))
    # Means of whole numbers up to 29: a few float32 roundings.
    np.testing.assert_allclose(average["w"], [np.mean(taken)] * 2, rtol=3e-7)
    np.testing.assert_allclose(average["b"], -np.mean(taken), rtol=3e-7)


@pytest.mark.parametrize("count", [6, 7, 10])
def test_a_full_windows_weights_are_oldest_first(count):
    trees = shown(count)
    weights = merge_weights("ema_normalised", 6)
    average = averaging.window_average(run_window(6, 1, trees), weights)
    np.testing.assert_allclose(average["w"], merge(trees[-6:], weights)["w"], rtol=3e-7)


def test_a_window_that_fills_uses_the_weights_of_what_is_there():
    average = averaging.window_average(run_window(4, 1, shown(2)), np.asarray([0.1, 0.2, 0.3, 0.4]))
    np.testing.assert_allclose(average["b"], -(0.3 * 1 + 0.4 * 2) / 0.7, rtol=3e-7)


@pytest.mark.parametrize("count", range(6))
@pytest.mark.parametrize("kind", KINDS)
def test_a_window_is_an_average_at_every_fill_level(kind, count):
    """In float64: the latest weights, scaled; the newest checkpoint where they are all zero; at first the start."""
    n, start = 4, {"w": jnp.asarray([-3.0, 7.0])}
    weights = merge_weights(kind, n)
    state = averaging.window_init(start, n)
    trees = [{"w": jnp.asarray([i, i**2 / 8], jnp.float32)} for i in range(1, count + 1)]
    for tree in trees:
        state = averaging.window_update(state, tree)
    average = averaging.window_average(state, weights)["w"]
    if count == 0:
        np.testing.assert_array_equal(average, start["w"])
        return
    latest = np.asarray([tree["w"] for tree in trees[-n:]], np.float64)
    own = weights[n - len(latest) :]
    expected = own @ latest / own.sum() if own.any() else latest[-1]
    # Four float32 weights, their sum and quotient, and a sum of four products: some eight roundings of 6e-8.
    np.testing.assert_allclose(average, expected, rtol=8 * 6e-8)


def test_the_weights_of_a_window_that_fills_can_be_differentiated():
    """Also where all those that are there are zero: the average is the newest checkpoint, whatever its weight."""
    state = run_window(4, 1, shown(1))
    weights = jnp.asarray(merge_weights("decay:linear", 4), jnp.float32)
    gradient = jax.grad(lambda w: averaging.window_average(state, w)["b"])(weights)
    np.testing.assert_array_equal(gradient, np.zeros(4))


def test_before_its_first_checkpoint_an_average_is_where_it_was_started():
    start = shown(3)[2]
    for average in (
        averaging.window_average(averaging.window_update(averaging.window_init(start, 4), shown(1)[0], 2)),
        averaging.ema_update(averaging.ema_init(start), shown(1)[0], 0.5, 2).mean,
        averaging.ema_update(averaging.ema_init(start), shown(1)[0], 0.5, start=1).mean,
    ):
        np.testing.assert_array_equal(average["w"], start["w"])


def test_averages_of_bfloat16_parameters_are_float32():
    window = run_window(2, 1, shown(2, jnp.bfloat16))
    ema = averaging.ema_update(averaging.ema_init(shown(1, jnp.bfloat16)[0]), shown(1, jnp.bfloat16)[0], 0.9)
    leaves = jax.tree.leaves((averaging.window_average(window), ema.mean))
    assert {leaf.dtype.name for leaf in leaves} == {"float32"}


@pytest.mark.parametrize(("interval", "start"), [(1, 0), (2, 0), (3, 4)])
def test_the_moving_average_is_the_plain_recursion(interval, start):
    count, trees = 6 * interval + start, shown(6 * interval + start)
    update = jax.jit(averaging.ema_update)
    state = averaging.ema_init(jax.tree.map(jnp.zeros_like, trees[0]))
    for tree in trees:
        state = update(state, tree, 0.8, interval, start)
    taken = [trees[i - 1] for i in range(start + interval, count + 1, interval)]
    expected = merge(taken, merge_weights("ema", 6, alpha=0.2))
    # Six steps with two float32 roundings each.
    np.testing.assert_allclose(state.mean["w"], expected["w"], rtol=12 * 6e-8)


def test_averages_run_inside_a_loop_and_over_lanes():
    def averaged(scale):
        def body(i, states):
            tree = {"w": scale * (i + 1.0)}
            return averaging.window_update(states[0], tree, 2), averaging.ema_update(states[1], tree, 0.5)

        first = {"w": jnp.zeros(())}
        window, ema = jax.lax.fori_loop(0, 8, body, (averaging.window_init(first, 3), averaging.ema_init(first)))
        return averaging.window_average(window)["w"], ema.mean["w"]

    window, ema = jax.jit(jax.vmap(averaged))(jnp.asarray([1.0, -2.0]))
    np.testing.assert_allclose(window, [6.0, -12.0], rtol=3e-7)
    # The first checkpoint weighs 1/2^7, the n-th 1/2^(9 - n).
    mean = 1 / 2**7 + sum(n / 2 ** (9 - n) for n in range(2, 9))
    np.testing.assert_allclose(ema, [mean, -2 * mean], rtol=3e-7)


@pytest.mark.parametrize("n", [0, 2.5, True])
def test_a_window_holds_at_least_one_checkpoint(n):
    with pytest.raises(ValueError, match=rf"^n must be a positive int, got {n}$"):
        inspect.unwrap(averaging.window_init)({}, n)  # past the tests' own type checker
