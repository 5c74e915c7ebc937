import itertools

import numpy as np
import pandas as pd
import pytest

from experiments import auto_lr_claims as claims
from experiments import auto_lr_views as views
from experiments.auto_lr import EXPERIMENT, SCALES, parts
from experiments.auto_lr_search import settings_of
from lrstudy.study.autolrs_stages import stage_plan
from lrstudy.study.config import resolve
from lrstudy.study.errors import StudyError
from lrstudy.study.plan import make_plan
from lrstudy.study.records import Records, runs_frame
from tests.experiments.slow import takes_minutes
from tests.experiments.smoke import smoke_run


@pytest.mark.parametrize("preset", ["smoke", "cpu", "gpu", "paper"])
def test_every_preset_plans(preset):
    plan = make_plan(EXPERIMENT.presets[preset]())
    assert list(plan.parts) == ["digits", "digits_hypergradient", "text", "text_hypergradient"]
    assert len(plan.groups) == 6


def test_hypergradient_starts_ten_times_too_low_at_a_rate_that_the_grid_holds():
    for scale in (SCALES["smoke"], SCALES["cpu"]):
        for sizes in (scale.digits, scale.text):
            assert {sizes.good, sizes.good / 10} <= set(sizes.peaks)


def test_every_arm_makes_the_same_number_of_updates():
    for part, grid in (("digits", "digits"), ("digits_hypergradient", "digits"), ("text_hypergradient", "text")):
        chosen = parts(SCALES["cpu"])
        assert {c.steps for c in chosen[part].configs()} == {c.steps for c in chosen[grid].configs()}


@pytest.mark.parametrize(
    ("steps", "stages"),
    [
        (1_500, [("train", 300, 30), ("train", 600, 60), ("validation", 600, 60)]),
        (800, [("train", 160, 16), ("train", 320, 32), ("validation", 320, 32)]),
        (7_000, [("train", 1000, 100), ("train", 2000, 200), ("train", 4000, 400)]),
    ],
)
def test_short_runs_have_stages_in_proportion_and_long_ones_the_papers(steps, stages):
    run = resolve(next(iter(parts(SCALES["cpu"])["digits"].overridden({"steps": steps}, {}).configs())))
    settings = settings_of(run, 0.003, 0.3)
    assert list(stage_plan(settings)) == stages
    assert settings.seed == run.config.seed == 301


def test_thresholds_are_those_of_the_study():
    """Fixed with the study; a change here is a change of the question."""
    expected = {
        "a1": ("<=", 1.05), "a2": ("<=", 1.05), "b1": ("<", 0), "b2": ("<", 0), "c1": ("<", 0), "c2": ("<", 0),
        "d1": ("<=", 1), "d2": ("<=", 1), "e1": ("<=", 2), "f1": ("<=", 2e-7),
    }  # fmt: skip
    assert {c.claim_id: (c.comparison, c.threshold) for c in claims.CLAIMS} == expected


# -- measures on made-up records ---------------------------------------------------------------------------------------

PEAKS, SEEDS = (0.01, 0.1, 1.0), (1, 2)
CONSTANT = {(0.01, 1): 0.5, (0.01, 2): 0.7, (0.1, 1): 0.2, (0.1, 2): 0.4, (1.0, 1): 0.8, (1.0, 2): np.nan}


def made_up():
    """A grid of three peaks and two seeds, hypergradient runs from two, and AutoLRS's table of two stages a seed."""
    rows, ids = [], {"digits": [], "digits_hypergradient": []}

    def add(part, schedule, peak, seed, loss):
        run_id = f"{part}-{schedule}-{peak}-{seed}"
        ids[part].append(run_id)
        outcome = "ok" if np.isfinite(loss) else "diverged"
        row = {"run_id": run_id, "parts": part, "schedule": schedule, "schedule.peak": peak, "seed": seed, "steps": 10}
        rows.append({**row, "outcome": outcome, "validation_loss": float(loss)})

    for (peak, seed), loss in CONSTANT.items():
        add("digits", "Constant", peak, seed, loss)
        add("digits", "Cosine", peak, seed, 2 * loss)
    for peak, seed in itertools.product((0.01, 0.1), SEEDS):
        add("digits_hypergradient", "Constant", peak, seed, 0.3 + peak + 0.1 * seed)
    table = [entry for seed in SEEDS for number in (0, 1) for entry in stage(seed, number)]
    runs = runs_frame(rows)
    metrics = pd.DataFrame({"run_id": runs["run_id"], "step": 0, "learning_rate": 0.1, "validation_loss": 1.0})
    return Records(runs, metrics, {"digits_autolrs": pd.DataFrame(table)}, {k: tuple(v) for k, v in ids.items()})


def stage(seed, number):
    common = {"seed": seed, "stage": number, "mode": "train"}
    start = 5 * number
    rows = [{**common, "kind": "stage", "step": start, "steps": 5, "search_steps": 1, "rate": 0.1, "spent": 10}]
    for rate in (0.1, 0.2):
        found = {"rate": rate, "forecast": rate, "learning_rate": rate, "chosen": rate == 0.1}
        rows.append({**common, "kind": "candidate", "step": start, **found})
    for step in range(start, start + 5):
        rows.append({**common, "kind": "update", "step": step, "rate": 0.1, "loss": 1.0, "learning_rate": 0.1})
        rows.append({**common, "kind": "evaluation", "step": step + 1, "validation_loss": (seed + 2) / (step + 1)})
    return rows


def test_the_expected_best_is_over_all_pairs_and_a_diverged_run_loses_to_any():
    losses = claims.grid_losses("digits", "Constant", made_up())
    np.testing.assert_allclose(claims.expected_best(losses, 2), [(0.2 + 0.5 + 0.2) / 3, (0.4 + 0.7 + 0.4) / 3])
    np.testing.assert_allclose(claims.expected_best(losses, 3), [0.2, 0.4])
    assert claims.expected_best(losses, 1).tolist() == [pytest.approx(0.5), np.inf]


def test_autolrs_stands_beside_the_tuned_runs_of_the_same_seeds():
    records = made_up()
    # (seed + 2) / 10 at the end: 0.3 and 0.4, beside the best constant's 0.2 and 0.4.
    np.testing.assert_allclose(claims.autolrs_losses("digits", records), [0.3, 0.4])
    assert claims._beside("digits", "Constant", records).value == pytest.approx(0.35 / 0.3)
    assert claims._beside("digits", "Cosine", records).value == pytest.approx(0.35 / 0.6)
    assert claims._beside_two_draws("digits", records).value == pytest.approx((0.3 - 0.3 + 0.4 - 0.5) / 2)


def test_hypergradient_stands_beside_the_constant_at_its_own_rate():
    # 0.3 + 0.01 + 0.1 seed, beside 0.5 and 0.7.
    assert claims._rescued("digits", made_up()).value == pytest.approx((0.41 - 0.5 + 0.51 - 0.7) / 2)


def test_cost_and_rates_are_measured_and_wrong_ones_are_caught(monkeypatch):
    monkeypatch.setattr(claims, "TASKS", ("digits",))
    good = made_up()
    assert claims._cost(good).value == 2.0
    assert claims._applied(good).value == 0.0
    table = good.probes["digits_autolrs"].copy()
    stale = table["kind"].eq("candidate") & table["rate"].eq(0.2)
    table.loc[stale, "learning_rate"] = 0.1
    spoilt = Records(good.runs, good.metrics, {"digits_autolrs": table}, good.parts)
    assert claims._applied(spoilt).value == pytest.approx(0.5)
    with pytest.raises(StudyError, match="probe text_autolrs has not been run"):
        claims.autolrs_table("text", good, "stage")


def test_the_tables_say_what_was_spent():
    records = made_up()
    table = claims.cost_table("digits", records).set_index("method")
    assert table.loc["AutoLRS", ["cost in runs", "updates"]].tolist() == [2, 20]
    assert table.loc["constant, best of 3 peaks (0.1)", "updates"] == 30
    assert table.loc["constant, best of 3 peaks (0.1)", "over the tuned constant"] == 1.0
    stages = claims.stage_table("digits", records)
    assert stages["validation_loss"].tolist() == pytest.approx([0.6, 0.3, 0.8, 0.4])
    assert stages["forecast"].tolist() == [0.1] * 4


def test_autolrs_draws_as_a_run_does():
    own = views.autolrs_records("digits", made_up())
    assert own.final("validation_loss").tolist() == pytest.approx([0.3, 0.4])
    curves = own.curves("validation_loss")
    assert curves.index.tolist() == list(range(1, 11))
    assert curves[1].tolist() == pytest.approx([3 / step for step in range(1, 11)])
    assert own.curves("learning_rate").shape == (10, 2)


@pytest.mark.slow
@takes_minutes
def test_the_smoke_preset_runs_end_to_end(tmp_path):
    """Every part, probe, figure and table of the study, at sizes that decide nothing."""
    run = tmp_path / "run"
    entries = smoke_run(EXPERIMENT, run)
    # What does not depend on the sizes holds at these too.
    measured = {name: entry["measured"] for name, entry in entries.items()}
    assert measured["e1"] == 2.0
    assert measured["f1"] <= 2**-24
