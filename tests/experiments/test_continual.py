import numpy as np
import pandas as pd
import pytest

from experiments import continual_claims as claims
from experiments import continual_tables as tables
from experiments.continual import EXPERIMENT, SCALES, parts
from lrstudy.study.config import resolve
from lrstudy.study.errors import StudyError
from lrstudy.study.plan import make_plan
from lrstudy.study.records import Records, runs_frame
from tests.experiments.smoke import smoke_run


@pytest.mark.parametrize("preset", ["smoke", "cpu", "gpu", "paper"])
def test_every_preset_plans_in_six_programs(preset):
    plan = make_plan(EXPERIMENT.presets[preset]())
    assert {part for claim in claims.CLAIMS for part in claim.parts} <= set(plan.parts)
    # Permuted and rotated digits; repeated cosine, one cosine, the infinite schedule and its trunk.
    assert len(plan.groups) == 6
    assert {group.part for group in plan.groups} == {"digits", "rotated", "all_text"}


def test_the_decision_seeds_are_three_for_text_and_eight_for_digits():
    assert SCALES["cpu"].seeds == (201, 202, 203)
    assert SCALES["cpu"].digit_seeds == tuple(range(301, 309))


def resolved(part, index=0):
    return resolve(list(parts(SCALES["cpu"])[part].configs())[index])


def test_the_schedules_are_what_the_papers_describe():
    """Rates around the change of stage (step 400 of 800, 4 of warmup), from the formulas of the schedules."""
    peak, low = 0.006, 0.0006
    seeds = len(SCALES["cpu"].seeds)
    again, infinite, held = (resolved("text", 3 * seeds * i).schedule for i in range(3))
    np.testing.assert_allclose(again(np.asarray([4, 400, 404])), [peak, low, peak], rtol=1e-6)
    np.testing.assert_allclose(held(np.asarray([4, 400, 600, 799])), [peak, low, low, low], rtol=1e-6)
    np.testing.assert_allclose(
        infinite(np.asarray([4, 120, 400, 640, 800])), [peak, *[0.55 * peak] * 3, low], rtol=1e-6
    )
    # Half-way through the annealing the rate is the geometric mean of its ends.
    assert float(infinite(720)) == pytest.approx(np.sqrt(0.55 * peak * low), rel=1e-6)


def test_thresholds_are_those_of_the_study():
    """Fixed with the study; a change here is a change of the question."""
    expected = {
        "a1": (">", 0.0), "a2": (">", 0.0), "a3": ("<", 0.0), "a4": ("<", 0.0),
        "b1": ("<=", 0.03), "b2": ("<", 0.0), "b3": (">", 0.0),
        "c1": ("<=", 0.02),
        "d1": (">", 0.0), "d2": (">", 0.0), "d3": ("<=", 0.05),
        "e1": ("<", -0.01), "e2": (">", 0.0), "e3": (">", 0.0),
        "f1": (">", 0.0), "f2": (">", 0.0),
    }  # fmt: skip
    assert {c.claim_id: (c.comparison, c.threshold) for c in claims.CLAIMS} == expected


def records(rows, metrics, part):
    ids = tuple(row["run_id"] for row in rows)
    frame = runs_frame([{"outcome": "ok", "parts": part, **row} for row in rows])
    return Records(frame, pd.DataFrame(metrics), {}, {part: ids})


def two_stages(schedule, shares, at, final, part="text"):
    """Two seeds of one setting; losses at steps 10 (end of the first stage) and 11, and at the end, 20."""
    rows, metrics = [], []
    for seed in (0, 1):
        run_id = f"{schedule}{shares}{seed}"
        row = {"run_id": run_id, "seed": seed, "steps": 20, "schedule": schedule, "task.shares": list(shares)}
        losses = {f"validation_loss{name}": value for name, value in zip(("", "_0", "_1"), final, strict=True)}
        rows.append({**row, **losses})
        for step, (prose, code) in at.items():
            metrics.append({"run_id": run_id, "step": step, "validation_loss_0": prose, "validation_loss_1": code})
    return rows, metrics


def test_rises_and_forgetting_are_measured_at_their_steps():
    rows, metrics = [], []
    for replay, end in zip(claims.REPLAYS, (3.0, 2.5, 2.4), strict=True):
        own = two_stages("Rewarmed", claims.shares_of(replay), {10: (2.0, 4.0), 11: (2.7, 3.5)}, (2.0, end, 1.5))
        rows, metrics = rows + own[0], metrics + own[1]
    held = two_stages("Cosine", claims.shares_of(0.0), {10: (2.0, 4.0), 11: (2.2, 3.9)}, (2.2, 2.4, 1.9))
    found = records(rows + held[0], metrics + held[1], "text")
    assert claims._rise_of_prose(found).value == pytest.approx(2.7 - 2.2)
    own = claims.text_runs(found, "Rewarmed", 0.0)
    assert claims.forgetting(own).tolist() == [1.0, 1.0]
    # From 1.0 over 0.5 to 0.4: the smaller of the two falls.
    assert claims._replay_spares("Rewarmed")(found).value == pytest.approx(0.1)
    with pytest.raises(StudyError, match="no run has"):
        claims.text_runs(found, "Cosine", 0.25)


def test_the_warmup_that_matters_most_is_found_whatever_its_sign():
    rows = []
    for warmup, loss in zip(claims.WARMUPS, (2.0, 2.1, 1.8), strict=True):
        for row in two_stages("Rewarmed", claims.shares_of(0.0), {}, (loss, 0.0, 0.0), "rewarming")[0]:
            peaks = {"schedule.peaks": [0.5, 0.5], "schedule.warmup_fraction": warmup}
            rows.append({**row, **peaks, "run_id": f"{row['run_id']}{warmup}"})
    for second in (claims.SECOND_PEAKS[0], claims.SECOND_PEAKS[-1]):
        row = {**rows[0], "schedule.peaks": [0.5, second * 0.5], "schedule.warmup_fraction": 0.01}
        rows.append({**row, "run_id": f"peak {second}", "validation_loss": 9.0})
    found = records(rows, [{"run_id": "none", "step": 0}], "rewarming")
    assert claims._warmup_matters(found).value == pytest.approx(0.3)


def test_rewarming_with_nothing_new_is_measured_on_the_code_alone():
    own = two_stages("Rewarmed", claims.CODE_ONLY, {10: (9.0, 2.0), 11: (9.0, 2.3)}, (0.0, 9.0, 1.8), "baselines")
    other = two_stages("Rewarmed", claims.UNION, {10: (9.0, 0.0), 11: (9.0, 7.0)}, (0.0, 9.0, 1.8), "baselines")
    found = records(own[0] + other[0], own[1] + other[1], "baselines")
    assert claims._rise_after_rewarming(found).value == pytest.approx(0.3)


def test_accuracies_are_read_run_by_run_with_the_final_parameters_last():
    rows = [
        {"run_id": f"r{seed}", "seed": seed, "steps": 4, "task.tasks": 2, "task.steps_per_task": 2}
        | {"accuracy_0": 0.7 + seed / 10, "accuracy_1": 0.9}
        for seed in (1, 0)
    ]
    metrics = [
        {"run_id": f"r{seed}", "step": step, "accuracy_0": [0.1, 0.5, 0.9, 0.2][step], "accuracy_1": step / 10}
        for seed in (1, 0)
        for step in range(4)
    ]
    first, second = claims.accuracies(records(rows, metrics, "digits"))
    assert first.ends == [2, 4]
    np.testing.assert_array_equal(first.steps, range(5))
    np.testing.assert_allclose(first.values[:, 0], [0.1, 0.5, 0.9, 0.2, 0.7])
    assert second.values[-1, 0] == pytest.approx(0.8)
    assert first.minimum(2) == pytest.approx(0.2)
    assert claims.old_tasks(first) == pytest.approx(0.7)
    assert claims._gap(first) == pytest.approx(0.2 - 0.7)
    # A run that stays: after the first of two ends its accuracy is 0.2 at worst and 0.7 in the end.
    still = pd.Series(first.values[:, 0], index=first.steps)
    assert claims.jitter(still, [2, 4]) == pytest.approx(0.2 - 0.7)


def test_the_table_of_rotations_has_no_minimum_for_the_first_task():
    rows = [{"run_id": "a", "seed": 0, "steps": 2, "task.tasks": 2, "task.steps_per_task": 1}]
    rows[0] |= {"accuracy_0": 0.5, "accuracy_1": 1.0}
    metrics = [{"run_id": "a", "step": step, "accuracy_0": 0.8, "accuracy_1": 0.1} for step in (0, 1)]
    table = tables.rotated_table(records(rows, metrics, "rotated"))
    assert np.isnan(table.loc[0, "min-ACC"])
    assert table.loc[1, ["task 1", "task 2", "ACC", "min-ACC", "WC-ACC"]].tolist() == [0.5, 1.0, 0.75, 0.5, 0.75]


@pytest.mark.slow
def test_the_smoke_preset_runs_end_to_end(tmp_path):
    """Every part, figure and table of the study, at sizes that decide nothing."""
    run = tmp_path / "run"
    entries = smoke_run(EXPERIMENT, run)
    assert all(np.isfinite(entry["measured"]) for entry in entries.values())
    runs = pd.read_parquet(run / "runs.parquet")
    assert (runs["outcome"] == "ok").all()
    # The stability gap is seen after every update: no step is left out.
    metrics = pd.concat(map(pd.read_parquet, (run / "metrics").glob("*.parquet")))
    own = runs[runs["task"] == "continual_digits"]
    counted = metrics[metrics["run_id"].isin(own["run_id"])].dropna(subset=["accuracy_0"]).groupby("run_id").size()
    assert counted.to_dict() == own.set_index("run_id")["steps"].to_dict()
