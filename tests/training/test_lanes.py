import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lrstudy.training import lanes
from lrstudy.training.layout import Layout, layouts_of
from lrstudy.training.program import abstract_lanes, empty_lanes, make_program, make_window, stack, to_device, to_host
from tests.training.problems import hparams_and_transform, run_of

# Two executors order the additions of a product differently: a float32 sum of a few hundred terms differs by less than
# 1e-6 of their size, and SGD hands that on as it is (Adam would divide it by a gradient that may be as small).
EXECUTORS_AGREE = {"rtol": 2e-6, "atol": 1e-6}


def leaves(lane):
    return [np.asarray(x) for x in jax.tree.leaves(to_host(lane))]


def train(runs, executor="map", **cadence):
    hparams, make_transform = hparams_and_transform(runs)
    return lanes.run(hparams, make_transform, executor=executor, **cadence)


SIZES = {
    "digits": {},
    "bigram": {},
    "federated_digits": {"clients": 6, "active": 2, "local_steps": 2},
    "quadratic": {"chains": 32},
    "river": {"chains": 32},
}


@pytest.mark.parametrize(("task", "sizes"), SIZES.items())
def test_vmap_and_map_give_the_same_numbers(task, sizes):
    runs = [run_of(task, seed=seed, clip_norm=1.0, optimizer="sgd", **sizes) for seed in (0, 1)]
    mapped, mapped_rows, mapped_finals = train(runs, "map", record_every=5, evaluate_every=10)
    batched, batched_rows, batched_finals = train(runs, "vmap", record_every=5, evaluate_every=10)
    for a, b in zip(leaves(mapped), leaves(batched), strict=True):
        np.testing.assert_allclose(a, b, **EXECUTORS_AGREE)
    for a, b in ((mapped_rows, batched_rows), (mapped_finals, batched_finals)):
        assert set(a) == set(b)
        for name in a:
            np.testing.assert_allclose(a[name], b[name], **EXECUTORS_AGREE)


def test_a_lane_does_not_depend_on_its_neighbours_or_its_place():
    runs = [run_of(seed=seed, schedule=("Cosine", {"peak": 0.01 * (1 + seed)})) for seed in range(3)]
    together, *_ = train(runs)
    turned, *_ = train(runs[::-1])
    for a, b in zip(leaves(together), leaves(turned), strict=True):
        np.testing.assert_array_equal(a, b[::-1])


def test_rows_are_at_every_multiple_and_at_the_last_step():
    runs = [run_of("bigram", steps=steps) for steps in (20, 23)]
    _, rows, finals = train(runs, record_every=5, evaluate_every=10)
    of_lane = [rows["step"][rows["lane"] == lane].tolist() for lane in range(2)]
    assert of_lane == [[0, 5, 10, 15, 19], [0, 5, 10, 15, 20, 22]]
    evaluated = [rows["step"][(rows["lane"] == lane) & ~np.isnan(rows["excess"])].tolist() for lane in range(2)]
    assert evaluated == [[0, 10], [0, 10, 20]]
    assert finals["lane"].tolist() == [0, 1]


def test_a_shorter_lane_stops_at_its_own_end():
    alone, _, _ = train([run_of(steps=12)])
    beside, _, _ = train([run_of(steps=12), run_of(steps=20)])
    assert np.asarray(beside.state.step).tolist() == [12, 20]
    for a, b in zip(leaves(alone), leaves(beside), strict=True):
        np.testing.assert_array_equal(a[0], b[0])


def test_how_steps_are_cut_into_calls_changes_nothing():
    runs = [run_of(seed=seed) for seed in (0, 1)]
    hparams, make_transform = hparams_and_transform(runs)
    stacked, program = stack(hparams), lanes.spread(make_program(make_transform), Layout("map"))
    data = jax.device_put(runs[0].task.load())
    ends = []
    for cuts in ([20], [1, 2, 3, 11, 20], list(range(1, 21))):
        current = empty_lanes(abstract_lanes(stacked, make_transform))
        for start, stop in zip([0, *cuts], cuts, strict=False):
            current, _ = program(current, stacked, data, make_window(start, stop, fresh=start == 0))
        ends.append(leaves(current))
    assert program._cache_size() == 1
    for other in ends[1:]:
        for a, b in zip(ends[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_sweep_compiles_once_whatever_its_numbers():
    hparams, make_transform = hparams_and_transform([run_of("bigram")])
    program = lanes.spread(make_program(make_transform), Layout("map"))
    for seed, peak in ((0, 0.1), (1, 0.2), (2, 0.4)):
        own = stack([run_of("bigram", seed=seed, schedule=("Cosine", {"peak": peak})).hyperparameters] * 2)
        program(empty_lanes(abstract_lanes(own, make_transform)), own, (), make_window(0, 3, fresh=True))
    assert program._cache_size() == 1
    assert len(hparams) == 1


def test_lanes_are_donated():
    hparams, make_transform = hparams_and_transform([run_of("bigram")])
    own = stack(hparams)
    program = lanes.spread(make_program(make_transform), Layout("map"))
    before = empty_lanes(abstract_lanes(own, make_transform))
    program(before, own, (), make_window(0, 1, fresh=True))
    assert before.state.params["logits"].is_deleted()


def test_runs_that_differ_in_more_than_numbers_are_refused():
    with pytest.raises(ValueError, match="numbers alone"):
        stack([run_of("bigram").hyperparameters, run_of("bigram", batch_size=8).hyperparameters])


def test_an_unknown_executor_is_refused():
    unchecked = inspect.unwrap(layouts_of)  # past the tests' own type checker
    with pytest.raises(ValueError, match="executor must be one of"):
        unchecked("loop", 2)


def test_host_and_device_are_inverse():
    hparams, make_transform = hparams_and_transform([run_of("digits")])
    own = stack(hparams)
    abstract = abstract_lanes(own, make_transform)
    trained, *_ = train([run_of("digits", steps=2)])
    again = to_device(to_host(trained), abstract)
    assert jnp.issubdtype(again.state.key.dtype, jax.dtypes.prng_key)
    for a, b in zip(leaves(trained), leaves(again), strict=True):
        np.testing.assert_array_equal(a, b)


def test_an_optimizer_that_averages_is_evaluated_at_its_average():
    runs = [run_of("bigram", seed=s, optimizer="sgd", schedule=("Cosine", {"peak": 5.0})) for s in (0, 1)]
    hparams, make_transform = hparams_and_transform(runs)

    def with_start(numbers):
        """The same updates; the state also holds the parameters at the start."""
        inner = make_transform(numbers)

        def update(updates, state, params=None):
            updates, own = inner.update(updates, state[0], params)
            return updates, (own, state[1])

        return optax.GradientTransformation(lambda p: (inner.init(p), jax.tree.map(jnp.copy, p)), update)

    cadence = {"record_every": 5, "evaluate_every": 5, "executor": "map"}
    plain, rows, finals = lanes.run(hparams, make_transform, **cadence)
    kept, kept_rows, kept_finals = lanes.run(hparams, with_start, eval_params=lambda s, _: s[1], **cadence)
    for a, b in zip(jax.tree.leaves(plain.state.params), jax.tree.leaves(kept.state.params), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(rows["loss"], kept_rows["loss"])
    # Uniform logits have the deterministic half's whole entropy, log 20, as excess: half of it on average.
    start = np.log(20) / 2
    evaluated = kept_rows["step"] % 5 == 0
    np.testing.assert_allclose(kept_rows["excess"][evaluated], start, rtol=1e-6)
    np.testing.assert_allclose(kept_finals["excess"], start, rtol=1e-6)
    assert (rows["excess"][rows["step"] == 15] < start).all()
    assert (finals["excess"] < start).all()


def test_auto_is_a_loop_on_a_cpu():
    assert jax.default_backend() == "cpu"
    runs = [run_of("bigram", seed=seed) for seed in (0, 1)]
    automatic, *_ = train(runs, "auto")
    mapped, *_ = train(runs, "map")
    for a, b in zip(leaves(automatic), leaves(mapped), strict=True):
        np.testing.assert_array_equal(a, b)
