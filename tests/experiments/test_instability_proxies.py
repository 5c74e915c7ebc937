import jax
import numpy as np
import pandas as pd
import pytest

from experiments import instability_proxies as study
from experiments import instability_proxies_claims as claims
from experiments import instability_proxies_tables as tables
from lrstudy.study.config import resolve
from lrstudy.study.errors import StudyError
from lrstudy.study.plan import make_plan
from lrstudy.study.records import Records, runs_frame
from tests.experiments.slow import takes_minutes
from tests.experiments.smoke import smoke_run

EXPERIMENT = study.EXPERIMENT
RATES, SEEDS, STEPS = (0.01, 0.1, 1.0), (7, 8), 100


@pytest.mark.parametrize("preset", ["smoke", "cpu", "gpu", "paper"])
def test_every_preset_plans_a_program_for_every_shape(preset):
    scale = study.SCALES[preset]
    plan = make_plan(EXPERIMENT.presets[preset]())
    assert {part for claim in claims.CLAIMS for part in claim.parts} <= set(plan.parts)
    # Warmups and a coupled decay are numbers; the models of one size without norms may be an arm's runs.
    arms = {name for name in claims.ARMS if name not in ("short_warmup", "long_warmup", "coupled")}
    shared = scale.width in scale.widths and set(scale.size_seeds) == set(scale.seeds)
    assert len(plan.groups) == len(arms) + len(scale.widths) - shared + len(scale.epsilon_widths)
    assert set(scale.size_rates) <= set(scale.rates)
    assert max(scale.rates) >= claims.HIGH
    assert {claims.COMPARABLE, claims.LARGE} <= set(scale.epsilons)


def test_no_seed_of_the_deciding_run_was_looked_at():
    assert study.SCALES["cpu"].seeds == (501, 502, 503)
    assert study.SCALES["cpu"].size_seeds == (501, 502, 503, 504, 505, 506)


def test_thresholds_are_those_of_the_study():
    """Fixed with the study; a change here is a change of the question."""
    expected = {
        "a1": (">", 100.0), "a2": ("<", 0.01), "a3": (">", 0.05),
        "b1": (">", 1.0), "b2": ("<", 0.25), "b3": (">", 0.0),
        "c1": (">", 0.0), "c2": (">", 0.0), "c3": (">", 0.0), "c4": (">", 0.0),
        "d1": ("<=", 0.3), "d2": ("<=", 0.3),
        "e1": ("<", 0.0), "e2": ("<", 1.0), "e3": ("<", 0.75), "e4": ("<", 0.3), "e5": ("<", 1.0), "e6": ("<", 0.05),
        "e7": (">", 0.0),
    }  # fmt: skip
    assert {c.claim_id: (c.comparison, c.threshold) for c in claims.CLAIMS} == expected


def planned(preset="smoke"):
    """The runs of a preset as records without any measurement."""
    parts = EXPERIMENT.presets[preset]()
    runs = {name: [resolve(config) for config in part.configs()] for name, part in parts.items()}
    rows = {run.run_id: {"run_id": run.run_id, **run.columns} for own in runs.values() for run in own}
    ids = {name: tuple(dict.fromkeys(run.run_id for run in own)) for name, own in runs.items()}
    empty = pd.DataFrame({"run_id": [], "step": []})
    return Records(runs_frame(list(rows.values())), empty, {}, ids), runs


def test_the_columns_of_an_arm_tell_it_from_all_others():
    records, _ = planned("cpu")
    scale = study.SCALES["cpu"]
    found = [set(claims.arm(records, name).runs["run_id"]) for name in claims.ARMS]
    assert {len(own) for own in found} == {len(scale.rates) * len(scale.seeds)}
    assert len(set.union(*found)) == sum(map(len, found)) == len(records.part("arms").runs)
    decays = [claims.arm(records, name).runs.get("parametrization.decay") for name in ("coupled", "independent")]
    assert decays[0].isna().all()
    assert (decays[1] == "independent").all()


def test_parameters_are_counted_as_the_models_have_them():
    records, runs = planned()
    counted = records.runs.assign(counted=claims.parameters(records)).set_index("run_id")["counted"]
    for run in {run.run_id: run for own in runs.values() for run in own if run.config.seed == 501}.values():
        shapes = jax.eval_shape(run.task.init, jax.random.key(0))
        assert counted[run.run_id] == sum(leaf.size for leaf in jax.tree.leaves(shapes)), run.columns


def run_rows(arm, values, metric="validation_loss", part="arms"):
    """Runs of one arm, from peak to the final metric of every seed."""
    own = claims.columns(arm, STEPS)
    return [
        {"run_id": f"{part}{arm}{rate}{seed}", "outcome": "ok", "parts": part, "seed": seed, "steps": STEPS}
        | {"schedule.peak": rate, **own, metric: value}
        for rate, both in values.items()
        for seed, value in zip(SEEDS, both, strict=True)
    ]


def records_of(rows, metrics=(), part="arms"):
    first = [{"run_id": row["run_id"], "step": 0, "validation_loss": 3.0} for row in rows]
    frame = pd.DataFrame(list(metrics) or first)
    return Records(runs_frame(rows), frame, {}, {part: tuple(row["run_id"] for row in rows)})


def decided(claim_id, records):
    return next(claim for claim in claims.CLAIMS if claim.claim_id == claim_id).decide(records)


def test_the_sensitivity_is_taken_seed_by_seed_and_counts_what_diverged_as_untrained():
    """Of 2.0, 1.5 and a divergence from an initial loss of 3: (0.5 + 0 + 1.5) / 3."""
    losses = {0.01: (2.0, 1.0), 0.1: (1.5, 1.0), 1.0: (np.nan, 1.0)}
    own = claims.arm(records_of(run_rows("default", losses)), "default")
    np.testing.assert_allclose(claims.sensitivities(own), [2 / 3, 0.0])


SENSITIVE = {"a3": "no_qk_norm", "b3": "no_z_loss", "c1": "short_warmup", "c2": "coupled", "c3": "no_qk_norm"}
STEADY = {"a3": "default", "b3": "default", "c1": "long_warmup", "c2": "independent", "c3": "peri_no_qk_norm"}


@pytest.mark.parametrize("claim_id", [*SENSITIVE, "c4"])
def test_a_claim_on_sensitivities_holds_and_fails_as_its_arms_do(claim_id):
    arms = {**SENSITIVE, "c4": "default"}[claim_id], {**STEADY, "c4": "peri"}[claim_id]
    steep, flat = {0.01: (1.0, 1.0), 0.1: (1.0, 1.1), 1.0: (2.5, 2.3)}, {0.01: (1.0, 1.0), 0.1: (1.1, 1.1)}
    flat |= {1.0: (1.2, 1.2)}
    found = decided(claim_id, records_of(run_rows(arms[0], steep) + run_rows(arms[1], flat)))
    assert found["holds"]
    # (1.5 / 3 + (0.1 + 1.3) / 3) / 2 less (0.1 + 0.2) / 3.
    assert found["measured"] == pytest.approx((1.5 + 1.4) / 6 - 0.1)
    assert not decided(claim_id, records_of(run_rows(arms[0], flat) + run_rows(arms[1], steep)))["holds"]


def test_attention_logits_are_compared_at_the_ends_of_the_grid():
    wild = run_rows("no_qk_norm", {0.01: (10.0, 10.0), 0.1: (1e2, 1e2), 1.0: (1e4, 1e6)}, "max_attention_logit")
    tame = run_rows("default", {0.01: (3.0, 3.0), 0.1: (9.0, 9.0), 1.0: (10.0, 10.0)}, "max_attention_logit")
    growth, kept = (decided(name, records_of(wild + tame)) for name in ("a1", "a2"))
    # Geometric means over seeds: 1e5 over 10, and 10 over 1e5.
    assert growth["measured"] == pytest.approx(1e4)
    assert kept["measured"] == pytest.approx(1e-4)
    assert growth["holds"]
    assert kept["holds"]
    flat = run_rows("no_qk_norm", {0.01: (10.0, 10.0), 1.0: (20.0, 20.0)}, "max_attention_logit")
    assert not decided("a1", records_of(flat + tame))["holds"]
    assert not decided("a2", records_of(flat + tame))["holds"]


def test_the_drift_is_the_farthest_that_log_z_gets_at_a_high_peak():
    rows, metrics = [], []
    # At a peak that is not high it goes farthest of all, which does not count.
    for rate, farthest in zip(RATES, (20.0, 6.5, 3.0), strict=True):
        own = run_rows("no_z_loss", {rate: (6.0, 6.0)}, "log_z")
        rows += own
        for row in own:
            metrics += [{"run_id": row["run_id"], "step": s, "log_z": z} for s, z in ((0, 6.0), (50, farthest))]
    found = decided("b1", records_of(rows, metrics))
    assert found["measured"] == pytest.approx(3.0)
    assert found["holds"]
    still = [{**row, "log_z": 6.5} for row in metrics]
    assert not decided("b1", records_of(rows, still))["holds"]


def test_a_z_loss_is_judged_at_the_high_peak_at_which_it_holds_least():
    free = run_rows("no_z_loss", {0.01: (6.0, 6.0), 0.1: (6.0, 6.0), 1.0: (-5.0, 5.0)}, "log_z")
    held = run_rows("default", {0.01: (5.0, 5.0), 0.1: (0.3, -0.3), 1.0: (1.0, 1.0)}, "log_z")
    found = decided("b2", records_of(free + held))
    assert found["measured"] == pytest.approx(0.2)
    assert found["holds"]
    assert not decided("b2", records_of(free + run_rows("default", {0.1: (6.0, 6.0), 1.0: (5.0, 5.0)}, "log_z")))[
        "holds"
    ]


WIDTHS = (16, 24, 32, 48, 64)


def sized(logit, gradient=lambda n, rate: n**-0.5 / rate**0.1):
    """Runs of five widths at three peaks; `logit` is a function of the parameters and the seed's place."""
    shape = {"model.layers": 2, "model.expansion": 4, "model.norm": "pre", "model.qk_norm": False}
    rows = [
        {"run_id": f"{width}{rate}{seed}", "outcome": "ok", "seed": seed, "steps": STEPS, "schedule.peak": rate}
        | {"model.width": width, "model.heads": width // 8, **shape}
        for width in WIDTHS
        for rate in RATES
        for seed in SEEDS
    ]
    count = claims.parameters(records_of(rows, part="sizes"))
    metrics = []
    for row, n in zip(rows, count, strict=True):
        row["max_attention_logit"] = logit(n, SEEDS.index(row["seed"]))
        # What is measured in the first half does not count.
        for step, factor in ((0, 100.0), (50, 0.5), (90, 1.5)):
            norm = factor * gradient(n, row["schedule.peak"]) * np.sqrt(n)
            own = {"grad_norm_l2": norm, "update_norm": 1.0, "learning_rate": 1.0}
            metrics.append({"run_id": row["run_id"], "step": step, **own})
    return records_of(rows, metrics, part="sizes")


def parabola(n, seed):
    """Quadratic in log-log; seeds differ by a factor at every size alike."""
    x = np.log(n / 1e4)
    return np.exp(1.0 + 0.5 * x + 0.2 * x**2 + 0.1 * seed)


@pytest.mark.parametrize("claim_id", ["d1", "d2"])
def test_a_parabola_in_log_log_is_extrapolated_exactly(claim_id):
    found = decided(claim_id, sized(parabola))
    assert found["measured"] == pytest.approx(0.0, abs=1e-9)
    assert found["holds"]
    last = claims.parameters(sized(parabola)).max()
    broken = decided(claim_id, sized(lambda n, seed: parabola(n, seed) * (2 if n == last else 1)))
    assert broken["measured"] == pytest.approx(0.5)
    assert not broken["holds"]
    table = tables.sizes_table(sized(parabola))
    np.testing.assert_allclose(table["fit"], table["largest logit"], rtol=1e-9)


def test_no_parabola_goes_through_what_diverged():
    with pytest.raises(StudyError, match="finite logits"):
        decided("d1", sized(lambda n, _: np.nan if n > 5e4 else 1.0))


def test_the_gradient_is_measured_as_a_power_of_the_size():
    found = sized(parabola)
    assert decided("e1", found)["measured"] == pytest.approx(-0.5)
    assert decided("e1", found)["holds"]
    assert not decided("e1", sized(parabola, lambda n, rate: n**0.5 * rate))["holds"]


def test_the_gradient_at_the_first_high_peak_is_compared_with_that_at_the_lowest():
    rows = run_rows("default", dict.fromkeys(RATES, (0.0, 0.0)))
    shape = {"model.width": 16, "model.heads": 2, "model.layers": 2, "model.expansion": 4}
    rows = [{**row, **shape} for row in rows]
    norms = {0.01: 4.0, 0.1: 1.0, 1.0: 9.0}
    metrics = [
        {"run_id": row["run_id"], "step": 60, "grad_norm_l2": norms[row["schedule.peak"]]}
        | {"update_norm": 1.0, "learning_rate": 0.1}
        for row in rows
    ]
    found = decided("e2", records_of(rows, metrics))
    assert found["measured"] == pytest.approx(0.25)
    assert found["holds"]
    growing = [{**row, "grad_norm_l2": 1 / row["grad_norm_l2"]} for row in metrics]
    assert not decided("e2", records_of(rows, growing))["holds"]


def with_epsilons(left):
    """Two widths and four epsilons; `left` is the update's RMS over the rate by width and epsilon."""
    rows, metrics = [], []
    shape = {"model.layers": 2, "model.expansion": 4, "model.norm": "pre", "model.qk_norm": True}
    for width in (16, 64):
        for epsilon in (1e-15, 1e-8, 1e-3, 1e-2):
            for seed in SEEDS:
                row = {"run_id": f"{width}{epsilon}{seed}", "outcome": "ok", "seed": seed, "steps": STEPS}
                row |= {"model.width": width, "model.heads": width // 8, "optimizer.eps": epsilon, **shape}
                rows.append({**row, "validation_loss": 2.0 if epsilon < 1e-3 else 2.0 + left(width, epsilon)})
    for row, n in zip(rows, claims.parameters(records_of(rows, part="epsilon")), strict=True):
        norm = left(row["model.width"], row["optimizer.eps"]) * 0.01 * np.sqrt(n)
        own = {"grad_norm_l2": 1.0, "update_norm": norm, "learning_rate": 0.01}
        metrics.append({"run_id": row["run_id"], "step": 60, **own})
    return records_of(rows, metrics, part="epsilon")


def test_an_epsilon_like_the_gradient_stops_the_updates_and_a_small_one_does_not():
    found = with_epsilons(lambda width, eps: {1e-15: 0.8, 1e-8: 0.8, 1e-3: 9.6 / width, 1e-2: 0.1}[eps])
    # 9.6 / 64 over 0.8; 0.1 over 0.8; 16 over 64; nothing; 0.15.
    measured = {name: decided(name, found) for name in ("e3", "e4", "e5", "e6", "e7")}
    assert [entry["measured"] for entry in measured.values()] == pytest.approx([0.1875, 0.125, 0.25, 0.0, 0.15])
    assert all(entry["holds"] for entry in measured.values())
    stuck = with_epsilons(lambda width, eps: {1e-15: 0.8, 1e-8: 0.7, 1e-3: 0.01 * width, 1e-2: 1.0}[eps])
    assert not any(decided(name, stuck)["holds"] for name in ("e3", "e4", "e5", "e6"))
    better = with_epsilons(lambda width, eps: 1.0 if eps < 1e-3 else -0.1)
    assert not decided("e7", better)["holds"]


def test_records_without_runs_decide_nothing():
    with pytest.raises(StudyError, match="no run"):
        decided("a1", Records(runs_frame([]).assign(run_id=[]), pd.DataFrame({"run_id": []}), {}, {}))


@pytest.mark.slow
@takes_minutes
def test_the_smoke_preset_runs_end_to_end(tmp_path):
    """Every part, figure and table of the study, at sizes that decide nothing."""
    run = tmp_path / "run"
    entries = smoke_run(EXPERIMENT, run)
    assert all(np.isfinite(entry["measured"]) for entry in entries.values())
