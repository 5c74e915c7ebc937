import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lrstudy.benchmark.trials import Lane, Trial, best, steps_to, train
from lrstudy.training import loop
from tests.benchmark import problems
from tests.benchmark.problems import bowl, descent, loss_after

RATES = (0.05, 0.2, 1.0)


def trials_at(rates, seed=3):
    return [Lane({"rate": rate}, seed) for rate in rates]


def test_trials_are_evaluated_as_the_closed_form_says():
    workload, budget = bowl(), 12
    made = train(workload, descent(RATES), trials_at(RATES), budget=budget)
    for rate, trial in zip(RATES, made, strict=True):
        assert (trial.point, trial.seed, trial.outcome) == ({"rate": rate}, 3, "ok")
        assert trial.steps == (5, 10, 12)
        # A product of 12 factors, each with a rounding of 6e-8, squared.
        np.testing.assert_allclose(trial.values, [loss_after(step, rate) for step in trial.steps], rtol=2e-6)
        assert best(trial, workload) == trial.values[-1]


def test_trials_end_when_all_have_met_the_target(monkeypatch):
    workload, target, ends, loop_train = bowl(4000), 0.1, [], loop.train

    def watched(*arguments, **options):
        for chunk in loop_train(*arguments, **options):
            ends.append(chunk.stop)
            yield chunk

    monkeypatch.setattr(loop, "train", watched)
    made = train(workload, descent(RATES), trials_at(RATES), budget=workload.step_hint, target=target)
    for rate, trial in zip(RATES, made, strict=True):
        expected = problems.steps_to(target, rate, workload)
        # Nothing is kept from after it, as when a trial ends depends on the machine's speed.
        assert steps_to(trial, target, workload) == (expected, len(trial.steps) - 1)
        assert trial.steps == tuple(range(5, expected + 1, 5))
    assert ends[-1] < workload.step_hint
    missed = Trial({}, 0, (5, 10), (3.0, 2.0), "ok")
    assert steps_to(missed, 1.0, workload) == (math.inf, 0)


def test_the_initial_parameters_meet_no_target_and_a_trial_that_diverges_leaves_the_others_alone():
    workload, rates = bowl(), (0.2, 1e9)
    beside, gone = train(workload, descent(rates), trials_at(rates), budget=30, target=100.0)
    assert (beside.outcome, beside.steps) == ("ok", (5,))
    # As above.
    np.testing.assert_allclose(beside.values, [loss_after(5, 0.2)], rtol=2e-6)
    assert (gone.outcome, gone.steps) == ("diverged", ())
    assert steps_to(gone, 0.1, workload)[0] == math.inf
    assert best(gone, workload) == math.inf


def test_a_program_is_made_once_whatever_the_number_of_trials():
    made = []

    def make_transform(hyperparameters, step_hint):
        made.append(step_hint)
        return optax.sgd(hyperparameters["rate"])

    counts = []
    for count in (1, 4):
        made.clear()
        submission = dataclasses.replace(descent([0.1]), make_transform=make_transform)
        train(bowl(), submission, trials_at([0.1] * count), budget=60)
        counts.append(len(made))
        assert set(made) == {60}
    assert counts[0] == counts[1]


def test_parameters_are_evaluated_where_the_submission_says():
    submission = descent([0.1], eval_params=lambda opt_state, params: jax.tree.map(jnp.zeros_like, params))
    (trial,) = train(bowl(), submission, trials_at([0.1]), budget=10)
    assert trial.values == (0.0, 0.0)


def test_the_seed_is_that_of_the_data_and_a_pause_may_stop_the_trials():
    workload = dataclasses.replace(bowl(), task=dataclasses.replace(bowl().task, noise=(1.0,)))
    trials, calls = [Lane({"rate": 0.1}, seed) for seed in (1, 2, 1)], []
    first, second, third = train(workload, descent([0.1]), trials, budget=10, pause=lambda: calls.append(1))
    assert first.values == third.values != second.values
    assert calls

    def pause():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(workload, descent([0.1]), trials, budget=10, pause=pause)


def test_the_best_value_is_of_the_metrics_own_mode():
    largest = dataclasses.replace(bowl(), mode="max")
    trial = Trial({}, 0, (5, 10, 15), (3.0, math.inf, 2.0), "ok")
    assert best(trial, bowl()) == 2
    assert best(trial, largest) == 3
    assert best(dataclasses.replace(trial, steps=(), values=()), largest) == -math.inf
    assert steps_to(trial, 2.5, largest) == (5, 0)


def test_what_is_missing_is_named():
    with pytest.raises(ValueError, match=r"^space must name 'rate', which descent asks for, got \['speed'\]$"):
        train(bowl(), descent([0.1]), [Lane({"speed": 0.1}, 1)], budget=5)
    workload = dataclasses.replace(bowl(), metric="hill_los")
    message = r"^metric must be one of \[.*'hill_loss'.*\] \(nearest: 'hill_loss'\), got 'hill_los'$"
    with pytest.raises(ValueError, match=message):
        train(workload, descent([0.1]), trials_at([0.1]), budget=5)
