import numpy as np
import pandas as pd
import pytest

from experiments import power_scheduler as study
from experiments import power_scheduler_claims as claims
from experiments.power_scheduler_law import cells, coefficients, fit, interval, optima
from lrstudy.study.claims import Measurement
from lrstudy.study.config import resolve
from lrstudy.study.derived import static_parts
from lrstudy.study.errors import StudyError
from lrstudy.study.plan import make_plan
from lrstudy.study.records import Records, runs_frame
from tests.experiments.smoke import smoke_run

A, B = 4.6, -0.51
PEAKS = tuple(1e-4 * 2.0**i for i in range(14))
BATCHES, TOKENS = (4, 16), (2**14, 2**16, 2**18)


def best_rate(batch, tokens, exponent=1.0):
    return A * batch**exponent * tokens**B


def losses(best, shifts=(0.0,)):
    """A parabola in the log rate for every seed, its vertex at the best rate times e to the seed's shift."""
    return pd.DataFrame({s: (np.log(np.asarray(PEAKS) / best) - s) ** 2 for s in shifts}, index=PEAKS)


def all_cells(exponent=1.0, shifts=(0.0,)):
    return {(n, t): losses(best_rate(n, t, exponent), shifts) for n in BATCHES for t in TOKENS}


@pytest.mark.parametrize("exponent", [1.0, 0.5])
def test_a_law_is_found_again(exponent):
    """Parabolas in the log rate give their vertices, and least squares a law without residual, to float64 rounding."""
    found = fit(optima(all_cells(exponent)))
    assert (found.cells, found.edges) == (6, 0)
    assert found.batch_exponent == pytest.approx(exponent, abs=1e-10)
    assert found.free_r_squared == pytest.approx(1.0, abs=1e-12)
    assert found.token_exponent == pytest.approx(B, abs=1e-10)
    # Batch and tokens are balanced, so that a wrong exponent of one does not tilt that of the other.
    assert found.b == pytest.approx(B, abs=1e-10)
    if exponent == 1.0:
        assert found.a == pytest.approx(A, rel=1e-9)
        assert found.r_squared == pytest.approx(1.0, abs=1e-12)
    else:
        # The geometric mean of batch**-0.5, and the variance of its logarithm beside that of the tokens' term.
        assert found.a == pytest.approx(A * 8**-0.5, rel=1e-9)
        left, tokens = (0.5 * np.log(2)) ** 2, B**2 * np.log(4) ** 2 * 2 / 3
        assert found.r_squared == pytest.approx(tokens / (tokens + left), abs=1e-9)


def test_best_rates_on_the_edge_are_left_out():
    found = all_cells()
    found[4, 2**14] = losses(PEAKS[-1] * 9)
    table = optima(found)
    assert table.set_index(["batch", "tokens"])["on_edge"].to_dict()[4, 2**14]
    law = fit(table)
    assert (law.cells, law.edges) == (5, 1)
    assert law.a == pytest.approx(A, rel=1e-9)


def test_too_few_best_rates_make_no_law():
    found = {cell: losses(PEAKS[0] / 9) if cell[0] == 4 else own for cell, own in all_cells().items()}
    with pytest.raises(StudyError, match="3 of 6 best rates lie inside the grid, too few for a law"):
        fit(optima(found))


def test_a_diverged_rate_is_never_the_best():
    own = losses(best_rate(4, 2**14), (0.0, 0.1))
    own.loc[own.index > best_rate(4, 2**14), 0.1] = np.inf
    (row,) = optima({(4, 2**14): own}).itertuples()
    assert row.best < best_rate(4, 2**14)
    assert np.isfinite(own.loc[row.best]).all()


def test_the_interval_of_log_a_is_students_over_seeds():
    """A shift of a seed's every log rate shifts log a, which is linear in them: the jackknife is Student's interval."""
    shifts = (-0.1, 0.0, 0.3)
    found = interval(all_cells(shifts=shifts), lambda law: float(np.log(law.a)))
    assert found.n == 3
    assert found.value == pytest.approx(np.log(A) + np.mean(shifts))
    half = 4.302652729911275 * np.std(shifts, ddof=1) / np.sqrt(3)
    assert found.high - found.value == pytest.approx(half)
    assert found.value - found.low == pytest.approx(half)


SCATTER = 0.1
T_95 = {3: 3.182446305284263, 4: 2.776445105197796}
"""Student's 0.975 quantile by degrees of freedom."""


def scattered(shifts=(0.0,), exponent=1.0):
    """Cells off the law by a pattern that neither form can follow: signs over batches times 1, -2, 1 over tokens."""
    pattern = np.outer((1, -1), (1, -2, 1)) * SCATTER
    return {
        (n, t): losses(best_rate(n, t, exponent) * np.exp(pattern[i, j]), shifts)
        for i, n in enumerate(BATCHES)
        for j, t in enumerate(TOKENS)
    }


def test_the_intervals_of_coefficients_are_those_of_least_squares_over_cells():
    """Six cells, twelve squares of the scatter left over; log batch is off its mean by log 2, log tokens by log 4."""
    table = optima(scattered())
    found, law = coefficients(table), fit(table)
    for name, one in found.items():
        assert one.value == pytest.approx(getattr(law, name), rel=1e-12)
        assert one.n == 6
    # Four numbers of freedom for two coefficients; three for three.
    b = T_95[4] * np.sqrt(12 / 4 * SCATTER**2 / (4 * np.log(4) ** 2))
    free_b = T_95[3] * np.sqrt(12 / 3 * SCATTER**2 / (4 * np.log(4) ** 2))
    c = T_95[3] * np.sqrt(12 / 3 * SCATTER**2 / (6 * np.log(2) ** 2))
    for name, value, half in (("b", B, b), ("token_exponent", B, free_b), ("batch_exponent", 1.0, c)):
        ends = found[name].value, found[name].low, found[name].high
        # Float64 logarithms and sums, and the vertex of a parabola through numbers of size 1e-1 to 1e2.
        assert ends == pytest.approx((value, value - half, value + half), abs=1e-9)
    mean = np.mean(np.log(TOKENS))
    log_a = T_95[4] * np.sqrt(12 / 4 * SCATTER**2 * (1 / 6 + mean**2 / (4 * np.log(4) ** 2)))
    ends = np.log([found["a"].low, found["a"].high])
    assert ends == pytest.approx((np.log(A) - log_a, np.log(A) + log_a), abs=1e-8)


def test_the_jackknife_over_seeds_does_not_see_a_form_that_does_not_fit():
    """Seeds that agree have no jackknife interval at all, however far the cells lie from the law."""
    found = {cell: pd.concat([own] * 3, axis=1) for cell, own in scattered().items()}
    seeds, over_cells = interval(found, lambda law: law.b), coefficients(optima(found))["b"]
    assert seeds.high - seeds.low == 0
    assert over_cells.high - over_cells.low == pytest.approx(2 * T_95[4] * np.sqrt(3) * SCATTER / np.log(16))


def test_as_many_coefficients_as_cells_have_no_interval():
    """Three best rates inside the grid: one number of freedom for the law's two coefficients, none for three."""
    table = optima(all_cells()).iloc[[0, 1, 3]]
    found = coefficients(table)
    assert found["b"].high - found["b"].low < 1e-9
    assert np.isnan([found["batch_exponent"].low, found["batch_exponent"].high]).all()
    assert found["batch_exponent"].value == pytest.approx(1.0, abs=1e-9)


SCALE = study.SCALES["smoke"]


def swept(exponent=B):
    """Records of the smoke sweep as they would be if its best rates followed a law exactly."""
    rows = []
    for config in study.parts(SCALE)["sweep"].configs():
        run = resolve(config)
        batch, peak = config.task.arguments["batch_size"], run.columns["schedule.peak"]
        tokens = config.steps * batch * SCALE.context
        loss = (np.log(peak) - np.log(0.08 * batch / 2 * (tokens / 1_024) ** exponent)) ** 2
        rows.append({"run_id": run.run_id, "parts": "sweep", "outcome": "ok", **run.columns, "validation_loss": loss})
    metrics = pd.DataFrame({"run_id": [], "step": []})
    return Records(runs_frame(rows), metrics, {}, {"sweep": tuple(row["run_id"] for row in rows)})


def test_power_follows_the_fitted_law_with_one_setting():
    part = study.parts(SCALE)["power"].make(swept())
    runs = [resolve(config) for config in part.configs()]
    assert len(runs) == len(SCALE.batches) * len(SCALE.tokens) * len(SCALE.seeds)
    assert len({(run.schedule.a, run.schedule.b, run.schedule.peak) for run in runs}) == 1
    for run in runs:
        batch, context = run.columns["task.batch_size"], SCALE.context
        assert run.schedule.b == pytest.approx(B)
        assert run.schedule.total_tokens == run.config.steps * batch * context
        step = run.config.steps // 2
        # Halfway the law holds: warmup is over and the decay has not begun. The power is float32's.
        law = 0.08 * batch / 2 * (step * batch * context / 1_024) ** B
        assert float(run.schedule(step)) == pytest.approx(min(law, SCALE.peaks[-1]), rel=1e-5)
        assert float(run.schedule(run.config.steps)) == 0.0


def test_with_a_fitted_exponent_the_factor_follows_the_batch():
    """The swept rates are proportional to the batch, so that both laws and both schedules are the same."""
    both = [study.parts(SCALE)[name].make(swept()) for name in ("power", "free")]
    schedules = [[resolve(config).schedule for config in part.configs()] for part in both]
    for one, other in zip(*schedules, strict=True):
        assert (one.a, one.b) == (pytest.approx(other.a), pytest.approx(other.b))
    law = fit(optima(all_cells(exponent=0.5)))
    a, b = study._free(law, 16)
    assert (16 * a * 2.0 ** (16 * b)) == pytest.approx(best_rate(16, 2**16, 0.5))


def test_no_power_schedule_follows_from_rates_that_grow_with_the_tokens():
    with pytest.raises(StudyError, match=r"the fitted b must be below 0 for a Power schedule, got 0\.1"):
        study.parts(SCALE)["power"].make(swept(exponent=0.1))


def test_the_compared_wsd_runs_are_the_tuned_ones_and_one_peak_for_all():
    records = swept()
    found = cells(records.part("sweep"))
    single = claims.single_peak(found)
    best = {(row.batch, row.tokens): row.best for row in optima(found).itertuples()}
    part = study.parts(SCALE)["wsd"].make(records)
    runs = [resolve(config) for config in part.configs()]
    peaks = {}
    for run in runs:
        batch = run.columns["task.batch_size"]
        peaks.setdefault((batch, run.config.steps * batch * SCALE.context), set()).add(run.schedule.peak)
    assert peaks == {cell: {peak, single} for cell, peak in best.items()}
    assert {run.config.seed for run in runs} == set(SCALE.seeds)


def compared(monkeypatch, power, single):
    """Regrets of two cells by two seeds."""
    table = {"power": dict(enumerate(np.asarray(power))), "single": dict(enumerate(np.asarray(single)))}
    monkeypatch.setattr(claims, "regrets", lambda records: table)


def test_regrets_are_averaged_over_cells_and_paired_over_seeds(monkeypatch):
    compared(monkeypatch, [[0.1, 0.3], [0.0, 0.2]], [[0.2, 0.4], [0.3, 0.1]])
    measures = claims._mean_regret("power"), claims._worst_regret, claims._saved
    mean, worst, saved = (measure(None) for measure in measures)
    assert mean.value == pytest.approx(0.15)
    assert worst.value == pytest.approx(0.2)
    # Both cells scatter by 0.1; t of one degree of freedom at p is tan(pi (p - 1/2)), the lower end's p that of the
    # largest of two (Bonferroni).
    assert worst.high == pytest.approx(0.2 + 0.1 * np.tan(np.pi * 0.475))
    assert worst.low == pytest.approx(0.2 - 0.1 * np.tan(np.pi * 0.4875))
    # Over seeds: (0.05, 0.25) less (0.25, 0.25), whose half width is 12.7062 times 0.1.
    assert saved.value == pytest.approx(-0.1)
    assert saved.high == pytest.approx(-0.1 + 1.27062, rel=1e-5)


def law_records(monkeypatch, found):
    """Records whose sweep has these cells."""
    monkeypatch.setattr(claims, "cells", lambda records: found)
    return Records(pd.DataFrame({"run_id": []}), pd.DataFrame({"run_id": []}), {}, {"sweep": ()})


def test_claims_on_coefficients_use_the_intervals_over_cells(monkeypatch):
    found = scattered(exponent=0.5)
    records, over_cells = law_records(monkeypatch, found), coefficients(optima(found))
    by_id = {claim.claim_id: claim.measure(records) for claim in claims.CLAIMS[:4]}
    b, c = over_cells["b"], over_cells["batch_exponent"]
    assert by_id["a1"] == Measurement(b.high, 6, b.low, b.high)
    # The paper's -0.51 and 1: c is half of it below, so its interval is mirrored.
    size = np.sign(b.value + 0.51)
    assert by_id["a2"].value == pytest.approx(abs(b.value + 0.51))
    assert {by_id["a2"].low, by_id["a2"].high} == {size * (b.low + 0.51), size * (b.high + 0.51)}
    assert by_id["a4"].value == pytest.approx(0.5)
    assert (by_id["a4"].low, by_id["a4"].high) == pytest.approx((1 - c.high, 1 - c.low))
    assert by_id["a2"].n == by_id["a4"].n == 6
    # The share that is explained has the jackknife over the one seed, which is none.
    assert by_id["a3"].n == 1
    assert by_id["a3"].value == fit(optima(found)).r_squared


@pytest.mark.parametrize(("exponent", "poor"), [(1.0, False), (0.0, True)])
def test_the_law_table_says_where_its_coefficients_mean_little(monkeypatch, exponent, poor):
    found = all_cells(exponent, shifts=(-0.1, 0.0, 0.3))
    table = claims.law_table(law_records(monkeypatch, found)).set_index("number")
    noted = table.index[table["note"] != ""]
    assert list(noted) == (["a of batch a tokens^b", "b of batch a tokens^b"] if poor else [])
    assert table["value"].to_dict()["c of k batch^c tokens^b"] == pytest.approx(exponent, abs=1e-9)
    # A shift of whole seeds moves the logarithm of both factors as it moves the best rates.
    half = 4.302652729911275 * np.std((-0.1, 0.0, 0.3), ddof=1) / np.sqrt(3)
    for factor in ("a of batch a tokens^b", "k of k batch^c tokens^b"):
        ends = np.log(table.loc[factor, ["jackknife low over seeds", "jackknife high over seeds"]].to_numpy(float))
        assert ends[1] - ends[0] == pytest.approx(2 * half)
    own = coefficients(optima(found))["token_exponent"]
    assert tuple(table.loc["b of k batch^c tokens^b", ["low over cells", "high over cells"]]) == (own.low, own.high)


def test_thresholds_are_those_of_the_study():
    """Fixed before the deciding run; a change here is a change of the question."""
    expected = {"a1": ("<", 0), "a2": ("<=", 0.15), "a3": (">=", 0.8), "a4": ("<=", 0.2),
                "b1": ("<=", 0.02), "b2": ("<=", 0.06), "b3": ("<", 0), "b4": ("<=", 0.02)}  # fmt: skip
    assert {c.claim_id: (c.comparison, c.threshold) for c in claims.CLAIMS} == expected


@pytest.mark.parametrize("preset", ["smoke", "cpu", "gpu", "paper"])
def test_every_preset_plans(preset):
    """A program for the trunks and one for the branches of every batch size; every batch divides every length."""
    scale = study.SCALES[preset]
    assert all(tokens % (batch * scale.context) == 0 for tokens in scale.tokens for batch in scale.batches)
    assert all(scale.warmup_tokens % (batch * scale.context) == 0 for batch in scale.batches)
    plan = make_plan(static_parts(study.parts(scale)))
    lanes = len(scale.tokens) * len(scale.peaks) * len(scale.tuning_seeds)
    assert len(plan.parts["sweep"]) == len(scale.batches) * lanes
    assert len(plan.groups) == 2 * len(scale.batches)
    # One trunk serves all lengths at a peak.
    assert len(plan.trunks) == len(scale.batches) * len(scale.peaks) * len(scale.tuning_seeds)


@pytest.mark.slow
def test_the_smoke_preset_runs_end_to_end(tmp_path):
    run = tmp_path / "run"
    entries = smoke_run(study.EXPERIMENT, run)
    assert all(entry["measured"] is not None for entry in entries.values())
    runs = pd.read_parquet(run / "runs.parquet")
    assert set(runs["parts"]) <= {"sweep", "wsd", "power", "free", "trunk"}
