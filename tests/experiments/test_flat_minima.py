import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from experiments import flat_minima_claims as claims
from experiments import flat_minima_measures as measures
from experiments import flat_minima_probes as probes
from experiments import flat_minima_training as training
from experiments.flat_minima import EXPERIMENT, SCALES
from lrstudy.study.choices import choice
from lrstudy.study.config import RunConfig, make_transform, resolve
from lrstudy.study.plan import make_plan
from lrstudy.study.records import Records
from lrstudy.training import lanes
from tests.experiments.slow import takes_minutes
from tests.experiments.smoke import smoke_run

CLAIMS = {claim.claim_id: claim for claim in claims.CLAIMS}
BATCH, SEED, PEAK = 359, 3, 0.1
EPOCH = 1437 // BATCH


@pytest.mark.parametrize("preset", SCALES)
def test_every_preset_plans_and_the_seeds_that_tune_do_not_decide(preset):
    scale = SCALES[preset]
    parts = EXPERIMENT.presets[preset]()
    plan = make_plan({name: part for name, part in parts.items() if name != "compared"})
    # Momentum at both lengths, and SAM, on the tuning seeds; momentum at all rates on the others.
    assert len(plan.parts["tuning"]) == 3 * 16 * len(scale.tuning_seeds)
    assert len(plan.parts["rates"]) == 16 * len(scale.seeds)
    assert set(scale.tuning_seeds) <= set(measures.TUNING_SEEDS)
    assert (max(scale.seeds) < 10) if preset == "smoke" else (min(scale.seeds) > 1900)


def test_thresholds_are_those_of_the_study():
    """Fixed before the deciding run; a change here is a change of the question."""
    expected = {
        "a1": ("<", 0.5), "a2": ("<", 0.9), "a3": ("<", 0.9), "a4": ("<", 0.8),
        "b1": ("<", -0.005), "b2": ("<", 0), "b3": ("<", 0), "b4": ("<", -0.005), "b5": ("<=", 0.005),
        "c1": (">", 0.2), "c2": (">", 0.2),
    }  # fmt: skip
    assert {c.claim_id: (c.comparison, c.threshold) for c in claims.CLAIMS} == expected


def test_every_method_is_tuned_on_as_many_points_and_pays_as_many_gradients():
    points = len(measures.PEAKS) * len(measures.RADII)
    assert points == len(measures.FINE_PEAKS) == 16
    assert {len(measures.PEAKS) * len(weights) for weights in measures.WEIGHTS.values()} == {points}
    assert (measures.FINE_PEAKS[0], measures.FINE_PEAKS[-1]) == (measures.PEAKS[0], measures.PEAKS[-1])
    updates = {name: measures.updates_of(name, 1_320) for name in measures.METHODS}
    assert updates == {"momentum": 1_320, "half": 660, "sam": 660, "double": 1_320, "saf": 1_320, "mesa": 990}


def run_of(steps):
    return resolve(
        RunConfig(
            task=choice("task", "noisy_digits", batch_size=BATCH, corruption=0.8),
            model=choice("model", "mlp", width=6, layers=1),
            schedule=choice("schedule", "Cosine", peak=PEAK),
            optimizer=choice("optimizer", "momentum", momentum=0.9),
            steps=steps,
            seed=SEED,
        )
    )


RUN = run_of(5 * EPOCH)
DATA = RUN.task.load()


@functools.cache
def trained(method, weight, steps=5 * EPOCH, start=2):
    numbers = training.Numbers(SEED, PEAK, 0.9, weight)
    return training.train(training.Trajectory(method, start=start), RUN.task, numbers, DATA, steps=steps)


def test_without_its_term_a_method_is_the_engines_momentum():
    state, *_ = lanes.run([RUN.hyperparameters], functools.partial(make_transform, RUN), record_every=10)
    theirs = state.state.params
    for method in training.METHODS:
        ours = trained(method, 0.0)
        assert jax.tree.structure(ours) == jax.tree.structure(theirs)
        for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
            # Two programs of the same arithmetic: twenty updates of some ten roundings in weights of size one.
            np.testing.assert_allclose(one, other[0], rtol=0, atol=20 * 10 * 6e-8)


@pytest.mark.parametrize("method", training.METHODS)
def test_the_term_acts_from_its_first_epoch_on(method):
    def distance(start):
        one, other = trained(method, 3.0, start=start), trained(method, 0.0)
        return max(float(jnp.abs(a - b).max()) for a, b in zip(*map(jax.tree.leaves, (one, other)), strict=True))

    assert distance(5) <= 20 * 10 * 6e-8
    assert distance(2) > 1e-3


def test_logits_are_recalled_from_so_many_epochs_ago_and_outlive_an_epoch_that_leaves_them_out():
    lag, examples = 2, 5
    memory = jnp.zeros((lag + 1, examples, 1))
    # Example 4 is left out in epoch 3, whose teachers are asked for in epoch 5.
    for epoch in range(6):
        order = [0, 1, 2, 3] if epoch == 3 else [4, 3, 2, 1, 0]
        if epoch >= lag:
            old = training.recalled(memory, jnp.int32(epoch), jnp.arange(examples))[:, 0]
            expected = [epoch - lag] * 4 + [2 if epoch == 5 else epoch - lag]
            np.testing.assert_array_equal(old, expected)
        for place in range(0, len(order), 2):
            chosen = jnp.asarray(order[place : place + 2])
            logits = jnp.full((len(chosen), 1), float(epoch))
            memory = training.remembered(memory, jnp.int32(epoch), chosen, logits, first=jnp.bool_(place == 0))


def test_a_method_that_is_not_there_or_has_no_old_logits_is_refused():
    with pytest.raises(ValueError, match=r"^method must be one of \['saf', 'mesa'\], got 'sam'$"):
        training.Trajectory("sam")
    with pytest.raises(ValueError, match=r"^start must be an int of at least lag \(3\), which is at least 1, got 2$"):
        training.Trajectory("saf", lag=3, start=2)
    # The released settings at 300 epochs: a twelfth of them would be 25; ours are 60, or few.
    settings = probes.trajectory_of("mesa", dataclasses.replace(RUN.task, batch_size=64), 22 * 60)
    assert (settings.lag, settings.start, settings.decay) == (2, 5, 1 - 1 / 88)
    assert probes.trajectory_of("saf", RUN.task, EPOCH).start == 2


def test_the_curvature_is_of_the_training_loss_with_the_wrong_labels_of_the_seed():
    params = trained("saf", 0.0)
    found = probes.curvature_of(RUN.task, params, SEED)
    replaced, random = RUN.task.replacements(jnp.int32(SEED))
    labels = jnp.where(replaced, random, DATA["train_labels"])
    logits = RUN.task.apply(params, jnp.asarray(DATA["train_pixels"]))
    loss = -jnp.mean(jax.nn.log_softmax(logits)[jnp.arange(len(labels)), labels])
    # Means of numbers of size one over 1,437 examples.
    assert found["train_loss"] == pytest.approx(float(loss), rel=1e-5)
    assert 0 < found["eigenvalue"] < found["trace"]


def records_of(shift):
    """Runs whose error is lowest at the second peak, and, of methods but momentum, ``shift`` lower."""
    engine, probe = [], []
    for seed in (*measures.TUNING_SEEDS, 1901, 1902, 1903):
        noise = 0.001 * (seed % 3)
        for place, peak in enumerate(measures.PEAKS):
            error = 0.05 + 0.02 * abs(place - 1) + noise
            common = {"seed": seed, "schedule.peak": peak, "outcome": "ok", "validation_loss": 1.0}
            for method, value in (("momentum", error), ("half", error), ("sam", error - shift), ("double", error)):
                optimizer = "sam" if method in ("sam", "double") else "momentum"
                engine.append(
                    {
                        **common,
                        "run_id": f"{method}-{peak}-{seed}",
                        "optimizer": optimizer,
                        "optimizer.rho": 0.2 if optimizer == "sam" else np.nan,
                        "steps": measures.updates_of(method, 1_320),
                        "validation_accuracy": 1 - value,
                    }
                )
            for method in training.METHODS:
                point = {"method": method, "seed": seed, "peak": peak, "second": 6.0, "loss": 1.0}
                ends = {"train_loss": 1.0, "eigenvalue": 2.0 + noise, "trace": 9.0}
                probe.append({**point, "error": error - shift, **ends})
    runs = pd.DataFrame(engine)
    sharp = runs["run_id"].str.startswith(("momentum", "half"))
    ends = runs[["run_id"]].assign(train_loss=1.0, eigenvalue=np.where(sharp, 8.0, 2.0), trace=9.0)
    parts = {"tuning": tuple(runs["run_id"])}
    return Records(runs, pd.DataFrame(), {"ends": ends, "trajectory": pd.DataFrame(probe)}, parts)


def test_what_is_flatter_and_better_is_measured_so():
    better, worse = records_of(0.01), records_of(-0.01)
    for records, sign in ((better, -1), (worse, 1)):
        for claim in ("b1", "b2", "b3", "b4"):
            assert CLAIMS[claim].measure(records).value == pytest.approx(sign * 0.01)
        assert CLAIMS["a1"].measure(records).value == pytest.approx(0.25)
        assert CLAIMS["a2"].measure(records).value == pytest.approx(0.25, rel=1e-2)
    assert CLAIMS["c1"].measure(better).value > 0 > CLAIMS["c1"].measure(worse).value
    table = measures.summary_table(better).set_index("method")
    assert (table["peak"] == measures.PEAKS[1]).all()
    assert table.loc["SAM", "cost"] == table.loc["MESA", "cost"] == table.loc["momentum", "cost"] == 1


def test_deciding_seeds_choose_nothing_and_what_diverged_is_never_chosen():
    records = records_of(0.0)
    deciding = ~records.runs["seed"].isin(measures.TUNING_SEEDS)
    records.runs.loc[deciding & (records.runs["schedule.peak"] == measures.PEAKS[3]), "validation_accuracy"] = 1.0
    assert measures.chosen(measures.trained(records), "momentum")["peak"] == measures.PEAKS[1]
    records.runs.loc[records.runs["schedule.peak"] == measures.PEAKS[1], "outcome"] = "diverged"
    assert measures.chosen(measures.trained(records), "momentum")["peak"] in (measures.PEAKS[0], measures.PEAKS[2])
    low = records.runs["schedule.peak"] == measures.PEAKS[0]
    records.runs.loc[low, "validation_accuracy"] = 1.0
    assert measures.on_edge(measures.trained(records), "momentum") == "peak"


def test_figures_and_tables_are_made_of_such_records():
    records = records_of(0.01)
    for figure in EXPERIMENT.figures:
        assert len(figure.draw(records).axes) in (2, 5)
    grid = measures.grid_table(records)
    # Five methods that are tuned, four peaks of each.
    assert len(grid) == 5 * 4
    rates = measures.over_rates(records)
    assert set(rates["seed"]) == {1901, 1902, 1903}
    assert set(rates["peak"]) == set(measures.PEAKS)


@takes_minutes
def test_smoke(tmp_path):
    entries = smoke_run(EXPERIMENT, tmp_path)
    assert {entry["n"] for entry in entries.values()} == {2}
