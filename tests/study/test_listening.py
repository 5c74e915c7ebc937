"""Optimizers that listen, average or talk to their task, through a whole study."""

import functools

import jax
import numpy as np
import pandas as pd
import pytest

from lrstudy.study import records as records_lib
from lrstudy.study.choices import choice
from lrstudy.study.config import RunConfig, eval_params, make_transform, resolve, with_value
from lrstudy.study.errors import ConfigError
from lrstudy.study.part import Part, axis
from lrstudy.study.plan import make_plan
from lrstudy.study.run import Launch
from lrstudy.study.store import finished_runs
from lrstudy.study.trainer import PreemptedError, Settings
from lrstudy.study.workdir import Workdir, write_json
from lrstudy.training import checkpoint
from lrstudy.training.program import abstract_lanes, stack
from tests.study.studies import launch, study


def base(optimizer, clip_norm=None, **arguments):
    return RunConfig(
        task=choice("task", "bigram"),
        schedule=choice("schedule", "Constant", peak=2.0),
        optimizer=choice("optimizer", optimizer, **arguments),
        steps=24,
        clip_norm=clip_norm,
        record_every=4,
        evaluate_every=8,
    )


FEDERATED = RunConfig(
    task=choice("task", "federated_digits", clients=6, active=2, local_steps=2),
    model=choice("model", "mlp", width=8, layers=1),
    schedule=choice("schedule", "Constant", peak=1.0),
    optimizer=choice("optimizer", "fedhyper", kind="CL", product="cosine"),
    steps=24,
    record_every=4,
    evaluate_every=8,
)


def lanes_at(own, step):
    [group] = own.plan.groups
    numbers = stack([run.hyperparameters for run in group.runs])
    abstract = abstract_lanes(numbers, functools.partial(make_transform, group.runs[0]))
    restored = checkpoint.restore(own.workdir.checkpoints / group.group_id, abstract, up_to=step)
    assert restored.step == step
    return group, restored.tree


@pytest.mark.parametrize("clip_norm", [None, 1.0])
def test_schedule_free_is_evaluated_at_its_average_and_probed_where_it_trains(tmp_path, clip_norm):
    own = launch(tmp_path, {"": Part(base("schedule_free_sgd", clip_norm), [axis("seed", (0, 1))])}, checkpoint_steps=8)
    group, lanes = lanes_at(own, 24)
    outcomes = finished_runs(own.workdir)
    rows = records_lib.load(own.workdir).metrics
    for place, run in enumerate(group.runs):
        state = jax.tree.map(lambda x, place=place: x[place], lanes.state)
        average = eval_params(run)(state.opt_state, state.params)
        at_average, at_trained = (float(run.task.evaluate(p, ())["excess"]) for p in (average, state.params))
        recorded = outcomes[run.run_id][1]["metrics"]["excess"]
        # The same sums of twenty terms in another program.
        assert recorded == pytest.approx(at_average, rel=1e-5)
        assert abs(at_trained - at_average) > 1e-3
        # A probe reads the parameters that are trained, from the same checkpoint.
        probed = own._params(type("Never", (), {"requested": False})(), run.run_id, 24)
        np.testing.assert_array_equal(probed["logits"], state.params["logits"])
        _, earlier = lanes_at(own, 16)
        before = jax.tree.map(lambda x, place=place: x[place], earlier.state)
        middle = rows[(rows["run_id"] == run.run_id) & (rows["step"] == 16)]["excess"].item()
        average = eval_params(run)(before.opt_state, before.params)
        assert middle == pytest.approx(float(run.task.evaluate(average, ())["excess"]), rel=1e-5)


class StopAfter:
    """A stop request that comes after it was asked for a number of times."""

    def __init__(self, asked):
        self.left = asked

    @property
    def requested(self):
        self.left -= 1
        return self.left < 0


CONFIGS = {
    "schedule_free_adamw": base("schedule_free_adamw"),
    "hypergradient": base("hypergradient", inner="momentum", beta=0.01),
    "plateau": base("plateau", inner="adam", patience=1, accumulation=2, factor=0.5),
    "fedhyper": FEDERATED,
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(tmp_path, name):
    chosen = {"": Part(CONFIGS[name], [axis("seed", (0, 1))])}
    whole = launch(tmp_path / "whole", chosen)
    workdir, plan = Workdir(tmp_path / "stopped"), make_plan(chosen)
    half = Launch(study(), plan, plan.groups, workdir, Settings(checkpoint_steps=8))
    write_json(workdir.plan, plan.to_json())
    with pytest.raises(PreemptedError):
        half.run(StopAfter(3))
    assert not finished_runs(workdir)
    launch(tmp_path / "stopped", chosen)
    ways = [
        records_lib.load(w).metrics.sort_values(["run_id", "step"]).reset_index(drop=True)
        for w in (whole.workdir, workdir)
    ]
    pd.testing.assert_frame_equal(*ways, check_exact=True)
    outcomes = [{k: v[1]["metrics"] for k, v in finished_runs(w).items()} for w in (whole.workdir, workdir)]
    assert outcomes[0] == outcomes[1]
    rates = ways[0].groupby("run_id")["learning_rate"].nunique()
    # The rates that were applied are recorded: two of these optimizers adapt them.
    assert (rates > 1).all() == (name in ("hypergradient", "plateau"))


def test_the_clients_rates_of_a_sweep_are_lanes_of_one_program(tmp_path):
    own = launch(tmp_path, {"": Part(FEDERATED, [axis("task.learning_rate", (0.05, 0.1)), axis("seed", (0, 1))])})
    assert len(own.plan.groups) == 1
    found = records_lib.load(own.workdir)
    rates = found.metrics.merge(found.runs[["run_id", "task.learning_rate"]], on="run_id")
    first = rates[rates["step"] == 0]
    # One adapted local step: within a tenth upwards of what the lane was given.
    assert (first["client_learning_rate"] <= 1.1001 * first["task.learning_rate"]).all()
    assert first.groupby("task.learning_rate")["client_learning_rate"].mean().is_monotonic_increasing
    for metric in ("client_loss", "loss", "validation_loss", "validation_accuracy"):
        assert np.isfinite(found.runs[metric].astype(float)).all()


@pytest.mark.parametrize(
    ("path", "value", "text"),
    [
        (
            "optimizer.inner",
            "adm",
            "optimizer.inner must be one of ['adam', 'momentum', 'sgd'], got 'adm'; did you mean",
        ),
        ("optimizer.patience", 0, "optimizer.patience must be a finite number in [1, inf), got 0"),
        ("optimizer.factor", 1.0, "optimizer.factor must be a finite number in [0, 1), got 1.0"),
    ],
)
def test_what_an_optimizer_cannot_be_is_one_line(path, value, text):
    with pytest.raises(ConfigError) as caught:
        resolve(with_value(base("plateau"), path, value))
    assert str(caught.value).startswith(text)
    assert "\n" not in str(caught.value)
