import numpy as np
import pandas as pd
import pytest

from experiments import fedhyper_claims as claims
from experiments.fedhyper import EXPERIMENT, SCALES
from lrstudy.study.plan import make_plan
from lrstudy.study.records import Records, runs_frame
from tests.experiments.smoke import smoke_run


@pytest.mark.parametrize("preset", ["smoke", "cpu", "gpu", "paper"])
def test_every_preset_plans(preset):
    plan = make_plan(EXPERIMENT.presets[preset]())
    # FedAvg and every form with every product are programs; rates and seeds are lanes.
    assert len(plan.groups) == 1 + len(claims.FORMS) * len(claims.PRODUCTS)
    assert {len(group.runs) for group in plan.groups} == {2 * len(SCALES[preset].seeds)}
    assert min(SCALES[preset].seeds) > 200


def test_thresholds_are_those_of_the_study():
    """Fixed with the study; a change here is a change of the question."""
    expected = {f"{letter}{i}": (">=", 1.1) for letter in "ab" for i in range(1, 5)}
    expected |= {f"{letter}{i}": (">=", -0.01) for letter in "cd" for i in range(1, 5)}
    assert {c.claim_id: (c.comparison, c.threshold) for c in claims.CLAIMS} == expected
    assert (claims.TARGET, claims.GOOD_RATE, claims.LOW_RATE) == (0.9, 0.1, 0.01)


def records(curves, diverged=()):
    """Two seeds of FedAvg and of FedHyper-G at both rates with the given accuracies, the last one being final."""
    rows, metrics = [], []
    for (optimizer, rate), by_seed in curves.items():
        for seed, accuracies in enumerate(by_seed):
            run_id = f"{optimizer}-{rate}-{seed}"
            hyper = optimizer == "fedhyper"
            row = {"run_id": run_id, "parts": "", "seed": seed, "steps": len(accuracies) - 1, "optimizer": optimizer}
            row |= {"optimizer.kind": "G" if hyper else None, "optimizer.product": "raw" if hyper else None}
            outcome = "diverged" if run_id in diverged else "ok"
            rows.append({**row, "task.learning_rate": rate, "outcome": outcome, claims.ACCURACY: accuracies[-1]})
            steps = range(len(accuracies) - 1)
            metrics.append(pd.DataFrame({"run_id": run_id, "step": steps, claims.ACCURACY: accuracies[:-1]}))
    ids = tuple(row["run_id"] for row in rows)
    return Records(runs_frame(rows), pd.concat(metrics, ignore_index=True), {}, {"": ids})


LOW, GOOD = claims.LOW_RATE, claims.GOOD_RATE


def test_speedup_is_the_ratio_of_the_mean_rounds():
    found = records(
        {
            ("sgd", LOW): [[0.1, 0.5, 0.6, 0.9, 0.8], [0.1, 0.2, 0.3, 0.4, 0.95]],
            ("fedhyper", LOW): [[0.1, 0.9, 0.8, 0.8, 0.9], [0.1, 0.2, 0.9, 0.95, 0.95]],
        }
    )
    np.testing.assert_array_equal(claims.rounds_to_target(claims.fedavg(found, LOW)), [3, 4])
    assert claims.speedup(found, "G", "raw").value == pytest.approx(3.5 / 1.5)


def test_fedavg_that_never_arrives_counts_its_rounds_and_a_form_that_does_not_is_not_measured():
    slow, fast = [[0.1, 0.2, 0.3]] * 2, [[0.1, 0.9, 0.9]] * 2
    assert claims.speedup(records({("sgd", LOW): slow, ("fedhyper", LOW): fast}), "G", "raw").value == 2
    half = [fast[0], slow[0]]
    assert np.isnan(claims.speedup(records({("sgd", LOW): slow, ("fedhyper", LOW): half}), "G", "raw").value)


def test_a_diverged_run_has_no_final_accuracy():
    curves = {("sgd", GOOD): [[0.1, 0.9]] * 2, ("fedhyper", GOOD): [[0.1, 0.95], [0.1, 0.93]]}
    assert claims.accuracy_gain(records(curves), "G", "raw").value == pytest.approx(0.04)
    broken = records(curves, diverged=[f"fedhyper-{GOOD}-1"])
    assert np.isnan(claims.accuracy_gain(broken, "G", "raw").value)


@pytest.mark.slow
def test_the_smoke_preset_runs_end_to_end(tmp_path):
    run = tmp_path / "run"
    smoke_run(EXPERIMENT, run)
    runs = pd.read_parquet(run / "runs.parquet")
    assert (runs["outcome"] == "ok").all()
    # Before the first round no form has heard anything: all begin like FedAvg.
    rows = pd.concat(pd.read_parquet(p) for p in (run / "metrics").glob("*.parquet"))
    first = rows[rows["step"] == 0].merge(runs[["run_id", "seed"]], on="run_id")
    np.testing.assert_allclose(first.groupby("seed")["loss"].std(), 0, atol=1e-5)
