"""What every task promises."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrstudy.tasks import TABLE, CurvedRiver, NoisyQuadratic
from lrstudy.tasks.base import DATA_STREAM, INIT_STREAM, data_key, stream_key
from tests.tasks.cases import TASKS, case, same, to_numpy
from tests.tasks.tfds.made import shared_folder

SEEDS, STEPS = (0, 1, 2**31 - 1), (0, 1, 7, 10_000)

# A normal number is made by a polynomial, whose products and sums a compiler may or may not fuse: a few units in the
# last place between two programs. Integers, and pixels that are looked up, are the same everywhere.
ULP = 4


FULL_BATCH = ("random_features", "random_halfspace", "two_directions")
"""Tasks whose every batch is the whole sample."""


def assert_close(first, second):
    for a, b in zip(jax.tree.leaves(to_numpy(first)), jax.tree.leaves(to_numpy(second)), strict=True):
        assert a.dtype == b.dtype
        if np.issubdtype(a.dtype, np.floating):
            np.testing.assert_array_max_ulp(a, b, maxulp=ULP)
        else:
            np.testing.assert_array_equal(a, b)


def test_there_is_a_case_of_every_task():
    assert {name: type(task) for name, task in TASKS.items()} == TABLE


@pytest.mark.parametrize("name", TASKS)
def test_defaults_build_and_make_a_value(name):
    given = {"name": "made_texts", "data_dir": shared_folder()} if name == "tfds" else {}
    first, second = TABLE[name](**given), TABLE[name](**given)
    assert first == second
    assert hash(first) == hash(second)
    with pytest.raises(dataclasses.FrozenInstanceError):
        first.model = None


@pytest.mark.parametrize("name", TASKS)
def test_a_batch_is_a_function_of_seed_and_step(name):
    asked = [(seed, step) for seed in SEEDS for step in STEPS]
    batches = {pair: case(name).batch(*pair) for pair in asked}
    for pair in reversed(asked):
        assert same(case(name).batch(*pair), batches[pair]), pair
    for i, first in enumerate(asked):
        for second in asked[i + 1 :]:
            assert same(batches[first], batches[second]) == (name in FULL_BATCH), (first, second)


@pytest.mark.parametrize("name", TASKS)
def test_a_batch_is_the_same_inside_and_outside_of_jit(name):
    c = case(name)
    assert_close(c.task.batch(c.data, jnp.int32(3), jnp.int32(5)), c.batch(3, 5))


@pytest.mark.parametrize("name", TASKS)
def test_lanes_of_seeds_in_a_loop_over_steps_draw_the_batches_of_each_alone(name):
    c, steps = case(name), 3

    def looped(data, seed):
        return jax.lax.scan(lambda _, step: (None, c.task.batch(data, seed, step)), None, jnp.arange(steps))[1]

    lanes = to_numpy(jax.jit(jax.vmap(looped, in_axes=(None, 0)))(c.data, jnp.int32(SEEDS)))
    for lane, seed in enumerate(SEEDS):
        for step in range(steps):
            assert_close(jax.tree.map(lambda x, at=(lane, step): x[at], lanes), c.batch(seed, step))


@pytest.mark.parametrize("name", TASKS)
def test_initial_parameters_and_losses_are_float32(name):
    c = case(name)
    init = jax.eval_shape(c.task.init, jax.random.key(0))
    assert {x.dtype for x in jax.tree.leaves(init)} == {jnp.dtype(jnp.float32)}
    loss, _ = jax.eval_shape(c.task.loss, init, c.batch(0, 0))
    assert (loss.shape, loss.dtype) == ((), jnp.float32)


@pytest.mark.parametrize("name", TASKS)
def test_a_gradient_is_like_the_parameters_and_comes_with_the_loss(name):
    c = case(name)
    batch = c.batch(0, 0)
    (value, scalars), gradient = jax.jit(c.task.gradient)(c.params, batch, ())
    # One program reads the loss alone, the other differentiates it: their sums may be ordered differently.
    np.testing.assert_allclose(value, jax.jit(c.task.loss)(c.params, batch)[0], rtol=2e-6)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), gradient) == jax.tree.map(lambda x: (x.shape, x.dtype), c.params)
    assert {(x.shape, x.dtype.name) for x in (value, *scalars.values())} == {((), "float32")}


@pytest.mark.parametrize("name", TASKS)
def test_evaluation_holds_the_objective_in_float32_scalars_of_the_parameters(name):
    c = case(name)
    evaluate = jax.jit(c.task.evaluate)
    first = to_numpy(evaluate(c.params, c.data))
    assert c.task.objective in first
    assert {(x.shape, x.dtype.name) for x in first.values()} == {((), "float32")}
    assert same(first, evaluate(c.params, c.data))
    moved = evaluate(jax.tree.map(lambda x: x + jnp.sin(1 + jnp.arange(x.size)).reshape(x.shape), c.params), c.data)
    assert first[c.task.objective] != moved[c.task.objective]


@pytest.mark.parametrize("name", TASKS)
def test_lane_fields_are_the_leaves(name):
    task = TASKS[name]
    leaves, structure = jax.tree.flatten(task)
    assert leaves == jax.tree.leaves([getattr(task, field) for field in task.lane_fields])
    assert structure.unflatten(leaves) == task
    for field in dataclasses.fields(task):
        if field.name not in task.lane_fields and field.type is int:
            other = dataclasses.replace(task, **{field.name: getattr(task, field.name) * 2})
            assert jax.tree.structure(other) != structure, field.name


@pytest.mark.parametrize("name", [name for name, task in TASKS.items() if task.lane_fields])
def test_lanes_of_tasks_are_the_tasks_alone(name):
    c = case(name)
    scaled = [jax.tree.map(lambda x, by=by: jnp.float32(x * by), c.task) for by in (1.0, 0.5, 3.0)]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *scaled)

    def measure(task, params):
        batch = task.batch(c.data, jnp.int32(2), jnp.int32(9))
        return task.gradient(params, batch, ())[1], task.evaluate(params, c.data)

    lanes = jax.jit(jax.vmap(measure, in_axes=(0, None)))(stacked, c.params)
    alone = jax.jit(measure)
    for lane, task in enumerate(scaled):
        for a, b in zip(jax.tree.leaves(lanes), jax.tree.leaves(alone(task, c.params)), strict=True):
            # Means and gradients are sums of up to six terms of either sign, each with a few roundings of 6e-8; those
            # of a model go through a dozen sums of up to 256 terms.
            tolerance = 2e-6 if task.model is None else 3e-5
            np.testing.assert_allclose(a[lane], b, rtol=0, atol=tolerance * np.abs(b).max())


def test_streams_of_one_seed_differ():
    keys = [stream_key(seed, stream) for seed in (0, 1) for stream in (INIT_STREAM, DATA_STREAM)]
    keys += [data_key(0, 0), data_key(0, 1), data_key(1, 0)]
    data = np.stack([jax.random.key_data(key) for key in keys])
    assert len(np.unique(data, axis=0)) == len(keys)


@pytest.mark.parametrize(
    "name",
    ["continual_digits", "digits", "mixed_text", "modular_arithmetic", "noisy_digits", "repeated_text", "text", "tfds"],
)
def test_a_task_without_its_model_says_so(name):
    task = dataclasses.replace(TASKS[name], model=None)
    with pytest.raises(ValueError, match=rf"^{type(task).__name__}: model must be given, got None$"):
        task.init(jax.random.key(0))
    with pytest.raises(ValueError, match=rf"^{type(task).__name__}: model must be given, got None$"):
        task.loss({}, jax.tree.map(jnp.asarray, case(name).batch(0, 0)))


SIZES = {
    "bigram": 40,
    "continual_digits": 50,
    "digits": 50,
    "feature_noise": 6,
    "federated_digits": 3 * 2 * 5,
    "mixed_text": 8 * 5,
    "modular_arithmetic": 9,
    "noisy_digits": 50,
    "noisy_regression": 6 * 4,
    "polynomial_regression": 3,
    "quadratic": 6,
    "random_features": 9,
    "random_halfspace": 9,
    "repeated_text": 8 * 5,
    "river": 6,
    "tanh_regression": 3,
    "diagonal_regression": 3,
    "orthogonal_regression": 3,
    "relu_regression": 3,
    "text": 8 * 5,
    "tfds": 8 * 5,
    "two_directions": 7,
}


@pytest.mark.parametrize("name", TASKS)
def test_tokens_per_step_counts_examples_or_predicted_tokens(name):
    assert TASKS[name].tokens_per_step() == SIZES[name]


@pytest.mark.parametrize("task", [NoisyQuadratic, CurvedRiver])
def test_landscapes_refuse_what_they_cannot_compute(task):
    with pytest.raises(ValueError, match=r"task\.chains must be a positive int, got 0"):
        task(chains=0)
    noise = (-1.0, 1.0, 1.0) if task is NoisyQuadratic else -1.0
    with pytest.raises(ValueError, match=r"task\.noise must be a variance"):
        task(noise=noise)
