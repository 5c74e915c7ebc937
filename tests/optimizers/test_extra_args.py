"""Updates that need more than a gradient say what they were not given."""

import re

import jax
import jax.numpy as jnp
import optax
import pytest

from lrstudy.optimizers import (
    TABLE,
    dealias,
    finite_guard,
    lisa,
    momo,
    momo_adam,
    periodic_reset,
    plateau,
    sam,
    with_float32_state,
)
from lrstudy.optimizers.extra_args import MEANINGS
from lrstudy.optimizers.sophia import sophia_direction
from tests.optimizers.surroundings import surroundings

PARAMS = {"blocks": {"kernel": jnp.ones((2, 2, 2))}, "bias": jnp.ones(2)}
SOPHIA = {name: value for name, value in TABLE["sophia"].defaults.items() if name != "weight_decay"}
NEEDING = {name: row.extra_args for name, row in TABLE.items() if row.extra_args}
COMPOSED = {
    "momo": momo(0.1),
    "momo_adam": momo_adam(0.1),
    "plateau": plateau(optax.identity(), 0.1),
    "sam": sam(optax.sgd(0.1)),
    "sophia": sophia_direction(**SOPHIA),
}
AROUND = {
    "chain": lambda inner: optax.chain(optax.identity(), inner),
    "dealias": dealias,
    "finite_guard": finite_guard,
    "lisa": lambda inner: lisa(inner, lambda _: None, key=jnp.uint32([0, 0])),
    "periodic_reset": lambda inner: periodic_reset(inner, 5, ("count",)),
    "with_float32_state": with_float32_state,
}


def refused(transform, name):
    """Each of the arguments that the row needs is left out in turn; what it does not need may be."""
    state, given = transform.init(PARAMS), surroundings(PARAMS, PARAMS)
    for argument in NEEDING[name]:
        rest = {key: value for key, value in given.items() if key != argument}
        message = f"{argument} must be given to an update of {name}: {MEANINGS[argument]}, got None"
        for extra in (rest, {**rest, argument: None}):
            with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
                transform.update(PARAMS, state, PARAMS, **extra)


def test_every_need_is_one_that_the_training_step_meets():
    assert NEEDING == {
        "momo": ("value",),
        "momo_adam": ("value",),
        "plateau": ("value",),
        "sam": ("grad_fn",),
        "sophia": ("obj_fn",),
    }
    assert set(COMPOSED) == set(NEEDING)


@pytest.mark.parametrize("name", NEEDING)
def test_a_row_names_itself_and_what_is_missing(name):
    refused(TABLE[name].build(0.1, **TABLE[name].defaults), name)


@pytest.mark.parametrize("name", COMPOSED)
def test_so_does_a_transform_that_is_composed_by_hand(name):
    refused(COMPOSED[name], name)


@pytest.mark.parametrize("around", AROUND)
def test_and_what_is_around_it_hands_the_arguments_on(around):
    refused(AROUND[around](COMPOSED["momo"]), "momo")


@pytest.mark.parametrize("name", [name for name in TABLE if name not in NEEDING])
def test_the_other_rows_need_none(name):
    transform = optax.with_extra_args_support(TABLE[name].build(0.1, **TABLE[name].defaults))
    jax.eval_shape(lambda: transform.update(PARAMS, transform.init(PARAMS), PARAMS))
