import numpy as np
import pandas as pd
import pytest

from experiments import budgeted_schedules as study
from experiments import budgeted_schedules_claims as claims
from experiments import budgeted_schedules_methods as methods
from experiments.budgeted_schedules_methods import FRACTIONS, METHODS
from lrstudy.schedules import Tabulated, refined
from lrstudy.study.claims import Measurement
from lrstudy.study.config import resolve
from lrstudy.study.derived import static_parts
from lrstudy.study.errors import StudyError
from lrstudy.study.plan import make_plan
from lrstudy.study.records import Records, runs_frame
from tests.experiments.smoke import smoke_run

SCALE = study.SCALES["smoke"]
SETTING = study.settings(SCALE)["text_sgd"]
TRAINED = [method for method in METHODS if method != "Tabulated"]


@pytest.mark.parametrize("preset", ["smoke", "cpu", "gpu", "paper"])
def test_every_preset_plans_one_program_a_method_and_setting(preset):
    """The constant runs serve as WSD's trunks; as many seeds decide as lanes tune, so that programs are shared."""
    scale = study.SCALES[preset]
    plan = make_plan(static_parts(study.parts(scale)))
    assert len(plan.groups) == len(scale.names) * len(TRAINED)
    assert not plan.trunks
    assert len(scale.seeds) == scale.peaks * len(scale.tuning_seeds)
    assert not set(scale.seeds) & set(scale.tuning_seeds)


@pytest.mark.parametrize("method", TRAINED)
def test_every_method_reaches_its_peak_and_all_but_two_go_to_zero(method):
    config = next(iter(methods.Part(SETTING.base, [[methods.assignment(SETTING, method, 80, 0.5)]]).configs()))
    run = resolve(config)
    rates = np.asarray(run.schedule(np.arange(81)))
    assert rates.max() == pytest.approx(0.5, rel=1e-6)
    last = {"Constant": 0.5, "ScheduleFree": 0.5, "StepDecay": 0.005, "OneCycle": 0.5 / 25 / 1e4}.get(method, 0.0)
    assert rates[-1] == pytest.approx(last, rel=1e-5)
    assert config.steps == 80
    assert (config.optimizer == SETTING.free) == (method == "ScheduleFree")


def test_the_step_schedule_falls_at_a_half_and_three_quarters():
    config = next(iter(methods.Part(SETTING.base, [[methods.assignment(SETTING, "StepDecay", 80, 0.5)]]).configs()))
    rates = np.asarray(resolve(config).schedule(np.asarray([39, 40, 59, 60])))
    np.testing.assert_allclose(rates, [0.5, 0.05, 0.05, 0.005], rtol=1e-6)


def finished(part, loss_of, stage):
    """Records of a part's runs with a given loss each, and norms that fall as 1 over the step."""
    rows, metrics = [], []
    for config in part.configs():
        run = resolve(config)
        loss = loss_of(run)
        outcome = "ok" if np.isfinite(loss) else "diverged"
        rows.append({"run_id": run.run_id, "parts": stage, "outcome": outcome, **run.columns, "validation_loss": loss})
        steps = np.arange(config.steps)
        metrics.append(pd.DataFrame({"run_id": run.run_id, "step": steps, "grad_norm_l2": 1 / (1 + steps)}))
    return rows, metrics


def records_of(stages):
    rows = [row for own, _ in stages.values() for row in own]
    metrics = pd.concat([table for _, own in stages.values() for table in own], ignore_index=True)
    ids = {stage: tuple(row["run_id"] for row in own) for stage, (own, _) in stages.items()}
    return Records(runs_frame(rows), metrics, {}, ids)


def nearest(best):
    """A loss that is lowest at the grid's rate nearest to ``best``, but diverges far above it."""

    def loss_of(run):
        peak = run.columns.get("schedule.scale", run.columns.get("schedule.peak"))
        return float("nan") if peak > 40 * best else 1.0 + np.log(peak / best) ** 2

    return loss_of


@pytest.fixture(scope="module")
def tuned():
    part = methods.tuning(SETTING, SCALE.tuning_seeds)
    return records_of({"tune_text_sgd": finished(part, nearest(SETTING.peaks[0]), "tune_text_sgd")})


def test_the_lowest_mean_is_tuned_and_the_edge_is_named(tuned):
    found = methods.tuned(tuned.part("tune_text_sgd"))
    assert set(found) == {(method, steps) for method in TRAINED for steps in SETTING.budgets()}
    for (method, _), one in found.items():
        assert one.peak == (SETTING.free_peaks if method == "ScheduleFree" else SETTING.peaks)[0]
        assert one.on_edge


def losses_frame(**columns):
    return pd.DataFrame({"method": "Rex", "steps": 8, **columns})


def test_a_peak_at_which_one_seed_diverged_is_never_tuned():
    frame = losses_frame(peak=[0.1, 0.2, 0.4, 0.4], seed=[1, 1, 1, 2], loss=[3.0, 1.0, 0.5, np.nan])
    other = losses_frame(peak=[0.1, 0.2], seed=[2, 2], loss=[3.0, 1.0])
    ((_, one),) = methods._tuned(pd.concat([frame, other]))
    assert (one.peak, one.on_edge) == (0.2, False)


def test_a_budget_at_which_everything_diverged_is_named():
    frame = losses_frame(peak=[0.1, 0.2], seed=[1, 1], loss=[np.nan, np.nan])
    with pytest.raises(StudyError, match="REX diverged at every peak of the budget of 8 updates"):
        dict(methods._tuned(frame))


def test_the_refined_part_follows_from_the_norms_of_the_tuned_linear_runs(tuned):
    part = methods.refining("text_sgd", SETTING, SCALE.tuning_seeds).make(tuned)
    runs = [resolve(config) for config in part.configs()]
    assert len(runs) == len(FRACTIONS) * SCALE.peaks * len(SCALE.tuning_seeds)
    longest = max(runs, key=lambda run: run.config.steps)
    norms = 1 / (1 + np.arange(SETTING.base.steps))
    expected = refined(norms, optimizer="sgd", points=SETTING.base.steps)
    np.testing.assert_array_equal(longest.schedule.values, expected.values)
    assert len({len(run.schedule.values) for run in runs}) == 1  # one program
    assert all(run.schedule.total_steps == run.config.steps for run in runs)


def test_the_deciding_part_runs_every_method_at_its_tuned_peak_on_fresh_seeds(tuned):
    refining = methods.refining("text_sgd", SETTING, SCALE.tuning_seeds).make(tuned)
    stages = {"refine_text_sgd": finished(refining, nearest(SETTING.peaks[1]), "refine_text_sgd")}
    source = finished(methods.tuning(SETTING, SCALE.tuning_seeds), nearest(SETTING.peaks[0]), "tune_text_sgd")
    records = records_of({"tune_text_sgd": source, **stages})
    part = methods.deciding("text_sgd", SETTING, SCALE.seeds).make(records)
    runs = [resolve(config) for config in part.configs()]
    assert len(runs) == len(METHODS) * len(FRACTIONS) * len(SCALE.seeds)
    assert {run.config.seed for run in runs} == set(SCALE.seeds)
    tables = {run.config.steps: run.schedule for run in runs if isinstance(run.schedule, Tabulated)}
    sources = {s.total_steps: s for s in records.part("refine_text_sgd").schedules.values()}
    for steps, table in tables.items():
        assert table.scale == pytest.approx(SETTING.peaks[1])
        np.testing.assert_array_equal(table.values, np.asarray(sources[steps].values))
    peaks = {run.schedule.peak for run in runs if not isinstance(run.schedule, Tabulated)}
    assert peaks == {SETTING.peaks[0], SETTING.free_peaks[0]}


def deciding_table(**losses):
    """Losses of two seeds: one row a method and budget, a method's values given for budgets 1 and 2."""
    rows = {(method, steps): values for method, own in losses.items() for steps, values in own.items()}
    table = pd.DataFrame(rows.values(), index=pd.MultiIndex.from_tuples(rows, names=["method", "steps"]))
    return table.rename_axis(columns="seed")


def test_the_worst_budget_decides(monkeypatch):
    """Ratios of the means: 1.1 / 1 at budget 1, 0.9 / 1 at budget 2."""
    table = deciding_table(Rex={1: [1.0, 1.2], 2: [0.8, 1.0]}, Linear={1: [1.0, 1.0], 2: [0.9, 1.1]})
    monkeypatch.setattr(claims, "losses", lambda records, name: table)
    found = claims._worst("text_sgd", "Rex", "Linear", 2)(None)
    assert found.value == pytest.approx(0.1)
    assert found.n == 2
    assert claims._worst("text_sgd", "Rex", "Linear", 1)(None).value == pytest.approx(0.1)
    assert claims.excess(table, "Rex", "Linear", 2).value == pytest.approx(-0.1)


def test_a_diverged_run_fails_its_claim(monkeypatch):
    table = deciding_table(Rex={1: [1.0, np.nan], 2: [0.8, 1.0]}, Linear={1: [1.0, 1.0], 2: [0.9, 1.1]})
    monkeypatch.setattr(claims, "losses", lambda records, name: table)
    assert not np.isfinite(claims._worst("text_sgd", "Rex", "Linear", 2)(None).value)


@pytest.mark.parametrize(
    ("gap", "verdict"),
    [
        ((-0.1, -0.2, -0.05), "better"),
        ((-0.1, -0.3, 0.1), "tie"),
        ((0.1, 0.05, 0.2), "worse"),
        ((np.nan,) * 3, "diverged"),
    ],
)
def test_a_tie_is_an_interval_that_holds_zero(gap, verdict):
    value, low, high = gap
    assert claims._verdict(Measurement(value, 5, low, high)) == verdict


def test_ranks_are_means_over_settings_and_budgets_and_a_diverged_run_is_last(monkeypatch):
    every = {
        method: {steps: [1.0 + place, 1.0 + place] for steps in range(1, 6)} for place, method in enumerate(METHODS)
    }
    every["Rex"] = {**every["Rex"], 1: [np.nan, 1.0]}
    table = deciding_table(**every)
    monkeypatch.setattr(claims, "losses", lambda records, name: table)
    monkeypatch.setattr(claims, "decided", lambda records: list(claims.SETTINGS))
    ranks = claims.ranking(None).set_index("method")
    # First at four budgets and, by the mean over seeds, last of nine at one.
    assert ranks.loc["REX", "mean rank"] == pytest.approx((9 + 4 * 1) / 5)
    assert ranks.loc["REX", "at 5 and 10%"] == pytest.approx((9 + 1) / 2)
    assert ranks.loc["linear", "mean rank"] == pytest.approx((1 + 4 * 2) / 5)
    # On one seed's runs alone 13 / 5, on the other's 1: half their distance is the standard error of two.
    assert ranks.loc["REX", "standard error"] == pytest.approx((13 / 5 - 1) / 2)
    assert ranks.index[0] == "linear"
    assert ranks.loc["refined", "worse than linear"] == 4 * 5


def test_thresholds_are_those_of_the_study():
    """Fixed before the deciding run; a change here is a change of the question."""
    margins = {1: 0.05, 2: 0.05, 3: 0.01, 4: 0.01}
    expected = {f"a{i}": ("<=", margin) for i, margin in margins.items()}
    expected |= {f"b{i}": ("<", 0.0) for i in margins}
    expected |= {f"c{i}": ("<=", margin) for i, margin in margins.items()}
    assert {c.claim_id: (c.comparison, c.threshold) for c in claims.CLAIMS} == expected
    assert [f"{100 * fraction:g}" for fraction in FRACTIONS] == ["5", "10", "25", "50", "100"]


@pytest.mark.slow
def test_the_smoke_preset_runs_end_to_end(tmp_path):
    """Tuning, refining and deciding by one command, at sizes that decide nothing."""
    run = tmp_path / "run"
    entries = smoke_run(study.EXPERIMENT, run)
    # Of the settings that a preset leaves out nothing is known.
    measured = {name for name, entry in entries.items() if entry["measured"] is not None}
    places = [str(1 + list(claims.SETTINGS).index(name)) for name in SCALE.names]
    assert measured == {letter + place for letter in "abc" for place in places}
    runs = pd.read_parquet(run / "runs.parquet")
    assert set(METHODS) - {"ScheduleFree"} == set(runs["schedule"])
