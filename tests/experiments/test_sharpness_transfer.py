import numpy as np
import pandas as pd
import pytest

from experiments import sharpness_transfer_claims as claims
from experiments import sharpness_transfer_measures as measures
from experiments.sharpness_transfer import EXPERIMENT, RATE, SCALES, parts
from lrstudy.study.plan import make_plan
from lrstudy.study.records import Records, runs_frame
from tests.experiments.slow import takes_minutes
from tests.experiments.smoke import smoke_run

CLAIMS = {claim.claim_id: claim for claim in claims.CLAIMS}
SEEDS, WIDTHS, STEPS = (1, 2), (16, 64), (0, 50, 100)


@pytest.mark.parametrize("preset", ["smoke", "cpu", "gpu", "paper"])
def test_every_preset_plans_one_program_a_size_and_one_a_parametrization_on_digits(preset):
    scale = SCALES[preset]
    plan = make_plan(EXPERIMENT.presets[preset]())
    assert {part for claim in claims.CLAIMS for part in claim.parts} <= set(plan.parts)
    seeds = len(scale.seeds)
    counts = [2 * seeds] * len(scale.regression.sizes + scale.depth.sizes)
    counts += [2 * seeds * len(scale.grid)] * len(scale.rates.sizes)
    counts += [seeds] * (2 * len(scale.digits.sizes) + 3 * len(scale.convnet.sizes))
    assert sorted(len(group.runs) for group in plan.groups) == sorted(counts)
    assert min(scale.seeds) > 900
    # Probes look at parameters where the sharpness was measured.
    kept = parts(scale)["regression"].kept_steps
    assert all(step % scale.regression.every == 0 for step in kept)


def test_the_rate_goes_with_gamma_squared():
    found = parts(SCALES["cpu"])
    gammas = set()
    for config in found["regression"].configs():
        task = config.task.arguments
        assert config.schedule.arguments["peak"] == pytest.approx(RATE * task["gamma"] ** 2, rel=1e-12)
        gammas.add((task["width"], round(task["gamma"] ** 2)))
    assert gammas == {(n, g) for n in (64, 128, 256, 512) for g in (1, n)}
    for config in found["depth"].configs():
        task = config.task.arguments
        assert task["branch_scale"] in (1.0, task["layers"] ** -0.5)
        assert config.schedule.arguments["peak"] == pytest.approx(RATE * task["width"])


def test_thresholds_are_those_of_the_study():
    """Fixed with the study; a change here is a change of the question."""
    expected = {
        "a1": ("<=", 0.03), "a2": (">=", 1.9), "a3": ("<=", 2.1), "a4": (">=", 0.2), "a5": ("<", 1),
        "a6": ("<=", 0.06), "a7": (">=", 0.2),
        "b1": (">", 0), "b2": (">", 0), "b3": ("<=", 0.02),
        "c1": ("<=", 1), "c2": (">=", 1), "c3": ("<=", 1), "c4": (">=", 1), "c5": ("<=", 0.25), "c6": (">=", 0.5),
        "d1": ("<=", 0.03), "d2": (">", 1), "d3": ("<=", 0.25), "d4": (">=", 0.5),
        "e1": ("<=", 0.1), "e2": ("<=", 0.5), "e3": ("<", 1),
        "f1": ("<=", 0.1), "f2": ("<=", 0.5), "f3": ("<", 1),
    }  # fmt: skip
    assert {c.claim_id: (c.comparison, c.threshold) for c in claims.CLAIMS} == expected


# -- records that are made up ------------------------------------------------------------------------------------------


def regression(values, kernels=None, losses=None):
    """Runs whose rate times sharpness is ``values(arm, width, step, seed)``; the final one is in the table of runs."""
    rows, metrics, probed = [], [], []
    for arm, gamma in ((measures.MUP, None), (measures.NTK, 1.0)):
        for width in WIDTHS:
            for seed in SEEDS:
                own = gamma or width**0.5
                rate = 2 * own**2
                run = {"run_id": f"{arm}{width}{seed}", "seed": seed, "steps": 100, "outcome": "ok", "parts": ""}
                run |= {"task.width": width, "task.gamma": own, "schedule.peak": rate}
                rows.append({**run, "sharpness": values(arm, width, 100, seed) / rate})
                for step in STEPS[:-1]:
                    metrics.append(
                        {"run_id": run["run_id"], "step": step, "sharpness": values(arm, width, step, seed) / rate}
                    )
                    metrics.append({"run_id": run["run_id"], "step": step + 10, "sharpness": np.nan})
                for step in STEPS[1:]:
                    probe = {"run_id": run["run_id"], "arm": arm, "width": width, "seed": seed, "step": step}
                    kernel = (kernels or values)(arm, width, step, seed)
                    loss = (losses or values)(arm, width, step, seed)
                    probed.append({**probe, "kernel": kernel, "loss": loss})
    ids = {"regression": tuple(row["run_id"] for row in rows)}
    return Records(runs_frame(rows), pd.DataFrame(metrics), {"kernel": pd.DataFrame(probed)}, ids)


def as_claimed(arm, width, step, seed):
    if arm == measures.MUP:
        return 1.0 + step / 100 + 0.01 * (width == 64)
    return (0.2 + step / 500) * 8 / width**0.5


def value(claim_id, records):
    return CLAIMS[claim_id].measure(records).value


def holds(claim_id, records):
    return CLAIMS[claim_id].decide(records)["holds"]


def test_the_spread_is_the_coefficient_of_variation_over_the_widths():
    records = regression(as_claimed)
    # Of two numbers it is half their distance over their mean.
    assert value("a1", records) == pytest.approx(0.005 / 2.005, rel=1e-9)
    assert value("a2", records) == pytest.approx(2.005)
    assert value("a4", records) == pytest.approx(1 / 3)
    assert value("a5", records) == pytest.approx(0.5)
    # At updates 50 and 100, but not at 0, which is before a third of the run.
    assert value("a6", records) == pytest.approx(0.005 / 1.505, rel=1e-9)
    assert value("a7", records) == pytest.approx(1 / 3)
    assert [holds(f"a{i}", records) for i in range(1, 8)] == [True] * 7


def test_what_does_not_transfer_does_not_hold():
    swapped = regression(lambda arm, *rest: as_claimed(measures.NTK if arm == measures.MUP else measures.MUP, *rest))
    assert [holds(f"a{i}", swapped) for i in range(1, 8)] == [False, False, True, False, False, False, False]
    high = regression(lambda arm, width, step, seed: 3 * as_claimed(arm, width, step, seed))
    assert [holds(f"a{i}", high) for i in (1, 2, 3)] == [True, True, False]


def test_kernel_and_loss_are_compared_with_the_sharpness():
    records = regression(as_claimed, losses=lambda arm, width, step, seed: float(width))
    assert value("b1", records) == pytest.approx(24 / 40 - 0.005 / 2.005)
    # A kernel that is the sharpness itself has its spread, and no gap.
    assert value("b2", records) == pytest.approx(0, abs=1e-12)
    assert value("b3", records) == pytest.approx(0, abs=1e-12)
    assert [holds(name, records) for name in ("b1", "b2", "b3")] == [True, False, True]
    other = regression(
        as_claimed, kernels=lambda arm, width, step, seed: as_claimed(arm, width, step, seed) + width / 64
    )
    assert value("b3", other) == pytest.approx(1 / 2.01)
    assert holds("b2", other)


def rates(optimum, stable):
    """Losses that are parabolas in the logarithm of rate over gamma squared, and infinite above the stable rate."""
    rows, metrics = [], []
    for arm, gamma in ((measures.MUP, None), (measures.NTK, 1.0)):
        for width in WIDTHS:
            for power in range(-2, 7):
                for seed in SEEDS:
                    own = gamma or width**0.5
                    run_id = f"{arm}{width}{power}{seed}"
                    run = {"run_id": run_id, "seed": seed, "steps": 10, "parts": "", "task.width": width}
                    run |= {"task.gamma": own, "schedule.peak": 2.0**power * own**2}
                    rows.append({**run, "outcome": "ok" if 2.0**power <= stable(arm, width) else "diverged"})
                    loss = 1e-3 * np.exp((power - np.log2(optimum(arm, width))) ** 2 / 9)
                    metrics += [{"run_id": run_id, "step": 0, "loss": 10.0}, {"run_id": run_id, "step": 4, "loss": 7.0}]
                    metrics += [{"run_id": run_id, "step": step, "loss": loss} for step in (5, 9)]
    return Records(runs_frame(rows), pd.DataFrame(metrics), {}, {"rates": tuple(row["run_id"] for row in rows)})


def test_best_and_largest_stable_rates_are_followed_over_the_widths():
    records = rates(
        lambda arm, width: 4.0 if arm == measures.MUP else width / 8,
        lambda arm, width: 16.0 if arm == measures.MUP else width / 2.0,
    )
    assert value("c1", records) == pytest.approx(0, abs=1e-9)
    assert value("c2", records) == pytest.approx(2, rel=1e-9)
    assert value("c3", records) == pytest.approx(0, abs=1e-9)
    assert value("c4", records) == pytest.approx(2, rel=1e-9)
    assert [holds(f"c{i}", records) for i in range(1, 5)] == [True] * 4
    curves = measures.rate_curves(records)
    assert curves[measures.MUP, 16].loc[4.0, 1] == pytest.approx(np.log(1e-3))
    assert np.isinf(curves[measures.MUP, 16].loc[32.0, 1])


def test_a_rate_on_the_grids_edge_is_none():
    records = rates(lambda arm, width: 1000.0, lambda arm, width: 1000.0)
    assert all(np.isnan(value(f"c{i}", records)) for i in range(1, 5))
    assert not any(holds(f"c{i}", records) for i in range(1, 5))


def digits(values, base=8):
    """A part on digits whose rate times sharpness, m of it under muP, is ``values(name, width)``."""
    rows, metrics = [], []
    for name in ("mean_field", "ntk"):
        for width in WIDTHS:
            for seed in SEEDS:
                rate = 0.5 * (width / base if name == "mean_field" else 1)
                run = {"run_id": f"{name}{width}{seed}", "seed": seed, "steps": 100, "outcome": "ok", "parts": ""}
                run |= {"parametrization": name, "parametrization.base_width": base, "model.width": width}
                rows.append({**run, "schedule.peak": 0.5, "sharpness": values(name, width) / rate})
                metrics += [
                    {"run_id": run["run_id"], "step": step, "sharpness": values(name, width) / rate} for step in (0, 50)
                ]
    ids = {"digits": tuple(row["run_id"] for row in rows)}
    return Records(runs_frame(rows), pd.DataFrame(metrics), {}, ids)


def test_the_rate_of_every_tensor_under_mup_grows_with_the_width():
    found = measures.DIGITS.scaled(digits(lambda name, width: 1.5), measures.MUP)
    for width in WIDTHS:
        np.testing.assert_allclose(found[width].to_numpy(), 1.5)
    assert measures.DIGITS.names(digits(lambda name, width: 1.5)) == [measures.MUP, measures.NTK]


def test_the_course_on_digits_is_compared_over_the_widths_by_its_mean_over_seeds():
    records = digits(lambda name, width: 1.5 if name == "mean_field" else 2 - width / 64)
    assert value("e1", records) == pytest.approx(0, abs=1e-12)
    # NTK's are 1.75 and 1.
    assert value("e3", records) == pytest.approx(1 / 1.75)
    assert holds("e3", records)
    wide = digits(lambda name, width: (1.5 if name == "ntk" else 1.0) + width / 64)
    # 1.25 and 2 over 1.75 and 2.5: half the distance over the mean, (0.375 / 1.625) / (0.375 / 2.125).
    assert value("e1", wide) == pytest.approx(0.375 / 1.625)
    assert value("e2", wide) == pytest.approx(2.125 / 1.625)
    assert [holds(f"e{i}", wide) for i in (1, 2, 3)] == [False, False, False]


@pytest.mark.slow
@takes_minutes
def test_the_smoke_preset_runs_end_to_end(tmp_path):
    run = tmp_path / "run"
    smoke_run(EXPERIMENT, run)
    runs = pd.read_parquet(run / "runs.parquet")
    # The rates of the sweep go up to where training ends.
    swept = runs["parts"] == "rates"
    assert (runs["outcome"][~swept] == "ok").all()
    assert (runs["sharpness"][~swept] > 0).all()
    probed = pd.concat([pd.read_parquet(path) for path in (run / "probes").glob("kernel-*.parquet")])
    assert sorted(set(probed["step"])) == [2, 4, 6, 8, 10, 12]
