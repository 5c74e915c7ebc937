import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from experiments import scaling_claims as claims
from experiments import scaling_features as features
from experiments import scaling_fixed as fixed
from experiments import scaling_probes as probes
from experiments import scaling_repeats as repeats
from experiments import scaling_sizes as sizes
from experiments.scaling import EXPERIMENT, SCALES
from lrstudy.models import Transformer
from lrstudy.study.derived import static_parts
from lrstudy.study.plan import make_plan
from lrstudy.study.records import Records
from lrstudy.tasks import RepeatedText
from tests.experiments.slow import takes_minutes
from tests.experiments.smoke import smoke_run


def records(part, rows, probes=None):
    """Records of runs that are all of one part."""
    runs = pd.DataFrame(rows)
    runs["run_id"] = [f"run {place}" for place in range(len(runs))]
    if "outcome" not in runs:
        runs["outcome"] = "ok"
    return Records(runs, pd.DataFrame({"run_id": []}), probes or {}, {part: tuple(runs["run_id"])})


@pytest.mark.parametrize("preset", ["smoke", "cpu", "gpu", "paper"])
def test_every_preset_plans_and_can_decide_all_claims(preset):
    scale, parts = SCALES[preset], EXPERIMENT.presets[preset]()
    plan = make_plan(static_parts(parts))
    assert {part for claim in claims.CLAIMS for part in claim.parts} <= set(parts)
    # A program for every width of the grid and of the fixed set, one for repetition, one for random features.
    widths = {(g.part, g.runs[0].columns.get("model.width")) for g in plan.groups}
    assert len(widths) == len(scale.widths) + len(scale.fixed_widths) + 2
    assert min(*scale.seeds, *scale.members, *scale.samples) > 1100


def test_the_runs_on_repeated_data_see_what_they_say():
    plan = make_plan(static_parts(EXPERIMENT.presets["cpu"]()))
    runs = [plan.runs()[run_id].columns for run_id in plan.parts["repeats"]]
    assert max(int(run["steps"]) * int(run["task.batch_size"]) for run in runs) == 12_288
    for run in runs:
        assert run["task.unique"] + run["task.repeated"] <= run["task.windows"]
        visits = int(run["steps"]) * int(run["task.batch_size"])
        if run["task.every"]:
            # The set is seen once, the slice in the rest.
            assert run["task.unique"] == visits - visits // run["task.every"]
    sizes = {every: {run["task.repeated"] for run in runs if run["task.every"] == every} for every in (10, 2)}
    assert sizes == {10: {1228, 76, 19, 4, 1}, 2: {6144, 384, 96, 24, 1}}


def test_thresholds_are_those_of_the_study():
    """Fixed with the study; a change here is a change of the question."""
    expected = {
        "a1": ("<=", 0.03), "a2": ("<=", 0.06), "a3": (">", 0), "a4": (">", 0), "a5": (">=", 1),
        "b1": (">", 0.3), "b2": (">", 0), "b3": (">=", 1.9), "b4": (">=", 1.9), "b5": ("<=", 0.05),
        "b6": (">", 0), "b7": (">", 0), "b8": (">", 0),
        "c1": (">", 0.05), "c2": (">", 0.05), "c3": (">", 0), "c4": (">", 0), "c5": (">=", 2),
        "c6": (">=", 0.99), "c7": (">", 0), "c8": (">", 0),
        "d1": (">", 10), "d2": ("<=", 0.01), "d3": ("<=", 0.01), "d4": ("<=", 4), "d5": (">", 1), "d6": ("<=", 0.2),
        "d7": ("<=", 0.2), "d8": ("<=", 1e-3),
        **{f"e{place}": ("<=", 0.1) for place in range(1, 9)},
    }  # fmt: skip
    assert {c.claim_id: (c.comparison, c.threshold) for c in claims.CLAIMS} == expected


# -- sizes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "layers"), [(8, 1), (12, 3)])
def test_parameters_are_the_models_less_its_tables(width, layers):
    model = Transformer(vocabulary=256, context=6, width=width, layers=layers, heads=2)
    params = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 6), jnp.int32))["params"]
    count = {name: sum(leaf.size for leaf in jax.tree.leaves(tree)) for name, tree in params.items()}
    tables = sum(number for name, number in count.items() if "embedding" in name or "position" in name)
    assert tables == (256 + 6) * width
    assert sizes.parameters(width, layers) == sum(count.values()) - tables


def grid(loss_of):
    """A sweep over 4 widths, 4 lengths, 3 rates, of which the middle one is best, and 2 seeds."""
    rows = []
    for width, steps, rate, seed in itertools.product((4, 8, 12, 16), (10, 20, 40, 80), (0.01, 0.02, 0.04), (1, 2)):
        loss = loss_of(sizes.parameters(width, 1), steps * 50) + 0.1 * abs(np.log2(rate / 0.02)) + 0.001 * (seed - 1.5)
        row = {"model.width": width, "model.layers": 1, "steps": steps, "task.batch_size": 5, "task.context": 10}
        rows.append(row | {"schedule.peak": rate, "seed": seed, "validation_loss": loss})
    return records("sizes", rows)


def law_of(size, tokens):
    return 1.5 + 30 * size**-0.5 + 40 * tokens**-0.4


def test_cells_are_at_their_best_rate_and_the_largest_are_held_out():
    found = sizes.cells(grid(law_of))
    assert len(found.sizes) == 16
    assert set(found.rates) == {0.02}
    assert not found.on_edge.any()
    assert found.held_out.sum() == 7
    np.testing.assert_allclose(found.losses.mean(axis=1), law_of(found.sizes, found.tokens), rtol=1e-12)


def test_a_cell_that_diverged_at_its_best_rate_is_left_out():
    sweep = grid(law_of)
    first = (sweep.runs["model.width"] == 4) & (sweep.runs["steps"] == 10)
    sweep.runs.loc[first, "outcome"] = "diverged"
    assert len(sizes.cells(sweep).sizes) == 15


# -- repetition --------------------------------------------------------------------------------------------------------


def repeated(loss_of):
    """Runs of two seeds on repeated data; ``loss_of(kind, number, seed)``: of a slice, the kind is how rare it is."""
    budget = 19_200
    base = {"task.batch_size": 16, "task.every": 0, "task.repeated": 1, "steps": 1200, "task.unique": budget}
    rows = []
    for seed in (1, 2):
        for epochs in repeats.EPOCHS:
            loss = loss_of("passes", epochs, seed)
            rows.append(base | {"task.unique": budget // epochs, "validation_loss": loss, "seed": seed})
        rows += [
            base | {"steps": 1200 // share, "validation_loss": loss_of("shorter", share, seed), "seed": seed}
            for share in repeats.SHORTER
        ]
        for every in repeats.SLICED:
            visits = budget // every
            for times in (*repeats.TIMES, visits):
                row = {"task.unique": budget - visits, "task.repeated": visits // times, "task.every": every}
                rows.append(base | row | {"validation_loss": loss_of(every, times, seed), "seed": seed})
    return records("repeats", rows)


def test_a_speedup_is_where_one_pass_has_the_loss_of_many():
    def loss_of(kind, number, seed):
        # Losses grow as the logarithm of how much shorter the run is; ten passes are worth a run of 1 / 2.5.
        return 2 + {"passes": np.log(2.5) if number == 10 else 0, "shorter": np.log(number)}.get(kind, 0) + seed

    found = repeats.speedup(10)(repeated(loss_of))
    # Interpolated in the logarithm between runs of 1 / 2 and of 1 / 4, which is exact here.
    assert found.value == pytest.approx(2.5, rel=1e-6)


def test_a_speedup_beyond_the_shortest_run_is_none():
    found = repeats.speedup(32)(repeated(lambda kind, number, _: 9.0 if kind == "passes" and number > 1 else 2.0))
    assert np.isnan(found.value)


def test_an_interior_maximum_is_above_both_ends():
    hill = {1: 0.0, 16: 0.3, 64: 0.2, 256: 0.1, 9_600: 0.05}
    sweep = repeated(lambda kind, number, _: hill[number] if kind == 2 else float(number) if kind == 10 else 0.0)
    assert list(repeats.slices(sweep, 2)) == pytest.approx(list(hill), rel=0.03)
    assert repeats.interior_maximum(2)(sweep).value == pytest.approx(0.25)
    assert repeats.worst_slice(2)(sweep).value == pytest.approx(0.3)
    assert repeats.interior_maximum(10)(sweep).value == 256 - 1920


def test_a_diverged_run_has_an_infinite_loss():
    sweep = repeated(lambda *_: 1.0)
    sweep.runs.loc[0, "outcome"] = "diverged"
    assert repeats.passes(sweep)[1].tolist() == [np.inf, 1.0]


# -- fixed data --------------------------------------------------------------------------------------------------------


def test_tuning_takes_the_best_mean_over_seeds():
    rows = [
        {"seed": seed, "steps": steps, "model.width": 8, "optimizer.weight_decay": decay, "validation_loss": loss}
        for seed in (1, 2)
        for steps, decay, loss in ((10, 0.0, 3.0), (20, 0.0, 2.5), (10, 2.0, 2.0 + seed), (20, 2.0, 0.8 * seed))
    ]
    own = records("fixed", rows)
    assert fixed.tuned(own, 8) == (20, 2.0)
    assert fixed.tuned(own, 8, regularised=False) == (20, 0.0)
    assert fixed.losses(own, 8, regularised=True).tolist() == [0.8, 1.6]


def test_the_fit_of_ensembles_finds_limit_and_excess():
    counts = np.arange(1.0, 9)
    assert fixed.fitted(3 + 0.5 / counts, counts) == pytest.approx((3, 0.5, 1))


def test_subsets_are_all_and_their_weights_are_means():
    weights = probes.subsets(3)
    assert len(weights) == 7
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    assert np.bincount(np.count_nonzero(weights, axis=1)).tolist() == [0, 3, 3, 1]
    with pytest.raises(ValueError, match="at most 8 members, got 9"):
        probes.subsets(9)


def test_the_loss_of_a_subset_is_that_of_its_mean_logits(tmp_path):
    path = tmp_path / "text"
    path.write_bytes(np.random.default_rng(0).integers(0, 256, 4000, np.uint8).tobytes())
    model = Transformer(vocabulary=256, context=4, width=4, layers=0)
    task = RepeatedText(path=str(path), context=4, validation_windows=37, model=model)
    trees = [jax.tree.map(lambda x, k=k: x * k, task.init(jax.random.key(k))) for k in (1, 2)]
    windows = task.load()["validation"].astype(np.int32)
    logits = np.mean([task.apply(tree, jnp.asarray(windows[:, :-1])) for tree in trees], axis=0, dtype=np.float64)
    logs = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    wanted = -np.take_along_axis(logs, windows[:, 1:, None], axis=-1).mean()
    found = probes.subset_losses(task, trees, np.asarray([[0.5, 0.5], [1.0, 0.0]]))
    # Cross-entropies of some 6 nats in float32, a mean over 148 of them.
    assert found[0] == pytest.approx(wanted, rel=1e-5)
    alone = float(task.evaluate(trees[0], task.load())["validation_loss"])
    assert found[1] == pytest.approx(alone, rel=1e-5)


# -- random features ---------------------------------------------------------------------------------------------------


def solved():
    """Errors of two samples: those of the independent computation times 0.9 and 1.1; of the ridge at two penalties."""
    rows = []
    for data_seed, factor in ((1, 0.9), (2, 1.1)):
        for place, count in enumerate(features.COUNTS):
            for way, values in features.INDEPENDENT.items():
                row = {"data_seed": data_seed, "features": count, "way": way, "penalty": np.nan}
                row |= {"condition": 1e6 if count == features.SAMPLES else 10.0}
                rows.append(row | {"error": factor * values[place]})
                if way == features.RIDGE:
                    rows[-1]["penalty"] = 1.0
                    rows.append({**rows[-1], "penalty": 2.0, "error": values[place] + 1})
    return records("random_features", [{"seed": 0}], {"solved": pd.DataFrame(rows)})


def test_the_independent_table_has_the_peak_that_is_claimed():
    found = solved()
    assert features.peak(features.MIN_NORM)(found).value == pytest.approx(4732 / 0.647)
    assert features.peak(features.MANY)(found).value == pytest.approx(1.34 / 0.647)
    assert features.largest_rise(features.RIDGE)(found).value == pytest.approx(0.003)
    assert features.from_independent(features.RIDGE)(found).value == pytest.approx(0, abs=1e-12)
    assert features.condition_peak(found).value == 1e5
    assert set(features.best_penalties(found)) == {1.0}


def test_exponents_are_those_of_the_errors():
    rows = [
        {"draw": draw, "regime": name, "exponent": 1.0, "size": size, "error": draw * size**-power}
        for draw in (1, 2)
        for name, power in zip(features.RESOLUTION, (1.25, 0.95), strict=True)
        for size in features.SMALL_SIZES
    ]
    found = records("random_features", [{"seed": 0}], {"regimes": pd.DataFrame(rows)})
    assert features.slope_error(features.RESOLUTION[0])(found).value == pytest.approx(0.25)
    assert features.slope_error(features.RESOLUTION[1])(found).value == pytest.approx(0.05)
    assert features.slope_difference(1.0)(found).value == pytest.approx(0.3)


@takes_minutes
def test_the_smoke_run_decides_what_does_not_need_its_full_length(tmp_path):
    entries = smoke_run(EXPERIMENT, tmp_path)
    assert all(entry["n"] > 0 for entry in entries.values()), entries
    for name in ("d1", "d5", "d8"):
        assert entries[name]["holds"], entries[name]
