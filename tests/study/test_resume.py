"""Going on from runs of the folder: branches, annealing, and another schedule only when it is said how."""

import dataclasses
import functools
import json

import numpy as np
import pytest

from lrstudy.schedules import WSD, Constant, Cosine, Shifted
from lrstudy.study import records as records_lib
from lrstudy.study.choices import choice
from lrstudy.study.config import resolve
from lrstudy.study.errors import ConfigError, StudyError
from lrstudy.study.part import axis
from lrstudy.study.resume import ScheduleMismatchError
from lrstudy.study.store import begun_groups
from lrstudy.study.stored import config_from_json, config_to_json, stored_run
from lrstudy.study.workdir import Workdir
from tests.study.continuing import CONSTANT, COSINE, INFINITE, interrupted, rates, run_of, train
from tests.study.studies import BASE
from tests.study.test_main import command


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
