"""The study of learning-rate-free methods: what it measures of trials that are known, and its smoke run."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from experiments import lr_free as study
from experiments import lr_free_claims as claims
from experiments import lr_free_measures as measures
from experiments.lr_free_submissions import BASELINE, DEFAULT_RATE, FREE, default, searched, space_of
from lrstudy.study.errors import StudyError
from lrstudy.study.records import Records
from tests.experiments.smoke import smoke_run

WORKLOADS = ("quadratic", "text")
POINT = {"end_share": 0.5, "one_minus_b1": 0.02, "learning_rate": 0.01}


def records(times, studies=3, jitter=0.0):
    """(method, kind) to updates on both workloads, as the probe writes them."""
    rng = np.random.default_rng(0)
    rows = [
        {
            "kind": kind,
            "method": method,
            "workload": workload,
            "trial": trial,
            "steps": steps * math.exp(jitter * rng.standard_normal()),
            "target": 1.0,
            "value": 2.0,
            "hyperparameters": json.dumps({key: value for key, value in POINT.items() if key in space_of(method)}),
        }
        for (method, kind), own in times.items()
        for workload, steps in zip(WORKLOADS, own, strict=True)
        for trial in range(studies)
    ]
    empty = pd.DataFrame({"run_id": []})
    return Records(empty, empty, {"times": pd.DataFrame(rows)}, {"text": ()})


TIMES = {
    (BASELINE, "default"): (math.inf, 400.0),
    ("dog", "default"): (math.inf, math.inf),
    ("prodigy", "default"): (300.0, math.inf),
    (BASELINE, "calibrated"): (100.0, 100.0),
    ("dog", "calibrated"): (math.inf, 250.0),
    ("prodigy", "calibrated"): (200.0, 150.0),
}


def measured(claim_id, found):
    (claim,) = [c for c in claims.CLAIMS if c.claim_id == claim_id]
    return claim.measure(found)


def test_thresholds_are_those_of_the_study():
    """Fixed before the deciding run; a change here is a change of the question."""
    expected = {"a1": ("<", 0.5), "a2": (">", 0.05), "b1": (">", 0), "b2": ("<", 0.25), "b3": (">", 0.1)}
    assert {c.claim_id: (c.comparison, c.threshold) for c in claims.CLAIMS} == {**expected, "c1": (">", 0.05)}


def test_claims_are_the_scores_worked_out_by_hand():
    """Scores max(0, 4 - r) / 3 on average: NAdamW 0 and 1; DoG 0 and 1/4; Prodigy 1/6 and (2/3 + 5/6) / 2."""
    found = records(TIMES)
    scores = measures.score_table(found).set_index(["method", "setting"])["score"]
    assert scores[BASELINE, "default"] == pytest.approx(0.0)
    assert scores["dog", "calibrated"] == pytest.approx(1 / 4)
    assert measured("a1", found).value == pytest.approx(1 / 4)
    assert measured("a2", found).value == pytest.approx((1 / 4 + 3 / 4) / 2 - 1 / 12)
    assert measured("b1", found).value == measured("b2", found).value == pytest.approx(1 / 4)
    assert measured("b3", found).value == pytest.approx(1 / 2)
    assert measured("c1", found).value == pytest.approx(1.0)


def test_intervals_of_scores_are_of_studies_that_are_drawn_again():
    exact, noisy = (measures.score_table(found) for found in (records(TIMES), records(TIMES, studies=5, jitter=0.3)))
    assert (exact["low"] == exact["high"]).all()
    own = noisy.set_index(["method", "setting"]).loc[("prodigy", "calibrated")]
    assert own["low"] < own["score"] < own["high"]


def test_one_calibration_settles_nothing_of_one_method():
    found = records(TIMES, studies=5)
    for claim in ("b1", "b2", "b3", "c1"):
        assert (measured(claim, found).low, measured(claim, found).n) == (-math.inf, 1)
    # Of two methods the gain has an interval, with as many samples.
    assert measured("a2", found).n == 2


def test_a_study_that_missed_is_a_time_like_any_other():
    """Two of three studies missed: so did the median, and the miss is shown."""
    found = records(TIMES)
    table = found.probes["times"]
    own = (table["method"] == "prodigy") & (table["kind"] == "calibrated") & (table["trial"] > 0)
    table.loc[own & (table["workload"] == "text"), "steps"] = math.inf
    times = measures.time_table(found).set_index(["method", "setting"])
    assert times.loc[("prodigy", "calibrated"), "text"] == math.inf
    assert times.loc[("prodigy", "calibrated"), "quadratic"] == 200


def test_the_edge_of_a_range_is_said():
    found = measures.point_table(records(TIMES)).set_index("method")
    assert found.loc[BASELINE, "at the edge"] == "one_minus_b1"


def test_only_the_baseline_has_its_rate_searched():
    for name in (BASELINE, *FREE):
        assert ("learning_rate" in space_of(name)) == (name == BASELINE)
        assert default(name).points == [{"learning_rate": DEFAULT_RATE[name]}]
        assert searched(name).space == space_of(name)


def test_without_trials_nothing_is_measured():
    empty = pd.DataFrame({"run_id": []})
    with pytest.raises(StudyError, match="the trials have not been timed"):
        measures.trials(Records(empty, empty, {}, {"text": ()}))


def test_smoke(tmp_path):
    entries = smoke_run(study.EXPERIMENT, tmp_path)
    assert {name: entry["n"] for name, entry in entries.items()} == {
        "a1": 2, "a2": 1, "b1": 1, "b2": 1, "b3": 1, "c1": 1,
    }  # fmt: skip
    kept = list((tmp_path / "probes").rglob("study_*_trial_*.json"))
    # Two methods on one workload: two points of each, and two studies of either setting.
    assert len(kept) == 2 * 2 + 2 * 2 * 2
