import dataclasses
import json

import pytest

from lrstudy.study import plan as plan_lib
from lrstudy.study.choices import choice
from lrstudy.study.config import RunConfig
from lrstudy.study.part import Part, axis
from lrstudy.study.plan import Earlier, families_of, make_plan, shard_of

BASE = RunConfig(
    task=choice("task", "bigram"),
    schedule=choice("schedule", "Cosine", peak=0.01),
    optimizer=choice("optimizer", "sgd"),
    steps=100,
)
WSD = choice("schedule", "WSD", peak=0.01, decay_fraction=0.2)


def with_schedule(schedule, **fields):
    return dataclasses.replace(BASE, schedule=schedule, **fields)


def test_numbers_share_a_program_and_classes_do_not():
    axes = [
        axis("schedule", ["Cosine", "Linear"]),
        axis("schedule.peak", [0.1, 0.2]),
        axis("seed", [0, 1, 2]),
        axis("steps", [50, 100]),
    ]
    plan = make_plan({"": Part(BASE, axes)})
    assert sorted(len(group.runs) for group in plan.groups) == [12, 12]
    assert len(plan.parts[""]) == 24


def test_sizes_are_programs_of_their_own():
    plan = make_plan({"": Part(BASE, [axis("task.batch_size", [8, 16])])})
    assert len(plan.groups) == 2


def test_a_run_of_two_parts_is_trained_once():
    plan = make_plan({"a": Part(BASE, [axis("seed", [0, 1])]), "b": Part(BASE, [axis("seed", [1, 2])])})
    assert sum(len(group.runs) for group in plan.groups) == 3
    assert set(plan.parts["a"]) & set(plan.parts["b"])


def test_budgets_share_one_trunk_and_cost_it_once():
    budgets = axis("steps", [40, 60, 100])
    plan = make_plan({"": Part(with_schedule(WSD), [budgets])})
    trunk, branches = plan.groups
    assert [run.columns["schedule"] for run in trunk.runs] == ["Constant"]
    assert (trunk.stop, trunk.kept_steps) == (80, (32, 48, 80))
    assert [branch.step for branch in branches.branches] == [32, 48, 80]
    assert {branch.run_id for branch in branches.branches} == plan.trunks
    trained = trunk.stop + sum(r.config.steps - b.step for r, b in zip(branches.runs, branches.branches, strict=True))
    assert trained == 80 + 8 + 12 + 20


def test_a_constant_run_of_the_study_serves_as_trunk():
    axes = [axis("schedule", [choice("schedule", "Constant", peak=0.01), WSD])]
    plan = make_plan({"": Part(BASE, axes)})
    assert not plan.trunks
    assert [group.branches is None for group in plan.groups] == [True, False]
    assert plan.groups[0].kept_steps == (80,)


def test_a_constant_run_that_is_too_short_does_not_serve():
    axes = [({"schedule": choice("schedule", "Constant", peak=0.01), "steps": 50}, {"schedule": WSD})]
    plan = make_plan({"": Part(BASE, axes)})
    assert len(plan.trunks) == 1


@pytest.mark.parametrize(("path", "values"), [("seed", [0, 1]), ("schedule.peak", [0.1, 0.2])])
def test_every_family_has_its_own_trunk(path, values):
    plan = make_plan({"": Part(with_schedule(WSD), [axis(path, values)])})
    assert len(plan.trunks) == 2
    assert len({branch.run_id for branch in plan.groups[1].branches}) == 2


def test_a_trunk_comes_before_its_branches_even_across_parts():
    parts = {
        "first": Part(with_schedule(WSD)),
        "second": Part(BASE, [axis("schedule", [choice("schedule", "Constant", peak=0.01)])]),
    }
    plan = make_plan(parts)
    assert plan.groups[0].branches is None
    assert plan.groups[0].part == "first"


def test_a_grown_grid_leaves_begun_groups_as_they_are():
    before = make_plan({"": Part(BASE, [axis("seed", [0, 1])])})
    begun = [[run.run_id for run in group.runs] for group in before.groups]
    after = make_plan({"": Part(BASE, [axis("seed", [0, 1, 2])])}, Earlier(begun))
    assert [len(group.runs) for group in after.groups] == [2, 1] or [len(g.runs) for g in after.groups] == [1, 2]
    assert before.groups[0].group_id in {group.group_id for group in after.groups}


def test_the_order_of_a_begun_groups_lanes_is_kept():
    begun_order = make_plan({"": Part(BASE, [axis("seed", [0, 1, 2])])})
    ids = [run.run_id for run in begun_order.groups[0].runs]
    turned = make_plan({"": Part(BASE, [axis("seed", [2, 1, 0])])}, Earlier([ids]))
    assert [run.run_id for run in turned.groups[0].runs] == ids


def test_many_runs_are_cut(monkeypatch):
    monkeypatch.setattr(plan_lib, "MAX_LANES", 4)
    plan = make_plan({"": Part(BASE, [axis("seed", range(10))])})
    assert [len(group.runs) for group in plan.groups] == [4, 4, 2]


def test_shards_cover_everything_once_and_keep_families_together():
    axes = [axis("schedule", [WSD, "Cosine", "Linear"]), axis("task.batch_size", [8, 16])]
    plan = make_plan({"": Part(BASE, axes)})
    shares = [shard_of(plan, k, 3).groups for k in (1, 2, 3)]
    ids = [group.group_id for share in shares for group in share]
    assert sorted(ids) == sorted(group.group_id for group in plan.groups)
    for share in shares:
        own = {run.run_id for group in share for run in group.runs}
        assert all(branch.run_id in own for group in share for branch in group.branches or ())


def test_a_branch_brings_all_the_groups_that_it_starts_from(monkeypatch):
    """Its lanes start from trunks of two groups, which two processes may not both compute."""
    monkeypatch.setattr(plan_lib, "MAX_LANES", 2)
    plan = make_plan({"": Part(with_schedule(WSD), [axis("seed", range(3))])})
    trunks, branches = plan.groups[:2], plan.groups[2:]
    monkeypatch.setattr(plan_lib, "MAX_LANES", 4)
    kept = Earlier([[run.run_id for run in group.runs] for group in trunks])
    later = make_plan({"": Part(with_schedule(WSD), [axis("seed", range(3))])}, kept)
    assert len(branches) == 2
    assert [len(group.runs) for group in later.groups] == [2, 1, 3]
    assert [len(family) for family in families_of(plan)] == [2, 2]
    assert [len(family) for family in families_of(later)] == [3]


def test_the_plan_is_json():
    plan = make_plan({"": Part(with_schedule(WSD), [axis("seed", [0, 1])])})
    again = json.loads(json.dumps(plan.to_json()))
    assert again == plan.to_json()
    assert [lane["branch_step"] for lane in again["groups"][1]["lanes"]] == [80, 80]


def test_planning_again_gives_the_same_plan():
    parts = {"": Part(with_schedule(WSD), [axis("seed", range(5)), axis("steps", [50, 100])])}
    assert make_plan(parts).to_json() == make_plan(parts).to_json()


@pytest.mark.parametrize("begun", range(6))
def test_shares_are_the_same_whichever_groups_others_have_begun(begun, monkeypatch):
    """Shares are planned by processes that begin, and begin again, at different times."""
    monkeypatch.setattr(plan_lib, "MAX_LANES", 4)
    # The classes alternate: the runs of a class are cut into groups, and those of others lie between.
    parts = {"": Part(BASE, [axis("seed", range(9)), axis("schedule", ["Cosine", "Linear"])])}
    first = make_plan(parts)
    assert len(first.groups) == 6
    ids = [run.run_id for run in first.groups[begun].runs]
    for earlier in (Earlier([ids]), Earlier([ids], frozenset(ids))):
        later = make_plan(parts, earlier)
        for index in (1, 2, 3):
            assert shard_of(later, index, 3).to_json() == shard_of(first, index, 3).to_json()
