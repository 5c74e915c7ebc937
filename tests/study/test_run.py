import dataclasses
import json
import signal

import jax
import numpy as np
import pandas as pd
import pytest

from lrstudy.study import records as records_lib
from lrstudy.study.choices import choice
from lrstudy.study.errors import StudyError
from lrstudy.study.experiment import Table
from lrstudy.study.part import Part, axis
from lrstudy.study.plan import Earlier, make_plan
from lrstudy.study.probes import Probe
from lrstudy.study.run import conclude
from lrstudy.study.store import begun_groups
from lrstudy.study.trainer import PreemptedError
from lrstudy.study.workdir import Workdir
from tests.study.studies import BASE, HEADER, concluded, launch, parts, study


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    root = tmp_path_factory.mktemp("study")
    own, entries = concluded(root)
    return own, entries, root


def test_one_row_a_run_with_every_leaf_and_final_metric(finished):
    own, _, root = finished
    runs = pd.read_parquet(root / "runs.parquet")
    asked = runs[runs["parts"] != records_lib.TRUNK]
    assert len(asked) == 6
    assert set(asked["run_id"]) == set(own.plan.parts[""])
    assert (runs["outcome"] == "ok").all()
    for leaf in ("schedule", "schedule.peak", "schedule.total_steps", "task", "task.batch_size", "seed", "steps"):
        assert leaf in runs
    for metric in ("loss", "learning_rate", "grad_norm_l1", "grad_norm_l2", "update_norm", "param_norm", "excess"):
        assert np.isfinite(asked[metric].astype(float)).all()
    assert str(runs["schedule.total_steps"].dtype) == "Int64"


def test_metric_rows_are_whole_for_branches_too(finished):
    own, _, root = finished
    rows = pd.concat(pd.read_parquet(p) for p in (root / "metrics").glob("*.parquet"))
    assert not rows.duplicated(["run_id", "step"]).any()
    for run_id, mine in rows.groupby("run_id"):
        if run_id not in own.plan.trunks:
            assert sorted(mine["step"]) == [0, 5, 10, 15, 20, 25, 30, 35, 39]


def test_a_branch_has_its_trunks_rows_before_the_decay_and_its_own_after(finished):
    own, _, _ = finished
    found = records_lib.load(own.workdir)
    rows = found.metrics.set_index(["run_id", "step"])
    for run_id, branch in own.plan.branches().items():
        for step in (0, 5, 25):
            pd.testing.assert_series_equal(
                rows.loc[run_id, step], rows.loc[branch.run_id, step], check_names=False, check_exact=True
            )
        assert rows.loc[(run_id, 35), "learning_rate"] < rows.loc[(run_id, 25), "learning_rate"]


def test_branching_gives_what_one_run_from_the_start_gives(finished):
    """The trunk is another program (a constant rate); its floats may differ in the last bits, not in the result."""
    from lrstudy.training import lanes
    from tests.training.problems import hparams_and_transform

    own, _, _ = finished
    run = own.plan.runs()[own.plan.parts[""][0]]
    hparams, make_transform = hparams_and_transform([run])
    _, rows, finals = lanes.run(hparams, make_transform, record_every=5, evaluate_every=10, executor="map")
    mine = records_lib.load(own.workdir).metrics.query("run_id == @run.run_id")
    np.testing.assert_allclose(mine["loss"], rows["loss"], rtol=1e-6)
    final = records_lib.load(own.workdir).runs.set_index("run_id").loc[run.run_id, "excess"]
    np.testing.assert_allclose(final, finals["excess"][0], rtol=1e-5)


def test_the_claims_file_is_the_contracts(finished):
    _, entries, root = finished
    saved = json.loads((root / "claims.json").read_text())
    assert set(saved) == {"experiment", "paper", "preset", "claims"}
    assert saved["claims"] == entries
    assert entries[0]["holds"]


def test_checkpoints_carry_their_schedules(finished):
    _, _, root = finished
    metas = [json.loads(p.read_text()) for p in (root / "checkpoints").glob("*/*/meta.json")]
    assert {schedule["name"] for meta in metas for schedule in meta["schedules"]} == {"Constant", "WSD"}


def test_a_second_launch_trains_nothing_and_a_grown_grid_only_what_is_new(tmp_path):
    first = launch(tmp_path, parts(seeds=(0,)))
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "metrics").iterdir()}
    again = launch(tmp_path, parts(seeds=(0,)))
    assert again.missing() == []
    begun = [group["runs"] for group in begun_groups(first.workdir).values()]
    grown = make_plan(parts(seeds=(0, 1)), Earlier(begun))
    assert sum(len(g.runs) for g in grown.groups) == 2 * sum(len(g.runs) for g in first.plan.groups)
    launch(tmp_path, parts(seeds=(0, 1)), begun=begun)
    after = {p: p.stat().st_mtime_ns for p in (tmp_path / "metrics").iterdir()}
    assert before.items() <= after.items()
    assert len(records_lib.load(Workdir(tmp_path)).part("").runs) == 6


def test_a_new_decay_of_a_finished_trunk_recomputes_only_the_way_to_its_start(tmp_path):
    constant = choice("schedule", "Constant", peak=1.0)
    wsd = choice("schedule", "WSD", peak=1.0, decay_fraction=0.25)
    launch(tmp_path, {"": Part(dataclasses.replace(BASE, schedule=constant))})
    begun = [group["runs"] for group in begun_groups(Workdir(tmp_path)).values()]
    both = {"": Part(BASE, [axis("schedule", [constant, wsd])])}
    own = launch(tmp_path, both, begun=begun)
    branch = next(iter(own.plan.branches().values()))
    assert (tmp_path / "checkpoints" / own._owner[branch.run_id].group_id / str(branch.step)).is_dir()
    # The whole study at once gives the same numbers.
    fresh = launch(tmp_path / "fresh", both)
    a, b = (records_lib.load(o.workdir).metrics for o in (own, fresh))
    pd.testing.assert_frame_equal(a, b, check_exact=True)


def test_a_damaged_trunk_checkpoint_is_computed_again(tmp_path):
    constant = choice("schedule", "Constant", peak=1.0)
    wsd = choice("schedule", "WSD", peak=1.0, decay_fraction=0.25)
    both = {"": Part(BASE, [axis("schedule", [constant, wsd])])}
    whole = launch(tmp_path / "whole", both)
    trunk_group = whole.plan.groups[0]
    alone = {"": Part(dataclasses.replace(BASE, schedule=constant))}
    half = launch(tmp_path / "half", alone, checkpoint_steps=10)
    folder = tmp_path / "half" / "checkpoints" / trunk_group.group_id
    for path in folder.rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
    begun = [group["runs"] for group in begun_groups(half.workdir).values()]
    again = launch(tmp_path / "half", both, begun=begun)
    assert any("is damaged" in line and "starting over" in line for line in again.lines)
    a, b = (records_lib.load(Workdir(tmp_path / name)).metrics for name in ("whole", "half"))
    pd.testing.assert_frame_equal(a, b, check_exact=True)


def test_shards_together_make_the_whole_study(tmp_path):
    chosen = {"": Part(BASE, [axis("task.batch_size", [8, 16]), axis("seed", [0, 1])])}
    whole = launch(tmp_path / "whole", chosen)
    for index in (1, 2):
        launch(tmp_path / "shards", chosen, shard=(index, 2))
    conclude(whole.experiment, Workdir(tmp_path / "shards"), HEADER)
    a, b = (records_lib.load(Workdir(tmp_path / name)) for name in ("whole", "shards"))
    pd.testing.assert_frame_equal(a.metrics, b.metrics, check_exact=True)
    assert set(a.runs["run_id"]) == set(b.runs["run_id"])


def test_a_program_that_fails_fails_its_runs_alone(tmp_path, monkeypatch):
    from lrstudy.study import trainer

    original = trainer.GroupTrainer.train

    def failing(self, *arguments):
        if self._group.runs[0].columns["task.batch_size"] == 8:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory\ndetails")
        return original(self, *arguments)

    monkeypatch.setattr(trainer.GroupTrainer, "train", failing)
    cosine = dataclasses.replace(BASE, schedule=choice("schedule", "Cosine", peak=1.0))
    own = launch(tmp_path, {"": Part(cosine, [axis("task.batch_size", [8, 16])])})
    runs = pd.read_parquet(tmp_path / "runs.parquet").set_index("task.batch_size")
    assert own.failed == 1
    assert own.lines == [f"1 runs of group {own.plan.groups[0].group_id} failed: RESOURCE_EXHAUSTED: out of memory"]
    assert runs["outcome"].to_dict() == {16: "ok"} or runs["outcome"].to_dict() == {8: "failed", 16: "ok"}


def test_a_damaged_metrics_file_is_named(tmp_path):
    launch(tmp_path, parts(seeds=(0,), peaks=(1.0,)))
    path = max((tmp_path / "metrics").glob("*.parquet"), key=lambda p: p.stat().st_size)
    content = bytearray(path.read_bytes())
    content[40] ^= 1
    path.write_bytes(content)
    with pytest.raises(StudyError, match=f"{path.name} is damaged"):
        records_lib.load(Workdir(tmp_path))


def test_nothing_to_load(tmp_path):
    with pytest.raises(StudyError, match="holds no finished study"):
        records_lib.load(Workdir(tmp_path))


def test_one_compilation_a_group(tmp_path, caplog):
    """Counted by what JAX itself says that it compiled."""
    with jax.log_compiles(), caplog.at_level("WARNING"):
        own = launch(tmp_path, parts(seeds=range(3)), checkpoint_steps=7)
    finished = [r.getMessage() for r in caplog.records if "Finished XLA compilation of jit(mapped)" in r.getMessage()]
    assert len(finished) == len(own.plan.groups) == 2


def test_a_claim_that_cannot_be_measured_does_not_hold_and_spares_the_others(tmp_path):
    from lrstudy.study.claims import Claim, Measurement
    from lrstudy.study.run import decide

    def broken(records):
        raise KeyError("absent")

    claims = [
        Claim("a1", "broken", "", ("",), broken, "<", 1.0),
        Claim("a2", "fine", "", ("",), lambda _: Measurement(0.0, 1), "<", 1.0),
    ]
    own = launch(tmp_path, parts(seeds=(0,), peaks=(1.0,)))
    entries = decide(claims, records_lib.load(own.workdir))
    assert [(e["holds"], e["measured"]) for e in entries] == [(False, None), (True, 0.0)]


def test_rows_that_are_gone_are_missed(tmp_path):
    own = launch(tmp_path, parts(seeds=(0,), peaks=(1.0,)))
    for path in own.workdir.metrics.iterdir():
        path.unlink()
    with pytest.raises(StudyError, match="lacks the metric rows of 2 of 2 finished runs"):
        records_lib.load(own.workdir)


def test_a_study_of_which_nothing_is_finished_has_no_report(tmp_path):
    own = launch(tmp_path, parts(seeds=(0,), peaks=(1.0,)))
    for path in own.workdir.groups.iterdir():
        record = json.loads(path.read_text())
        path.write_text(json.dumps({name: record[name] for name in ("runs", "part")}))
    own.write_runs()
    with pytest.raises(StudyError, match="holds no finished run"):
        conclude(own.experiment, own.workdir, HEADER)


def test_a_table_that_cannot_be_made_is_named_in_the_report(tmp_path):
    def broken(records):
        return records.runs["absent"]

    experiment = dataclasses.replace(study(), tables=(Table("broken", "What is not there", ("",), broken),))
    own = launch(tmp_path, parts(seeds=(0,), peaks=(1.0,)), experiment=experiment)
    conclude(experiment, own.workdir, HEADER)
    assert "What is not there: not made, &#x27;absent&#x27;" in own.workdir.report.read_text()


def test_a_grown_part_is_probed_again(tmp_path):
    """The table of the smaller grid must not pass for that of the grown one."""

    def seeds(context):
        return pd.DataFrame({"seed": [run.config.seed for run in context.runs]})

    experiment = dataclasses.replace(study(), probes=(Probe("seeds", "", seeds),))
    for asked in ((0,), (0, 1), (0,)):
        own = launch(tmp_path, parts(seeds=asked, peaks=(1.0,)), experiment=experiment, begun=None)
        assert sorted(records_lib.load(own.workdir).probes["seeds"]["seed"]) == list(asked)


def test_checkpoints_that_a_part_keeps_are_there_after_the_end(tmp_path):
    """A probe that averages checkpoints must not train again; the newest two alone would not do."""
    part = dataclasses.replace(parts(seeds=(0, 1), peaks=(1.0,))[""], kept_steps=(5, 10, 15, 40, 99))
    part = part.overridden({"schedule": "Constant"}, {})
    own = launch(tmp_path, {"": part})
    (group,) = own.plan.groups
    assert group.kept_steps == (5, 10, 15)
    saved = {int(p.name) for p in (own.workdir.checkpoints / group.group_id).iterdir() if p.name.isdigit()}
    assert saved == {5, 10, 15, 40}


def test_a_probe_that_is_stopped_goes_on_from_what_it_kept(tmp_path):
    """One signal while a long probe works: it leaves at its next pause, and the next launch finds its folder."""
    begun = []

    def counting(context):
        context.folder.mkdir(parents=True, exist_ok=True)
        place = context.folder / "begun"
        begun.append(place.exists())
        place.touch()
        if len(begun) == 1:
            signal.raise_signal(signal.SIGTERM)
        context.pause()
        return pd.DataFrame({"again": [begun[-1]]})

    experiment = dataclasses.replace(study(), probes=(Probe("counting", "", counting),))
    with pytest.raises(PreemptedError):
        launch(tmp_path, parts(seeds=(0,), peaks=(1.0,)), experiment=experiment)
    own = launch(tmp_path, parts(seeds=(0,), peaks=(1.0,)), experiment=experiment, begun=None)
    assert records_lib.load(own.workdir).probes["counting"]["again"].tolist() == [True]
    assert begun == [False, True]
