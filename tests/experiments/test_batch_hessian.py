import math

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from experiments import batch_hessian_claims as claims
from experiments import batch_hessian_measures as measures
from experiments import batch_hessian_probes as probes
from experiments.batch_hessian import EXPERIMENT, SCALES
from experiments.batch_hessian_measures import ADAM, GGN, HESSIAN, REGRESSION, SGD
from lrstudy.curvature import Operator
from lrstudy.curvature.vectors import flatten, unflattener
from lrstudy.models import TABLE
from lrstudy.study.plan import make_plan
from lrstudy.study.records import Records, runs_frame
from lrstudy.tasks import Digits
from lrstudy.tasks.noisy_regression import NoisyRegression, expected_excess
from tests.experiments.slow import takes_minutes
from tests.experiments.smoke import smoke_run

CLAIMS = {claim.claim_id: claim for claim in claims.CLAIMS}
SEEDS, EXAMPLES = (1, 2), 1437


@pytest.mark.parametrize("preset", ["smoke", "cpu", "gpu", "paper"])
def test_every_preset_plans_one_program_a_batch_size(preset):
    scale = SCALES[preset]
    plan = make_plan(EXPERIMENT.presets[preset]())
    assert {part for claim in claims.CLAIMS for part in claim.parts} <= set(plan.parts)
    lanes = scale.rates * len(scale.seeds)
    pieces = -(-lanes // 256)
    assert len(plan.groups) == 1 + pieces * (2 * len(scale.batches) + len(scale.control))
    assert min(scale.seeds) > 800
    for sweep in (SGD, ADAM, REGRESSION):
        for batch in scale.control if sweep is REGRESSION else scale.batches:
            window = np.log2(sweep.window(batch, scale.rates))
            np.testing.assert_allclose(np.diff(window), 0.25)


def test_thresholds_are_those_of_the_study():
    """Fixed with the study; a change here is a change of the question."""
    curvature = [(">=", -1.15), ("<=", -0.85), ("<=", 1e-5), (">=", 1), (">", 1)]
    expected = {
        **{f"a{i}": limits for i, limits in enumerate(2 * curvature, start=1)},
        "a11": (">=", -1.15), "a12": ("<=", -0.85),
        "b1": (">=", 0.85), "b2": ("<=", 1.15), "b3": ("<", 0.5), "b4": (">=", 0.85),
        "b5": (">=", 0.85), "b6": ("<=", 1.15), "b7": ("<=", 0.1),
        "c1": (">=", 0.35), "c2": ("<=", 0.65), "c3": ("<", 0.5), "c4": (">", 0),
    }  # fmt: skip
    assert {c.claim_id: (c.comparison, c.threshold) for c in claims.CLAIMS} == expected


# -- records that are made up ------------------------------------------------------------------------------------------


def eigenvalues(power=-1.0, scale=50.0, low=0.0):
    """A probe's table whose excess is ``scale * b' ** power``, on batches whose curvature along scatters."""
    rows = []
    for seed in SEEDS:
        top = 10.0 * seed
        for curvature in (HESSIAN, GGN):
            for size in (*[2**k for k in range(11)], EXAMPLES):
                excess = scale * float(measures.effective([size], EXAMPLES)[0]) ** power if size < EXAMPLES else low
                for number, (start, stop) in enumerate(probes.cuts(EXAMPLES, size)):
                    along = top + (-1) ** number * 3.0 * (size < EXAMPLES)
                    row = {"seed": seed, "curvature": curvature, "size": size, "partition": 0, "full": top}
                    # What is left over has another excess, which must not count.
                    own = excess if stop - start == size else 7.0
                    rows.append({**row, "examples": stop - start, "value": along + own, "along": along})
    return Records(runs_frame([]), pd.DataFrame({"run_id": []}), {"eigenvalues": pd.DataFrame(rows)}, {})


def rates(sweep, threshold, batches, above=None):
    """Runs that have trained up to a rate, their log loss linear in the log rate."""
    rows = []
    for batch in batches:
        for seed in SEEDS:
            for rate in sweep.window(batch, 13):
                loss = sweep.level * (rate / threshold(batch, seed)) ** 2
                row = {"run_id": f"{batch}-{seed}-{rate}", "seed": seed, "task.batch_size": batch, "outcome": "ok"}
                diverged = above is not None and rate > above * threshold(batch, seed)
                row |= {"outcome": "diverged" if diverged else "ok", "schedule.peak": rate}
                rows.append({**row, sweep.metric: None if diverged else loss})
    ids = {sweep.part: tuple(row["run_id"] for row in rows)}
    return Records(runs_frame(rows), pd.DataFrame({"run_id": []}), {}, ids)


def value(claim_id, records):
    return CLAIMS[claim_id].measure(records).value


def holds(claim_id, records):
    return CLAIMS[claim_id].decide(records)["holds"]


def test_the_slope_is_that_of_the_excess_against_the_effective_size():
    assert measures.effective([512, EXAMPLES], EXAMPLES).tolist() == [512 / (1 - 512 / EXAMPLES), np.inf]
    for power in (-1.0, -0.5):
        records = eigenvalues(power)
        for first in ("a1", "a6"):
            assert value(first, records) == pytest.approx(power, abs=1e-9)
    assert [holds(f"a{i}", eigenvalues()) for i in range(1, 11)] == [True] * 10
    assert [holds(f"a{i}", eigenvalues(-0.5)) for i in (1, 2)] == [True, False]
    assert [holds(f"a{i}", eigenvalues(-2.0)) for i in (1, 2)] == [False, True]


def test_the_excess_is_taken_from_the_same_batch():
    found = measures.excess(eigenvalues(), HESSIAN)
    np.testing.assert_allclose(found.loc[64], 50 * (1 - 64 / EXAMPLES) / 64)
    # The mean of all seeds' curvature along is not that of all data, by the odd batch of a partition.
    values = measures.eigenvalues(eigenvalues(), HESSIAN)
    np.testing.assert_allclose(values.loc[64], [10 + found.loc[64, 1], 20 + found.loc[64, 2]])


def test_the_plain_difference_sees_the_scatter_that_the_excess_does_not():
    """Of one seed, in which an odd batch of a partition raises the mean by three over the number of batches."""
    found = measures.excess(eigenvalues(), HESSIAN, over="full")
    plain, whole = found.loc[64], EXAMPLES // 64
    np.testing.assert_allclose(plain, 50 * (1 - 64 / EXAMPLES) / 64 + 3 * (whole % 2) / whole)
    assert value("a11", eigenvalues()) == value("a12", eigenvalues()) != value("a1", eigenvalues())


def test_what_is_not_so_does_not_hold():
    assert not holds("a3", eigenvalues(low=1e-3))
    assert value("a3", eigenvalues(low=1e-3)) == pytest.approx(1e-4)
    assert not holds("a4", eigenvalues(scale=-50.0))
    assert not holds("a5", eigenvalues(power=1.0, scale=0.01))


def test_a_partition_weighs_its_batches_by_their_examples():
    table = eigenvalues().probes["eigenvalues"]
    own = table[(table["curvature"] == HESSIAN) & (table["size"] < EXAMPLES)]
    least = min(
        np.average(rows["value"], weights=rows["examples"]) / rows["full"].iloc[0]
        for _, rows in own.groupby(["size", "seed"])
    )
    assert value("a4", eigenvalues()) == pytest.approx(least)


@pytest.mark.parametrize("above", [None, 1.05])
def test_the_largest_rate_is_interpolated_and_divergence_is_above_it(above):
    exact = {batch: 2.0**-3.55 * batch for batch in (1, 2, 4)}
    records = rates(SGD, lambda batch, seed: exact[batch] * seed**0.1, (1, 2, 4), above)
    found = measures.largest_rates(records, SGD)
    assert found.index.to_list() == [1, 2, 4]
    expected = [[exact[batch] * seed**0.1 for seed in SEEDS] for batch in exact]
    # Next to a rate that diverged the crossing is known to a quarter of an octave.
    np.testing.assert_allclose(found, expected, rtol=1e-9 if above is None else 2**0.25 - 1)
    if above is None:
        assert value("b1", records) == pytest.approx(1)
        assert [holds(name, records) for name in ("b1", "b2")] == [True, True]


def test_a_largest_rate_on_the_edge_of_the_window_is_none():
    records = rates(SGD, lambda batch, seed: 100.0, (1, 2, 4))
    assert np.isnan(measures.largest_rates(records, SGD)).to_numpy().all()
    assert not holds("b1", records)
    assert not holds("b2", records)


def test_adams_power_is_over_its_own_sizes():
    batches = (1, 2, 4, 8, 16, 32, 64)
    records = rates(ADAM, lambda batch, seed: 2.0**-5.3 * min(batch, 32) ** 0.5, batches)
    assert value("c1", records) == pytest.approx(0.5)
    assert [holds(name, records) for name in ("c1", "c2")] == [True, True]
    assert not holds("c2", rates(ADAM, lambda batch, seed: 2.0**-5.3 * min(batch, 32) ** 0.7, batches))


def test_the_regressions_exact_rate_is_where_the_second_moment_stops_falling():
    for batch in (1, 16):
        task = NoisyRegression(
            eigenvalues=(1.0,) * measures.DIRECTIONS, worst_noise=1e-12, best_noise=1e-12, batch_size=batch,
            samples=measures.SAMPLES,
        )  # fmt: skip
        edge = float(measures.exact_rate(batch))
        low, at, high = (expected_excess(task, np.full(50, factor * edge)) for factor in (0.99, 1, 1.01))
        assert low < at < high
        assert at == pytest.approx(measures.REGRESSION.level, rel=1e-6)
    records = rates(REGRESSION, lambda batch, seed: float(measures.exact_rate(batch)), measures.CONTROL)
    assert value("b7", records) == pytest.approx(0, abs=1e-6)
    assert [holds(name, records) for name in ("b5", "b6", "b7")] == [True] * 3


# -- the probe ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def network():
    task = Digits(model=TABLE["mlp"](outputs=10, width=4, layers=1), batch_size=64, standardised=True)
    return task, task.init(jax.random.key(0))


def dense(curvature, params, batch):
    operator: Operator = curvature(params, jax.tree.map(jnp.asarray, batch))
    rows = jax.vmap(unflattener(params))(jnp.eye(operator.n))
    return np.asarray(jax.vmap(lambda vector: flatten(operator(vector)))(rows))


@pytest.mark.parametrize("name", [HESSIAN, GGN])
def test_batches_of_all_sizes_have_the_eigenvalue_of_their_dense_matrix(network, name, monkeypatch):
    monkeypatch.setattr(probes, "DRAWS", 1)
    task, params = network
    curvature = probes.curvatures(task)[name]
    table = probes.measured(curvature, task, params, (700, None), 5)
    assert table["examples"].tolist() == [700, 700, 37, 1437]
    np.testing.assert_allclose(table["value"].iloc[-1], table["full"].iloc[-1], rtol=1e-5)
    data = task.load()
    orders = probes.orders_of(EXAMPLES, 1, 5)
    full = dense(curvature, params, (data["train_pixels"], data["train_labels"], np.full(EXAMPLES, 1 / EXAMPLES)))
    values, vectors = np.linalg.eigh(full)
    np.testing.assert_allclose(table["full"], values[-1], rtol=1e-5)
    top = vectors[:, -1]
    for row, (start, stop) in zip((0, 2), ((0, 700), (1400, 1437)), strict=True):
        chosen = orders[0, start:stop]
        weights = np.full(stop - start, 1 / (stop - start))
        matrix = dense(curvature, params, (data["train_pixels"][chosen], data["train_labels"][chosen], weights))
        np.testing.assert_allclose(table["value"].iloc[row], np.linalg.eigvalsh(matrix)[-1], rtol=1e-5)
        np.testing.assert_allclose(table["along"].iloc[row], top @ matrix @ top, rtol=1e-3)


def test_a_partition_holds_every_example_once():
    layout = probes.layout(10, (4, 10))
    assert layout["partition"].nunique() == math.ceil(probes.DRAWS * 4 / 10)
    for _, rows in layout.groupby(["size", "partition"]):
        assert sorted(i for a, b in zip(rows["start"], rows["stop"], strict=True) for i in range(a, b)) == list(
            range(10)
        )


@pytest.mark.slow
@takes_minutes
def test_the_smoke_preset_runs_end_to_end(tmp_path):
    run = tmp_path / "run"
    entries = smoke_run(EXPERIMENT, run)
    # What holds of any network, trained or not.
    for name in ("a3", "a4", "a8", "a9"):
        assert entries[name]["holds"], entries[name]
