import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lrstudy.benchmark.loading import submission
from lrstudy.benchmark.rows import row
from lrstudy.benchmark.space import Range, points_of
from lrstudy.benchmark.submission import Submission
from lrstudy.optimizers import TABLE, averaged_params
from lrstudy.schedules import Constant, Cosine

PARAMS = {"kernel": jnp.arange(6.0).reshape(2, 3), "bias": jnp.ones(3)}
BLOCKS = {"blocks": {"kernel": jnp.ones((2, 2, 3))}}


def updated(transform, steps=3):
    def train():
        params, state = PARAMS, transform.init(PARAMS)
        for step in range(steps):
            gradients = jax.tree.map(lambda p, k=step: jnp.sin(p + k), params)
            changes, state = optax.with_extra_args_support(transform).update(gradients, state, params, value=1.0)
            params = optax.apply_updates(params, changes)
        return params

    return jax.jit(train)()


@pytest.mark.parametrize("name", TABLE)
def test_every_row_is_a_submission_whose_trials_differ_in_numbers_alone(name):
    found = row(name)
    assert found.eval_params is TABLE[name].eval_params
    points = points_of(found.space, 3, seed=1)
    assert "learning_rate" in points[0]
    for point in points:
        assert found.make_transform(point, 100) is not None
    # Traced values build it too, as in the lanes of a program.
    params = {**PARAMS, **BLOCKS}
    built = jax.eval_shape(lambda point: found.make_transform(point, 100).init(params), points[0])
    assert jax.tree.structure(built) == jax.tree.structure(
        jax.eval_shape(lambda: found.make_transform(points[1], 100).init(params))
    )


def test_a_row_is_its_optimizer_under_a_warmup_and_a_cosine():
    point = {"learning_rate": 0.3, "one_minus_b1": 0.2, "weight_decay": 0.1}
    schedule = Cosine(0.3, 40, warmup_steps=2, warmup_style="skip_zero")
    expected = TABLE["adamw"].build(schedule, b1=0.8, b2=0.999, eps=1e-8, weight_decay=0.1)
    for a, b in zip(
        jax.tree.leaves(updated(row("adamw").make_transform(point, 40))),
        jax.tree.leaves(updated(expected)),
        strict=True,
    ):
        # 1 - 0.2 differs from 0.8 by one rounding of 6e-8; what follows is of size 5.
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-6)


def test_a_trial_may_say_how_far_its_rate_falls():
    point = {"learning_rate": 0.3, "end_share": 0.25}
    schedule = Cosine(0.3, 40, warmup_steps=2, warmup_style="skip_zero", end=0.075)
    expected = TABLE["sgd"].build(schedule)
    for a, b in zip(
        jax.tree.leaves(updated(row("sgd", points=[point]).make_transform(point, 40))),
        jax.tree.leaves(updated(expected)),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-6)
    with pytest.raises(ValueError, match=r"end_share of sgd must be a number in \[0, 1\), got 1.5"):
        row("sgd", points=[{**point, "end_share": 1.5}])
    with pytest.raises(ValueError, match=r"searched must be one of .*, got 'end_share'"):
        row("schedule_free_sgd", points=[point])


def test_a_row_that_averages_keeps_its_rate_and_is_evaluated_at_its_average():
    found = row("schedule_free_sgd", points=[{"learning_rate": 0.1}])
    assert found.eval_params is averaged_params
    expected = TABLE["schedule_free_sgd"].build(
        Constant(0.1, warmup_steps=2, warmup_style="skip_zero"), b1=0.9, weight_decay=0.0
    )
    jax.tree.map(
        np.testing.assert_array_equal, updated(found.make_transform({"learning_rate": 0.1}, 40)), updated(expected)
    )


def test_an_update_pays_for_every_gradient_that_it_takes():
    paid = {name: row(name).gradients_per_step for name in TABLE}
    # A product with the Hessian is two gradients, and Sophia takes one every tenth update.
    assert {name: gradients for name, gradients in paid.items() if gradients != 1} == {"sam": 2, "sophia": 1.2}
    assert row("sophia", update_interval=4).gradients_per_step == 1.5
    assert submission("sam").gradients_per_step == 2


def test_what_all_trials_share_is_not_searched():
    found = row("momentum", label="nesterov", nesterov=True, momentum=0.9)
    assert (found.name, list(found.space)) == ("nesterov", ["learning_rate"])
    assert found.identity()["origin"] == {"row": "momentum", "hyperparameters": {"momentum": 0.9, "nesterov": True}}


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("adamww", {}, r"submission must be one of \[.*\] \(nearest: 'adamw'\), got 'adamww'"),
        ("adamw", {"bb": 1.0}, r"a hyperparameter of adamw must be one of .*, got 'bb'"),
        ("adamw", {"b1": 1.0}, r"b1 of adamw must be a number in \[0, 1\), got 1\.0"),
        ("nap", {"inner": "adan"}, r"inner of nap must be one of \[.*\] \(nearest: 'adam'\), got 'adan'"),
        (
            "adamw",
            {"space": {"learning_rat": Range(1, 2)}},
            r"a hyperparameter of adamw that is searched must be one of \[.*\] \(nearest: 'learning_rate'\) or .*",
        ),
        ("momentum", {"points": [{"nesterov": 1.0}]}, r"a hyperparameter of momentum that is searched .*'nesterov'"),
        (
            "adamw",
            {"points": [{"b1": 0.9, "one_minus_b1": 0.1}]},
            r"a hyperparameter of adamw must be given once, got 'b1' twice",
        ),
        ("adamw", {"points": [{"b1": 0.9}]}, r"learning_rate must be given for adamw, got \['b1'\]"),
        ("adamw", {"points": [{"learning_rate": 0.0}]}, r"learning_rate of adamw must be a positive .*, got 0\.0"),
        ("adamw", {"points": [{"learning_rate": "a"}]}, r"learning_rate of adamw must be a positive .*, got 'a'"),
        ("momentum", {"nesterov": 1}, r"nesterov of momentum must be True or False, got 1"),
        (
            "adamw",
            {"space": {"learning_rate": Range(1, 2), "one_minus_b1": Range(0.5, 2)}},
            r"b1 of adamw must be a number in \[0, 1\), got -1",
        ),
    ],
)
def test_names_and_values_are_checked(name, arguments, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        row(name, **arguments)


def make(hyperparameters, step_hint):
    return optax.sgd(hyperparameters["rate"] / step_hint)


OWN = Submission("own", make, points=[{"rate": 1.0}], gradients_per_step=2)


def test_a_function_or_a_submission_of_ones_own_is_loaded_by_its_name():
    found = submission(f"{__name__}:make", points=[{"rate": 0.5}])
    assert (found.make_transform, found.points, found.gradients_per_step) == (make, [{"rate": 0.5}], 1)
    assert found.name == f"{__name__}:make"
    own = submission(f"{__name__}:OWN")
    assert (own.name, own.points, own.gradients_per_step) == ("own", [{"rate": 1.0}], 2)
    assert len(own.origin["sha256"]) == 64
    assert submission("sgd", gradients_per_step=3).gradients_per_step == 3


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sgdd", r"submission must be one of \[.*\] \(nearest: 'sgd'\) or module:function, got 'sgdd'"),
        ("no_such:make", r"submission must be in a module that can be imported, got 'no_such:make': No module .*"),
        (
            f"{__name__}:makes",
            rf"submission must be a function or a Submission of {__name__}, one of \[.*\] \(nearest: 'make'\), got .*",
        ),
        (f"{__name__}:PARAMS", r"submission must be a function or a Submission of .*"),
    ],
)
def test_a_name_of_nothing_is_refused(name, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        submission(name)


def test_what_estimates_its_rate_is_searched_around_the_published_one():
    for name in ("prodigy", "dog", "dadapt_adamw", "mechanic"):
        own = row(name).space["learning_rate"]
        assert own.low < 1 < own.high
    assert row("momo_adam").space["learning_rate"].low <= 0.01 <= row("momo_adam").space["learning_rate"].high
    assert row("adamw").space["learning_rate"].high < 1
