import dataclasses
import functools
import json

import numpy as np
import pandas as pd
import pytest

from experiments import curriculum_arms as arms
from experiments import curriculum_claims as claims
from experiments.curriculum import EXPERIMENT, SCALES, parts, regression_peaks, upsampled
from lrstudy.study.claims import Measurement
from lrstudy.study.config import resolve
from lrstudy.study.derived import Derived, static_parts
from lrstudy.study.errors import StudyError
from lrstudy.study.part import Part, axis
from lrstudy.study.plan import make_plan
from lrstudy.study.probes import Context
from lrstudy.study.records import Records, runs_frame
from lrstudy.tasks.noisy_regression import NoisyRegression, expected_excess
from lrstudy.training.averaging import merge_weights
from tests.experiments.slow import takes_minutes
from tests.experiments.smoke import smoke_run

PARTS = ("regression_tuning", "regression", "digits_tuning", "digits", "upsampling")


@pytest.mark.parametrize("preset", ["smoke", "cpu", "gpu", "paper"])
def test_every_preset_plans(preset):
    found = EXPERIMENT.presets[preset]()
    assert tuple(found) == PARTS
    assert [name for name, part in found.items() if isinstance(part, Derived)] == ["regression", "digits"]
    seeds = SCALES[preset].tuning_seeds
    plan = make_plan(static_parts(found))
    # Two orders, three schedules, six peaks; one program for the constant rate, one for both decays.
    assert [len(plan.parts[name]) for name in ("regression_tuning", "digits_tuning")] == [36 * len(seeds)] * 2
    # The base, twelve pairs of duration and share, two long durations.
    assert len(plan.parts["upsampling"]) == 15 * len(SCALES[preset].text_seeds)
    assert len(plan.groups) == 5
    assert len({run.run_id for run in plan.runs().values()}) == sum(map(len, plan.parts.values()))


def test_the_seeds_that_decide_choose_nothing():
    scale = SCALES["cpu"]
    assert not set(scale.tuning_seeds) & set(scale.seeds)
    assert len(scale.seeds) >= 16


def test_thresholds_are_those_of_the_study():
    """Fixed before the deciding run; a change here is a change of the question."""
    order = {"1": (">", 0), "2": (">", 0), "3": (">", 0), "4": (">", 0), "5": ("<", 0), "6": ("<", 0), "7": ("<", 0)}
    expected = {f"{letter}{n}": rule for letter in "ab" for n, rule in order.items()}
    expected |= {"a8": ("<=", 4)}
    expected |= {
        "c1": (">", 0), "c2": (">", 0), "c3": ("<", 0), "c4": (">", 0), "c5": (">", 0), "c6": (">", 0),
    }  # fmt: skip
    assert {c.claim_id: (c.comparison, c.threshold) for c in claims.CLAIMS} == expected


@pytest.mark.parametrize(("steps", "spacing"), [(64, 1), (179, 4), (1024, 25)])
def test_the_last_six_checkpoints_span_an_eighth_of_the_run_at_most(steps, spacing):
    found = arms.averaged_steps(steps)
    assert found == tuple(steps - spacing * age for age in (5, 4, 3, 2, 1, 0))
    assert found[-1] - found[0] <= steps / 8


def test_schedules_are_told_apart_from_their_records():
    for kind in (arms.CONSTANT, arms.MODERATE, arms.DECAY):
        base = next(static_parts(parts(SCALES["smoke"]))["regression_tuning"].configs())
        config = next(Part(base, [axis("schedule", [arms.schedules_of(kind, 0.3)])]).configs())
        schedule = resolve(config).schedule
        assert arms.kind_of(schedule) == kind
        last = {arms.CONSTANT: 0.3, arms.MODERATE: 0.1, arms.DECAY: 0.0}[kind]
        # A float32 of size 0.3.
        assert float(schedule(config.steps)) == pytest.approx(last, abs=3e-8)


def test_the_upsampled_share_comes_last():
    stages = upsampled(500)
    assert stages[0] == {"task.boundaries": (400,), "task.shares": (0.1, 0.1)}
    assert {(s["task.boundaries"][0], s["task.shares"]) for s in stages[1:13]} == {
        (start, (0.1, share)) for start in (450, 400, 350) for share in (0.2, 0.4, 0.6, 0.8)
    }
    assert [s["task.boundaries"] for s in stages[13:]] == [(250,), (1,)]


@pytest.mark.parametrize("samples", [1_024, 4_096])
def test_the_exact_optimum_of_every_arm_is_inside_the_grid(samples):
    peaks, steps = regression_peaks(samples), np.arange(samples)
    last = {arms.CONSTANT: 1.0, arms.MODERATE: 1 / 3, arms.DECAY: 0.0}
    for ordering in (arms.RANDOM, arms.ORDERED):
        task = NoisyRegression(ordering=ordering, samples=samples)
        for kind, end in last.items():
            rates = 1 - (1 - end) * steps / samples
            losses = [expected_excess(task, peak * rates) for peak in peaks]
            assert 0 < np.argmin(losses) < len(peaks) - 1, (ordering, kind)


# -- arms --------------------------------------------------------------------------------------------------------------

BEST = {arms.CONSTANT: 0.025, arms.MODERATE: 0.05, arms.DECAY: 0.1}
PENALTY = {"ema": 0.5, "ema_normalised": 0.25, "uniform": 0.125}


def pretend(kind, average, ordering, peak, seed):
    """A loss that is least at the peak of ``BEST`` and tells arm, order and seed apart."""
    far = abs(np.log2(peak / BEST[kind]))
    gain = {arms.CONSTANT: 3.0, arms.MODERATE: 2.0, arms.DECAY: 1.0}[kind] - PENALTY.get(average, 0.0)
    return 10 + far - ordering * gain * (1 + 0.01 * (seed % 10))


def rows_of(part, name):
    """A part's runs as if they had been trained, and the averages of those that keep their rate up."""
    rows, averaged = [], []
    for config in part.configs():
        run = resolve(config)
        facts = arms.kind_of(run.schedule), run.task.ordering, run.columns["schedule.peak"], run.config.seed
        rows.append({"run_id": run.run_id, "parts": name, "outcome": "ok", **run.columns})
        rows[-1]["excess_loss"] = pretend(facts[0], None, *facts[1:])
        if facts[0] != arms.DECAY:
            averaged += [
                {"run_id": run.run_id, "average": average, "loss": pretend(facts[0], average, *facts[1:])}
                for average in arms.AVERAGES
            ]
    return rows, pd.DataFrame(averaged)


@functools.cache
def study():
    """Records of the regression's two parts with pretended losses."""
    found = parts(SCALES["smoke"])
    tuning, tuned = rows_of(found["regression_tuning"], "regression_tuning")
    metrics = pd.DataFrame({"run_id": [row["run_id"] for row in tuning], "step": 0})
    ids = {"regression_tuning": tuple(row["run_id"] for row in tuning)}
    first = Records(runs_frame(tuning), metrics, {"regression_tuning_averages": tuned}, ids)
    deciding, averaged = rows_of(found["regression"].make(first), "regression")
    ids = {**ids, "regression": tuple(row["run_id"] for row in deciding)}
    probes = {**first.probes, "regression_averages": averaged}
    return Records(runs_frame([*tuning, *deciding]), metrics, probes, ids)


def test_every_arm_is_decided_at_the_peak_that_tuning_found():
    records = study()
    best = arms.best_peaks(arms.arm_losses(records, "regression_tuning"))
    assert best == {(arm, ordering): BEST[kind] for arm, (kind, _) in arms.ARMS.items() for ordering in (0.0, 1.0)}
    runs = records.part("regression").runs
    # Three schedules at one peak each serve all eight arms, in both orders, for each of the two seeds.
    assert len(runs) == 3 * 2 * 2
    assert set(runs["seed"]) == set(SCALES["smoke"].seeds)


def test_gains_are_random_less_ascending_seed_by_seed():
    found = arms.gains(study(), "regression")
    for arm, (kind, average) in arms.ARMS.items():
        peak = BEST[kind]
        expected = [pretend(kind, average, 0.0, peak, s) - pretend(kind, average, 1.0, peak, s) for s in (201, 202)]
        np.testing.assert_allclose(found[arm], expected, rtol=1e-12)
    # 3 - 1/2 times 1.01 and 1.02 for the constant rate with EMA, less 1.01 and 1.02 for the decay: 1.5 times each.
    measured = claims._more_gain("regression", claims.EMA)(study())
    assert measured.value == pytest.approx(1.5 * 1.015, rel=1e-12)


def test_the_differences_of_a5_to_a7_stand_beside_the_exact_ones():
    table = claims.differences(study()).set_index("claim")
    exact = arms.exact_losses(study(), "regression")
    assert list(table.index) == ["a5", "a6", "a7"]
    expected = exact[claims.EMA, arms.ORDERED] - exact[arms.DECAY, arms.RANDOM]
    assert table.loc["a6", "exact difference"] == expected
    by_id = {claim.claim_id: claim.measure(study()) for claim in claims.CLAIMS if claim.claim_id in table.index}
    for name, found in by_id.items():
        assert tuple(table.loc[name, ["difference", "ci low", "ci high"]]) == (found.value, found.low, found.high)
        assert table.loc[name, "reading"] == claims.reading(found, table.loc[name, "exact difference"])


@pytest.mark.parametrize(
    ("ends", "expected", "words"),
    [
        ((-0.2, -0.1), -0.1, "below"),
        ((0.1, 0.2), 0.1, "not below"),
        (
            (-0.3, 0.1),
            0.1,
            "tie: the interval over seeds holds both signs; the exact expectation has the opposite sign",
        ),
        ((-0.3, 0.1), -0.1, "tie: the interval over seeds holds both signs"),
        ((-0.2, -0.1), 0.1, "below; the exact expectation has the opposite sign"),
    ],
)
def test_a_difference_that_noise_could_turn_is_called_a_tie(ends, expected, words):
    assert claims.reading(Measurement(np.mean(ends), 16, *ends), expected) == words


def test_a_peak_that_diverged_once_is_not_chosen():
    losses = arms.arm_losses(study(), "regression_tuning")
    here = (losses["peak"] == BEST[arms.CONSTANT]) & (losses["arm"] == arms.CONSTANT) & (losses["ordering"] == 1.0)
    one = losses.assign(loss=losses["loss"].mask(here & (losses["seed"] == losses["seed"].min())))
    found = arms.best_peaks(one)
    assert found[arms.CONSTANT, 1.0] in (BEST[arms.CONSTANT] / 2, BEST[arms.CONSTANT] * 2)
    assert found[arms.CONSTANT, 0.0] == BEST[arms.CONSTANT]
    gone = losses.assign(loss=losses["loss"].mask(losses["arm"] == arms.DECAY))
    with pytest.raises(StudyError, match="decay to zero with ordering 0 diverged at every peak"):
        arms.best_peaks(gone)


def test_exact_losses_are_those_of_the_tuned_schedules():
    exact = arms.exact_losses(study(), "regression")
    config = next(static_parts(parts(SCALES["smoke"]))["regression_tuning"].configs())
    task, steps = resolve(config).task, config.steps
    assert set(exact) == {(arm, ordering) for arm in arms.ARMS for ordering in (0.0, 1.0)}
    # Rates are float32 in the one and float64 in the other.
    decay = 0.1 * (1 - np.arange(steps) / steps)
    assert exact[arms.DECAY, 0.0] == pytest.approx(expected_excess(task, decay), rel=1e-6)
    weights = dict(zip(arms.averaged_steps(steps), merge_weights("ema", 6), strict=True))
    moderate = 0.05 * (1 - 2 / 3 * np.arange(steps) / steps)
    assert exact["moderate + EMA", 0.0] == pytest.approx(expected_excess(task, moderate, weights), rel=1e-6)


def test_averages_are_measured_on_the_runs_that_keep_their_rate_up(tmp_path):
    part = static_parts(parts(SCALES["smoke"]))["regression_tuning"]
    runs = [resolve(config) for config in part.configs()][::5]
    asked = []

    def params(run_id, step):
        asked.append((step, run_id))
        generator = np.random.default_rng([step, int(run_id[:6], 16)])
        return {"weights": generator.normal(size=(4, 16)).astype(np.float32)}

    context = Context(runs, {}, params, tmp_path, lambda: None)
    table = arms.averages(context).set_index(["run_id", "average"])["loss"]
    kept = [run for run in runs if arms.kind_of(run.schedule) != arms.DECAY]
    assert 0 < len(kept) < len(runs)
    assert len(table) == 3 * len(kept)
    # Step by step, so that each checkpoint of a program is read once.
    assert [step for step, _ in asked] == sorted(step for step, _ in asked)
    asked_for = {step for step, _ in asked}
    assert asked_for == set(arms.averaged_steps(64))
    assert asked_for - {64} <= set(part.kept_steps)
    for run in kept[:3]:
        trees = [params(run.run_id, step)["weights"].astype(float) for step in arms.averaged_steps(64)]
        for kind in arms.AVERAGES:
            error = np.tensordot(merge_weights(kind, 6), trees, axes=1) - 1
            expected = 0.5 * (error**2 @ (1 / np.arange(1, 17))).mean()
            # Float32 sums of six products, and of sixteen squares.
            assert table[run.run_id, kind] == pytest.approx(expected, rel=3e-6)


# -- upsampling --------------------------------------------------------------------------------------------------------


def upsampling_records(total):
    """Records in which the losses follow from duration, share and seed."""
    rows = []
    for config in parts(SCALES["cpu"])["upsampling"].configs():
        arguments = config.task.arguments
        share, start = arguments["shares"][1], arguments["boundaries"][0]
        fraction = round(1 - start / config.steps, 2) if share > 0.1 else 0.0
        target = 3 - share * fraction + 0.001 * config.seed
        row = {"run_id": f"{share}-{fraction}-{config.seed}", "seed": config.seed, "steps": config.steps}
        row |= {"task.boundaries": [start], "task.shares": [0.1, share], "outcome": "ok"}
        rows.append({**row, claims.TARGET: target, claims.GENERAL: total(fraction) - target})
    ids = tuple(row["run_id"] for row in rows)
    return Records(runs_frame(rows), pd.DataFrame({"run_id": ids, "step": 0}), {}, {"upsampling": ids})


def measured(records):
    return {c.claim_id: c.decide(records) for c in claims.CLAIMS if c.claim_id[0] == "c"}


def test_trends_and_changes_are_those_of_the_losses():
    found = measured(upsampling_records(lambda fraction: 5.0))
    # The shares are 0.1, with a duration of 0, and 0.2, 0.4, 0.6, 0.8: the first step is the fifth of 0.2.
    for name in ("c1", "c2"):
        assert found[name]["measured"] == pytest.approx(0.04, rel=1e-9)
        assert found[name]["holds"]
        assert found[name]["n"] == 3
    assert found["c3"]["measured"] == pytest.approx(-0.8 * 0.2, rel=1e-9)
    assert found["c4"]["measured"] == pytest.approx(0.8 * 0.2, rel=1e-9)
    assert found["c3"]["n"] == 3


STEPS = np.asarray([[1.0, 1.1, 0.9], [0.2, 0.3, 0.4], [2.0, 2.0, 2.0], [0.3, 0.2, 0.4]])


@pytest.mark.parametrize("direction", [1, -1])
def test_the_smallest_step_has_the_interval_of_the_smallest_of_four(direction):
    """Seed by seed, though the seeds start far apart; 0.3 with a standard error of 0.1 / sqrt(3), twice."""
    losses = pd.DataFrame(np.cumsum(np.vstack([[0.0, 5.0, -3.0], direction * STEPS]), axis=0))
    found = claims.smallest_step(losses, direction)
    assert (found.value, found.n) == (pytest.approx(0.3), 3)
    # Student's 0.975 and 0.99375 quantiles of two degrees of freedom, sqrt(2) x / sqrt(1 - x**2) with x = 2 p - 1.
    low, high = (np.sqrt(2) * x / np.sqrt(1 - x**2) * 0.1 / np.sqrt(3) for x in (0.95, 0.9875))
    assert (found.low, found.high) == pytest.approx((0.3 - low, 0.3 + high))
    assert claims.smallest_step(losses, -direction).value == pytest.approx(-2.0)


def test_one_step_back_turns_the_claim_as_it_turns_the_correlation():
    """The table gives both; a diverged run leaves neither."""
    records = upsampling_records(lambda fraction: 5.0)
    table = claims.trend_table(records).set_index(["fraction", "domain"])
    assert set(table["Spearman of share and mean"].xs("target", level="domain")) == {-1.0}
    assert set(table["Spearman of share and mean"].xs("general", level="domain")) == {1.0}
    # Steps are the fifth of the duration.
    steps = table["smallest step"].xs("target", level="domain")
    np.testing.assert_allclose(steps, np.asarray(steps.index) / 5, rtol=1e-9)
    share = records.runs["task.shares"].map(lambda shares: shares[1])
    for change, correlation in ((0.2, -0.4), (np.nan, np.nan)):
        target = records.runs[claims.TARGET] + np.where(share == 0.6, change, 0.0)
        changed = dataclasses.replace(records, runs=records.runs.assign(**{claims.TARGET: target}))
        assert not measured(changed)["c1"]["holds"]
        row = claims.trend_table(changed).set_index(["fraction", "domain"]).loc[(0.2, "target")]
        # Places 4, 3, 2, 5, 1: 1 - 6 (9 + 1 + 1 + 1 + 16) / (5 24).
        assert row["Spearman of share and mean"] == pytest.approx(correlation, nan_ok=True)
        # The loss would fall by 0.04 from share 0.4 to 0.6.
        assert row["smallest step"] == pytest.approx(0.04 - change, nan_ok=True)


def test_an_interior_optimum_is_measured_from_the_better_end():
    at_a_fifth = measured(upsampling_records(lambda fraction: 5 + (fraction - 0.2) ** 2))
    # The ends are 0 and 0.3, and 0 and 1.
    assert at_a_fifth["c5"]["measured"] == pytest.approx(0.01, rel=1e-6)
    assert at_a_fifth["c6"]["measured"] == pytest.approx(0.04, rel=1e-6)
    falling = measured(upsampling_records(lambda fraction: 5 - fraction))
    assert not falling["c5"]["holds"]
    assert falling["c5"]["measured"] == pytest.approx(-0.1, rel=1e-6)
    assert falling["c6"]["measured"] == pytest.approx(-0.5, rel=1e-6)


@pytest.mark.slow
@takes_minutes
def test_the_smoke_preset_runs_end_to_end(tmp_path):
    """Every part, probe, figure and table of the study, at sizes that decide nothing."""
    run = tmp_path / "run"
    entries = smoke_run(EXPERIMENT, run)
    assert all(entry["measured"] is not None for entry in entries.values())
    runs = pd.read_parquet(run / "runs.parquet")
    assert (runs["outcome"] == "ok").all()
    plan = json.loads((run / "plan.json").read_text())
    assert tuple(plan["parts"]) == PARTS
