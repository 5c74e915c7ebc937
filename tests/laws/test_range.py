"""A law that is asked far outside of what it was fitted to says so."""

import dataclasses
import warnings

import jax
import numpy as np
import pytest

from lrstudy.laws import (
    AnnealingLaw,
    ChinchillaLaw,
    Curve,
    ExtrapolationWarning,
    LawError,
    MultiPowerLaw,
    PowerLearningRate,
    StepLaw,
)
from lrstudy.schedules import Constant, Cosine, Rex

LAW = AnnealingLaw(2.6, 0.43, 0.55, 0.41)
SCHEDULE = Cosine(1e-3, 2_000, end=1e-4)
STEPS = np.arange(20, 2_000, 20)


@pytest.fixture(scope="module")
def fitted():
    losses = LAW.predict(SCHEDULE, steps=STEPS)
    curve = Curve(STEPS, np.asarray(SCHEDULE(STEPS)), losses, schedule=SCHEDULE)
    return AnnealingLaw.fit(curve, resamples=0).law


def test_within_the_range_nothing_is_said(fitted):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted.predict(Cosine(1.2e-3, 6_000, end=1e-4), steps=[100, 5_999])
        # And of a law that was written down nothing is known.
        LAW.predict(Constant(10.0), steps=[10**5])


@pytest.mark.parametrize(
    ("schedule", "steps", "what"),
    [
        (Constant(1e-3), [20_000], "sum of rates"),
        (Constant(1e-3), [0], "sum of rates"),
        (Constant(2e-3), [1_000], "highest rate"),
        (np.concatenate([np.full(1_000, 1e-3), np.zeros(500)]), [1_499], "updates at rate 0"),
    ],
)
def test_far_outside(fitted, schedule, steps, what):
    with pytest.warns(ExtrapolationWarning, match=f"AnnealingLaw: {what}|{what}"):
        fitted.predict(schedule, steps=steps)


@pytest.mark.parametrize(("convention", "other"), [("true", "constant"), ("constant", "true")])
def test_a_warmup_that_counts_otherwise(convention, other):
    warmed = Cosine(1e-3, 2_000, warmup_steps=100, end=1e-4)
    steps = STEPS[STEPS >= 100]
    losses = LAW.predict(warmed, steps=steps, warmup_steps=100, warmup=convention)
    curve = Curve(steps, np.asarray(warmed(steps)), losses, schedule=warmed, warmup_steps=100)
    law = AnnealingLaw.fit(curve, starts=4, warmup=convention, resamples=0).law
    law.predict(warmed, steps=[1_999], warmup_steps=100, warmup=convention)
    law.predict(SCHEDULE, steps=[1_999], warmup=other)
    with pytest.warns(ExtrapolationWarning, match="number of warmup updates .* 100 is far outside"):
        law.predict(warmed, steps=[1_999], warmup_steps=100, warmup=other)


def test_sizes():
    size, tokens = (a.ravel() for a in np.meshgrid([1e7, 1e8, 1e9], [1e9, 1e10, 1e11]))
    law = ChinchillaLaw.fit(
        {"N": size, "D": tokens, "loss": 1.5 + 400 / size**0.34 + 400 / tokens**0.3}, resamples=0
    ).law
    law.predict(9e9, 1e12)
    with pytest.warns(ExtrapolationWarning, match="N 1.1e.10 is far outside of what the law was fitted to"):
        law.predict(1.1e10, 1e11)


def test_hyperparameters():
    size, tokens = (a.ravel() for a in np.meshgrid([1e7, 1e8], [1e9, 1e10]))
    rate, batch = StepLaw().predict(size, tokens)
    law = StepLaw.fit({"N": size, "D": tokens, "lr": rate, "batch": batch, "loss": np.ones(4)}, resamples=0).law
    assert law == StepLaw(*(pytest.approx(value, rel=1e-9) for value in dataclasses.astuple(StepLaw())[1:]))
    law.predict(9e8, 9e10)
    with pytest.warns(ExtrapolationWarning, match="StepLaw: D 1.1e.11 is far outside of what the law was fitted to"):
        law.predict(1e8, 1.1e11)
    power = PowerLearningRate.fit({"batch": [1, 2], "tokens": [1e9, 1e10], "lr": [0.1, 0.05]}, resamples=0).law
    with pytest.warns(ExtrapolationWarning, match="PowerLearningRate: batch 21 is far outside"):
        power.predict(21, 1e9)
    assert len(jax.tree.leaves(power)) == 2


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"schedule": Constant(1e-3)}, "steps must be given for a Constant, which has no end"),
        ({"schedule": SCHEDULE, "steps": [-1]}, "steps must be one or more whole numbers of at least 0"),
        ({"schedule": SCHEDULE, "steps": [1.5]}, "steps must be one or more whole numbers of at least 0"),
        ({"schedule": SCHEDULE, "steps": []}, "steps must be one or more whole numbers of at least 0"),
        ({"schedule": [1e-3] * 10, "steps": [10]}, "schedule must have the rate of step 10, got 10 rates"),
        ({"schedule": SCHEDULE, "warmup_steps": 2_000}, r"warmup_steps must be an int in \[0, 2000\)"),
    ],
)
def test_bad_questions(given, message):
    with pytest.raises(LawError, match=message):
        LAW.predict(**given)


def test_all_steps_of_a_schedule_that_ends():
    assert LAW.predict(Rex(1e-3, 50)).shape == (50,)
    # Before any rate the power law has not begun.
    assert np.isinf(LAW.predict(Cosine(1e-3, 50, warmup_steps=5), warmup_steps=5)[0])


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: AnnealingLaw(2.6, 0.43, "a", 0.41), "AnnealingLaw: alpha must be a finite number, got 'a'"),
        (lambda: AnnealingLaw(2.6, 0.43, float("nan"), 0.41), "AnnealingLaw: alpha must be a finite number, got nan"),
        (lambda: AnnealingLaw(2.6, 0.43, 0.5, 0.41, decay=1.0), r"AnnealingLaw: decay must be in \[0, 1\), got 1.0"),
        (lambda: MultiPowerLaw(1, 1, 1, 1, True, 1, 1), "MultiPowerLaw: C must be a finite number, got True"),
        (lambda: ChinchillaLaw(1, 1, 1, 1, 1).predict(-1, 1), "ChinchillaLaw: N must be finite and positive, got -1"),
        (lambda: ChinchillaLaw.fit({"N": [1], "loss": [1]}), "runs must be a table with the columns N, D, loss"),
        (
            lambda: ChinchillaLaw.fit({"N": [1, 0], "D": [1, 1], "loss": [1, 1]}),
            "N must be finite and positive, got 0.0",
        ),
        (lambda: ChinchillaLaw.fit({"N": [1, 2], "D": [1], "loss": [1, 1]}), "runs must be columns of one length"),
    ],
)
def test_bad_laws_and_tables(build, message):
    with pytest.raises(LawError, match=message):
        build()
