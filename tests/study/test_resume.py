"""Going on from runs of the folder: branches, annealing, and another schedule only when it is said how."""

import dataclasses
import functools
import json
import shutil

import numpy as np
import pytest

from lrstudy.schedules import WSD, Constant, Cosine, Shifted
from lrstudy.study import records as records_lib
from lrstudy.study.choices import choice
from lrstudy.study.config import resolve
from lrstudy.study.derived import plan_ready
from lrstudy.study.errors import ConfigError, StudyError
from lrstudy.study.part import Part, axis
from lrstudy.study.resume import ScheduleMismatchError
from lrstudy.study.run import Launch
from lrstudy.study.store import begun_groups, newest_step
from lrstudy.study.stored import config_from_json, config_to_json, stored_run
from lrstudy.study.trainer import PreemptedError, Settings
from lrstudy.study.views import summary
from lrstudy.study.workdir import Workdir, write_json
from tests.study.studies import BASE, study
from tests.study.test_main import command

CONSTANT = dataclasses.replace(BASE, schedule=choice("schedule", "Constant", peak=1.0))
COSINE = dataclasses.replace(BASE, schedule=choice("schedule", "Cosine", peak=1.0))
INFINITE = dataclasses.replace(
    BASE, schedule=choice("schedule", "Infinite", peak=1.0, constant=0.5, warmup_steps=4, cooldown_end=12, end=0.01)
)


class Stop:
    """A stop request that comes in the first call of the program: it is asked for once before that."""

    def __init__(self, wanted):
        self.wanted, self.asked = wanted, 0

    @property
    def requested(self):
        self.asked += 1
        return self.wanted and self.asked > 1


def train(root, base, policy=None, *, stop=False, axes=(), **settings):
    """One command: plans from what the folder holds and trains what is missing."""
    workdir = Workdir(root)
    plan, _ = plan_ready({"": Part(base, axes)}, workdir, policy)
    own = Launch(study(), plan, plan.groups, workdir, Settings(warn=print, **settings))
    write_json(workdir.plan, plan.to_json())
    try:
        own.run(Stop(stop))
    except PreemptedError:
        assert stop
    return own


def run_of(launch):
    (run_id,) = launch.plan.parts[""]
    return launch.plan.runs()[run_id]


def rates(launch):
    """Step to applied rate of the one run that was asked for."""
    frame = records_lib.load(launch.workdir).metrics
    mine = frame[frame["run_id"] == run_of(launch).run_id].set_index("step")["learning_rate"]
    return {int(step): float(rate) for step, rate in mine.items()}


def interrupted(root, base=COSINE, **settings):
    """A run that was stopped by the first request, after the first call of its program; returns it and its step."""
    launch = train(root, base, stop=True, **settings)
    run = run_of(launch)
    step = newest_step(launch.workdir, run.run_id)
    assert 0 < step < base.steps
    return run, step


@pytest.mark.parametrize(
    "base",
    [BASE, CONSTANT, INFINITE, dataclasses.replace(BASE, start="0123456789abcdef@7", schedule_start=3, clip_norm=1.0)],
    ids=["wsd", "constant", "infinite", "started"],
)
def test_a_stored_configuration_is_the_same_run(base):
    data = json.loads(json.dumps(config_to_json(base)))
    run = resolve(base)
    assert resolve(config_from_json(data)).run_id == run.run_id == stored_run(data, run.run_id).run_id


def test_a_stored_configuration_that_means_another_run_is_refused():
    with pytest.raises(StudyError, match="run 0123 cannot be continued: its configuration now means run "):
        stored_run(config_to_json(BASE), "0123")


def test_the_same_schedule_goes_on(tmp_path):
    run, _ = interrupted(tmp_path)
    again = train(tmp_path, COSINE)
    assert run_of(again).run_id == run.run_id
    schedule = Cosine(1.0, 40)
    assert rates(again) == {step: float(schedule(step)) for step in [*range(0, 40, 5), 39]}


def test_another_schedule_is_refused_and_the_message_names_both_and_the_choices(tmp_path):
    run, _ = interrupted(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    with pytest.raises(ScheduleMismatchError) as caught:
        train(tmp_path, CONSTANT)
    text = str(caught.value)
    assert text.startswith(f"run {run.run_id} of the folder was trained under Cosine(peak=1.0, total_steps=40), ")
    assert "not under Constant(peak=1.0): say " in text
    for policy in ("keep", "new", "from_here"):
        assert policy in text.split("--on_schedule_change=")[1]
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_keep_goes_on_under_the_old_schedule(tmp_path):
    run, _ = interrupted(tmp_path)
    kept = train(tmp_path, CONSTANT, "keep")
    assert run_of(kept).run_id == run.run_id
    assert rates(kept)[39] == float(Cosine(1.0, 40)(39))


def test_keep_of_a_longer_run_holds_the_old_schedule_past_its_end(tmp_path):
    _, step = interrupted(tmp_path)
    kept = train(tmp_path, dataclasses.replace(CONSTANT, steps=60), "keep")
    assert run_of(kept).config.start.endswith(f"@{step}")
    schedule = Cosine(1.0, 40)
    assert rates(kept) == {step: float(schedule(step)) for step in [*range(0, 60, 5), 59]}


def test_new_takes_the_new_schedule_at_the_step_that_was_reached(tmp_path):
    run, step = interrupted(tmp_path)
    new = train(tmp_path, CONSTANT, "new")
    assert run_of(new).config.start == f"{run.run_id}@{step}"
    old, schedule = Cosine(1.0, 40), Constant(1.0)
    expected = {k: float((old if k < step else schedule)(k)) for k in [*range(0, 40, 5), 39]}
    assert rates(new) == expected


def test_from_here_begins_the_new_schedule_at_the_step_that_was_reached(tmp_path):
    run, step = interrupted(tmp_path)
    base = dataclasses.replace(BASE, steps=80, schedule=choice("schedule", "Cosine", peak=0.5, warmup_steps=4))
    here = train(tmp_path, base, "from_here")
    assert (run_of(here).config.start, run_of(here).config.schedule_start) == (f"{run.run_id}@{step}", step)
    old, schedule = Cosine(1.0, 40), Shifted(Cosine(0.5, 80 - step, warmup_steps=4), step)
    assert run_of(here).schedule == schedule
    assert rates(here) == {k: float((old if k < step else schedule)(k)) for k in [*range(0, 80, 5), 79]}
    assert records_lib.load(here.workdir).schedules[run_of(here).run_id] == schedule


def test_parameters_are_those_of_one_path_with_the_rates_that_were_applied(tmp_path):
    """SGD with momentum by hand: the continued run is the old one up to the change, bit for bit."""
    _, step = interrupted(tmp_path / "changed")
    changed = train(tmp_path / "changed", CONSTANT, "new")
    straight = train(tmp_path / "straight", COSINE)

    def losses(launch):
        frame = records_lib.load(launch.workdir).metrics
        return frame[frame["run_id"] == run_of(launch).run_id].set_index("step")["loss"]

    one, other = losses(changed), losses(straight)
    same = one.index < step
    np.testing.assert_array_equal(one[same], other[same])
    # The rate differs from the update `step` on, so the loss after that update, and not before.
    at = [k for k in one.index if k <= step]
    np.testing.assert_array_equal(one[at], other[at])
    assert one[39] != other[39]


def test_a_continued_run_that_is_stopped_goes_on_by_the_same_command(tmp_path):
    _, step = interrupted(tmp_path)
    half = train(tmp_path, dataclasses.replace(CONSTANT, steps=400), "new", stop=True)
    whole = train(tmp_path, dataclasses.replace(CONSTANT, steps=400), "new")
    assert run_of(half).run_id == run_of(whole).run_id
    assert run_of(whole).config.start.endswith(f"@{step}")
    assert rates(whole)[399] == 1.0


def test_a_policy_without_anything_to_go_on_from_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="on_schedule_change must be left out: no run of the folder"):
        train(tmp_path, COSINE, "new")


def test_a_policy_that_could_mean_several_runs_is_refused(tmp_path):
    train(tmp_path, COSINE, axes=[axis("schedule.peak", (0.5, 2.0))])
    with pytest.raises(ConfigError, match=r"start must say which run goes on under Constant\(peak=1\.0\): ") as caught:
        train(tmp_path, CONSTANT, "new")
    assert str(caught.value).count("@40 (Cosine(peak=") == 2


def test_the_run_of_the_same_peak_is_meant(tmp_path):
    grown = train(tmp_path, COSINE, axes=[axis("schedule.peak", (0.5, 1.0, 2.0))])
    (same,) = (i for i, r in grown.plan.runs().items() if r.columns["schedule.peak"] == 1.0)
    longer = dataclasses.replace(CONSTANT, steps=50)
    assert run_of(train(tmp_path, longer, "new")).config.start == f"{same}@40"


def test_a_grid_that_grows_by_a_schedule_is_no_mismatch(tmp_path):
    interrupted(tmp_path)
    both = [axis("schedule", (COSINE.schedule, CONSTANT.schedule))]
    assert len(train(tmp_path, COSINE, axes=both).plan.parts[""]) == 2


def test_finished_runs_are_left_alone(tmp_path):
    train(tmp_path, COSINE)
    fresh = train(tmp_path, CONSTANT)
    assert run_of(fresh).config.start is None


def test_a_named_start_under_another_schedule_needs_a_policy(tmp_path):
    run, step = interrupted(tmp_path)
    base = dataclasses.replace(CONSTANT, start=f"{run.run_id}@{step}")
    with pytest.raises(ScheduleMismatchError):
        train(tmp_path, base)
    assert run_of(train(tmp_path, base, "new")).config.start == f"{run.run_id}@{step}"


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ("yesterday", "start must be <run id>@<step> with a step of at least 1, got 'yesterday'"),
        ("0123456789abcdef@40", "start must lie before steps (40), got '0123456789abcdef@40'"),
        ("0123456789abcdef@4", "start must name a run of the folder, got '0123456789abcdef@4'"),
    ],
)
def test_a_start_that_is_not_there_is_refused(tmp_path, start, message):
    with pytest.raises(ConfigError) as caught:
        train(tmp_path, dataclasses.replace(COSINE, start=start), "new")
    assert str(caught.value) == message


def test_a_start_of_another_optimizer_is_refused(tmp_path):
    run, step = interrupted(tmp_path)
    base = dataclasses.replace(
        COSINE, optimizer=choice("optimizer", "sgd"), start=f"{run.run_id}@{step}",
    )  # fmt: skip
    with pytest.raises(ConfigError, match="start must name a run of the same optimizer"):
        train(tmp_path, base)


def test_a_branch_of_a_finished_trunk_trains_its_decay_alone(tmp_path):
    """One command from an existing folder: the constant run serves as the trunk though it is not asked for."""
    trunk = run_of(train(tmp_path, CONSTANT, checkpoint_steps=10))
    base = dataclasses.replace(BASE, schedule=choice("schedule", "WSD", peak=1.0, decay_steps=8), steps=38)
    branch = train(tmp_path, base)
    assert branch.plan.branches()[run_of(branch).run_id].run_id == trunk.run_id
    assert len(begun_groups(branch.workdir)) == 2
    schedule = WSD(1.0, 38, decay_steps=8)
    assert rates(branch) == {k: float(schedule(k)) for k in [*range(0, 38, 5), 37]}


def test_an_infinite_run_is_annealed_from_where_it_is(tmp_path):
    trunk = run_of(train(tmp_path, INFINITE, checkpoint_steps=10))
    annealed = dataclasses.replace(
        INFINITE.schedule, arguments={**INFINITE.schedule.arguments, "anneal_start": 30, "anneal_end": 40}
    )
    branch = train(tmp_path, dataclasses.replace(INFINITE, schedule=annealed))
    origin = branch.plan.branches()[run_of(branch).run_id]
    assert (origin.run_id, origin.step) == (trunk.run_id, 30)
    found = rates(branch)
    assert found[25] == 0.5
    assert 0.01 < found[39] < 0.5


def test_a_start_whose_checkpoint_is_gone_is_made_again(tmp_path):
    """Steps between checkpoints are computed, from the newest that is older."""
    run = run_of(train(tmp_path / "a", COSINE))
    base = dataclasses.replace(CONSTANT, start=f"{run.run_id}@13")
    started = train(tmp_path / "a", base, "new")
    old, schedule = Cosine(1.0, 40), Constant(1.0)
    assert rates(started) == {k: float((old if k < 13 else schedule)(k)) for k in [*range(0, 40, 5), 39]}


def test_a_chain_of_starts(tmp_path):
    first = run_of(train(tmp_path, COSINE))
    second = run_of(train(tmp_path, dataclasses.replace(CONSTANT, start=f"{first.run_id}@20"), "new"))
    third = train(tmp_path, dataclasses.replace(COSINE, start=f"{second.run_id}@30", steps=50), "new")
    found = rates(third)
    assert (found[15], found[25]) == (float(Cosine(1.0, 40)(15)), 1.0)
    assert found[35] == float(Cosine(1.0, 50)(35))


def test_the_flag_on_the_command_line(tmp_path):
    quick = ["--preset=smoke", "--config.task=bigram", "--config.optimizer=sgd", "--config.steps=20",
             "--config.evaluate_every=10", "--config.schedule.peak=1.0"]  # fmt: skip
    sweep = functools.partial(command, "experiments.sweep", f"--workdir={tmp_path / 'run'}", *quick)
    first = sweep("--config.schedule=Constant")
    assert first.returncode == 0, first.stderr
    run_id = records_lib.load(Workdir(tmp_path / "run")).runs["run_id"].item()
    named = f"--config.start={run_id}@20"
    longer = ["--config.schedule=Cosine", "--config.steps=40", named]
    refused = sweep(*longer)
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"error: run {run_id} of the folder was trained under Constant(")
    assert refused.stderr.count("\n") == 1
    done = sweep(*longer, "--on_schedule_change=from_here")
    assert done.returncode == 0, done.stderr
    frame = records_lib.load(Workdir(tmp_path / "run")).metrics
    assert sorted(frame[frame["run_id"] != run_id]["step"]) == [0, 10, 20, 30, 39]


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
