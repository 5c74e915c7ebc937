"""The promises that a user's own schedule can be put to: those of the package keep them, broken ones do not."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from lrstudy.schedules import Constant, Schedule
from lrstudy.schedules.promises import PromiseError, check_promises

from .cases import ALL, boundaries

ONE_A_CLASS = {type(schedule): name for name, schedule in reversed(ALL.items())}.values()


@pytest.mark.parametrize("name", ONE_A_CLASS)
def test_those_of_the_package_keep_them(name):
    check_promises(ALL[name], [step for step in boundaries(ALL[name]) if step >= 0])


@dataclasses.dataclass(frozen=True)
class Triangle(Schedule):
    """One of a user's own: up and down."""

    peak: float
    total_steps: int = 100

    def rate(self, step):
        share = jnp.minimum(step, self.total_steps) / self.total_steps
        return self.peak * (1 - jnp.abs(2 * share - 1))


def test_one_of_a_users_own_keeps_them():
    check_promises(Triangle(1e-3))


def broken(**members):
    return dataclasses.dataclass(frozen=True)(type("Broken", (Triangle,), members))


def dip(self, step):
    return Triangle.rate(self, step) - 1e-4


def endless(self, step):
    return self.peak / (step - 7)


def known(self, step):
    return jnp.where(step > 0, self.peak, 0) if self.total_steps > 3 else jnp.float32(0)


def rooted(self, step):
    return self.peak * jnp.where(step < 50, jnp.sqrt(jnp.maximum(0.0, self.total_steps - step - 50.0)), 1.0)


def as_sum(self, step):
    return Triangle.rate(self, step).sum()


CASES = [
    (broken(rate=dip)(1e-3), "finite and at least 0, got others at steps"),
    (broken(rate=endless)(1e-3), "finite and at least 0"),
    (broken(rate=as_sum)(1e-3), "must have the shape of the steps"),
    (broken(rate=rooted)(1e-3, 100), "derivative with respect to total_steps must be finite"),
    (broken(__call__=lambda self, step: Constant(self.peak)(jnp.asarray(step).astype(int)))(1e-3), "must be refused"),
    (broken(__call__=lambda self, step: np.where(np.asarray(step) < 0, 0, self.peak).astype(np.float32))(1e-3),
     "before step 0"),
    (broken(__call__=lambda self, step: np.full(np.shape(step), self.peak))(1e-3), "must be float32"),
    (broken(to_dict=lambda self: {"name": "Broken", "version": 1, "peak": 1.0})(1e-3), "dictionary must make"),
    (broken(to_dict=lambda self: {"name": "Other", "version": 1})(1e-3), "name and version"),
    (broken(__eq__=lambda self, other: False, __hash__=lambda self: 0)(1e-3), "an equal schedule again"),
]  # fmt: skip


@pytest.mark.parametrize(("schedule", "message"), CASES, ids=[message for _, message in CASES])
def test_broken_ones_do_not(schedule, message):
    with pytest.raises(PromiseError, match=message):
        check_promises(schedule)


def test_what_branches_on_a_number_in_python_is_found():
    with pytest.raises(Exception, match="traced"):
        check_promises(broken(rate=known)(1e-3))


def test_a_function_is_no_schedule():
    with pytest.raises(PromiseError, match="must subclass Schedule"):
        check_promises(lambda step: 1e-3)  # pyright: ignore[reportArgumentType]
