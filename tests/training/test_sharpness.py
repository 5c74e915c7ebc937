"""Sharpness as a metric: what it measures, that it leaves training alone, and what it costs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrstudy.curvature import Status, hessian, preconditioned, top_eigs
from lrstudy.training import lanes, loop
from lrstudy.training.layout import Layout
from lrstudy.training.loop import Cadence, Job
from lrstudy.training.program import abstract_lanes, empty_lanes, make_program, stack
from lrstudy.training.sharpness import COLUMNS, PreconditionedSharpness, Sharpness, init_tracker, make_measure
from tests.training.problems import hparams_and_transform, run_of

QUADRATIC = {"chains": 1, "optimizer": "sgd", "schedule": ("Constant", {"peak": 0.1}), "steps": 20}


def trained(runs, metric, executor="map", **cadence):
    hparams, make_transform = hparams_and_transform(runs)
    return lanes.run(hparams, make_transform, sharpness=metric, executor=executor, **cadence)


def job_of(runs, metric, record_every=1):
    hparams, make_transform = hparams_and_transform(runs)
    own, init = stack(hparams), functools.partial(init_tracker, metric)
    program = lanes.spread(make_program(make_transform, init_tracker=init), Layout("map"))
    measure = lanes.spread_measure(make_measure(metric), Layout("map"))
    cadence = Cadence(tuple(run.config.steps for run in runs), record_every, 0, metric.every)
    data = jax.device_put(runs[0].task.load())
    return Job(program, own, data, cadence, measure), empty_lanes(abstract_lanes(own, make_transform, init))


def test_the_sharpness_of_a_quadratic_is_its_largest_eigenvalue_at_every_measured_step():
    _, rows, finals = trained([run_of("quadratic", **QUADRATIC)], Sharpness(every=5))
    measured = rows["step"] % 5 == 0
    # Products of three exact numbers in float32: a few units in the last place.
    np.testing.assert_allclose(rows["sharpness"][measured], 1.0, rtol=4e-7)
    assert (rows["sharpness_status"][measured] == Status.CONVERGED).all()
    assert (rows["sharpness_residual"][measured] <= 1e-3).all()
    for name in (*COLUMNS, "sharpness_seconds"):
        assert np.isnan(rows[name][~measured]).all()
        assert np.isfinite(rows[name][measured]).all()
    np.testing.assert_allclose(finals["sharpness"], 1.0, rtol=4e-7)
    assert (rows["sharpness_seconds"][measured] > 0).all()


def test_it_is_that_of_the_parameters_before_the_step():
    """The row at step k, and a run that ends after k updates, agree with a solve of their own at these parameters."""
    metric = Sharpness(every=4, tol=1e-5)
    constant = ("Constant", {"peak": 0.01})
    long, short = (run_of(steps=steps, seed=1, record_every=4, schedule=constant) for steps in (8, 4))
    _, rows, _ = trained([long], metric, record_every=4)
    end, _, finals = trained([short], metric, record_every=4)
    task, data = short.task, short.task.load()
    params = jax.tree.map(lambda leaf: leaf[0], end.state.params)
    batch = task.batch(data, jnp.int32(1), jnp.int32(0))
    own = top_eigs(hessian(task.loss, params, batch), jax.random.key(5), tol=1e-5)
    # The error of an eigenvalue is its residual squared over the gap; float32 adds some 1e-6.
    assert rows["sharpness"][rows["step"] == 4] == pytest.approx(float(own.values[0]), rel=1e-5)
    assert finals["sharpness"] == pytest.approx(float(own.values[0]), rel=1e-5)


def test_training_does_not_notice_the_measurement():
    runs = [run_of(seed=seed, steps=12) for seed in (0, 1)]
    plain, rows, _ = trained(runs, None)
    measured, with_sharpness, _ = trained(runs, Sharpness(every=3))
    jax.tree.map(np.testing.assert_array_equal, plain.state.params, measured.state.params)
    np.testing.assert_array_equal(rows["loss"], with_sharpness["loss"])


def test_lanes_side_by_side_measure_what_they_measure_one_by_one():
    runs = [run_of(seed=seed, steps=9) for seed in (0, 1, 2)]
    found = {executor: trained(runs, Sharpness(every=3, audit_every=2), executor)[1] for executor in ("map", "vmap")}
    measured = found["map"]["step"] % 3 == 0
    np.testing.assert_allclose(found["vmap"]["sharpness"][measured], found["map"]["sharpness"][measured], rtol=1e-4)
    np.testing.assert_allclose(found["vmap"]["loss"], found["map"]["loss"], rtol=1e-5)


def test_where_a_run_is_cut_does_not_matter():
    """A tracker is part of the lanes, so a run that was stopped goes on as if it had not been."""
    metric = Sharpness(every=4, audit_every=2)
    job, fresh = job_of([run_of(steps=20, seed=2)], metric)
    whole = loop.concatenate(chunk.rows for chunk in loop.train(job, fresh, start=0, stop=20))
    for cut in (8, 10):
        job, current = job_of([run_of(steps=20, seed=2)], metric)
        rows = []
        for chunk in loop.train(job, current, start=0, stop=20, pause_at=[cut]):
            rows.append(chunk.rows)
            if chunk.stop == cut:
                break
        rows += [chunk.rows for chunk in loop.train(job, chunk.lanes, start=cut, stop=20, fresh=False)]
        joined = loop.concatenate(rows)
        for name in ("step", "loss", *COLUMNS):
            np.testing.assert_array_equal(joined[name], whole[name], err_msg=name)


def test_measuring_the_end_again_gives_the_same():
    job, current = job_of([run_of(steps=6, seed=2)], Sharpness(every=3))
    for chunk in loop.train(job, current, start=0, stop=6):
        current, finals = chunk.lanes, chunk.finals
    again = list(loop.train(job, current, start=6, stop=6, fresh=False))[-1].finals
    for name in COLUMNS:
        assert again[name].tolist() == finals[name].tolist(), name


def test_a_diverged_lane_is_not_measured_and_its_neighbour_is():
    hot, calm = (run_of("quadratic", **{**QUADRATIC, "schedule": ("Constant", {"peak": peak})}) for peak in (1e30, 0.1))
    _, rows, finals = trained([hot, calm], Sharpness(every=5))
    assert set(rows["step"][rows["lane"] == 0]) < set(range(5))
    at = (rows["lane"] == 1) & (rows["step"] % 5 == 0)
    np.testing.assert_allclose(rows["sharpness"][at], 1.0, rtol=4e-7)
    assert finals["lane"].tolist() == [1]


def test_a_warm_measurement_makes_fewer_products_than_the_first():
    _, rows, _ = trained([run_of(seed=0, steps=41, record_every=4)], Sharpness(every=4, audit_every=0), record_every=4)
    products = rows["hessian_products"][rows["step"] % 4 == 0]
    # Two of the first ones compare products with each other.
    assert products[3:].mean() < products[0] - 2


def test_one_compilation_for_all_measurements():
    job, current = job_of([run_of("quadratic", **QUADRATIC)], Sharpness(every=2))
    lowered = []
    original = job.measure.lower

    class Counted:
        def lower(self, *arguments):
            lowered.append(arguments)
            return original(*arguments)

    list(loop.train(job._replace(measure=Counted()), current, start=0, stop=20))
    assert len(lowered) == 1


@pytest.mark.parametrize("pieces", [1, 2])
def test_several_batches_are_the_mean_of_their_hessians(pieces):
    run = run_of(steps=2, seed=3)
    task, data = run.task, run.task.load()
    _, rows, _ = trained([run], Sharpness(every=1, batches=3, pieces=pieces, tol=1e-5))
    params = task.init(jax.random.fold_in(jax.random.key(3), 0))
    batches = [task.batch(data, jnp.int32(3), jnp.int32(step)) for step in range(3)]

    def mean_loss(params, batches):
        return sum(task.loss(params, batch)[0] for batch in batches) / 3

    own = top_eigs(hessian(mean_loss, params, batches), jax.random.key(0), tol=1e-5)
    assert rows["sharpness"][0] == pytest.approx(float(own.values[0]), rel=1e-5)


def test_adams_sharpness_is_that_of_the_preconditioned_hessian():
    run = run_of(steps=3, optimizer="adam", seed=4)
    _, rows, finals = trained([run], PreconditionedSharpness(every=1, tol=1e-5))
    end, *_ = trained([run], None)
    assert np.isnan(rows["sharpness"][0])
    assert rows["sharpness_status"][0] == Status.NON_FINITE
    one = jax.tree.map(lambda leaf: leaf[0], end)
    adam = next(s for s in jax.tree.leaves(one.state.opt_state, is_leaf=lambda s: hasattr(s, "nu")) if hasattr(s, "nu"))
    diagonal = jax.tree.map(lambda nu: jnp.sqrt(nu / (1 - 0.999**3)) + 1e-8, adam.nu)
    batch = run.task.batch(run.task.load(), jnp.int32(4), jnp.int32(0))
    operator = hessian(run.task.loss, one.state.params, batch)
    own = top_eigs(preconditioned(operator, diagonal), jax.random.key(0), tol=1e-5)
    # 0.999 in float32 makes 1 - b2^t uncertain by 6e-8 / 3e-3 of itself.
    assert finals["sharpness"] == pytest.approx(float(own.values[0]), rel=5e-5)


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("every", -1, "at least 0"),
        ("batches", 0, "at least 1"),
        ("pieces", 2, r"at most sharpness\.batches \(1\)"),
        ("seed", -1, "at least 0"),
        ("audit_every", -2, "at least 0"),
        ("max_matvecs", 1, "at least 2"),
        ("tol", 0.0, r"in \[1e-6, 1\)"),
        ("tol", 1.0, r"in \[1e-6, 1\)"),
    ],
)
def test_a_bad_field_is_refused_by_its_path(field, value, rule):
    with pytest.raises(ValueError, match=rf"sharpness\.{field} must be .*{rule}.*got {value!r}"):
        Sharpness(**{field: value})


def test_measurements_fall_on_recorded_steps():
    with pytest.raises(ValueError, match="measure_every must be a multiple"):
        Cadence((10,), 4, 0, 6)
