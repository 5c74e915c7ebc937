import dataclasses

import jax.numpy as jnp
import optax
import pytest

from experiments.sweep import EXPERIMENT
from lrstudy import optimizers, schedules
from lrstudy.optimizers import Optimizer
from lrstudy.schedules import Constant, Schedule, from_dict
from lrstudy.study import choices, rows
from lrstudy.study.call import run_study
from lrstudy.study.errors import ConfigError


@pytest.fixture(autouse=True)
def tables_as_they_were(monkeypatch):
    """Nothing that a test adds is there for another."""
    monkeypatch.setattr(rows, "_ADDED", set())
    for table in (schedules.TABLE, choices.TABLES["schedule"], optimizers.TABLE):
        for name in ("Mine", "mine"):
            monkeypatch.setitem(table, name, None)
            monkeypatch.delitem(table, name)
    yield
    choices.arguments_of.cache_clear()


def mine(factor=1.0):
    @dataclasses.dataclass(frozen=True)
    class Mine(Schedule):
        peak: float
        total_steps: int
        share: float = 0.5

        def rate(self, step):
            return jnp.where(step < self.share * self.total_steps, factor * self.peak, 0.0)

    return rows.add_schedule(Mine)


def row(factor=1.0):
    def build(learning_rate, *, decay, around=None):
        del around
        return optax.chain(optax.trace(decay), optax.scale(factor), optax.scale_by_learning_rate(learning_rate))

    return Optimizer(build=build, defaults={"decay": 0.5}, family_of=lambda _: "sgd", paper="", scaled=False)


def test_added_rows_are_named_by_flags_and_swept(tmp_path):
    cls = mine()
    rows.add_optimizer("mine", row())
    flags = ("--config.schedule=Mine", "--config.optimizer=mine", "--config.task=quadratic", "--config.clip_norm=none")
    sweeps = ("--sweep.schedule.share=0.25,0.75", "--sweep.optimizer.decay=0,0.9")
    found = run_study(EXPERIMENT, "--preset=smoke", *flags, *sweeps, "--config.evaluate_every=0", workdir=tmp_path,
                      quiet=True)  # fmt: skip
    runs, metrics = found.records.runs, found.records.metrics
    assert len(runs) == 4
    assert runs["group"].nunique() == 1
    assert set(runs["schedule"]) == {"Mine"}
    assert (runs["schedule.total_steps"] == 20).all()
    for run_id in runs["run_id"]:
        schedule = found.records.schedules[run_id]
        assert isinstance(schedule, cls)
        assert schedule.share in (0.25, 0.75)
        rates = metrics[metrics["run_id"] == run_id].set_index("step")["learning_rate"]
        assert (rates.to_numpy() == [float(schedule(step)) for step in rates.index]).all()
    assert from_dict(cls(1.0, 10).to_dict()) == cls(1.0, 10)


def test_a_cell_that_is_run_again_takes_the_place_of_the_one_before():
    mine(1.0)
    again = mine(3.0)
    assert schedules.TABLE["Mine"] is choices.TABLES["schedule"]["Mine"] is again
    rows.add_optimizer("mine", row(1.0))
    other = dataclasses.replace(row(), defaults={"decay": 0.5, "more": 1.0})
    assert "more" not in choices.arguments_of("optimizer", "mine")
    rows.add_optimizer("mine", other)
    assert "more" in choices.arguments_of("optimizer", "mine")


def test_names_of_the_package_are_its_own():
    with pytest.raises(ConfigError, match="schedule must have a name of its own, got 'Constant', which"):
        rows.add_schedule(type("Constant", (Constant,), {}))
    with pytest.raises(ConfigError, match="optimizer must have a name of its own, got 'adamw'"):
        rows.add_optimizer("adamw", row())
    with pytest.raises(ConfigError, match="schedule must be a subclass of Schedule"):
        rows.add_schedule(lambda step: 1.0)  # pyright: ignore[reportArgumentType]
    assert schedules.TABLE["Constant"] is Constant
