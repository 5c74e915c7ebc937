"""What probes are given to measure with."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from lrstudy.study.choices import choice
from lrstudy.study.config import RunConfig, resolve
from lrstudy.study.probes import Context, Probe, checkpoints, merge_evaluator
from tests.study.studies import launch, study

BASE = RunConfig(
    task=choice("task", "quadratic", eigenvalues=(1.0, 0.5, 2.0), chains=4),
    schedule=choice("schedule", "Constant", peak=0.1),
    optimizer=choice("optimizer", "sgd"),
)


def run(eigenvalues, seed):
    task = BASE.task.with_argument("eigenvalues", eigenvalues)
    return resolve(dataclasses.replace(BASE, task=task, seed=seed))


RUNS = [run((1.0, 0.5, 2.0), 0), run((3.0, 0.0, 0.25), 1)]


def place(run_id, step):
    """Parameters that tell run and step apart."""
    scale = 1.0 + [r.run_id for r in RUNS].index(run_id)
    return {"position": np.full((4, 3), scale * step, np.float32)}


def test_checkpoints_are_asked_for_step_by_step(tmp_path):
    asked = []

    def params(run_id, step):
        asked.append((step, run_id))
        return place(run_id, step)

    found = checkpoints(Context(RUNS, {}, params, tmp_path, lambda: None), RUNS, (2, 5))
    first, second = (r.run_id for r in RUNS)
    assert asked == [(2, first), (2, second), (5, first), (5, second)]
    assert [float(tree["position"][0, 0]) for tree in found[second]] == [4.0, 10.0]


def test_merges_are_evaluated_by_each_runs_own_task():
    evaluate = merge_evaluator(RUNS[0])
    weights = np.asarray([[1.0, 0.0], [0.25, 0.75]])
    for own in RUNS:
        trees = [place(own.run_id, step) for step in (2, 6)]
        measured = evaluate(own, trees, weights)["hill_loss"]
        merged = weights @ np.asarray([2.0, 6.0]) * float(trees[0]["position"][0, 0] / 2)
        # Whole numbers and quarters: exact in float32.
        assert measured.tolist() == pytest.approx((0.5 * sum(own.task.eigenvalues) * merged**2).tolist(), rel=1e-7)


def test_a_table_that_is_gone_is_made_again(tmp_path):
    asked = []

    def measured(context):
        asked.append(len(context.runs))
        return pd.DataFrame({"run_id": [run.run_id for run in context.runs]})

    experiment = study(probes=(Probe("seen", "", measured), Probe("other", "absent", measured)))
    own = launch(tmp_path, experiment=experiment)
    assert (asked, own.unprobed()) == ([6], [])
    (path,) = (tmp_path / "probes").glob("seen-*.parquet")
    path.unlink()
    assert [probe.name for probe in own.unprobed()] == ["seen"]
    again = launch(tmp_path, experiment=experiment, begun=None)
    assert (asked, again.unprobed()) == ([6, 6], [])
    assert path.is_file()
