import numpy as np
import pandas as pd
import pytest

from experiments import lazy_to_rich_claims as claims
from experiments import lazy_to_rich_measures as measures
from experiments.lazy_to_rich import EXPERIMENT, RATE, SCALES, parts
from lrstudy.study.plan import make_plan
from lrstudy.study.records import Records, runs_frame
from tests.experiments.smoke import smoke_run

CLAIMS = {claim.claim_id: claim for claim in claims.CLAIMS}


@pytest.mark.parametrize("preset", ["smoke", "cpu", "gpu", "paper"])
def test_every_preset_plans_one_program_a_seed_and_one_an_optimizer(preset):
    plan = make_plan(EXPERIMENT.presets[preset]())
    seeds = SCALES[preset].seeds
    assert {part for claim in claims.CLAIMS for part in claim.parts} <= set(plan.parts)
    # All scales and alignments are lanes of one program; the data of a seed are part of it.
    assert sorted(len(group.runs) for group in plan.groups) == sorted([14] * len(seeds) + [len(seeds)] * 2)
    assert min(seeds) > 600


def test_the_rate_goes_with_alpha_squared_and_data_with_the_seed():
    for config in parts(SCALES["cpu"])["scale"].configs():
        task = config.task.arguments
        rate = config.schedule.arguments["peak"] * task["alpha"] ** 2 / task["units"]
        assert rate == pytest.approx(RATE, rel=1e-12)
        assert task["data_seed"] == config.seed


def test_thresholds_are_those_of_the_study():
    """Fixed with the study; a change here is a change of the question."""
    expected = {
        "a1": ("<", 1), "a2": ("<=", 0.05), "a3": (">=", 5), "a4": ("<=", 1.01),
        "b1": (">", 1), "b2": (">=", 0.75), "b3": (">=", 1.25), "b4": (">", 1), "b5": (">", 1),
        "c1": ("<=", 0.05), "c2": ("<=", 0.01), "c3": (">=", 0.3),
        "d1": ("<=", 0.05), "d2": (">=", 0.25),
        "e1": ("<=", 1e-6), "e2": ("<=", 0.1), "e3": ("<=", 0.2), "e4": ("<=", -0.35), "e5": (">=", 1.5),
        "e6": (">=", -0.01), "e7": ("<=", 0.02),
    }  # fmt: skip
    assert {c.claim_id: (c.comparison, c.threshold) for c in claims.CLAIMS} == expected
    assert (measures.TOLERANCE, measures.FITTED) == (0.05, 0.002)


# -- the regression, on records that are made up -----------------------------------------------------------------------

SEEDS, UNITS, STEPS = (0, 1), 10, 400


def falling(rate):
    """exp(-rate t) at the times 0, 1, ... 400."""
    return np.exp(-rate * np.arange(STEPS + 1.0))


def regression(kernel_change, fit, generalise, gap=lambda alpha: 1 / alpha, gain=lambda alpha: 1 + 1 / alpha):
    """Runs whose losses fall exponentially, at ``fit(alpha, eps)`` and ``generalise(alpha, eps)`` a unit of time.

    A unit of time is a step; the two seeds differ by a factor of 1.1 in the kernel's change alone.
    """
    settings = [(alpha, measures.EPS) for alpha in measures.ALPHAS]
    settings += [(measures.MIDDLE, eps) for eps in measures.ALIGNMENTS if eps != measures.EPS]
    rows, metrics, distances, ids = [], [], [], {"scale": [], "alignment": []}
    for alpha, eps in settings:
        for seed in SEEDS:
            run_id = f"{alpha}-{eps}-{seed}"
            train, test = 0.3 * falling(fit(alpha, eps)), 0.4 * falling(generalise(alpha, eps))
            alignment = 0.03 * gain(alpha)
            row = {
                "run_id": run_id,
                "seed": seed,
                "steps": STEPS,
                "task.alpha": alpha,
                "task.eps": eps,
                "outcome": "ok",
            }
            row |= {"task.units": UNITS, "schedule.peak": UNITS / alpha**2, "parts": "", "kernel_alignment": alignment}
            row |= {"kernel_change": kernel_change(alpha) * (1.1 if seed else 1), "train_loss": train[-1]}
            rows.append(row | {"test_loss": test[-1]})
            columns = {"run_id": run_id, "step": range(STEPS), "train_loss": train[:-1], "test_loss": test[:-1]}
            metrics.append(pd.DataFrame(columns | {"kernel_alignment": 0.03}))
            distances += [{"alpha": alpha, "seed": seed, "gap": share * gap(alpha)} for share in (0.5, 1.0, 0.7)]
            ids["scale"] += [run_id] if eps == measures.EPS else []
            ids["alignment"] += [run_id] if alpha == measures.MIDDLE else []
    probes = {"linear": pd.DataFrame(distances)}
    table = pd.concat(metrics, ignore_index=True)
    return Records(runs_frame(rows), table, probes, {name: tuple(own) for name, own in ids.items()})


def as_derived(**changes):
    """Times to fit in proportion to alpha^(1/2), times to generalise to alpha, and both slower where misaligned."""
    given = {
        "kernel_change": lambda alpha: 0.3 / alpha,
        "fit": lambda alpha, eps: 2 / alpha**0.5 * (eps / 0.25),
        "generalise": lambda alpha, eps: (0.1 / alpha if alpha < 5 else 1e-4) * (eps / 0.25) ** 1.5,
    }
    return regression(**(given | changes))


def value(claim_id, records):
    return CLAIMS[claim_id].measure(records).value


def holds(claim_id, records):
    return CLAIMS[claim_id].decide(records)["holds"]


def test_times_are_interpolated_in_the_logarithm():
    own = measures.at_scale(as_derived(), 0.4)
    # exp(-rate t) = 0.05 at t = log(20) / rate, between two steps.
    log = np.log(20)
    np.testing.assert_allclose(measures.fitted_at(own), log * 0.4**0.5 / 2, rtol=1e-9)
    np.testing.assert_allclose(measures.generalised_at(own), log * 0.4 / 0.1, rtol=1e-9)
    never = measures.at_scale(as_derived(), 30.0)
    np.testing.assert_array_equal(measures.generalised_at(never), [STEPS, STEPS])
    assert np.isnan(measures.crossings(pd.DataFrame({0: [1.0, 0.9]}), 0.05)).all()
    assert measures.crossings(pd.DataFrame({0: [0.01, 0.9]}), 0.05) == [0]


def test_the_kernel_is_measured_by_ratios_and_slopes():
    found = as_derived()
    assert value("a1", found) == pytest.approx(0.5)  # the closest pair of scales
    assert value("a2", found) == pytest.approx(0, abs=1e-9)
    assert value("a3", found) == pytest.approx(1 + 1 / 0.1)
    assert value("a4", found) == pytest.approx(1 + 1 / 1e4)
    assert holds("a1", found)
    assert not holds("a1", as_derived(kernel_change=lambda alpha: 0.3))
    assert value("a2", as_derived(kernel_change=lambda alpha: alpha**-0.7)) == pytest.approx(0.3)
    assert not holds("a2", as_derived(kernel_change=lambda alpha: alpha**-0.7))
    assert not holds("a3", as_derived(gain=lambda alpha: 2.0))
    assert not holds("a4", as_derived(gain=lambda alpha: 2.0))


def test_the_delay_is_the_difference_of_the_two_times():
    found = as_derived()
    expected = [np.log(20) * (alpha / 0.1 - alpha**0.5 / 2) for alpha in measures.RICH_ALPHAS]
    np.testing.assert_allclose([measures.delays(own)[0] for own in measures.by_scale(found)], expected, rtol=1e-9)
    assert value("b1", found) == pytest.approx(min(np.divide(expected[1:], expected[:-1])), rel=1e-9)
    assert value("b2", found) == pytest.approx(np.polyfit(np.log(measures.RICH_ALPHAS), np.log(expected), 1)[0])
    assert value("b3", found) == pytest.approx((1.6 / 0.1) ** 0.5, rel=1e-9)
    assert all(holds(name, found) for name in ("b1", "b2", "b3", "b4", "b5"))
    assert value("b5", found) == pytest.approx((0.1 / 0.4) ** -0.5, rel=1e-9)
    # A delay that is the same everywhere; and a clock that is slower and changes nothing else.
    same = as_derived(fit=lambda *_: 2.0, generalise=lambda *_: 0.1)
    assert not any(holds(name, same) for name in ("b1", "b2", "b3", "b4", "b5"))
    slower = as_derived(fit=lambda alpha, eps: 2 * eps / alpha, generalise=lambda alpha, eps: 0.2 * eps / alpha)
    assert [holds(name, slower) for name in ("b1", "b2", "b3", "b4", "b5")] == [True, True, False, True, False]


def test_a_sample_that_is_never_fitted_has_no_delay():
    assert np.isnan(value("b1", as_derived(fit=lambda *_: 0.0)))
    assert not holds("b1", as_derived(fit=lambda *_: 0.0))


def test_the_distance_from_kernel_regression_is_the_largest_on_the_way():
    found = as_derived()
    assert value("c1", found) == pytest.approx(0, abs=1e-9)
    assert value("c2", found) == pytest.approx(1 / 1e4)
    assert value("c3", found) == pytest.approx(1 / 0.1)
    other = as_derived(gap=lambda alpha: 0.1 * alpha**-0.1)
    assert not any(holds(name, other) for name in ("c1", "c2", "c3"))


def test_test_losses_are_compared_where_the_sample_is_fitted_alike():
    found = as_derived(fit=lambda *_: 0.1, generalise=lambda alpha, _: 0.1 if alpha < 5 else 0.001)
    # exp(-0.1 t) is below 0.002 from t = 63 on.
    assert value("d1", found) == pytest.approx(np.exp(-6.3))
    assert value("d2", found) == pytest.approx(np.exp(-0.063))
    assert holds("d1", found)
    assert holds("d2", found)
    alike = as_derived(fit=lambda *_: 0.1, generalise=lambda *_: 0.02)
    assert not holds("d1", alike)
    assert not holds("d2", as_derived(fit=lambda *_: 0.1, generalise=lambda *_: 0.1))
    assert np.isnan(value("d1", as_derived(fit=lambda *_: 0.0)))


# -- the digits --------------------------------------------------------------------------------------------------------


def digits(slope=1.0, growth=3.0, kernel_error=1e-7, accuracy=(0.98, 0.97), losses=(0.05, 0.02)):
    """An angle that goes with a power of the rate where projected, and with the rate over a growing norm where not."""
    rows, metrics, norms = [], [], []
    rates = np.linspace(1.0, 0.02, 200)
    for place, name in enumerate(("nap", "adam")):
        for seed in SEEDS:
            run_id = f"{name}{seed}"
            sizes = np.ones(200) if name == "nap" else np.linspace(1, growth, 200)
            angles = 0.1 * (rates**slope if name == "nap" else rates / sizes)
            row = {
                "run_id": run_id,
                "seed": seed,
                "steps": 200,
                "optimizer": name,
                "outcome": "ok",
                "parts": "projection",
            }
            rows.append({**row, "validation_accuracy": accuracy[place], "validation_loss": losses[place]})
            columns = {"run_id": run_id, "step": range(200), "learning_rate": rates, "param_norm": 5 * sizes}
            metrics.append(pd.DataFrame(columns | {"update_norm": angles * 5 * sizes}))
            for step, tensor, norm in (
                (0, "a/kernel", 2.0),
                (9, "a/kernel", 2 * (1 + kernel_error)),
                (9, "a/bias", 7.0),
            ):
                own = {"optimizer": name, "seed": seed, "step": step, "tensor": tensor, "norm": norm}
                norms.append(own | {"initial": 2.0 if tensor == "a/kernel" else 0.0})
    ids = {"projection": tuple(row["run_id"] for row in rows)}
    return Records(runs_frame(rows), pd.concat(metrics, ignore_index=True), {"norms": pd.DataFrame(norms)}, ids)


def test_angles_are_compared_with_the_rate():
    found = digits()
    assert value("e1", found) == pytest.approx(1e-7, rel=1e-3)
    assert value("e2", found) == pytest.approx(0, abs=1e-9)
    assert value("e3", found) == pytest.approx(0, abs=1e-9)
    # The norm grows from 1 to 3 in equal steps: from some 1.38 in the first fifth of the rest to 2.82 in the last.
    assert value("e4", found) == pytest.approx(-np.log(2.82 / 1.38), abs=0.02)
    assert value("e5", found) == pytest.approx(3)
    assert value("e6", found) == pytest.approx(0.01)
    assert value("e7", found) == pytest.approx(0.03)
    assert [holds(f"e{i}", found) for i in range(1, 8)] == [True] * 6 + [False]


def test_a_rate_that_does_not_act_as_asked_for_is_found():
    broken = digits(slope=1.5, growth=1.0, kernel_error=1e-5, accuracy=(0.9, 0.97), losses=(0.02, 0.02))
    assert value("e2", broken) == pytest.approx(0.5)
    assert [holds(f"e{i}", broken) for i in range(1, 8)] == [False] * 6 + [True]


@pytest.mark.slow
def test_the_smoke_preset_runs_end_to_end(tmp_path):
    run = tmp_path / "run"
    smoke_run(EXPERIMENT, run)
    runs = pd.read_parquet(run / "runs.parquet")
    assert (runs["outcome"] == "ok").all()
    probes = {path.stem.split("-")[0]: pd.read_parquet(path) for path in (run / "probes").glob("*.parquet")}
    # So little of a step at the largest scale is not linear that training is kernel regression from the start.
    assert probes["linear"].query("alpha == 10000")["gap"].max() < 0.01
    # Kernels keep their norms from the first update on, in these few steps as in many.
    kernels = probes["norms"].query("optimizer == 'nap' and tensor.str.endswith('kernel')")
    assert set(kernels["tensor"]) == {"hidden_0/kernel", "hidden_1/kernel", "readout/kernel"}
    np.testing.assert_allclose(kernels["norm"], kernels["initial"], rtol=1e-6)
