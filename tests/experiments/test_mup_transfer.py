import dataclasses

import numpy as np
import pandas as pd
import pytest

from experiments import mup_transfer as study
from experiments import mup_transfer_claims as claims
from experiments import mup_transfer_optima as optima
from experiments.mup_transfer_coordinates import CHANGE, PROBES, SIZE, UPDATES
from lrstudy.study.claims import Measurement
from lrstudy.study.errors import StudyError
from lrstudy.study.plan import make_plan
from lrstudy.study.records import Records
from tests.experiments.slow import takes_minutes
from tests.experiments.smoke import smoke_run

GRID = study.octaves(-12, 0, 0.5)
WIDTHS = (64, 128, 256, 512)
SEEDS = (7, 8, 9)
LOWEST, BEND = 0.1, 0.2
"""Of every curve: its lowest loss, and how its logarithm rises with the square of the distance in octaves."""
T_95 = 4.302652729911275
"""Student's 0.975 quantile of two degrees of freedom."""


def runs_of(part, columns, sizes, best, size="model.width", along="schedule.peak"):
    """Runs whose log loss is a parabola in the log rate.

    Args:
        part: name.
        columns: the other configuration columns of every arm, a list.
        sizes: of every arm.
        best: ``(arm's columns, size, seed) ->`` log2 of the best rate.
        size: column of the size.
        along: column of the rate.
    """
    rows = []
    for own in columns:
        for n in sizes:
            for seed in SEEDS:
                for rate in GRID:
                    distance = np.log2(rate) - best(own, n, seed)
                    loss = LOWEST * np.exp(BEND * distance**2)
                    row = {"parts": part, "outcome": "ok", "steps": 40, "seed": seed, size: n, along: rate, **own}
                    rows.append({**row, "run_id": f"{part}-{len(rows)}", "validation_loss": loss})
    return pd.DataFrame(rows)


def records_of(*tables, probes=None):
    """Runs as records; the last five batch losses are the loss times 0.8, 0.9, 1, 1.1, 1.2, those before are not."""
    runs = pd.concat(tables, ignore_index=True)
    metrics = [pd.DataFrame({"run_id": runs["run_id"], "step": 0, "loss": np.log(10.0)})]
    for step, factor in zip(range(34, 40), (77.0, 0.8, 0.9, 1.0, 1.1, 1.2), strict=True):
        losses = runs["validation_loss"] * factor
        metrics.append(pd.DataFrame({"run_id": runs["run_id"], "step": step, "loss": losses}))
    parts = {part: tuple(own["run_id"]) for part, own in runs.groupby("parts", sort=False)}
    return Records(runs, pd.concat(metrics, ignore_index=True), probes or {}, parts)


def doublings(n, base=64):
    return np.log2(n / base)


def perceptron(slopes, seeds=(0.0, 0.0, 0.0), part="mlp"):
    """An arm's best rate begins at 2^-4 and moves by its slope, and a seed's, at every doubling."""

    def best(own, n, seed):
        return -4 + (slopes[own["parametrization"]] + seeds[SEEDS.index(seed)]) * doublings(n)

    return runs_of(part, [{"parametrization": name} for name in slopes], WIDTHS, best)


def decided(records, letters):
    """The claims of these letters whose parts are there."""
    own = [c for c in claims.CLAIMS if c.claim_id[0] in letters and set(c.parts) <= set(records.parts)]
    return {c.claim_id: c.decide(records) for c in own}


GOOD = {"mup": 0.0, "sp": -1.0}


def test_a_rate_that_stays_and_one_that_halves_decide_the_claims():
    found = decided(records_of(perceptron(GOOD), perceptron({"ntk": -0.5}, part="ntk")), "a")
    assert all(entry["holds"] for entry in found.values()), found
    # Float64 logarithms of the losses, and the vertex of a parabola through them.
    expected = {"a1": 1.0, "a2": 0.0, "a3": 0.0, "a4": 8.0, "a5": -1.0, "a6": 1.0, "a8": 0, "a9": -0.5, "a10": 0.5}
    for claim_id, value in expected.items():
        assert found[claim_id]["measured"] == pytest.approx(value, abs=1e-9), claim_id
    # The widest at the rate of the narrowest is three octaves off.
    assert found["a7"]["measured"] == pytest.approx(np.exp(BEND * 9))
    assert {entry["n"] for entry in found.values()} == {3}


def test_the_claims_fail_where_the_parametrizations_change_places():
    swapped = {"mup": -1.0, "sp": 0.0}
    found = decided(records_of(perceptron(swapped), perceptron({"ntk": 0.1}, part="ntk")), "a")
    # An optimum that stays inside the grid is no edge, and NTK's rate rises less SP's that stays.
    assert {claim_id for claim_id, entry in found.items() if entry["holds"]} == {"a8"}
    # Interpolation between grid points is straight in the loss, the curve is not.
    assert found["a10"]["measured"] == pytest.approx(0.1, abs=0.02)


def test_the_interval_of_a_slope_is_students_over_seeds():
    """The mean of parabolas of one bend has its vertex at the mean of theirs, so a slope is linear in the seeds'."""
    seeds = (-0.1, 0.0, 0.4)
    records = records_of(perceptron(GOOD, seeds))
    found = claims._slope(optima.MLP, "sp", optima.best_rate)(records)
    half = T_95 * np.std(seeds, ddof=1) / np.sqrt(3)
    assert (found.value, found.low, found.high) == pytest.approx((-0.9, -0.9 - half, -0.9 + half))
    spread = claims._spread(optima.MLP, "sp")(records)
    ends = np.log2([spread.value, spread.low, spread.high])
    assert ends == pytest.approx((2.7, 2.7 - 3 * half, 2.7 + 3 * half))


def test_a_best_rate_on_the_edge_is_no_optimum():
    records = records_of(perceptron({"mup": 0.0, "sp": -3.0}))
    curves = optima.MLP.curves(records)
    assert np.isnan(optima.log_rates(curves, "sp")).tolist() == [False, False, False, True]
    found = decided(records, "a")
    assert found["a8"]["measured"] == 1
    assert not found["a8"]["holds"]
    assert found["a4"]["measured"] is None
    assert not found["a4"]["holds"]
    assert found["a1"]["holds"]


def test_a_rate_at_which_one_seed_diverged_is_never_the_best():
    table = perceptron(GOOD)
    best = (table["parametrization"] == "mup") & (table["model.width"] == 128) & (table["schedule.peak"] == 2.0**-4)
    table.loc[best & (table["seed"] == SEEDS[1]), "outcome"] = "diverged"
    curves = optima.MLP.curves(records_of(table))
    assert np.isinf(optima.means(curves, ("mup", 128)).loc[2.0**-4])
    assert 2 ** abs(np.log2(optima.best_rate(curves, ("mup", 128))) + 4) == pytest.approx(2**0.5)


def test_the_final_training_loss_is_the_mean_of_the_last_five_batches():
    records = records_of(perceptron(GOOD))
    np.testing.assert_allclose(optima.training_losses(records), records.runs["validation_loss"])


def test_runs_that_differ_in_more_than_arm_size_rate_and_seed_are_refused():
    table = perceptron(GOOD)
    doubled = pd.concat([table, table.assign(run_id=table["run_id"] + "'")])
    with pytest.raises(StudyError, match=r"part mlp varies along more than model.width, schedule.peak and the seed"):
        optima.MLP.curves(records_of(doubled))


def test_sensitivity_is_taken_over_the_fixed_range_and_capped_at_the_initial_loss():
    records = records_of(perceptron(GOOD))
    octaves = np.arange(-6, -1.9, 0.5) + 4
    losses = np.minimum(LOWEST * np.exp(BEND * octaves**2), np.log(10.0))
    curves = optima.MLP.curves(records)
    found = optima.sensitivity(curves, ("mup", 64), optima.initial_loss(records, "mlp"), optima.MLP.between)
    assert found == pytest.approx(losses.mean() - LOWEST)


def transformer(mup, sp):
    columns = [{"parametrization": "mup", "slope": mup}, {"parametrization": "sp", "slope": sp}]
    table = runs_of("transformer", columns, (64, 128, 256), lambda own, n, _: -4 + own["slope"] * doublings(n))
    # So that the curves cross the level of text.
    return table.assign(validation_loss=20 * table["validation_loss"])


@pytest.mark.parametrize(("mup", "sp", "held"), [(0.0, -1.5, {"c1", "c2", "c3", "c4"}), (0.5, -0.5, set())])
def test_the_transformers_claims(mup, sp, held):
    found = decided(records_of(transformer(mup, sp)), "c")
    assert {claim_id for claim_id, entry in found.items() if entry["holds"]} == held
    # Steps of the grid move the interpolated crossing by just as much.
    measured = [found[f"c{i}"]["measured"] for i in (1, 2, 3, 4)]
    assert measured == pytest.approx([mup, sp, 4**mup, 4**-sp], abs=1e-9)


def decays(kept, falling, quartered):
    """Losses that rise to 0.5 at a decay that moves by so many octaves: a doubling, and at the lower rate."""
    arms = [(0.0, 2.0**-6, kept, 0.0), (0.0, 2.0**-8, kept, quartered), (-1.0, 2.0**-6, falling, 0.0)]
    names = ("parametrization.decay_exponent", "schedule.peak", "slope", "moved")
    columns = [dict(zip(names, own, strict=True)) for own in arms]
    below = np.sqrt(np.log(optima.THRESHOLD / LOWEST) / BEND)

    def best(own, n, _):
        return -5 - below + own["slope"] * doublings(n) + own["moved"]

    return runs_of("decay", columns, WIDTHS[:3], best, along="optimizer.weight_decay")


def test_the_decay_that_costs_as_much_is_followed_over_widths_and_rates():
    found = decided(records_of(decays(0.0, 0.5, 0.5)), "d")
    assert all(entry["holds"] for entry in found.values()), found
    # Whole steps of the grid move the interpolated crossing by just as much.
    assert [found[f"d{i}"]["measured"] for i in (1, 2, 3)] == pytest.approx([0.0, 0.5, 0.5], abs=1e-9)
    moved = decided(records_of(decays(-0.5, 0.0, -2.0)), "d")
    assert not any(entry["holds"] for entry in moved.values())
    assert [moved[f"d{i}"]["measured"] for i in (1, 2, 3)] == pytest.approx([0.5, 0.0, 2.0], abs=1e-9)


def depths(plain, complete):
    """Without a rule and with alpha 1; the base depth was trained without one, for both."""
    columns = [
        {"parametrization.base_layers": None, "parametrization.alpha": 1.0, "slope": plain},
        {"parametrization.base_layers": 2, "parametrization.alpha": 1.0, "slope": complete},
    ]
    table = runs_of(
        "depth", columns, (2, 4, 8), lambda own, n, _: -6 + own["slope"] * doublings(n, 2), size="model.layers"
    )
    return table[table["parametrization.base_layers"].isna() | (table["model.layers"] > 2)]


@pytest.mark.parametrize(("plain", "complete", "held"), [(1.0, 0.25, {"e1", "e2", "e3", "e4"}), (0.1, 1.0, set())])
def test_the_depth_rule_shares_the_base_with_the_arm_without_one(plain, complete, held):
    records = records_of(depths(plain, complete))
    curves = optima.DEPTH.curves(records)
    assert optima.sizes(curves, claims.COMPLETE) == optima.sizes(curves, optima.NO_RULE) == [2, 4, 8]
    found = decided(records, "e")
    assert {claim_id for claim_id, entry in found.items() if entry["holds"]} == held
    assert found["e1"]["measured"] == pytest.approx(2 * (abs(plain) - abs(complete)))
    assert found["e2"]["measured"] == pytest.approx(4 ** abs(complete))
    # The deepest has its best rate two doublings away from that of the shallowest, 2^-6.
    octaves = np.log2(GRID[8:13]) + 6
    excess = {
        s: np.mean(LOWEST * (np.exp(BEND * (octaves - 2 * s) ** 2) - np.exp(BEND * octaves**2)))
        for s in (plain, complete)
    }
    assert found["e3"]["measured"] == pytest.approx(abs(excess[complete]))
    assert found["e4"]["measured"] == pytest.approx(excess[plain] - excess[complete])


@pytest.mark.parametrize(("part", "letter"), [("lion", "f"), ("muon", "g")])
def test_other_optimizers_are_judged_like_adam(part, letter):
    found = decided(records_of(perceptron({"mup": 0.0, "sp": -1.0}, part=part)), letter)
    assert all(entry["holds"] for entry in found.values()), found
    assert [found[f"{letter}{i}"]["measured"] for i in (1, 2, 3, 4)] == pytest.approx([1.0, 3.0, 0.0, -1.0], abs=1e-9)
    swapped = decided(records_of(perceptron({"mup": -1.0, "sp": 0.0}, part=part)), letter)
    assert not any(entry["holds"] for entry in swapped.values())


def check(sp, mup):
    """Tables of the coordinate check: module to slope of its change after the last update; sizes do not move."""
    rows = [
        {"parametrization": name, "statistic": statistic, "module": module, "updates": updates, "slope": slope}
        for name, slopes in (("sp", sp), ("mup", mup))
        for module, change in slopes.items()
        for statistic, last in ((SIZE, 0.0), (CHANGE, change))
        for updates, slope in ((UPDATES - 1, 9.0), (UPDATES, last))
    ]
    table = pd.DataFrame(rows).assign(seeds=3)
    return records_of(perceptron(GOOD), probes={PROBES[0].name: table})


def test_the_coordinate_check_is_judged_after_its_last_update():
    found = decided(check({"hidden_1": 0.5, "readout": 1.1, "hidden_0": 0.0}, {"hidden_0": -0.1, "readout": 0.05}), "b")
    assert (found["b1"]["measured"], found["b1"]["holds"]) == (0.1, True)
    assert (found["b2"]["measured"], found["b2"]["holds"]) == (0.5, True)
    assert found["b1"]["n"] == 3


@pytest.mark.parametrize("slope", [-0.16, np.nan])
def test_a_steep_series_and_one_without_a_slope_fail(slope):
    found = decided(check({"hidden_1": 0.3, "readout": 1.1}, {"hidden_0": slope, "readout": 0.05}), "b")
    assert not found["b1"]["holds"]
    assert not found["b2"]["holds"]


def test_no_coordinate_check_is_no_measurement():
    with pytest.raises(StudyError, match="no coordinate check has been made"):
        claims._steepest(records_of(perceptron(GOOD)))


def test_measurements_of_one_seed_have_no_interval():
    table = perceptron(GOOD)
    found = claims._spread(optima.MLP, "mup")(records_of(table[table["seed"] == SEEDS[0]]))
    assert dataclasses.astuple(found)[:2] == (pytest.approx(1.0), 1)
    assert np.isnan([found.low, found.high]).all()
    assert isinstance(found, Measurement)


@pytest.mark.parametrize("preset", ["smoke", "cpu", "gpu", "paper"])
def test_every_preset_plans(preset):
    """One program a parametrization and size; the depth rules share the base."""
    scale = study.SCALES[preset]
    # Rates and seeds are lanes: two and one of them make the same programs.
    parts = ("mlp", "text", "decay", "depth", "lion", "muon")
    thinned = {name: dataclasses.replace(own, rates=own.rates[:2]) for name in parts for own in [getattr(scale, name)]}
    plan = make_plan(study.parts(dataclasses.replace(scale, seeds=(9,), text_seeds=(9,), **thinned)))
    programs = {part: sum(group.part == part for group in plan.groups) for part in plan.parts}
    widths = {name: len(getattr(scale, name).sizes) for name in parts}
    expected = {"mlp": 2 * widths["mlp"], "ntk": widths["mlp"], "transformer": 2 * widths["text"]}
    expected |= {"decay": 2 * widths["decay"], "depth": 1 + (1 + len(scale.alphas)) * (widths["depth"] - 1)}
    expected |= {"lion": 2 * widths["lion"], "muon": 2 * widths["muon"]}
    assert programs == expected
    for sweep in (optima.MLP, optima.TRANSFORMER):
        rates = getattr(scale, {"mlp": "mlp", "transformer": "text"}[sweep.part]).rates
        assert set(sweep.between) <= set(rates), "the range of the sensitivity is part of the grid"
    looked_at = {0, 1, 2}
    assert not (looked_at | {401, 402, 403}) & set(scale.seeds)
    assert not looked_at & set(scale.text_seeds)


def test_the_cpu_preset_is_the_specified_sweep():
    assert study.SCALES["cpu"].mlp == study.Sizes(WIDTHS, study.octaves(-11, -2, 0.5), 40, 64)
    assert len(study.octaves(-11, -2, 0.5)) == 19
    part = study.parts(study.SCALES["cpu"])["mlp"]
    assert len(list(part.configs())) == 456


@pytest.mark.slow
@takes_minutes
def test_the_smoke_preset_runs_end_to_end(tmp_path):
    """Every part, probe, figure and table, at sizes that decide nothing."""
    run = tmp_path / "run"
    assert set(smoke_run(study.EXPERIMENT, run)) == {claim.claim_id for claim in study.EXPERIMENT.claims}
