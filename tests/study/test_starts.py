"""Where runs that name their start do start, and which starts are refused."""

import dataclasses
import shutil

import numpy as np
import pytest

from lrstudy.schedules import Cosine
from lrstudy.study import records as records_lib
from lrstudy.study.choices import choice
from lrstudy.study.errors import ConfigError
from lrstudy.study.part import axis
from lrstudy.study.resume import ScheduleMismatchError
from lrstudy.study.store import newest_step
from lrstudy.study.views import summary
from lrstudy.study.workdir import Workdir, write_json
from tests.study.continuing import CONSTANT, COSINE, interrupted, rates, run_of, train
from tests.study.studies import BASE
from tests.study.test_main import command


def test_a_start_before_a_runs_own_start_is_that_of_its_ancestor(tmp_path):
    """A decayed run's steps before its branch are its trunk's, so a start there trains from the trunk's state."""
    decayed = dataclasses.replace(BASE, schedule=choice("schedule", "WSD", peak=1.0, decay_steps=8))
    branch = run_of(train(tmp_path / "a", decayed))
    trunk = train(tmp_path / "b", dataclasses.replace(CONSTANT, steps=32))
    started = {}
    for folder, origin in (("a", branch), ("b", run_of(trunk))):
        base = dataclasses.replace(COSINE, record_every=1, evaluate_every=0, start=f"{origin.run_id}@20")
        own = train(tmp_path / folder, base, "new")
        frame = records_lib.load(own.workdir).metrics
        started[folder] = frame[frame["run_id"] == run_of(own).run_id].set_index("step")["loss"]
    assert list(started["a"].index) == [*range(0, 20, 5), *range(20, 40)]
    np.testing.assert_array_equal(started["a"], started["b"])


def test_a_start_before_a_continued_runs_own_start(tmp_path):
    first = run_of(train(tmp_path, COSINE))
    second = run_of(train(tmp_path, dataclasses.replace(CONSTANT, start=f"{first.run_id}@20"), "new"))
    third = train(tmp_path, dataclasses.replace(CONSTANT, start=f"{second.run_id}@10", steps=41), "new")
    found = rates(third)
    assert (found[5], found[10], found[15]) == (float(Cosine(1.0, 40)(5)), 1.0, 1.0)


def test_a_run_that_was_stopped_before_its_first_checkpoint_stands_in_nobodys_way(tmp_path):
    run, _ = interrupted(tmp_path)
    (folder,) = (tmp_path / "checkpoints").iterdir()
    shutil.rmtree(folder)
    assert newest_step(Workdir(tmp_path), run.run_id) == 0
    assert run_of(train(tmp_path, CONSTANT)).config.start is None


@pytest.mark.parametrize("policy", ["keep", "new"])
@pytest.mark.parametrize(
    "changed",
    [{"task": choice("task", "bigram", vocabulary=8)}, {"task": choice("task", "quadratic", chains=4)}],
    ids=["shape", "task"],
)
def test_a_start_of_other_shapes_is_refused_before_anything_is_written(tmp_path, changed, policy):
    run = run_of(train(tmp_path, COSINE))
    before = sorted(tmp_path.rglob("*"))
    base = dataclasses.replace(COSINE, start=f"{run.run_id}@20", **changed)
    rule = "start must name a run of the same optimizer whose state has the same shapes"
    with pytest.raises(ConfigError, match=rule):
        train(tmp_path, base, policy)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("first", "second"),
    [({"inner": "sgd"}, {"inner": "adam"}), ({"kind": "add"}, {"kind": "mul"})],
    ids=["inner", "rule"],
)
def test_a_start_of_another_optimizer_state_is_refused_and_of_the_same_is_not(tmp_path, first, second):
    """The inner direction decides what the state holds; the rule of the rate does not."""
    base = dataclasses.replace(CONSTANT, optimizer=choice("optimizer", "hypergradient", **first))
    run = run_of(train(tmp_path, base))
    changed = choice("optimizer", "hypergradient", **second)
    base = dataclasses.replace(base, optimizer=changed, start=f"{run.run_id}@20")
    if "inner" in second:
        with pytest.raises(ConfigError, match="start must name a run of the same optimizer whose state"):
            train(tmp_path, base)
    else:
        assert run_of(train(tmp_path, base)).config.start == f"{run.run_id}@20"


def test_a_start_keeps_where_its_origins_schedule_began(tmp_path):
    """Without the origin's beginning it is another schedule, and so an error; the start as the beginning says so."""
    first = run_of(train(tmp_path, COSINE))
    here = dataclasses.replace(COSINE, steps=80)
    second = run_of(train(tmp_path, dataclasses.replace(here, start=f"{first.run_id}@40"), "from_here"))
    on = dataclasses.replace(here, start=f"{second.run_id}@60")
    with pytest.raises(ScheduleMismatchError, match=r"total_steps=40\) from step 40, not under Cosine\(peak=1.0, "):
        train(tmp_path, on)
    kept = train(tmp_path, dataclasses.replace(on, schedule_start=40))
    assert rates(kept)[70] == float(Cosine(1.0, 40)(30))
    again = train(tmp_path, dataclasses.replace(on, schedule_start=60))
    assert rates(again)[60] == 1.0


def test_a_policy_is_not_ignored_where_the_run_is_there_from_scratch(tmp_path):
    train(tmp_path, CONSTANT)
    train(tmp_path, COSINE)
    with pytest.raises(ConfigError, match=r"on_schedule_change must be left out: run .* is in the folder already"):
        train(tmp_path, COSINE, "from_here")


def test_a_run_too_short_for_where_it_would_go_on_is_refused_by_its_length(tmp_path):
    run = run_of(train(tmp_path, COSINE))
    with pytest.raises(ConfigError, match=f"steps must be above 40, where run {run.run_id} stands, got 30"):
        train(tmp_path, dataclasses.replace(CONSTANT, steps=30), "new")


def test_seeds_that_start_from_runs_of_their_own_are_one_setting(tmp_path):
    seeds = [axis("seed", (0, 1))]
    train(tmp_path, COSINE, axes=seeds)
    grown = train(tmp_path, dataclasses.replace(CONSTANT, steps=50), "new", axes=seeds)
    found = summary(records_lib.load(grown.workdir).part(""))
    assert found["seeds"].tolist() == [2]


def test_a_long_table_is_named_by_its_ends(tmp_path):
    table = choice("schedule", "Tabulated", values=tuple(1 - i / 100 for i in range(100)))
    interrupted(tmp_path, dataclasses.replace(COSINE, schedule=table))
    with pytest.raises(ScheduleMismatchError, match=r"Tabulated\(values=\(1\.0, \.\.\., .* \[100\]\)") as caught:
        train(tmp_path, CONSTANT)
    assert len(str(caught.value)) < 500


def test_a_dry_run_finds_the_start_in_the_folder(tmp_path):
    run = run_of(train(tmp_path, COSINE))
    quick = ["--preset=smoke", "--config.task=bigram", "--config.optimizer=momentum", "--config.steps=60"]
    named = f"--config.start={run.run_id}@40"
    before = sorted(tmp_path.rglob("*"))
    header = {"experiment": "sweep"}
    write_json(Workdir(tmp_path).config, header)
    done = command("experiments.sweep", f"--workdir={tmp_path}", *quick, named, "--on_schedule_change=new", "--dry_run")
    assert done.returncode == 0, done.stderr
    assert sorted(tmp_path.rglob("*")) == sorted([*before, Workdir(tmp_path).config])
