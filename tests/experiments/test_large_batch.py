"""The study of large batches: what it measures of losses with known optima, and its smoke run."""

import numpy as np
import pandas as pd
import pytest

from experiments import large_batch as study
from experiments import large_batch_arms as arms
from experiments import large_batch_claims as claims
from experiments import large_batch_measures as measures
from experiments.large_batch_arms import LINEAR, REFERENCE, SQRT, TUNED
from lrstudy.study.derived import static_parts
from lrstudy.study.errors import StudyError
from lrstudy.study.plan import make_plan
from lrstudy.study.records import Records
from tests.experiments.slow import takes_minutes
from tests.experiments.smoke import smoke_run

BATCHES, EPOCHS, POINTS, SEEDS = (32, 128, 1437), 30, 7, (1, 2, 3)
POWERS = {"adamw": 0.5, "lamb": 0.5, "momentum": 1.0, "lars": 0.5}
"""With which the best rate of a method grows with the batch."""

FLOORS = {"adamw": 0.02, "lamb": 0.01, "momentum": 0.02, "lars": 0.01}
"""By how much the best loss grows with every factor e of the batch."""


def best_rate(name, batch):
    return arms.METHODS[name].least * 4 * (batch / REFERENCE) ** POWERS[name]


def row(part, number, assignment, seed, loss, optimizer="momentum"):
    values = {k: v for k, v in assignment.items() if k != "optimizer"}
    extra = {"outcome": "ok", "loss": loss, "validation_loss": loss, "validation_accuracy": 1 - loss}
    return {"run_id": f"{part}{number}-{seed}", "seed": seed, "optimizer": optimizer, **values, **extra}


def records_of(rows):
    frame = pd.DataFrame(rows)
    names = frame["run_id"].str.extract(r"([a-z_]+)\d")[0]
    parts = {name: tuple(frame["run_id"][names == name]) for name in names.unique()}
    return Records(frame, pd.DataFrame({"run_id": frame["run_id"]}), {}, parts)


def rule_rows(part, runs, seeds):
    """A parabola in the logarithm of the rate around the method's best."""
    for number, run in enumerate(runs):
        name, batch = run["optimizer"].name, run["task.batch_size"]
        far = np.log2(run["schedule.peak"] / best_rate(name, batch))
        loss = 0.02 + FLOORS[name] * np.log(batch / REFERENCE) + 0.01 * far**2
        for seed in seeds:
            yield row(part, number, run, seed, loss + 0.001 * (seed % 2), name)


@pytest.fixture(scope="module")
def rules():
    tuning = list(rule_rows("tuning", arms.tuning_runs(BATCHES, EPOCHS, POINTS), (1, 2)))
    deciding = arms.deciding_runs(records_of(tuning), EPOCHS)
    return records_of([*tuning, *rule_rows("rules", deciding, SEEDS)])


@pytest.mark.parametrize("preset", ["smoke", "cpu", "gpu", "paper"])
def test_every_preset_plans_and_decides_on_seeds_that_tuned_nothing(preset):
    scale = study.SCALES[preset]
    assert min(scale.seeds) > max(scale.tuning_seeds)
    plan = make_plan(static_parts(study.EXPERIMENT.presets[preset]()))
    # Batches and optimizers are programs, and so is the size of ghosts; rates and seeds are lanes.
    assert len(plan.groups) == len(arms.METHODS) * len(scale.batches) + 3
    assert {len(group.runs) for group in plan.groups} == {scale.points * len(scale.tuning_seeds)}


def test_thresholds_are_those_of_the_study():
    """Fixed before the deciding run; a change here is a change of the question."""
    lead = (">=", 0.02)
    expected = {"a1": ("<=", 0.05), "a2": ("<=", 0.05), "a3": lead, "a4": lead, "a5": lead}
    expected |= {f"a{i}": (">", 0) for i in range(6, 12)}
    expected |= {"b1": lead, "b2": lead, "b3": ("<", 0.02), "b4": ("<", 0.02)}
    expected |= {"c1": lead, "c2": (">=", 0.25), "c3": (">=", 0.1), "c4": ("<=", 0.01)}
    expected |= {f"c{i}": (">", 0) for i in range(5, 9)}
    assert {c.claim_id: (c.comparison, c.threshold) for c in claims.CLAIMS} == expected


def test_the_grid_follows_the_root_of_the_batch_and_holds_as_many_points_everywhere():
    runs = arms.tuning_runs(BATCHES, EPOCHS, POINTS)
    assert len(runs) == len(arms.METHODS) * len(BATCHES) * POINTS
    found = arms.grid(0.01, 128, 3)
    np.testing.assert_allclose(found, [0.02, 0.04, 0.08], rtol=1e-12)
    # 44, 11 and 1 whole batches an epoch.
    assert {(r["task.batch_size"], r["steps"]) for r in runs} == {(32, 1320), (128, 330), (1437, 30)}


def test_every_rule_has_the_rate_that_it_says_and_equal_rates_share_a_run(rules):
    peaks = arms.peaks_by_rule(arms.tuned(rules))
    base = peaks["adamw", TUNED, REFERENCE]
    assert base == pytest.approx(best_rate("adamw", REFERENCE))
    assert {peaks["adamw", rule, REFERENCE] for rule in arms.RULES} == {base}
    assert [peaks["adamw", rule, 128] / base for rule in arms.RULES] == pytest.approx([1, 4, 2, 2])
    # The best rate of momentum grows with the batch, in octaves of a grid that starts at the root.
    assert peaks["momentum", TUNED, 128] == pytest.approx(peaks["momentum", LINEAR, 128])
    runs = rules.part("rules").runs
    assert len(runs[(runs["optimizer"] == "adamw") & (runs["task.batch_size"] == REFERENCE)]) == len(SEEDS)
    assert len(runs[(runs["optimizer"] == "adamw") & (runs["task.batch_size"] == 128)]) == 3 * len(SEEDS)


def test_rises_and_the_largest_batch_that_holds(rules):
    table = measures.losses(rules)
    assert table.shape == (4 * 4 * 3, len(SEEDS))
    np.testing.assert_allclose(measures.rise(table, "adamw", SQRT, 128), 0.02 * np.log(4), atol=1e-12)
    # Linear is an octave too high at 128 and log2(45) / 2 at the full batch.
    np.testing.assert_allclose(measures.rise(table, "adamw", LINEAR, 128), 0.02 * np.log(4) + 0.01, atol=1e-12)
    ratio = 1437 / REFERENCE
    full = 0.02 * np.log(ratio) + 0.01 * (np.log2(ratio) / 2) ** 2
    np.testing.assert_allclose(measures.rise(table, "adamw", LINEAR, 1437), full, atol=1e-12)
    # 0.02 and 0.01 times 3.8 beside a margin of 0.05.
    assert (measures.held_to(table, "adamw", SQRT), measures.held_to(table, "lamb", SQRT)) == (128, 1437)
    lead = measures.lead("lamb", "adamw")(rules)
    assert measures.advantage("lamb", "adamw")(rules).value == pytest.approx(0.01 * np.log(ratio))
    # Grids are octaves and the full batch is 45 times the reference: half an octave off at most, in both alike.
    assert lead.value == pytest.approx(0.01 * np.log(ratio), abs=1e-9)
    assert measures.largest_lead("lamb", "adamw")(rules).value == pytest.approx(lead.value)
    assert measures.gain_of_rule("adamw", SQRT)(rules).value == pytest.approx(0.01 * (np.log2(ratio) / 2) ** 2)
    assert len(measures.held_table(rules)) == 16
    assert not measures.tuning_table(rules)["on edge"].any()


def test_runs_that_diverged_count_as_untrained_and_a_rate_of_which_a_seed_diverged_is_never_best(rules):
    runs = rules.runs.copy()
    tuning = runs["run_id"].str.startswith("tuning") & (runs["optimizer"] == "adamw")
    best = tuning & np.isclose(runs["schedule.peak"], best_rate("adamw", 128)) & (runs["task.batch_size"] == 128)
    runs.loc[best & (runs["seed"] == 1), ["outcome", "validation_loss"]] = ["diverged", np.nan]
    moved = Records(runs, rules.metrics, {}, rules.parts)
    assert arms.tuned(moved)["adamw", 128].peak != arms.tuned(rules)["adamw", 128].peak
    runs.loc[tuning, "outcome"] = "diverged"
    with pytest.raises(StudyError, match=r"^no rate of a grid trains$"):
        arms.tuned(moved)
    untrained = pd.DataFrame({"seed": [2, 1], "outcome": ["ok", "diverged"], "validation_loss": [50.0, np.nan]})
    np.testing.assert_allclose(measures.final_losses(untrained), np.log(10))


@pytest.fixture(scope="module")
def regime():
    """Rates are best at 0.08 with the small batch; the gap is 0.4, of which the arms close known shares."""
    tuning = [
        row("regime_tuning", number, run, seed, 0.1 + abs(np.log2(run["schedule.peak"] / 0.08)))
        for number, run in enumerate(arms.regime_tuning(64, 2, 0.02, 5))
        for seed in (1, 2)
    ]
    chosen = arms.regime_arms(records_of(tuning), 64, 2)
    losses = dict(zip(arms.ARMS, (0.1, 0.5, 0.3, 0.2, 0.1, 0.25, 0.5, 0.4), strict=True))
    rows = []
    for number, run in enumerate({str(a): a.assignment() for a in chosen.values()}.values()):
        (loss, *_) = [losses[name] for name, arm in chosen.items() if arm.assignment() == run]
        rows += [row("regime", number, run, seed, loss + 0.01 * seed) for seed in SEEDS]
    return records_of([*tuning, *rows])


def test_arms_are_the_ingredients_one_after_the_other(regime):
    found = measures.arm_table(regime).set_index("arm")
    assert found["updates"].to_list() == [88, 44, 44, 44, 88, 88, 44, 44]
    assert found["batch"].to_list() == [32] + 7 * [64]
    assert found["ghosts of"].fillna(0).to_list() == [0, 0, 0, 32, 32, 0, 0, 32]
    np.testing.assert_allclose(found["rate"][:4] / 0.08, [1, 1, 2**0.5, 2**0.5], rtol=1e-9)


def test_searches_without_what_the_rest_is_compared_with_are_refused(rules, regime):
    found = arms.tuned(rules)
    with pytest.raises(StudyError, match=r"^tuning must search \('adamw', 32\), got \[\('adamw', 128\)\]$"):
        arms.peaks_by_rule({("adamw", 128): found["adamw", 128]})
    with pytest.raises(StudyError, match=r"^tuning must search \(96, 0\), got"):
        arms.regime_arms(regime, 96, 2)


def test_shares_of_the_gap(regime):
    assert measures.gap(arms.LARGE)(regime).value == pytest.approx(0.4)
    steps = [(arms.LARGE, arms.ROOT), (arms.ROOT, arms.GHOSTS), (arms.GHOSTS, arms.REGIME), (arms.LARGE, arms.REGIME)]
    shares = [measures.closed(*step)(regime).value for step in steps]
    np.testing.assert_allclose(shares, [0.5, 0.25, 0.25, 1.0])
    assert measures.difference(arms.WHOLE, arms.REGIME)(regime).value == pytest.approx(0.15)


def test_claims_and_figures_need_no_more_than_these_records(rules, regime):
    both = records_of([*rules.runs.to_dict("records"), *regime.runs.to_dict("records")])
    assert {claim.measure(both).n for claim in claims.CLAIMS} == {len(SEEDS)}
    for figure in study.EXPERIMENT.figures:
        drawn = figure.draw(both)
        assert all(axis.get_xlabel() for axis in drawn.axes), figure.name
    for table in study.EXPERIMENT.tables:
        assert len(table.compute(both)) > 0, table.name


@takes_minutes
def test_smoke(tmp_path):
    entries = smoke_run(study.EXPERIMENT, tmp_path)
    assert {entry["n"] for entry in entries.values()} == {2}
