"""What a plan of many runs makes once, and that sharing changes nothing: counts, for which time is no measure."""

import collections
import dataclasses
import json

import jax
import pytest

from lrstudy.study import choices, dry_run, resume
from lrstudy.study import plan as plan_lib
from lrstudy.study import workdir as workdir_lib
from lrstudy.study.choices import choice
from lrstudy.study.config import RunConfig, resolve
from lrstudy.study.errors import ConfigError, StudyError
from lrstudy.study.part import Part, axis
from lrstudy.study.pieces import Pieces
from lrstudy.study.plan import Earlier, make_plan
from lrstudy.study.resume import Continuation, refuse_mismatch
from lrstudy.study.run import Launch
from lrstudy.study.store import GroupStore, Outcome, begun_groups, earlier, newest_step
from lrstudy.study.stored import config_to_json
from lrstudy.study.trainer import Settings
from lrstudy.study.workdir import Workdir
from lrstudy.tasks import TABLE
from tests.study.studies import study

BASE = RunConfig(
    task=choice("task", "quadratic"),
    schedule=choice("schedule", "WSD", peak=0.02, decay_fraction=0.2),
    optimizer=choice("optimizer", "adamw"),
    steps=40,
)
COSINE = dataclasses.replace(BASE, schedule=choice("schedule", "Cosine", peak=0.02))
SEEDS, PEAKS = axis("seed", range(30)), axis("schedule.peak", (0.01, 0.02, 0.04))


def counted(monkeypatch, owner, name, key=lambda *args: None):
    """How often a function was called, by what ``key`` makes of its arguments."""
    calls, own = collections.Counter(), getattr(owner, name)

    def call(*args, **kwargs):
        calls[key(*args)] += 1
        return own(*args, **kwargs)

    monkeypatch.setattr(owner, name, call)
    return calls


def test_a_piece_is_of_this_very_object():
    pieces, made = Pieces(), []

    def make():
        made.append(None)
        return len(made)

    one, other = [0.5], [0.5]
    assert [pieces.of("a", (x,), make) for x in (one, one, other, 1, 1.0, True, 1)] == [1, 1, 2, 3, 4, 5, 3]
    assert pieces.of("b", (one,), make) == 6
    assert [pieces.of("a", (x,), make) for x in ("".join(("a", "b")), "".join(("a", "b")))] == [7, 7]


def test_what_cannot_be_made_is_refused_every_time():
    pieces = Pieces()
    bad = dataclasses.replace(BASE, optimizer=choice("optimizer", "adamw", b1=2.0))
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"optimizer\.b1 must be a finite number in \[0, 1\), got 2\.0"):
            resolve(bad, pieces)


def test_runs_that_share_a_schedule_build_it_once(monkeypatch):
    built = counted(monkeypatch, choices, "build", lambda kind, *_: kind)
    plan = make_plan({"": Part(BASE, [PEAKS, SEEDS])})
    assert len(plan.runs()) == 2 * 90
    # One a peak, and its trunk.
    assert built["schedule"] == 2 * 3


def test_what_a_task_says_of_its_data_is_asked_once_a_plan(monkeypatch):
    asked = counted(monkeypatch, TABLE["text"], "facts")
    part = Part(dataclasses.replace(COSINE, task=choice("task", "text", path="topics")), [PEAKS, SEEDS])
    make_plan({"": part})
    once = asked[None]
    make_plan({"": part})
    assert once <= 2
    assert asked[None] == 2 * once  # anew in every plan


def test_states_are_traced_once_for_runs_of_one_structure(monkeypatch):
    stopped = dataclasses.replace(COSINE, steps=500, evaluate_every=10, early_stop=choice("early_stop", "predictive"))
    traced = counted(monkeypatch, jax, "eval_shape")
    make_plan({"": Part(stopped, [PEAKS, SEEDS])})
    assert traced[None] == 1
    origins = [resolve(dataclasses.replace(COSINE, seed=seed)) for seed in range(30)]
    starts = [{"seed": run.config.seed, "start": f"{run.run_id}@20"} for run in origins]
    stored = {run.run_id: json.loads(json.dumps(config_to_json(run.config))) for run in origins}
    traced.clear()
    plan = make_plan({"": Part(COSINE, [starts])}, Earlier((), frozenset(stored), stored))
    assert len(plan.branches()) == 30
    # The origins come from the folder, the runs from the command.
    assert traced[None] <= 2


@pytest.mark.parametrize(
    ("axes", "late"),
    [
        ([axis("schedule", ("WSD", "Cosine", "Linear")), PEAKS, axis("steps", (40, 80))], {"schedule.shape": "linear"}),
        ([axis("task", ("quadratic", "digits")), axis("optimizer", ("sgd", "adamw"))], {"optimizer.weight_decay": 0.1}),
        ([axis("optimizer.weight_decay", (0, 0.0, 1, 1.0)), axis("clip_norm", (None, 1.0))], {}),
        ([axis("task.noise", ((0.5, 0.5, 0.5), (0.1, 0.1, 0.1))), axis("seed", (0, 1))], {}),
    ],
    ids=["schedules", "names", "types", "lists"],
)
def test_a_run_among_others_is_the_run_alone(axes, late):
    part, pieces = Part(BASE, axes, late), Pieces()
    configs = list(part.configs())
    shared, alone = [resolve(c, pieces) for c in configs], [resolve(c) for c in configs]
    assert [repr(run.columns) for run in shared] == [repr(run.columns) for run in alone]
    assert [repr(run.hyperparameters) for run in shared] == [repr(run.hyperparameters) for run in alone]
    plan = make_plan({"": part})
    assert plan.parts[""] == tuple(dict.fromkeys(run.run_id for run in alone))


def test_identities_are_what_they_have_always_been():
    plan = make_plan({"": Part(BASE, [axis("schedule.peak", (0.01, 0.02)), axis("seed", (0, 1))])})
    ids = [[group.group_id, *(run.run_id for run in group.runs)] for group in plan.groups]
    trunks = ["9c71eb138406", "b6b4deaaeac12873", "36e29aa839945693", "c3ca7ef557cee0de", "a1cef7930d17539b"]
    branches = ["bdb9b6e38ddc", "6c383bf53298e239", "70718afe415c4baa", "74f07c7b67906975", "bbfd45948947212c"]
    assert ids == [trunks, branches]


@pytest.fixture
def finished(tmp_path, monkeypatch):
    """A folder whose six small groups are finished, as far as the engine's own files say."""
    monkeypatch.setattr(plan_lib, "MAX_LANES", 30)
    workdir, part = Workdir(tmp_path), Part(BASE, [PEAKS, SEEDS])
    plan = make_plan({"": part})
    for group in plan.groups:
        store = GroupStore(workdir, group)
        store.begin()
        store.finish([Outcome("ok", run.config.steps, {"loss": 1.0}) for run in group.runs], {"seconds": 1.0})
    assert len(plan.groups) == 6
    return workdir, part, plan


def test_a_finished_study_is_planned_again_without_its_stored_runs(finished, monkeypatch):
    workdir, part, plan = finished
    made = counted(monkeypatch, plan_lib, "stored_run")
    again = make_plan({"": part}, earlier(workdir))
    assert again.to_json() == plan.to_json()
    assert not made


def test_longer_trunks_of_the_folder_serve_shorter_runs(finished):
    workdir, _, plan = finished
    shorter = make_plan({"": Part(BASE, [PEAKS, SEEDS, axis("steps", [20])])}, earlier(workdir))
    assert shorter.trunks == plan.trunks


def test_a_file_of_the_folder_is_parsed_once(finished, monkeypatch):
    workdir, _, plan = finished
    workdir = Workdir(workdir.root)
    parsed = counted(monkeypatch, workdir_lib, "read_json", lambda path: path.stem)
    launch = Launch(study(), plan, plan.groups, workdir, Settings())
    assert not launch.missing()
    launch.write_runs()
    for run_id, branch in plan.branches().items():
        assert launch._home(branch.run_id).group_id in {group.group_id for group in plan.groups}
        assert newest_step(workdir, run_id) == 0  # there are no checkpoints
    assert parsed == {group.group_id: 1 for group in plan.groups}


def test_what_another_process_writes_is_seen(finished):
    workdir, _, plan = finished
    other, group = Workdir(workdir.root), plan.groups[0]
    before = begun_groups(workdir)
    GroupStore(other, group).finish([Outcome("diverged", 3, {}) for _ in group.runs], {"seconds": 2.0})
    after = begun_groups(workdir)
    assert after[group.group_id]["outcomes"][0]["outcome"] == "diverged"
    assert all(after[name] is before[name] for name in before if name != group.group_id)
    (other.groups / f"{group.group_id}.json").unlink()
    assert before.keys() - begun_groups(workdir).keys() == {group.group_id}
    (other.groups / "0000.json").write_text("{")
    for _ in range(2):
        with pytest.raises(StudyError, match=r"0000\.json is damaged"):
            begun_groups(workdir)
    assert begun_groups(Workdir(workdir.root / "nowhere")) == {}


def test_schedules_are_compared_with_those_of_the_same_run_alone(monkeypatch):
    old = [resolve(dataclasses.replace(BASE, seed=seed)) for seed in range(30)]
    stored = {run.run_id: config_to_json(run.config) for run in old}
    folder = Earlier((), frozenset(), stored)
    compared = counted(monkeypatch, resume, "same_schedule")
    plan = make_plan({"": Part(COSINE, [SEEDS])}, folder)
    with pytest.raises(resume.ScheduleMismatchError, match=f"run {old[0].run_id} of the folder"):
        refuse_mismatch(plan, folder, lambda _: 7)
    grown = make_plan({"": Part(BASE, [SEEDS, axis("schedule", ("WSD", "Cosine"))])}, folder)
    refuse_mismatch(grown, folder, lambda _: 7)
    compared.clear()
    adopted = make_plan({"": Part(COSINE, [SEEDS])}, folder, Continuation("new", folder, lambda _: 7))
    assert [run.config.start for run in adopted.runs().values()] == [f"{run.run_id}@7" for run in old]
    assert compared[None] == 30


def test_a_dry_run_lowers_one_step_for_all_programs_of_one_structure(monkeypatch):
    monkeypatch.setattr(plan_lib, "MAX_LANES", 30)
    lowered = counted(monkeypatch, dry_run, "_step_of", lambda run: run.config.optimizer.name)
    part = Part(COSINE, [axis("optimizer", ("sgd", "adamw")), PEAKS, SEEDS])
    plan = make_plan({"": part})
    lines = dry_run.describe(plan).splitlines()
    assert len(plan.groups) == 6 == len(lines) - 2
    assert len(set(lines[1:-1])) == 2  # the state of AdamW is larger
    assert lowered == {"sgd": 1, "adamw": 1}
