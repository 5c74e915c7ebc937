from types import SimpleNamespace

import jax
import numpy as np
import pandas as pd
import pytest

from experiments import sharpness_claims as claims
from experiments import sharpness_measures as measures
from experiments import sharpness_probes as probes
from experiments.sharpness import EXPERIMENT, SCALES, parts
from lrstudy.study.plan import make_plan
from lrstudy.study.records import Records, runs_frame
from lrstudy.tasks import DiagonalRegression, OrthogonalRegression
from tests.experiments.slow import takes_minutes
from tests.experiments.smoke import smoke_run

CLAIMS = {claim.claim_id: claim for claim in claims.CLAIMS}
SEEDS = (1, 2)


@pytest.mark.parametrize("preset", ["smoke", "cpu", "gpu", "paper"])
def test_every_preset_plans_and_decides_all_claims(preset):
    scale = SCALES[preset]
    plan = make_plan(EXPERIMENT.presets[preset]())
    assert {part for claim in claims.CLAIMS for part in claim.parts} <= set(plan.parts)
    # Four methods, Adam, two sizes of a batch of three samples, two starts, two warmups, and text: trunk and decay of
    # each of two measurements.
    assert len(plan.groups) == 4 + 1 + 3 * 2 + 1 + 1 + 2 * 2
    assert min(scale.seeds + scale.text_seeds) > 1000
    for group in plan.groups:
        sharpness = group.runs[0].sharpness
        assert sharpness is None or group.runs[0].config.steps % sharpness.every == 0


def test_the_phases_of_the_text_are_measured_steps():
    for scale in SCALES.values():
        (config, *_) = parts(scale)["text"].configs()
        run = {"run_id": "a", "steps": config.steps, "schedule.warmup_steps": config.schedule.arguments["warmup_steps"]}
        records = Records(runs_frame([run]), pd.DataFrame({"run_id": []}), {}, {"text": ("a",)})
        at = measures.phases(records)
        assert 0 < at.warm < at.stable < at.end == config.steps
        every = config.sharpness.arguments["every"]
        for name in ("early", "stable", "end"):
            first, last = at.window(name)
            assert any(step % every == 0 for step in range(first, last + 1)), name


def test_thresholds_are_those_of_the_study():
    """Fixed with the study; a change here is a change of the question."""
    expected = {
        "a1": ("<=", 0.03), "a2": ("<=", 0.03), "a3": ("<=", 0.03), "a4": ("<=", 0.03), "a5": ("<=", 0.3),
        "b1": (">=", 36), "b2": ("<=", 39.5),
        "c1": (">=", 0.99), "c2": ("<=", 1.01), "c3": ("<", 1),
        "c4": ("<", 1), "c5": ("<=", 0.75), "c6": ("<=", 0.75), "c7": ("<=", 1),
        "c8": ("<", 1), "c9": ("<=", 0.6), "c10": ("<=", 0.6), "c11": ("<=", 1),
        "d1": (">=", 2), "d2": (">=", 1.5), "d3": ("<=", 0.8), "d4": ("<=", 2.05), "d5": ("<=", 0.01),
        "d6": (">=", 1.1), "d7": ("<=", 0.3), "d8": (">=", 1.8), "d9": ("<=", 2.5),
        "e1": ("<=", 0.75), "e2": (">=", 1.2), "e3": ("<=", -0.3), "e4": ("<=", -0.5),
        "e5": ("<=", 0.7), "e6": (">=", 1.1), "e7": ("<=", -0.3), "e8": ("<=", -0.5),
    }  # fmt: skip
    assert {c.claim_id: (c.comparison, c.threshold) for c in claims.CLAIMS} == expected


def test_the_thresholds_of_the_methods_are_those_of_the_theory():
    assert [m.threshold for m in measures.METHODS] == pytest.approx([2, 3, 1.5, 10 / 3])
    assert pytest.approx(38) == measures.ADAM_THRESHOLD


# -- records that are made up ------------------------------------------------------------------------------------------


def records_of(part, cells):
    """Runs of one part: ``(columns, final columns, curves)`` a run, curves being metric to values by step."""
    runs, rows = [], []
    for place, (columns, finals, curves) in enumerate(cells):
        run_id = f"{part}{place}"
        runs.append({"run_id": run_id, "parts": part, "outcome": "ok", **columns, **finals})
        for metric, values in curves.items():
            rows += [{"run_id": run_id, "step": step, metric: value} for step, value in values.items()]
    metrics = pd.DataFrame(rows).groupby(["run_id", "step"], as_index=False).first()
    return Records(runs_frame(runs), metrics, {}, {part: tuple(run["run_id"] for run in runs)})


def value(claim_id, records):
    return CLAIMS[claim_id].measure(records).value


def descent(level):
    """Sharpness over the threshold: 0.1 before training, ``level`` from three quarters on, something else between."""
    cells = []
    for method in measures.METHODS:
        unit = method.threshold / (method.rate * measures.GAMMA**2)
        arguments = {f"optimizer.{k}": v for k, v in method.optimizer.arguments.items()}
        for seed in SEEDS:
            columns = {"seed": seed, "steps": 100, "optimizer": method.optimizer.name, **arguments}
            curve = {0: 0.1 * unit, 50: 5 * unit, 75: level * unit}
            cells.append((columns, {"sharpness": level * unit}, {"sharpness": curve}))
    return records_of("descent", cells)


def test_the_distance_from_the_edge_is_that_of_the_late_mean_and_has_no_sign():
    for level in (0.98, 1.02):
        assert [value(f"a{i}", descent(level)) for i in range(1, 5)] == pytest.approx([0.02] * 4)
    assert value("a5", descent(1.0)) == pytest.approx(0.1)
    assert not CLAIMS["a2"].decide(descent(0.96))["holds"]


def test_adams_levels_are_the_extremes_over_the_rates():
    levels = dict(zip(measures.ADAM_RATES, (37.0, 38.5), strict=True))
    cells = [
        (
            {"seed": seed, "steps": 100, "schedule.peak": rate},
            {"sharpness": level / rate},
            {"sharpness": {80: level / rate}},
        )
        for rate, level in levels.items()
        for seed in SEEDS
    ]
    records = records_of("adam", cells)
    assert (value("b1", records), value("b2", records)) == pytest.approx((37.0, 38.5))


def single(part, growths, whole=0.1, outcome="ok", trace=1.0):
    cells = []
    for size in (1, None):
        for rate, growth in growths.items():
            for seed in SEEDS:
                columns = {"seed": seed, "steps": 100, "schedule.peak": rate, "task.batch_size": size}
                final = (growth if size == 1 else whole) * 4.0
                state = outcome if size == 1 and growth > 1 else "ok"
                cells.append(
                    (
                        {**columns, "outcome": state},
                        {"sample_loss": final},
                        {"sample_loss": {0: 4.0, 50: 9.0}, "tangent_trace": {0: trace}},
                    )
                )
    return records_of(part, cells)


@pytest.mark.parametrize("outcome", ["ok", "diverged"])
def test_the_edge_of_single_examples_is_between_two_rates(outcome):
    found = single("exact", {1.98: 0.5, 2.02: 3.0, 2.04: 9.0}, outcome=outcome)
    assert (value("c1", found), value("c2", found), value("c3", found)) == pytest.approx((0.99, 1.01, 0.1))
    assert not CLAIMS["c3"].decide(single("exact", {1.98: 0.5, 2.02: 3.0}, whole=1.5))["holds"]
    # The rates are taken over that of the recorded trace.
    halved = single("exact", {1.98: 0.5, 2.02: 3.0}, trace=0.5)
    assert (value("c1", halved), value("c2", halved)) == pytest.approx((0.495, 0.505))


def test_the_edge_is_not_read_from_a_rate_that_shrinks_beyond_one_that_does_not():
    found = single("exact", {1.96: 0.5, 1.98: 3.0, 2.02: 0.5, 2.04: 9.0})
    assert (value("c1", found), value("c2", found)) == pytest.approx((0.98, 1.02))
    assert np.isnan(value("c1", single("exact", {1.96: 3.0, 1.98: 0.5})))
    assert np.isnan(value("c2", single("exact", {1.96: 3.0, 1.98: 0.5})))


@pytest.mark.parametrize(
    ("part", "names"), [("relu", ("c4", "c5", "c6", "c7")), ("diagonal", ("c8", "c9", "c10", "c11"))]
)
def test_traces_are_compared_over_rates_and_with_the_whole_sample(part, names):
    records = single(part, {0.1: 0.5, 0.2: 0.5, 0.4: 0.5})
    wanted = {(0.1, True): 4.0, (0.2, True): 3.6, (0.4, True): 1.0}
    runs = records.runs.assign(single=records.runs["task.batch_size"] == 1)
    table = pd.DataFrame(
        {
            "run_id": runs["run_id"],
            "trace": [
                wanted.get((rate, one), 4.0) for rate, one in zip(runs["schedule.peak"], runs["single"], strict=True)
            ],
        }
    )
    probed = Records(records.runs, records.metrics, {f"{part}_traces": table}, records.parts)
    assert [value(name, probed) for name in names] == pytest.approx([0.9, 0.25, 0.25, 0.36])


def test_a_start_above_the_edge():
    cells = []
    for rate, curve in ((measures.LOW, {0: 0.08, 50: 0.1}), (measures.HIGH, {0: 0.08, 50: 0.04})):
        for seed in SEEDS:
            columns = {"seed": seed, "steps": 200, "schedule.peak": rate}
            losses = {0: 2.0, 10: 8.0, 199: 0.001}
            cells.append((columns, {"sharpness": 0.044}, {"sharpness": curve, "loss": losses}))
    records = records_of("catapult", cells)
    assert [value(f"d{i}", records) for i in range(1, 7)] == pytest.approx([3.6, 4.0, 0.5, 1.98, 0.0005, 1.25])


def test_along_a_warmup_what_counts_begins_at_the_edge_and_ends_with_the_warmup():
    cells = []
    for seed in SEEDS:
        columns = {
            "seed": seed,
            "steps": 100,
            "schedule": "Constant",
            "schedule.peak": 8.0,
            "schedule.warmup_steps": 80,
        }
        # Rates 2, 4, 6, 8 and 8: the product is first at least 2 at step 40.
        curve = {20: 0.5, 40: 0.55, 60: 0.4, 80: 0.275, 90: 0.1}
        cells.append((columns, {"sharpness": 0.1}, {"sharpness": curve}))
    records = records_of("warmup", cells)
    assert value("d7", records) == pytest.approx(0.5)
    assert value("d8", records) == pytest.approx((2.2 + 2.4 + 2.2) / 3)


def test_text_is_compared_over_windows_and_by_ranks():
    cells = []
    for operator, sign in (("hessian", 1), ("preconditioned", -1)):
        for seed in SEEDS:
            columns = {
                "seed": seed, "steps": 100, "schedule": "WSD", "schedule.peak": 8.0, "schedule.warmup_steps": 20,
                "schedule.total_steps": 100, "schedule.decay_fraction": 0.2, "sharpness.operator": operator,
            }  # fmt: skip
            # Early: 8 and 6. Stable, from step 50 on: 2 and 4. What is before training or in between does not count.
            curve = {0: 99.0, 5: 8.0, 10: 6.0, 20: 5.0, 45: 50.0, 50: 2.0, 80: 4.0, 90: 5.0}
            curve = {step: sharpness**sign for step, sharpness in curve.items()}
            cells.append((columns, {"sharpness": 6.0**sign}, {"sharpness": curve}))
    records = records_of("text", cells)
    change, agreement = measures.text_change, measures.text_agreement
    assert change("hessian", "early", "stable")(records).value == pytest.approx(3 / 7)
    assert change("hessian", "stable", "end")(records).value == pytest.approx(2.0)
    for operator, sign in (("hessian", -1), ("preconditioned", 1)):
        for decay in (False, True):
            assert agreement(operator, decay=decay)(records).value == pytest.approx(sign)


# -- probes ------------------------------------------------------------------------------------------------------------


def test_the_probed_trace_is_that_of_the_dense_hessian():
    tasks = [DiagonalRegression(3, samples=4, directions=6, batch_size=size) for size in (1, None)]
    params = tasks[0].init(jax.random.key(0))
    runs = [SimpleNamespace(run_id=str(i), task=task, config=SimpleNamespace(steps=5)) for i, task in enumerate(tasks)]
    context = SimpleNamespace(runs=runs, params=lambda run_id, step: params, pause=lambda: None)
    table = probes.traces(context)
    flat, unravel = jax.flatten_util.ravel_pytree(params)
    dense = jax.hessian(lambda x: tasks[0].loss(unravel(x), tasks[0].sample())[0])(flat)
    # A sum of twelve products in float32.
    np.testing.assert_allclose(table["trace"], np.trace(dense), rtol=1e-5)
    assert probes.whole(OrthogonalRegression()).batch_size is None


@takes_minutes
def test_the_smoke_preset_runs_end_to_end(tmp_path):
    run = tmp_path / "run"
    entries = smoke_run(EXPERIMENT, run)
    # What holds at any size: the threshold of orthogonal examples, and a start above the edge.
    for name in ("c3", "d1"):
        assert entries[name]["holds"], entries[name]
    spectra = pd.concat([pd.read_parquet(path) for path in (run / "probes").glob("*_spectrum-*.parquet")])
    for _, rows in spectra.groupby(["run_id", "step"]):
        spacing = rows["value"].diff().dropna().mean()
        assert rows["density"].sum() * spacing == pytest.approx(1, rel=1e-4)
