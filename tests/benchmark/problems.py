"""A workload whose every loss is known in closed form: gradient descent on a quadratic without noise."""

import optax

from lrstudy.benchmark.submission import Submission
from lrstudy.benchmark.workload import Workload
from lrstudy.tasks import NoisyQuadratic

CURVATURE = 0.5


def bowl(step_hint=60, evaluate_every=5):
    """Of one direction, from 1: after k updates at a rate r the loss is (1 - r/2)^(2k) / 4."""
    task = NoisyQuadratic((CURVATURE,), (0.0,), (1.0,), chains=2)
    return Workload("bowl", task, "hill_loss", step_hint=step_hint, evaluate_every=evaluate_every)


def loss_after(steps, rate):
    return CURVATURE / 2 * (1 - rate * CURVATURE) ** (2 * steps)


def steps_to(target, rate, workload):
    """The first evaluation at which the loss is no larger."""
    every = range(workload.evaluate_every, workload.step_hint + 1, workload.evaluate_every)
    return next((step for step in every if loss_after(step, rate) <= target), None)


def descent(rates, **options):
    def make_transform(hyperparameters, step_hint):
        return optax.sgd(hyperparameters["rate"])

    return Submission("descent", make_transform, points=[{"rate": rate} for rate in rates], **options)
