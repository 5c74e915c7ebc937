"""Schedule-Free against sequences worked out by hand, optax's own, and what optax does at its first steps."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lrstudy.optimizers import TABLE, averaged_params, schedule_free
from lrstudy.schedules import Constant, Cosine


def ramp(count):
    """(k + 1) / 4 of the rate for the first four steps."""
    return 0.1 * jnp.minimum((count + 1) / 4, 1)


def run(transform, params, gradient, steps):
    """y, and the state, after every update."""
    state, update, found = transform.init(params), jax.jit(transform.update), []
    for _ in range(steps):
        updates, state = update(gradient(params), state, params)
        params = optax.apply_updates(params, updates)
        found.append((params, state))
    return found


def sgd(learning_rate, **changed):
    row = TABLE["schedule_free_sgd"]
    return row.build(learning_rate, **{**row.defaults, **changed})


X = [0.9, 0.855, 0.81165, 0.7699005, 0.729703287, 0.69101140497]
Z = [0.9, 0.81, 0.72495, 0.644652, 0.568914435, 0.49755199482]
X_WARMED = [0.975, 0.936, 0.884650580357, 0.822406719643, 0.775046922666, 0.732358841271]


@pytest.mark.parametrize("learning_rate", [0.1, Constant(0.1)])
def test_the_average_on_a_parabola(learning_rate):
    """f = x^2 / 2 from 1, rate 0.1, b1 0.9."""
    found = run(sgd(learning_rate), jnp.float32(1), lambda y: y, 6)
    # Six steps of a few roundings of 6e-8.
    np.testing.assert_allclose([averaged_params(state, y) for y, state in found], X, rtol=1e-6)
    np.testing.assert_allclose([state.z for _, state in found], Z, rtol=1e-6)


@pytest.mark.parametrize("schedule", [ramp, Constant(0.1, warmup_steps=4)])
def test_a_warmup_weighs_its_steps_by_the_square_of_the_largest_rate(schedule):
    found = [float(averaged_params(s, y)) for y, s in run(sgd(schedule), jnp.float32(1), lambda y: y, 6)]
    if schedule is ramp:
        np.testing.assert_allclose(found, X_WARMED, rtol=1e-6)
    else:
        # This warmup begins at zero: the first step neither moves nor weighs, and nothing is divided by zero.
        assert found[0] == 1
        assert np.isfinite(found).all()
        assert found[-1] < found[1] < 1


def test_the_three_sequences_in_the_plane():
    """f = |x|^2 from (1, 2), rate 0.1, b1 0.9."""
    found = run(sgd(0.1), jnp.float32([1, 2]), lambda y: 2 * y, 3)
    y, x, z = ([np.asarray(v)[0] for v in values] for values in zip(*((y, s.x, s.z) for y, s in found), strict=True))
    np.testing.assert_allclose(y, [0.8, 0.712, 0.63104], rtol=1e-6)
    np.testing.assert_allclose(z, [0.8, 0.64, 0.4976], rtol=1e-6)
    np.testing.assert_allclose(x, [0.8, 0.72, 0.645866667], rtol=1e-6)
    assert all(np.allclose(np.asarray(v)[1], 2 * np.asarray(v)[0], rtol=1e-6) for v, _ in found)


def test_optax_counts_its_weights_from_one_and_its_steps_from_zero():
    """Why this room has its own: optax 0.2.8 reads one schedule at two counts, and its warmup of none never ends."""
    asked = []

    def noting(count):
        asked.append(int(count))
        return ramp(count)

    raw = optax.contrib.schedule_free(optax.sgd(ramp), noting)
    with jax.disable_jit():
        found = run(raw, jnp.float32(1), lambda y: y, 3)
        assert asked == [1, 2, 3]
        asked.clear()
        run(schedule_free(optax.identity(), noting), jnp.float32(1), lambda y: y, 3)
        assert asked == [0, 1, 2]
    x = [float(optax.contrib.schedule_free_eval_params(state, y)) for y, state in found]
    assert abs(x[1] - X_WARMED[1]) > 1e-3
    stuck = optax.contrib.schedule_free_sgd(0.1, warmup_steps=0)
    assert float(run(stuck, jnp.float32(1), lambda y: y, 5)[-1][0]) == 1.0
    assert float(run(sgd(Constant(0.1, warmup_steps=0)), jnp.float32(1), lambda y: y, 5)[-1][0]) < 0.8


def tree(seed):
    rng = np.random.default_rng(seed)
    return {"bias": jnp.float32(rng.normal(size=3)), "kernel": jnp.float32(rng.normal(size=(3, 2)))}


@pytest.mark.parametrize("name", ["schedule_free_sgd", "schedule_free_adamw"])
def test_with_the_counts_set_right_optax_agrees(name):
    """optax's rule with its weight's schedule one count earlier is the same rule; its x is read back from y and z."""
    schedule, row = Cosine(0.05, 12, warmup_steps=3), TABLE[name]
    numbers = {**row.defaults, "weight_decay": 0.1}
    mask = {"bias": False, "kernel": True}
    pieces = [optax.add_decayed_weights(0.1, mask=mask), optax.scale_by_learning_rate(schedule)]
    if name == "schedule_free_adamw":
        pieces.insert(0, optax.scale_by_rms(0.999, 1e-8, eps_in_sqrt=False, bias_correction=True))
    theirs = optax.contrib.schedule_free(optax.chain(*pieces), lambda count: schedule(count - 1), b1=0.9)

    def gradient(params):
        return jax.tree.map(lambda p, g: p + 0.1 * g, params, tree(1))

    ours = run(row.build(schedule, **numbers), tree(0), gradient, 10)
    for (y, state), (other, reference) in zip(ours, run(theirs, tree(0), gradient, 10), strict=True):
        average = optax.contrib.schedule_free_eval_params(reference, other)
        for mine, their in ((y, other), (averaged_params(state, y), average), (state.z, reference.z)):
            for k in mine:
                # Ten steps; reading x back divides a rounding of y by b1 at each; Adam divides by small moments.
                np.testing.assert_allclose(mine[k], their[k], rtol=0, atol=1e-5)


def test_without_interpolation_it_is_averaged_sgd():
    """b1 = 0: y is z, and x the plain mean of the iterates; optax divides by b1."""
    found = run(sgd(0.1, b1=0.0), jnp.float32(1), lambda y: y, 5)
    iterates = 0.9 ** np.arange(1, 6)
    np.testing.assert_allclose([y for y, _ in found], iterates, rtol=1e-6)
    means = np.cumsum(iterates) / np.arange(1, 6)
    np.testing.assert_allclose([averaged_params(s, y) for y, s in found], means, rtol=1e-6)


def test_the_average_of_low_precision_parameters_is_kept_in_float32():
    """A step of a thousandth of the distance is below bfloat16's spacing, and the average still moves."""
    found = run(sgd(1e-4), jnp.bfloat16([1.0]), lambda y: y, 20)
    x = [float(state.x[0]) for _, state in found]
    assert all(a > b for a, b in itertools.pairwise(x))
    assert averaged_params(found[-1][1], found[-1][0]).dtype == jnp.bfloat16


def test_parameters_are_needed():
    transform = schedule_free(optax.identity(), 0.1)
    with pytest.raises(ValueError, match="params must be given"):
        transform.update(jnp.ones(2), transform.init(jnp.ones(2)))
